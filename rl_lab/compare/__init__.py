"""Comparison of runs: statistics with confidence intervals, an HTML page, and a W&B report."""
