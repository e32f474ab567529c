"""Free disk space."""

from __future__ import annotations

import shutil
from pathlib import Path

from rl_lab.errors import LabError

RESERVE = 10**8
"""Bytes that must remain free beside a checkpoint."""


def check_disk(folder: Path, needed: int) -> None:
    """Check that a checkpoint of `needed` bytes leaves at least `RESERVE` bytes free on the disk of a folder.

    Args:
        folder: The folder to write to. It does not have to exist yet.
        needed: Bytes of the checkpoint.

    Raises:
        LabError: The disk has not enough space, or the path cannot be that of a folder.
    """
    try:
        existing = _existing_parent(folder)
        free = shutil.disk_usage(existing).free
    except OSError as error:
        raise LabError(f"{folder} cannot be used: {error.strerror}") from error
    if free < needed + RESERVE:
        raise LabError(
            f"a checkpoint needs {needed / 1e9:.2f} GB, and {RESERVE / 1e9:.2f} GB must remain free; the disk of"
            f" {existing} has {free / 1e9:.2f} GB free"
        )


def _existing_parent(folder: Path) -> Path:
    """Return the folder, or the nearest folder above that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder
