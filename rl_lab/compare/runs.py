"""Finding the runs that names on the command line refer to."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

from rl_lab.errors import LabError
from rl_lab.experiment.run import Run


def find_runs(names: Sequence[str], runs_dir: str) -> list[Run]:
    """Return the runs that the names refer to, each run once.

    Args:
        names: Each name is one of the following, tried in this order: a glob pattern of run folders or of folders that
            contain runs, relative to the working directory or to `runs_dir`; "latest" or "demo"; a group; an agent or
            an environment; a part of the path of runs.
        runs_dir: Folder that holds the runs.

    Raises:
        LabError: A name refers to no run.
    """
    found: dict[Path, Run] = {}
    for name in names:
        matches = _find_by_name(name, runs_dir)
        if not matches:
            raise LabError(f"no run matches {name!r}, here or in {runs_dir}; `ls {runs_dir}/*/*` lists the runs")
        for run in matches:
            found.setdefault(run.path.resolve(), run)
    return list(found.values())


def runs_below(folder: Path) -> list[Run]:
    """Return the runs in a folder at any depth, and the folder itself if it is a run folder.

    A run folder holds env.json and config.yaml. The latter is not enough: W&B also writes files of that name.
    """
    paths = [file.parent for file in sorted(folder.glob("**/env.json"))]
    return [Run(path) for path in paths if (path / "config.yaml").is_file()]


def _find_by_name(name: str, runs_dir: str) -> list[Run]:
    folders = [Path(path) for pattern in (name, f"{runs_dir}/{name}") for path in sorted(glob.glob(pattern))]
    in_folders = [run for folder in folders for run in runs_below(folder)]
    if in_folders:
        return in_folders
    if name in ("latest", "demo"):
        return [Run.find(name, runs_dir)]
    all_runs = {run.path.relative_to(runs_dir): run for run in runs_below(Path(runs_dir))}
    in_group = Run.of_group(name, runs_dir)
    if in_group:
        return in_group
    # A complete path component first, so that "dqn" does not match runs of double_dqn.
    by_component = [run for path, run in all_runs.items() if name in path.parts]
    if by_component:
        return by_component
    return [run for path, run in all_runs.items() if name in str(path)]
