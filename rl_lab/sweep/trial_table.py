"""The table of a sweep's trials while Tune runs them."""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.experiment import Trial
from rich.console import Console

from rl_lab.errors import USER_ERRORS
from rl_lab.experiment.launch import is_finished
from rl_lab.experiment.run import Run
from rl_lab.sweep.trial_spec import TrialSpec
from rl_lab.tracking.run_table import RunRow, RunTable

TRIAL_STATES = {  # status in Tune -> state in the table
    "PENDING": "waiting",
    "RUNNING": "running",
    "PAUSED": "waiting",
    "TERMINATED": "done",
    "ERROR": "failed",
}
MAX_ERROR_LENGTH = 300  # characters


class TrialTable(tune.Callback):
    """Tune callback that displays all trials as a `RunTable`. Tune pickles it together with the sweep."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.table: RunTable | None = None  # open while trials run
        self.statuses: dict[str, str] = {}  # id of a trial -> its status in Tune after the last step
        self.specs: dict[str, tuple[dict[str, Any], TrialSpec]] = {}  # id of a trial -> its parameters and its spec

    def __getstate__(self) -> dict[str, Any]:
        """Return what Tune pickles: the title. An open table belongs to a console."""
        return {"title": self.title}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the callback with a closed table."""
        self.title = state["title"]
        self.table = None
        self.statuses = {}
        self.specs = {}

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Update the table at most once per second. Tune calls this method after each of its steps."""
        if self.table is None:
            self.table = RunTable(Console(highlight=False), self.title)
            self.table.__enter__()
        self.statuses = {trial.trial_id: trial.status for trial in trials}
        if self.table.is_due():
            self.table.update([self._row(trial) for trial in trials])

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """Display the final state and close the table.

        After a stop signal, Tune calls all trials terminated. Their states are those after the last step.
        """
        if self.table is not None:
            self.table.update([self._row(trial) for trial in trials])
            self.table.__exit__()
            self.table = None

    def _row(self, trial: Trial) -> RunRow:
        """Return the state of a trial from Tune, with its run folder."""
        params, spec = self.specs.get(trial.trial_id, (None, None))
        if spec is None or params != trial.config:  # a population changes the parameters of its members
            spec = TrialSpec.from_params(trial.config, trial.trial_id)
            self.specs[trial.trial_id] = (copy.deepcopy(trial.config), spec)
        return _trial_row(trial, spec, self.statuses.get(trial.trial_id, trial.status))


def last_line(error: object) -> str:
    """Return the last line of an error message, which is the exception without its traceback."""
    lines = str(error).strip().splitlines()
    return lines[-1][:MAX_ERROR_LENGTH] if lines else "unknown reason"


def _trial_row(trial: Trial, spec: TrialSpec, status: str) -> RunRow:
    """Return the state of a trial with this status in Tune, with its run folder."""
    path = spec.path
    last_result = trial.last_result or {}
    if "run" in last_result:  # a member of a population may train a copy of another member's run
        path = Path(last_result["run"])
    state = TRIAL_STATES[status]
    if state == "done" and not _is_finished(path):
        state = "ended early"  # by the scheduler of a search
    error = ""
    if trial.num_failures:
        error = f"{trial.num_failures} time(s): {last_line(trial.get_error() or '')}"
    name = f"{spec.label} {spec.config.agent} {spec.config.run.env} s{spec.config.run.seed}".strip()
    settings = {name: _format(value) for name, value in (trial.config.get("settings") or {}).items()}
    if settings:
        name = trial.trial_id  # the name of the run folder ends with it
    return RunRow(name, state, Run(path), trial.node_ip or "", error, settings)


@functools.lru_cache(maxsize=10_000)
def _is_finished(path: Path) -> bool:
    """Return True if the run of a terminated trial is finished. The run does not change any more."""
    try:
        return is_finished(Run(path))
    except (*USER_ERRORS, OSError):  # the run folder was removed or damaged
        return False


def _format(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
