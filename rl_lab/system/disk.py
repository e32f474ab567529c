"""Free disk space."""

from __future__ import annotations

import shutil
from pathlib import Path

from rl_lab.errors import LabError


def check_disk(folder: Path, needed: int) -> None:
    """Raise LabError where the disk of `folder` has not `needed` bytes free, and a reserve of 100 MB."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < needed + 10**8:
        raise LabError(
            f"a checkpoint needs {needed / 1e9:.2f} GB and the disk of {folder} has {free / 1e9:.2f} GB free"
        )
