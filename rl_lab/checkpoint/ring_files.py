"""The files of a checkpoint: tensors written completely or not at all, and rings of rows cut into segments written once."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from agents.memory.ring import Ring, check_same_rows

SEGMENT_BYTES = 64 * 2**20  # about; a segment is written once, the last one again until it is full


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Write a file completely or not at all; its size and checksum."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.new")
    own: dict[str, Tensor] = {}
    storages: set[int] = set()
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        storage = tensor.untyped_storage().data_ptr()
        own[name] = tensor.clone() if storage in storages else tensor  # safetensors wants each in memory of its own
        storages.add(storage)
    save_file(own, part)
    sync(part)
    part.replace(path)
    return {"bytes": path.stat().st_size, "blake2b": checksum(path)}


def sync(path: Path) -> None:
    """Force a file or folder to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


def segment_file(name: str, first: int, end: int) -> str:
    return f"rows/{name.replace('/', '.')}-{first}-{end}.safetensors"


def row_bytes(ring: Ring) -> int:
    return sum(x[0].nbytes for x in ring.fields.values())


def segments(ring: Ring) -> Iterator[tuple[int, int]]:
    """The rows a ring holds, cut at fixed row numbers: all but the last segment are the same at the next checkpoint.

    The first may name rows that the ring has lost since; those behind it stand in their places.
    """
    length = max(1, min(SEGMENT_BYTES // row_bytes(ring), ring.capacity))
    oldest = max(0, ring.total - ring.capacity)
    for block in range(oldest // length, -(-ring.total // length)):
        yield block * length, min((block + 1) * length, ring.total)


@dataclass(frozen=True)
class StoredRing:
    """A Ring on disk. Its segments are read one at a time into the memory they belong to, which is never held twice."""

    paths: list[Path]
    capacity: int
    total: int

    def copy_into(self, fields: dict[str, Tensor]) -> None:
        """As Ring's. Raises ValueError where a segment is none, or does not fit."""
        if any(len(field) != self.capacity for field in fields.values()):
            raise ValueError(f"the rows are those of a memory of {self.capacity}")
        for path in self.paths:
            match = re.fullmatch(r".*-(\d+)-(\d+)", path.stem)
            if match is None:
                raise ValueError(f"{path.name} is no segment")
            rows = load_file(path)
            check_same_rows(rows, fields)
            for name, field in fields.items():
                places = torch.arange(int(match[2]) - len(rows[name]), int(match[2])) % self.capacity
                field[places.to(field.device)] = rows[name].to(field.device)
