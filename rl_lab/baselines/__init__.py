"""Agents of Stable-Baselines3, to compare this project's agents with."""
