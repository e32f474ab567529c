"""Runs the trials of a sweep with Ray Tune."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ray import tune
from ray.tune.experiment import Trial

from rl_lab.errors import Fault
from rl_lab.sweep.sweep import Sweep
from rl_lab.sweep.trial_table import TrialTable, last_line
from rl_lab.system.signals import recorded_signals, stop_signal_numbers

Trainable = Callable[[dict[str, Any]], None]
"""A function that Tune calls in a worker with the parameters of a trial."""


class SweepStopped(Exception):
    """A signal stopped the sweep. Everything up to the last checkpoints is on disk."""

    def __init__(self, signal: int) -> None:
        super().__init__(f"stopped by signal {signal}")
        self.signal = signal


def new_tuner(
    sweep: Sweep, trainable: Trainable, param_space: dict[str, Any], tune_config: tune.TuneConfig | None = None
) -> tune.Tuner:
    """Return the tuner of a new sweep.

    Args:
        sweep: The sweep.
        trainable: The function that trains a trial.
        param_space: Parameters of the trials, some of them domains to search.
        tune_config: Search algorithm, scheduler and number of trials. None runs each value of a grid once.
    """
    tune_config = tune_config or tune.TuneConfig()
    tune_config.trial_dirname_creator = trial_folder_name
    return tune.Tuner(
        _with_resources(sweep, trainable),
        param_space=param_space,
        tune_config=tune_config,
        run_config=tune.RunConfig(
            name=sweep.path.name,
            storage_path=str(sweep.path.parent),
            failure_config=tune.FailureConfig(max_failures=sweep.retries),
            checkpoint_config=tune.CheckpointConfig(num_to_keep=None),
            callbacks=[TrialTable(f"group {sweep.group}")],
            verbose=0,
        ),
    )


def restore_tuner(sweep: Sweep, trainable: Trainable) -> tune.Tuner | None:
    """Return the tuner of an interrupted sweep, which continues unfinished and failed trials. None for a new sweep."""
    if not tune.Tuner.can_restore(str(sweep.path)):
        return None
    return tune.Tuner.restore(
        str(sweep.path), _with_resources(sweep, trainable), resume_unfinished=True, resume_errored=True
    )


def run_tuner(tuner: tune.Tuner, *, all_must_succeed: bool = True) -> tune.ResultGrid:
    """Run all trials to their end and display them.

    Args:
        tuner: The tuner.
        all_must_succeed: Raise Fault if any trial failed for good; otherwise only if all failed.

    Raises:
        SweepStopped: A signal stopped the sweep.
        Fault: Trials failed for good. The other trials were run nevertheless.
    """
    with recorded_signals() as record, _stop_signals_as_sigint():
        results = tuner.fit()
        stop_signals = [number for number in record.received() if number in stop_signal_numbers()]
    trials = results._experiment_analysis.trials  # Ray has no public access to the status of trials
    if stop_signals or any(trial.status in (Trial.PENDING, Trial.RUNNING, Trial.PAUSED) for trial in trials):
        raise SweepStopped(stop_signals[0] if stop_signals else signal.SIGINT)
    if results.num_errors and (all_must_succeed or results.num_errors == len(results)):
        raise Fault(f"{results.num_errors} of {len(results)} runs failed: {last_line(results.errors[0])}")
    return results


def trial_folder_name(trial: Trial) -> str:
    """Return the name of the folder in which Tune records a trial."""
    return trial.trial_id


def _with_resources(sweep: Sweep, trainable: Trainable) -> Any:
    """Return the trainable with the resources that a trial reserves."""
    return tune.with_resources(trainable, {"cpu": sweep.cpu_per_run, "gpu": sweep.gpu_per_run})


@contextmanager
def _stop_signals_as_sigint() -> Iterator[None]:
    """Turn SIGTERM, which cluster managers send, and SIGHUP of a lost terminal into SIGINT, after which Tune saves."""
    received: list[int] = []

    def forward(number: int, frame: object) -> None:
        received.append(number)
        if len(received) == 1:  # a second SIGINT would end Tune before it has saved; a lost terminal sends two SIGHUPs
            signal.raise_signal(signal.SIGINT)

    numbers = [number for number in stop_signal_numbers() if number != signal.SIGINT]
    previous = {number: signal.signal(number, forward) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
