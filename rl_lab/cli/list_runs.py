"""The command `list runs`."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import tyro

from rl_lab.cli.parsing import RunNames, parse
from rl_lab.errors import USER_ERRORS, LabError
from rl_lab.experiment.run import Run, creation_order
from rl_lab.system.lock import is_locked
from rl_lab.system.printable import print_line
from rl_lab.tracking.summary import summarise_metrics

COLUMNS = ("name", "agent", "env", "steps", "last", "best", "minutes", "state")
TEXT_COLUMNS = ("name", "agent", "env", "state")
DROP_ORDER = ("minutes", "best", "steps", "env")
"""Columns that are left out on a narrow terminal, the first one first."""


@dataclass(frozen=True)
class ListRunsOptions:
    """The options of `list runs`."""

    runs: RunNames = ()
    """Runs: folders, patterns, groups or parts of names. Default: all runs in runs_dir."""
    wide: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print all columns. By default a terminal shows only the columns that fit."""
    runs_dir: str = "runs"
    """Folder of the run folders."""


class RunOverview(NamedTuple):
    """A row of the table of `list runs`. A text is empty if the run lacks the value."""

    name: str
    agent: str
    env: str
    steps: str  # agent steps
    last: str  # score of the last evaluation
    best: str  # score of the best evaluation
    minutes: str  # of training
    state: str  # "running", "done", "stopped" or "unreadable"


def list_runs_command(args: list[str]) -> None:
    """Print a table of runs, the newest first.

    Raises:
        LabError: There are no runs.
    """
    options = parse(ListRunsOptions, args, "list runs", "List the runs, the newest first.")
    from rl_lab.compare.runs import find_runs, runs_below
    from rl_lab.tracking.fitted_table import print_fitted

    found = find_runs(options.runs, options.runs_dir) if options.runs else runs_below(Path(options.runs_dir))
    for problem in found.problems:
        print_line(problem, file=sys.stderr)
    if not found.runs:
        raise LabError(f"there are no runs in {options.runs_dir}; train one first, or name its folder by --runs-dir")
    runs = sorted(found.runs, key=lambda run: creation_order(run.path), reverse=True)
    overviews = [run_overview(run) for run in runs]
    columns = {heading: [getattr(overview, heading) for overview in overviews] for heading in COLUMNS}
    print_fitted(columns, text_columns=TEXT_COLUMNS, drop_order=DROP_ORDER, wide=options.wide)


def run_overview(run: Run) -> RunOverview:
    """Return the overview of a run."""
    with contextlib.suppress(*USER_ERRORS, OSError):
        config = run.config
        summary = summarise_metrics(run.metrics(), None)
        return RunOverview(
            run.path.name,
            config.agent,
            run.env_spec.name,
            f"{summary['steps']:,}",
            _score(summary["final"]),
            _score(summary["best"]),
            f"{summary['minutes']:.1f}",
            run_state(run),
        )
    return RunOverview(run.path.name, "", "", "", "", "", "", "unreadable")


def run_state(run: Run) -> str:
    """Return "running" if a process trains the run, "done" if it has all its steps, otherwise "stopped"."""
    from rl_lab.experiment.launch import is_finished

    if is_locked(run.path):
        return "running"
    return "done" if is_finished(run) else "stopped"


def _score(score: float | None) -> str:
    return "" if score is None else f"{score:.2f}"
