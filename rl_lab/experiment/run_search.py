"""Search folders for run folders."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from rl_lab.system.data_files import MISSING

RUN_FILES = frozenset({"config.yaml", "env.json", "metrics.jsonl", "checkpoints"})
"""Entries of a run folder. A folder that has at least two of them is a run folder, also if one of them is damaged or
missing. One is not enough: W&B writes a config.yaml too."""


@dataclass
class FoundFolders:
    """The result of a search."""

    runs: list[Path] = field(default_factory=list)
    """Run folders, ordered by path."""
    problems: list[str] = field(default_factory=list)
    """One message for each folder that cannot be listed, for example because it belongs to another user."""


def find_run_folders(root: Path, max_depth: int | None = None) -> FoundFolders:
    """Return the run folders below `root`, and `root` itself if it is a run folder.

    Symbolic links are followed. A folder that can be reached in several ways is searched once, so loops of links end.

    Args:
        root: The folder to search. If it does not exist, nothing is found.
        max_depth: Levels of folders below `root` that are searched. None searches all.
    """
    found = FoundFolders()
    searched: set[tuple[int, int]] = set()  # device and inode of folders
    waiting = [(root, 0)]
    while waiting:
        folder, depth = waiting.pop()
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in searched:
                continue
            searched.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as entries:
                is_folder = {entry.name: _is_folder(entry) for entry in entries}
        except OSError as error:
            if error.errno not in MISSING:
                found.problems.append(f"{folder} is left out: it cannot be read: {error.strerror}")
            continue
        except ValueError:  # a NUL character in the path
            continue
        if len(RUN_FILES & is_folder.keys()) >= 2:
            found.runs.append(folder)
        elif max_depth is None or depth < max_depth:
            names = sorted((name for name in is_folder if is_folder[name]), reverse=True)  # the last one is next
            waiting += [(folder / name, depth + 1) for name in names]
    found.runs.sort()
    found.problems.sort()
    return found


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Return True for a folder, or a link to one. A link that cannot be followed is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False
