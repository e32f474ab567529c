"""The checkpoint folders of a run: order, search and removal."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from rl_lab.checkpoint.state_file import DamagedCheckpoint, read_state_file
from rl_lab.checkpoint.tensor_files import FileRecord, force_to_disk
from rl_lab.errors import LabError
from rl_lab.system.data_files import MISSING, path_exists

GENERATIONS = 2
"""Full checkpoints that are kept."""


def generations(run: Path) -> list[Path]:
    """Return the full checkpoints of a run, newest first. A folder `.old` comes after the folder that replaces it.

    Raises:
        LabError: The folder `checkpoints` cannot be listed.
    """
    root = run / "checkpoints"
    try:
        names = os.listdir(root)
    except OSError as error:
        if error.errno in MISSING and not root.is_file():
            return []
        raise LabError(f"{root} cannot be read: {error.strerror}") from error
    folders = [root / name for name in names if re.fullmatch(r"step-\d{9,}(\.old)?", name) and (root / name).is_dir()]
    return sorted(folders, key=lambda path: (step_of(path), path.suffix != ".old"), reverse=True)


def step_of(generation: Path) -> int:
    """Return the agent step at which a full checkpoint was written."""
    return int(generation.name.removeprefix("step-").removesuffix(".old"))


def find(run: Path, name: str | None = None) -> Path:
    """Return a checkpoint that contains a network.

    Args:
        run: The run folder.
        name: "best", "last" or an agent step. None means the best checkpoint, or the last one if there is no best one.

    Raises:
        LabError: There is no such checkpoint, or the folder `checkpoints` cannot be read.
    """
    best_folders = [run / "checkpoints" / "best", run / "checkpoints" / "best.old"]
    best = [folder for folder in best_folders if path_exists(folder / "state.json")]
    last = generations(run)
    if name is None:
        candidates = best + last
    elif name == "best":
        candidates = best
    elif name == "last":
        candidates = last
    else:
        candidates = [folder for folder in last if folder.name == f"step-{name:0>9}"]
    if candidates:
        return candidates[0]
    which = "no checkpoint yet" if name is None else f"no checkpoint {name!r} yet"
    raise LabError(f"{run} has {which}")


def replace_folder(new: Path, folder: Path) -> None:
    """Rename the complete folder `new` to `folder`. The previous one is `.old` until the new name is on disk."""
    force_to_disk(new)
    old = folder.with_name(f"{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    force_to_disk(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def discard_newer(generation: Path) -> None:
    """Remove the generations after this one. They are damaged, and later generations must not share their segments."""
    root = generation.parent
    existing = generations(root.parent)
    for newer in existing[: existing.index(generation)]:
        shutil.rmtree(newer)
    drop_old(root)


def drop_old(root: Path) -> None:
    """Remove all but the newest generations, and the segments that no generation refers to.

    Args:
        root: The folder `checkpoints` of a run.
    """
    for folder in [*generations(root.parent)[GENERATIONS:], *root.glob("step-*.new")]:
        shutil.rmtree(folder)
    needed = segment_records(root)
    for path in (root / "rows").glob("*"):
        if f"rows/{path.name}" not in needed:
            path.unlink()


def segment_records(root: Path) -> dict[str, FileRecord]:
    """Return size and checksum of the segments that undamaged generations refer to, by file name."""
    records: dict[str, FileRecord] = {}
    for folder in generations(root.parent):
        try:
            files = read_state_file(folder).files
        except DamagedCheckpoint:
            continue
        records |= {name: record for name, record in files.items() if name.startswith("rows/")}
    return records
