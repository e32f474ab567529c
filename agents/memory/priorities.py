"""Prioritised sampling: the proportional variant of Schaul et al. 2016, "Prioritized experience replay"."""

from __future__ import annotations

import torch
from torch import Tensor

from agents.memory.sum_tree import SumTree

MIN_PRIORITY = 1e-6
"""Added to every absolute TD error, so that every transition can be sampled again (epsilon in section 3.3)."""


class Priorities:
    """Scaled priorities p_i^alpha of the cells of a replay memory.

    Cell i is drawn with probability P(i) = p_i^alpha / sum_k p_k^alpha. The priority p_i is the absolute TD error of
    the last update with cell i, plus a small constant. A new cell gets the largest scaled priority so far. A cell that
    cannot be sampled gets 0.

    Args:
        size: Number of cells.
        alpha: Exponent of the priorities.
        device: Device of the priorities. It must support float64.
    """

    def __init__(self, size: int, alpha: float, device: torch.device) -> None:
        self.alpha = alpha
        self.device = device
        self.tree = SumTree(size, device)
        self.largest = torch.ones((), dtype=torch.float64, device=device)  # largest p_i^alpha so far

    @property
    def values(self) -> Tensor:
        """Return p_i^alpha of every cell, f64[size]."""
        return self.tree.values

    def insert(self, cell: Tensor, is_start: Tensor) -> None:
        """Set the scaled priorities of new cells i64[N]: the largest so far if `is_start` bool[N] is True, else 0."""
        self.tree.set(cell, self.largest * is_start)

    def remove(self, cell: Tensor) -> None:
        """Set the scaled priorities of cells i64[N] to 0."""
        self.tree.set(cell, torch.zeros(len(cell), device=self.device))

    def update(self, cell: Tensor, td_error: Tensor) -> None:
        """Set the scaled priorities of sampled cells i64[B] from their new TD errors f32[B]."""
        value = (td_error.double().abs() + MIN_PRIORITY) ** self.alpha
        self.tree.set(cell, value)
        self.largest = torch.maximum(self.largest, value.max())

    def draw(
        self, batch_size: int, *, num_starts: int, beta: float, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Draw cells in proportion to their scaled priorities.

        Args:
            batch_size: Number of cells to draw, B.
            num_starts: Number of cells that can be drawn, N in the paper.
            beta: Exponent of the importance-sampling weights. 1 corrects the bias of prioritised sampling completely.
            generator: Generator of the random numbers.

        Returns:
            The cells i64[B], and their importance-sampling weights f32[B]: (N P(i))^-beta, divided by the largest of
            the batch.
        """
        cell = self.tree.draw(batch_size, generator)
        probability = self.tree.values[cell] / self.tree.total
        weight = (num_starts * probability) ** -beta
        return cell, (weight / weight.max()).float()

    def load(self, values: Tensor, largest: Tensor) -> None:
        """Restore the scaled priorities of all cells f64[size], and the largest scaled priority so far f64[]."""
        self.tree.set_all(values)
        self.largest = largest.to(self.device)
