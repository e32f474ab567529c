"""Finding the runs that names on the command line refer to."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rl_lab.errors import LabError
from rl_lab.experiment.demo_agents import named_demo
from rl_lab.experiment.run import Run
from rl_lab.experiment.run_search import find_run_folders
from rl_lab.sweep.sweep import Sweep


@dataclass
class FoundRuns:
    """The runs that names refer to."""

    runs: list[Run] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """One message for each folder that cannot be listed. It may hold further runs."""


def find_runs(names: Sequence[str], runs_dir: str) -> FoundRuns:
    """Return the runs that the names refer to, each run once.

    Args:
        names: Each name is one of the following, tried in this order: a glob pattern of run folders or of folders that
            contain runs, relative to the working directory or to `runs_dir`; "latest", "demo" or "demo:NAME"; a group;
            an agent or an environment; a part of the path of runs.
        runs_dir: Folder that holds the runs.

    Raises:
        LabError: A name refers to no run, or to no demo.
    """
    by_path: dict[Path, Run] = {}
    problems: list[str] = []
    for name in names:
        found = _find_by_name(name, runs_dir)
        problems += found.problems
        for run in found.runs:
            by_path.setdefault(run.path.resolve(), run)
    return FoundRuns(list(by_path.values()), list(dict.fromkeys(problems)))


def runs_below(*folders: Path) -> FoundRuns:
    """Return the runs in folders at any depth, and a folder itself if it is a run folder."""
    found = FoundRuns()
    for folder in folders:
        below = find_run_folders(folder)
        found.runs += [Run(path) for path in below.runs]
        found.problems += below.problems
    return found


def _find_by_name(name: str, runs_dir: str) -> FoundRuns:
    """Return the runs that one name refers to. Raise LabError if there is none, unless a folder cannot be listed."""
    paths = [*_expanded(name), *_expanded(name, f"{runs_dir}/")]
    in_folders = runs_below(*paths)
    if in_folders.runs or in_folders.problems:
        return in_folders
    of_sweeps = _runs_of_sweeps(paths)
    if of_sweeps:
        return FoundRuns(of_sweeps)
    if name == "latest" or named_demo(name) is not None:
        return FoundRuns([Run.find(name, runs_dir)])
    in_runs_dir = runs_below(Path(runs_dir))
    matches = Run.of_group(name, runs_dir) or _matching_paths(name, in_runs_dir.runs, Path(runs_dir))
    if not matches:
        advice = in_runs_dir.problems[0] if in_runs_dir.problems else "`list runs` shows all runs"
        raise LabError(f"no run matches {name!r}, here or in {runs_dir}; {advice}")
    return FoundRuns(matches, in_runs_dir.problems)


def _expanded(pattern: str, folder: str = "") -> list[Path]:
    """Return the path that a pattern is, also if it has the characters of patterns; or else the paths that match it.

    Args:
        pattern: A path or a glob pattern.
        folder: Text before the pattern, which is no pattern itself.
    """
    if os.path.lexists(folder + pattern):
        return [Path(folder + pattern)]
    return [Path(path) for path in sorted(glob.glob(glob.escape(folder) + pattern))]


def _runs_of_sweeps(folders: Iterable[Path]) -> list[Run]:
    """Return the runs of sweeps. The run folders of a sweep do not lie in its own folder.

    Args:
        folders: Folders of sweeps (runs/sweeps/GROUP), and folders that contain such folders.

    Raises:
        LabError: A file sweep.json is damaged.
    """
    runs = []
    for folder in folders:
        for file in sorted([*folder.glob("sweep.json"), *folder.glob("*/sweep.json")]):
            sweep = Sweep.read(str(file.parent))
            runs += Run.of_group(sweep.group, sweep.runs_dir)
    return runs


def _matching_paths(name: str, runs: Sequence[Run], runs_dir: Path) -> list[Run]:
    """Return the runs with a folder called `name` below `runs_dir`. If there are none, match parts of paths."""
    paths = [run.path.relative_to(runs_dir.absolute()) for run in runs]  # the path of a run is absolute
    # A complete path component first, so that "dqn" does not match runs of double_dqn.
    by_component = [run for run, path in zip(runs, paths, strict=True) if name in path.parts]
    return by_component or [run for run, path in zip(runs, paths, strict=True) if name in str(path)]
