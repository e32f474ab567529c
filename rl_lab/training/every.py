"""Periods in agent steps."""

from __future__ import annotations


class Every:
    """A period in agent steps: due at the multiples of `period`, whatever the number of environments."""

    def __init__(self, period: int, step: int) -> None:
        """Start at an agent step.

        Args:
            period: Agent steps between two due times. 0 is never due.
            step: Agent steps taken so far.
        """
        self.period = period
        self.multiples = step // period if period else 0

    def due(self, step: int) -> bool:
        """Return True if a multiple of the period lies after the step of the last due time, up to this step."""
        if not self.period or step // self.period == self.multiples:
            return False
        self.multiples = step // self.period
        return True
