"""Sum tree for draws in proportion to values (Schaul et al. 2016, "Prioritized experience replay", app. B.2.1)."""

from __future__ import annotations

import torch
from torch import Tensor


class SumTree:
    """Values >= 0 of `size` indices. Setting and drawing a batch of indices takes log2(size) steps.

    Level 0 holds the values, padded with zeros to a power of two. Each entry of a further level is the sum of two
    entries of the level below. The last level holds the total. Sums are float64 and are always recomputed from both
    children, so that rounding errors do not accumulate.
    """

    def __init__(self, size: int, device: torch.device) -> None:
        self.size = size
        self.levels: list[Tensor] = []
        width = _padded(size)
        while width:
            self.levels.append(torch.zeros(width, dtype=torch.float64, device=device))
            width //= 2

    @staticmethod
    def bytes_needed(size: int) -> int:
        """Return the bytes that a tree over `size` values allocates."""
        return 8 * (2 * _padded(size) - 1)

    @property
    def nbytes(self) -> int:
        """Return the bytes allocated."""
        return sum(level.nbytes for level in self.levels)

    @property
    def total(self) -> Tensor:
        """Return the sum of all values, f64[]."""
        return self.levels[-1][0]

    @property
    def values(self) -> Tensor:
        """Return all values, f64[size]."""
        return self.levels[0][: self.size]

    def set(self, index: Tensor, value: Tensor) -> None:
        """Set the values [B] at `index` i64[B]. If an index occurs twice, one of its values is stored."""
        self.levels[0][index] = value.double()
        for below, level in zip(self.levels, self.levels[1:], strict=False):
            index = index // 2
            level[index] = below[2 * index] + below[2 * index + 1]

    def set_all(self, values: Tensor) -> None:
        """Set all values, [size]."""
        self.levels[0][: self.size] = values
        for below, level in zip(self.levels, self.levels[1:], strict=False):
            level.copy_(below.view(-1, 2).sum(1))

    def draw(self, batch_size: int, generator: torch.Generator) -> Tensor:
        """Draw indices i64[B] in proportion to their values: one index from each of B equal parts of the total."""
        device = self.levels[0].device
        position_in_part = torch.rand(batch_size, dtype=torch.float64, generator=generator, device=device)
        rest = (torch.arange(batch_size, device=device) + position_in_part) / batch_size * self.total
        index = torch.zeros(batch_size, dtype=torch.int64, device=device)
        for level in reversed(self.levels[:-1]):
            left_child = 2 * index
            left_sum = level[left_child]
            right_sum = level[left_child + 1]
            # After rounding errors, `rest` may exceed the sum of both children. A child with the sum 0 is never chosen.
            go_right = (rest >= left_sum) & (right_sum > 0)
            rest = torch.where(go_right, rest - left_sum, rest)
            index = left_child + go_right
        return index


def _padded(size: int) -> int:
    """Return the smallest power of two that is at least `size`, but at least 2."""
    return 1 << max(1, (size - 1).bit_length())
