"""The result of a trial, as Tune receives it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray import tune

from rl_lab.errors import Fault
from rl_lab.experiment.run import Run
from rl_lab.system.exit_codes import describe_exit
from rl_lab.tracking.metric_names import SCORE_METRIC
from rl_lab.tracking.summary import summarise_metrics

OBJECTIVES = ("best", "final", "mean")
"""The numbers that a search can maximise."""


def trial_result(run: Run) -> dict[str, Any]:
    """Return the result of a run so far.

    Returns:
        The summary of the run (`summarise_metrics`) with two more entries. "mean" is the mean of all evaluation scores,
        which is proportional to the area under the learning curve. "run" is the run folder. Scores that are not finite
        do not count. A number that is missing because no score is finite is -inf, so that no search prefers the run.
    """
    lines = run.metrics()
    scores = [line[SCORE_METRIC] for line in lines if math.isfinite(line.get(SCORE_METRIC, math.nan))]
    result = summarise_metrics(lines, None)
    result["mean"] = sum(scores) / len(scores) if scores else None
    for name in OBJECTIVES:
        if result[name] is None:
            result[name] = -math.inf
    return {**result, "run": str(run)}


@contextmanager
def exits_are_faults() -> Iterator[None]:
    """Convert a `SystemExit` in the `with` block to a Fault: Tune would count the trial as done."""
    try:
        yield
    except SystemExit as stop:
        raise Fault(describe_exit(stop)) from stop


class TuneReporter:
    """A metrics sink that reports each evaluation to Tune, except the one that ends the run.

    Tune may stop a trial at a report. The run must be saved before the last report, so `train_trial` makes it.
    """

    def __init__(self, run: Run) -> None:
        self.run = run

    def log(self, step: int, values: dict[str, Any]) -> None:
        """Report the result so far if `values` holds an evaluation."""
        if SCORE_METRIC not in values:
            return
        settings = self.run.config.run
        is_last = step >= settings.steps or settings.ends_at(values[SCORE_METRIC])
        if not is_last:
            tune.report(trial_result(self.run))

    def complete(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""
