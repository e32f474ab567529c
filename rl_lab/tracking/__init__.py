"""The metrics of a run: metrics.jsonl, Weights & Biases, progress lines and tables of runs."""
