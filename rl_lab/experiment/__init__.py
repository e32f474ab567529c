"""Experiments: configuration, agents by name, run folders, and starting or resuming runs."""
