"""Files of tensors that are complete or absent: written under a temporary name, forced to disk, then renamed."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TypedDict

from safetensors.torch import save_file
from torch import Tensor


class FileRecord(TypedDict):
    """Size and checksum of a file, as state.json lists them."""

    bytes: int
    blake2b: str


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> FileRecord:
    """Write tensors to a safetensors file and return its size and checksum."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.new")
    save_file(_without_shared_memory(tensors), temporary)
    force_to_disk(temporary)
    temporary.replace(path)
    return {"bytes": path.stat().st_size, "blake2b": file_checksum(path)}


def force_to_disk(path: Path) -> None:
    """Wait until a file, or the entries of a folder, are on disk (fsync)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_checksum(path: Path) -> str:
    """Return the BLAKE2b checksum of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


def _without_shared_memory(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return contiguous CPU tensors, of which no two share memory.

    safetensors refuses tensors that share memory, such as tied weights.
    """
    separate: dict[str, Tensor] = {}
    storages: set[int] = set()
    for name, tensor in tensors.items():
        on_cpu = tensor.detach().cpu().contiguous()
        storage = on_cpu.untyped_storage().data_ptr()
        if storage in storages:
            on_cpu = on_cpu.clone()
        separate[name] = on_cpu
        storages.add(storage)
    return separate
