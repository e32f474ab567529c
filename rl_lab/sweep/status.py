"""The progress of a sweep as its run folders show it, without Ray."""

from __future__ import annotations

from pathlib import Path

from rl_lab.errors import USER_ERRORS
from rl_lab.experiment.launch import is_finished
from rl_lab.experiment.run import Run
from rl_lab.sweep.sweep import Sweep
from rl_lab.system.data_files import path_exists
from rl_lab.tracking.run_table import RunRow


def sweep_rows(sweep: Sweep) -> list[RunRow]:
    """Return a row for each run of the sweep, ordered by path; of a grid also for runs that have not started."""
    runs = {run.path.resolve(): run for run in Run.of_group(sweep.group, sweep.runs_dir)}
    if sweep.kind == "grid":
        for trial in sweep.request["trials"]:
            path = Path(trial["path"])
            runs.setdefault(path, Run(path))
    return [_run_row(path, run) for path, run in sorted(runs.items())]


def _run_row(path: Path, run: Run) -> RunRow:
    """Return the row of a run. A run that cannot be read has a row with the error."""
    try:
        if not path_exists(path / "config.yaml"):
            return RunRow(path.name, "waiting", None)
        config = run.config
        state = "done" if is_finished(run) else "not done"
    except USER_ERRORS as error:
        return RunRow(path.name, "unreadable", None, error=str(error))
    return RunRow(f"{config.agent} {config.run.env} s{config.run.seed}", state, run)
