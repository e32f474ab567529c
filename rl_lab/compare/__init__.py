"""Comparing runs: which is better, and how sure are we."""
