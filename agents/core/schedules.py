"""Schedules: numbers that change with the agent steps."""

from __future__ import annotations


def linear_schedule(start: float, end: float, steps: int, t: int, *, hold: int = 0) -> float:
    """`start` until t = `hold`, `end` from t = `steps` on, a straight line between."""
    if t < hold:
        return start
    if t >= steps:
        return end
    return start + (end - start) * (t - hold) / (steps - hold)
