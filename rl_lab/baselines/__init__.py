"""Stable-Baselines3 agents as baselines."""
