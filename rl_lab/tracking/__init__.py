"""Logged metrics: metrics.jsonl, Weights & Biases, progress lines and tables of runs."""
