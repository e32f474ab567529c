"""Free disk space."""

from __future__ import annotations

import shutil
from pathlib import Path

from rl_lab.errors import LabError

RESERVE = 10**8
"""Bytes that must remain free beside a checkpoint."""


def check_disk(folder: Path, needed: int) -> None:
    """Raise LabError if a checkpoint of `needed` bytes would leave less than `RESERVE` bytes free on the folder's disk.

    Args:
        folder: The folder to write to. It does not have to exist yet.
        needed: Bytes of the checkpoint.
    """
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < needed + RESERVE:
        raise LabError(
            f"a checkpoint needs {needed / 1e9:.2f} GB and the disk of {folder} has {free / 1e9:.2f} GB free"
        )
