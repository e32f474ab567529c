"""Experiments: configurations, the registry of agents, run folders, and the start and resume of runs."""
