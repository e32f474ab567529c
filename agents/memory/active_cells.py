"""The active cells of a replay memory, listed by row, then by environment.

A row is one time step of all N environments. A cell is the part of a row that belongs to one environment. The cell is
active if the episode of this environment does not end with the observation of this row. Only active cells can be
sampled, and their number differs from row to row. The cells that can be sampled are the active cells of an interval of
rows, hence an interval of this list. So a uniform sample is one draw of integers. No draw has to be rejected, and no
count has to be read from a GPU.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from agents.memory.allocation import allocate_zeros


class ActiveCells:
    """List of the active cells in a ring of `num_rows` rows of `num_envs` environments.

    Rows are counted from the first row ever written. Row r lies at ring position r % num_rows. Entries of the list are
    counted from the first active cell ever listed. Entry i lies in slot i % capacity, where capacity is the number of
    cells in the ring. A slot holds the index of a cell: ring position * num_envs + environment.
    """

    def __init__(self, num_rows: int, num_envs: int, device: torch.device) -> None:
        self.num_rows = num_rows
        self.num_envs = num_envs
        self.capacity = num_rows * num_envs
        self.device = device
        self.total = 0  # active cells ever listed, which is the number of the next entry
        self._first_entry = np.zeros(num_rows, np.int64)  # by ring position: `total` before the row was appended
        self._cells = torch.empty(0, dtype=torch.int32)  # by slot; see `allocate`

    @staticmethod
    def bytes_needed(num_rows: int, num_envs: int) -> int:
        """Return the bytes that a list of this size allocates."""
        return 4 * (num_rows * num_envs + 1) + 8 * num_rows

    @property
    def nbytes(self) -> int:
        """Return the bytes allocated so far."""
        return self._cells.nbytes + self._first_entry.nbytes

    def allocate(self) -> None:
        """Allocate the list. Call this method before the first `append` or `rebuild`.

        The list has one slot for each cell, and a dump slot at the end. `append` writes the cells that are not active
        into the dump slot, which is never read.
        """
        self._cells = allocate_zeros((self.capacity + 1,), torch.int32, self.device)

    def append(self, row: int, is_last: Tensor, num_active: int) -> None:
        """Append the active cells of a new row.

        Args:
            row: Number of the row. The previous call appended `row - 1`.
            is_last: bool[N], True for cells that are not active.
            num_active: Number of active cells in the row. The caller passes this number, because to count the cells in
                `is_last` would mean to wait for the device.
        """
        is_active = ~is_last
        entry = self.total + torch.cumsum(is_active, 0) - 1  # i64[N]; has a meaning for active cells only
        # With the dump slot, all N cells are written. So no tensor size depends on data on the device.
        dump_slot = self.capacity
        slot = torch.where(is_active, entry % self.capacity, dump_slot)
        position = row % self.num_rows
        first_cell = position * self.num_envs
        self._cells[slot] = torch.arange(first_cell, first_cell + self.num_envs, dtype=torch.int32, device=self.device)
        self._first_entry[position] = self.total
        self.total += num_active

    def count(self, rows: range) -> int:
        """Return the number of active cells in an interval of rows.

        The ring must hold all these rows and the row `rows.stop`, unless the interval is empty. The same is true for
        the intervals of `draw` and `indices_within`.
        """
        low, high = self._entries(rows)
        return high - low

    def draw(self, rows: range, batch_size: int, generator: torch.Generator) -> Tensor:
        """Return cells i64[B], drawn uniformly with replacement from the active cells of an interval of rows.

        Args:
            rows: The rows, as in `count`. They must hold at least one active cell.
            batch_size: Number of cells, B.
            generator: Generator of the draws, on the device of the list.
        """
        low, high = self._entries(rows)
        entry = torch.randint(low, high, (batch_size,), generator=generator, device=self.device)
        return self._cells.take(entry % self.capacity).long()

    def indices_within(self, rows: range) -> Tensor:
        """Return where the active cells lie in an interval of rows.

        Returns:
            Indices i64[K] into these rows flattened from [R, N] to [R * N]. R is the number of rows, and K the number
            of active cells in the rows.
        """
        low, high = self._entries(rows)
        entry = torch.arange(low, high, device=self.device)  # [K]
        cell = self._cells.take(entry % self.capacity).long()
        return (cell - rows.start * self.num_envs) % self.capacity

    def rebuild(self, is_last: Tensor, total_rows: int, total: int) -> None:
        """Rebuild the list from the rows of a ring, with the entry numbers that the saved list had.

        Args:
            is_last: bool[num_rows, num_envs], by ring position.
            total_rows: Rows ever written to the ring.
            total: Active cells ever listed, including those that are no longer in the ring. The numbers of the entries
                continue from it, so that `total` and all slots equal those of a list that was never rebuilt.
        """
        rows = np.arange(max(0, total_rows - self.num_rows), total_rows)  # [R]: the rows in the ring, oldest first
        positions = rows % self.num_rows
        is_active = ~is_last.cpu().numpy()[positions]  # bool[R, N]
        active_per_row = is_active.sum(1)  # [R]
        active_up_to_row = np.cumsum(active_per_row)  # [R], including the row
        active_before_row = active_up_to_row - active_per_row  # [R], excluding the row
        num_listed = active_per_row.sum()
        oldest_entry = total - num_listed
        self.total = total
        self._first_entry[positions] = oldest_entry + active_before_row
        cells = positions[:, None] * self.num_envs + np.arange(self.num_envs)  # [R, N]
        slots = np.arange(oldest_entry, total) % self.capacity
        self._cells[torch.from_numpy(slots)] = torch.from_numpy(cells[is_active]).int().to(self.device)

    def _entries(self, rows: range) -> tuple[int, int]:
        """Return the interval [low, high) of the entries that belong to an interval of rows."""
        low = self._first_entry[rows.start % self.num_rows]
        high = self._first_entry[rows.stop % self.num_rows]
        return int(low), int(high)
