"""A sum tree over many numbers at once: what prioritised replay draws from (Schaul et al. 2016, "Prioritized experience replay")."""

from __future__ import annotations

import torch
from torch import Tensor


class SumTree:
    """`size` numbers >= 0, of which one is drawn with a probability in proportion to it, in log2(size) steps for a whole batch.

    Level 0 holds the numbers themselves, each further level the sums of pairs of the one below, the last one the total. All in
    float64, and always recomputed from both children, so that no error accumulates.
    """

    def __init__(self, size: int, device: torch.device) -> None:
        self.size = size
        width = 1 << max(1, (size - 1).bit_length())
        self.levels: list[Tensor] = []
        while width:
            self.levels.append(torch.zeros(width, dtype=torch.float64, device=device))
            width //= 2

    @staticmethod
    def bytes_needed(size: int) -> int:
        """Bytes that a tree over `size` numbers allocates."""
        return 8 * (2 * (1 << max(1, (size - 1).bit_length())) - 1)

    @property
    def total(self) -> Tensor:
        """The sum of all numbers, f64[]."""
        return self.levels[-1][0]

    @property
    def values(self) -> Tensor:
        """The numbers, f64[size]."""
        return self.levels[0][: self.size]

    def set(self, index: Tensor, value: Tensor) -> None:
        """Give the numbers at `index` i64[B] new values [B]; where an index comes twice, one of its values stays."""
        self.levels[0][index] = value.double()
        for below, level in zip(self.levels, self.levels[1:], strict=False):
            index = index // 2
            level[index] = below[2 * index] + below[2 * index + 1]

    def set_all(self, values: Tensor) -> None:
        """Give all `size` numbers new values."""
        self.levels[0][: self.size] = values
        for below, level in zip(self.levels, self.levels[1:], strict=False):
            level.copy_(below.view(-1, 2).sum(1))

    def draw(self, batch_size: int, generator: torch.Generator) -> Tensor:
        """Indices i64[B] in proportion to their numbers, one from each of B equal parts of the total (Schaul et al., app. B.2.1)."""
        device = self.levels[0].device
        part = torch.rand(batch_size, dtype=torch.float64, generator=generator, device=device)
        rest = (torch.arange(batch_size, device=device) + part) / batch_size * self.total
        index = torch.zeros(batch_size, dtype=torch.int64, device=device)
        for level in reversed(self.levels[:-1]):
            index = 2 * index
            left = level[index]
            # Rounding may leave a rest that no child has; then the child that has anything at all is taken.
            right = (rest >= left) & (level[index + 1] > 0)
            rest = torch.where(right, rest - left, rest)
            index = index + right
        return index
