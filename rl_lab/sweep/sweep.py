"""A sweep: a group of ordinary runs that Tune carries out, and a folder, runs/sweeps/<group>, in which it keeps its books."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.experiment import Trial
from rich.console import Console

from rl_lab.errors import Fault, LabError
from rl_lab.experiment.launch import is_through
from rl_lab.experiment.run import Run
from rl_lab.sweep.trial import described
from rl_lab.tracking.run_table import Board, Line

STATES = {"PENDING": "waits", "RUNNING": "runs", "PAUSED": "waits", "TERMINATED": "done", "ERROR": "failed"}


class Stopped(Exception):
    """A signal stopped the sweep; what it had is on disk."""

    def __init__(self, signal: int) -> None:
        super().__init__(f"stopped by signal {signal}")
        self.signal = signal


@dataclass(frozen=True)
class Sweep:
    """Where a sweep lives, and all that `sweep resume` must know: what was asked, as plain values."""

    kind: str  # grid or search
    began: str  # the time that its runs' names begin with, like those of other runs
    group: str
    runs_dir: str
    cpu_per_run: float
    gpu_per_run: float
    retries: int
    asked: dict[str, Any]

    @property
    def path(self) -> Path:
        return Path(self.runs_dir).resolve() / "sweeps" / self.group

    def write(self) -> None:
        """Make the sweep's folder. Raises LabError where it cannot be, or is there already."""
        try:
            self.path.mkdir(parents=True)
            (self.path / "sweep.json").write_text(json.dumps(asdict(self), indent=1) + "\n")
        except FileExistsError:
            raise LabError(
                f"{self.path} is there already: `sweep resume` goes on with it, another --group begins anew"
            ) from None
        except OSError as error:
            raise LabError(f"no sweep can be kept in {self.path}: {error.strerror}") from error

    @classmethod
    def read(cls, path: str) -> Sweep:
        """The sweep of a folder. Raises LabError where there is none."""
        file = Path(path) / "sweep.json"
        try:
            sweep = cls(**json.loads(file.read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise LabError(f"{path} is no sweep: {file} cannot be read: {error}") from error
        here = Path(path).resolve().parents[1]  # it may be asked for from another folder than it was begun in
        return sweep if Path(sweep.runs_dir).resolve() == here else replace(sweep, runs_dir=str(here))

    def forget_if_empty(self) -> None:
        """Remove the folder of a sweep that has never begun."""
        if [file.name for file in self.path.iterdir()] == ["sweep.json"]:
            shutil.rmtree(self.path)

    def tuner(self, trainable: Callable[[dict[str, Any]], None], space: dict[str, Any], **options: Any) -> tune.Tuner:
        """The tuner of a new sweep; `options` are TuneConfig's."""
        return tune.Tuner(
            self.trainable(trainable),
            param_space=space,
            tune_config=tune.TuneConfig(trial_dirname_creator=_folder, **options),
            run_config=tune.RunConfig(
                name=self.path.name,
                storage_path=str(self.path.parent),
                failure_config=tune.FailureConfig(max_failures=self.retries),
                checkpoint_config=tune.CheckpointConfig(num_to_keep=None),
                callbacks=[Watched(f"group {self.group}")],
                verbose=0,
            ),
        )

    def trainable(self, function: Callable[[dict[str, Any]], None]) -> Any:
        """The function with the share of a machine that one run takes."""
        return tune.with_resources(function, {"cpu": self.cpu_per_run, "gpu": self.gpu_per_run})

    def restored(self, trainable: Callable[[dict[str, Any]], None]) -> tune.Tuner | None:
        """The tuner of a sweep that was cut off, which goes on with what is not finished; None where none had begun."""
        if not tune.Tuner.can_restore(str(self.path)):
            return None
        return tune.Tuner.restore(
            str(self.path), self.trainable(trainable), resume_unfinished=True, resume_errored=True
        )


def carry_out(tuner: tune.Tuner, *, all_of_them: bool = True) -> tune.ResultGrid:
    """Run all trials to their end and show them.

    Raises Stopped after a signal, and Fault when trials have failed for good (the others are carried out all the same);
    unless `all_of_them` matter only when every one has.
    """
    with _sigterm_as_sigint() as came:
        results = tuner.fit()
    unfinished = [trial for trial in results._experiment_analysis.trials if STATES[trial.status] in ("waits", "runs")]
    if unfinished or came:
        raise Stopped(came[0] if came else signal.SIGINT)
    if results.num_errors and (all_of_them or results.num_errors == len(results)):
        raise Fault(f"{results.num_errors} of {len(results)} runs failed: {_last_line(results.errors[0])}")
    return results


@contextmanager
def _sigterm_as_sigint() -> Iterator[list[int]]:
    """Tune ends in order after Ctrl-C; a cluster's SIGTERM should do the same. The list gets the signal that came."""
    came: list[int] = []

    def passed_on(number: int, frame: object) -> None:
        came.append(number)
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGTERM, passed_on)
    try:
        yield came
    finally:
        signal.signal(signal.SIGTERM, before)


def _last_line(error: object) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1][:300] if lines else "no reason was given"


def _folder(trial: Trial) -> str:
    """The name of a trial's folder in Tune's books."""
    return trial.trial_id


class Watched(tune.Callback):
    """Shows the trials as they go: on a terminal one table, elsewhere a line for each change."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.board: Board | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"title": self.title, "board": None}  # kept with the sweep, to be restored

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        if self.board is None:
            self.board = Board(Console(highlight=False), self.title)
            self.board.__enter__()
        if self.board.due():
            self.board.update([_line(trial) for trial in trials])

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        if self.board is not None:
            self.board.update([_line(trial) for trial in trials])
            self.board.__exit__()
            self.board = None


def _line(trial: Trial) -> Line:
    """How a trial stands, from Tune's books and its run folder."""
    config, _, path = described(trial.config, trial.trial_id)
    if "run" in (trial.last_result or {}):
        path = Path(trial.last_result["run"])
    error = ""
    if trial.num_failures:
        error = f"{trial.num_failures} time(s): {_last_line(trial.get_error() or '')}"
    name = f"{trial.config['trial']['label']} {config.agent} {config.run.env} s{config.run.seed}".strip()
    if settings := trial.config.get("settings"):
        name = " ".join(f"{k}={v:.3g}" if isinstance(v, float) else f"{k}={v}" for k, v in settings.items())
    return Line(name, STATES[trial.status], Run(path), trial.node_ip or "", error)


def lines_of(sweep: Sweep) -> list[Line]:
    """A sweep's runs as they lie on disk, whatever carries them out."""
    begun = {run.path.resolve(): run for run in Run.of_group(sweep.group, sweep.runs_dir)}
    lines = []
    if sweep.kind == "grid":  # those that have not begun too
        for trial in sweep.asked["trials"]:
            begun.setdefault(Path(trial["path"]), Run(Path(trial["path"])))
    for path, run in sorted(begun.items()):
        if not (path / "config.yaml").exists():
            lines.append(Line(path.name, "waits", None))
            continue
        config = run.config
        state = "done" if is_through(run) else "not done"
        lines.append(Line(f"{config.agent} {config.run.env} s{config.run.seed}", state, run))
    return lines
