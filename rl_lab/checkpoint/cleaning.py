"""The files of checkpoints that only `resume` needs."""

from __future__ import annotations

import os
from pathlib import Path

from rl_lab.checkpoint.folders import generations

KEPT = frozenset({"state.json", "network.safetensors"})
"""Files of the newest generation that say how far the run is, and how its agent plays."""


def files_for_resume(run: Path) -> list[Path]:
    """Return the files without which a run can be evaluated and watched, but not resumed.

    These are the rows of the replay memory, the learner's state, and all generations but the newest one. The best
    network is kept. Nothing behind a symbolic link belongs to the result.

    Args:
        run: The run folder.

    Raises:
        LabError: The folder `checkpoints` cannot be listed.
    """
    root = run / "checkpoints"
    if root.is_symlink():
        return []
    folders = [folder for folder in generations(run) if not folder.is_symlink()]
    files = _files(root / "rows")
    for index, folder in enumerate(folders):
        files += [path for path in _files(folder) if index > 0 or path.name not in KEPT]
    return sorted(files)


def _files(folder: Path) -> list[Path]:
    """Return the files of a folder, without links. Empty if the folder does not exist or is a link."""
    if folder.is_symlink() or not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return [Path(entry.path) for entry in entries if entry.is_file(follow_symlinks=False)]
