"""Agents of Stable-Baselines3 and SB3-Contrib, to compare this project's agents with."""
