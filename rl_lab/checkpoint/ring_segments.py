"""Ring buffers on disk: the rows are cut into segments at fixed row numbers, one file for each segment.

Row numbers count from the first row ever written. The cuts do not move, so all segments but the last are the same in
the next checkpoint. Only the last segment is written again, beside new segments.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from agents.memory.ring import Ring, check_same_rows
from rl_lab.checkpoint.migration import migrate_ring_fields

SEGMENT_BYTES = 64 * 2**20  # approximate size of a full segment


def segments(ring: Ring) -> Iterator[tuple[int, int]]:
    """Yield the row numbers (first, end) of the segments that cover the rows of the ring.

    The first segment may begin with rows that the ring has already overwritten. Its file holds the rows that were left
    when the file was written.
    """
    length = max(1, min(SEGMENT_BYTES // row_bytes(ring), ring.capacity))
    oldest = max(0, ring.total - ring.capacity)
    num_blocks = -(-ring.total // length)  # rounded up
    for block in range(oldest // length, num_blocks):
        yield block * length, min((block + 1) * length, ring.total)


def segment_file(name: str, first: int, end: int) -> str:
    """Return the file of a segment, relative to the folder `checkpoints`."""
    return f"rows/{name.replace('/', '.')}-{first}-{end}.safetensors"


def segment_rows(ring: Ring, first: int, end: int) -> dict[str, Tensor]:
    """Return the rows first to end - 1 that the ring still holds: for each field a tensor [rows, ...]."""
    oldest = ring.total - ring.capacity
    rows = torch.arange(max(first, oldest), end) % ring.capacity
    return {name: field[rows.to(field.device)] for name, field in ring.fields.items()}


def row_bytes(ring: Ring) -> int:
    """Return the bytes of one row over all fields."""
    return sum(field[0].nbytes for field in ring.fields.values())


@dataclass(frozen=True)
class StoredRing:
    """A ring buffer on disk, read like a `Ring`. One segment at a time is in memory beside the destination."""

    paths: list[Path]  # files of the segments, oldest first
    capacity: int
    total: int  # rows ever written

    def copy_into(self, fields: dict[str, Tensor]) -> None:
        """Copy the rows into tensors [capacity, ...].

        Raises:
            ValueError: A capacity, a field name, a shape or a dtype differs, or a file name is not that of a segment.
        """
        if any(len(field) != self.capacity for field in fields.values()):
            raise ValueError(f"the rows belong to a memory with a capacity of {self.capacity} rows")
        for path in self.paths:
            match = re.fullmatch(r".*-(\d+)-(\d+)", path.stem)
            if match is None:
                raise ValueError(f"{path.name} is not the name of a segment")
            end = int(match[2])
            rows = migrate_ring_fields(load_file(path))
            check_same_rows(rows, fields)
            for name, field in fields.items():
                positions = torch.arange(end - len(rows[name]), end) % self.capacity
                field[positions.to(field.device)] = rows[name].to(field.device)
