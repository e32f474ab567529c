"""The result of a trial, as Tune receives it."""

from __future__ import annotations

from typing import Any

from ray import tune

from rl_lab.experiment.run import Run
from rl_lab.tracking.metric_names import SCORE_METRIC
from rl_lab.tracking.summary import summarise_metrics


def trial_result(run: Run) -> dict[str, Any]:
    """Return the result of a run so far.

    Returns:
        The summary of the run (`summarise_metrics`) with two more entries. "mean" is the mean of all evaluation scores,
        which is proportional to the area under the learning curve. "run" is the run folder.
    """
    lines = run.metrics()
    scores = [line[SCORE_METRIC] for line in lines if SCORE_METRIC in line]
    return {**summarise_metrics(lines, None), "mean": sum(scores) / len(scores), "run": str(run)}


class TuneReporter:
    """A metrics sink that reports each evaluation to Tune, except the one after the last step.

    Tune may stop a trial at a report. The run must be saved before the last report, so `train_trial` makes it.
    """

    def __init__(self, run: Run) -> None:
        self.run = run

    def log(self, step: int, values: dict[str, Any]) -> None:
        """Report the result so far if `values` holds an evaluation."""
        if SCORE_METRIC in values and step < self.run.config.run.steps:
            tune.report(trial_result(self.run))

    def complete(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""
