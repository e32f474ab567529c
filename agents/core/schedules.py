"""Schedules: numbers that depend on the agent steps observed, or on the updates made."""

from __future__ import annotations


def linear_schedule(start: float, end: float, steps: int, t: int, *, hold: int = 0) -> float:
    """Return the value of a linear schedule at agent step t.

    Args:
        start: Value before step `hold`.
        end: Value from step `steps` on.
        steps: Step at which the value reaches `end`.
        t: Agent step.
        hold: Step at which the value begins to change.
    """
    if t < hold:
        return start
    if t >= steps:
        return end
    return start + (end - start) * (t - hold) / (steps - hold)


def exponential_schedule(start: float, end: float, steps: int, t: int) -> float:
    """Return start (end / start)^(t / steps), and `end` from step `steps` on.

    Args:
        start: Value at step 0, above 0.
        end: Value from step `steps` on, above 0.
        steps: Step at which the value reaches `end`, at least 1.
        t: Step.
    """
    if t >= steps:
        return end
    return start * (end / start) ** (t / steps)
