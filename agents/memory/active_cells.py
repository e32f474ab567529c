"""The active cells of a replay memory, listed in order of arrival.

A cell is one row of one environment. It is active if the row is not the last of an episode. Only active cells can be
sampled, and their number differs from row to row. The cells that can be sampled are the active cells of an interval of
rows, hence an interval of this list. So a uniform sample is one draw of integers: exact, without rejection, and without
waiting for a GPU.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from agents.memory.allocation import allocate_zeros


class ActiveCells:
    """List of the active cells in a ring of `num_rows` rows of `num_envs` environments.

    Rows are counted from the first row ever written: row r lies at ring position r % num_rows. List positions are
    counted from the first active cell ever listed: entry i lies at i % capacity, where capacity is the number of
    cells in the ring.
    """

    def __init__(self, num_rows: int, num_envs: int, device: torch.device) -> None:
        self.num_rows = num_rows
        self.num_envs = num_envs
        self.capacity = num_rows * num_envs
        self.device = device
        self.total = 0  # active cells ever listed
        self._total_before = np.zeros(num_rows, np.int64)  # `total` before the row at each ring position was appended
        self._cells = torch.empty(0, dtype=torch.int32)  # i32[capacity + 1] on the device after `allocate`

    @staticmethod
    def bytes_needed(num_rows: int, num_envs: int) -> int:
        """Return the bytes that a list of this size allocates."""
        return 4 * (num_rows * num_envs + 1) + 8 * num_rows

    @property
    def nbytes(self) -> int:
        """Return the bytes allocated now."""
        return self._cells.nbytes + self._total_before.nbytes

    def allocate(self) -> None:
        """Allocate the list. Call this method before the first `append` or `rebuild`."""
        self._cells = allocate_zeros((self.capacity + 1,), torch.int32, self.device)

    def append(self, row: int, is_last: Tensor, num_active: int) -> None:
        """Append the active cells of a new row.

        Args:
            row: Number of the row; the previous call appended `row - 1`.
            is_last: bool[N], True for cells that are not active.
            num_active: Number of active cells in the row. It is an argument because reading it from `is_last` would
                wait for the device.
        """
        is_active = ~is_last
        entry = self.total + torch.cumsum(is_active, 0) - 1
        # A spare entry at the end takes the writes of the other cells, so that no tensor size depends on data.
        slot = torch.where(is_active, entry % self.capacity, self.capacity)
        position = row % self.num_rows
        first_cell = position * self.num_envs
        self._cells[slot] = torch.arange(first_cell, first_cell + self.num_envs, dtype=torch.int32, device=self.device)
        self._total_before[position] = self.total
        self.total += num_active

    def count(self, rows: range) -> int:
        """Return the number of active cells in an interval of rows. The ring must hold the rows `start` and `stop`."""
        low, high = self._entries(rows)
        return high - low

    def draw(self, rows: range, batch_size: int, generator: torch.Generator) -> Tensor:
        """Return cells i64[B], drawn uniformly with replacement from the active cells of an interval of rows."""
        low, high = self._entries(rows)
        entry = torch.randint(low, high, (batch_size,), generator=generator, device=self.device)
        return self._cells.take(entry % self.capacity).long()

    def indices_within(self, rows: range) -> Tensor:
        """Return the active cells of an interval of rows, as indices i64[K] into these rows flattened to [rows * N]."""
        low, high = self._entries(rows)
        entry = torch.arange(low, high, device=self.device)
        cell = self._cells.take(entry % self.capacity).long()
        return (cell - rows.start * self.num_envs) % self.capacity

    def rebuild(self, is_last: Tensor, total_rows: int, total: int) -> None:
        """Rebuild the list from the rows of a ring.

        Args:
            is_last: bool[num_rows, num_envs], by ring position.
            total_rows: Rows ever written to the ring.
            total: Active cells ever listed, including those that are no longer in the ring.
        """
        rows = np.arange(max(0, total_rows - self.num_rows), total_rows)  # oldest row first
        positions = rows % self.num_rows
        is_active = ~is_last.cpu().numpy()[positions]
        active_per_row = is_active.sum(1)
        num_listed = active_per_row.sum()
        self.total = total
        self._total_before[positions] = total - num_listed + np.cumsum(active_per_row) - active_per_row
        cells = positions[:, None] * self.num_envs + np.arange(self.num_envs)
        slots = np.arange(total - num_listed, total) % self.capacity
        self._cells[torch.from_numpy(slots)] = torch.from_numpy(cells[is_active]).int().to(self.device)

    def _entries(self, rows: range) -> tuple[int, int]:
        """Return the interval [low, high) of list entries that belongs to an interval of rows."""
        low = self._total_before[rows.start % self.num_rows]
        high = self._total_before[rows.stop % self.num_rows]
        return int(low), int(high)
