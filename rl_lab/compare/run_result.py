"""One run as data for a comparison: its configuration and the values of one metric."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.spec import EnvSpec
from rl_lab.errors import USER_ERRORS, LabError
from rl_lab.experiment.config import Config
from rl_lab.experiment.registry import is_resumable
from rl_lab.experiment.run import Run
from rl_lab.experiment.run_files import is_number
from rl_lab.tracking.metric_names import (
    CUT_METRIC,
    LENGTH_METRIC,
    MINUTES_METRIC,
    SCORE_METRIC,
    STEP_METRIC,
    XAxis,
)

SPEED_METRIC = "speed/steps_per_s"

# Settings without influence on what an agent learns. Runs that differ only in these belong to the same group.
IGNORED_SETTINGS = {
    "agent",
    "env",
    "seed",
    "group",
    "name",
    "tags",
    "notes",
    "preset",
    "runs_dir",
    "wandb",
    "wandb_project",
    "tensorboard",
    "trackio",
    "log_every",
    "video_every",
    "eval_every",
    "eval_episodes",
    "eval_max_steps",
    "target",
    "stop_at_target",
    "device",
    "checkpoint_every",
    "checkpoint_minutes",
    "emulator_threads",
    "torch_threads",
    "vectorization",
    "env_timeout",
    "address",
    "cuda_graphs",
}


class TargetTime(NamedTuple):
    """When a run first reached a target score."""

    steps: float  # agent steps
    minutes: float


@dataclass(frozen=True)
class RunResult:
    """One run with all values of one metric."""

    run: Run
    config: Config
    env_spec: EnvSpec
    steps: NDArray[np.float64]  # [points], ascending: agent steps at which the metric was logged
    minutes: NDArray[np.float64]  # [points]
    values: NDArray[np.float64]  # [points]: the metric
    steps_per_s: float  # median training speed in agent steps per second, NaN if it was not logged
    has_cuts: bool  # the last value is a score, and episodes behind it were cut at `eval_max_steps`

    @property
    def seed(self) -> int:
        """Return the seed of the run."""
        return self.config.run.seed

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Return the settings that decide how the agent learns, without `IGNORED_SETTINGS`.

        `steps` is left out for agents whose runs can be extended: a shorter run equals the beginning of a longer one.
        """
        ignored = set(IGNORED_SETTINGS)
        if is_resumable(self.config.agent):
            ignored.add("steps")
        return {key: value for key, value in self.config.to_dict().items() if key not in ignored}

    def x_values(self, axis: XAxis) -> NDArray[np.float64]:
        """Return the x-coordinates [points] of the curve in agent steps, emulator frames or minutes."""
        if axis == "minutes":
            return self.minutes
        if axis == "frames":
            return self.steps * (self.env_spec.frame_skip or 1)
        return self.steps

    def time_to_target(self, target: float) -> TargetTime | None:
        """Return when the metric was first at least `target`, or None if it never was."""
        (indices,) = np.nonzero(self.values >= target)
        if len(indices) == 0:
            return None
        return TargetTime(float(self.steps[indices[0]]), float(self.minutes[indices[0]]))


def read_results(runs: Sequence[Run], metric: str = SCORE_METRIC) -> tuple[list[RunResult], list[str]]:
    """Read the runs.

    Returns:
        The runs that could be read, and one message for each of the others.
    """
    results: list[RunResult] = []
    problems: list[str] = []
    for run in runs:
        try:
            results.append(_read_result(run, metric))
        except USER_ERRORS as error:
            problems.append(f"{run} is left out: {error}")
    return results, problems


def _read_result(run: Run, metric: str) -> RunResult:
    """Read one run. Raise a user error if it is damaged or has no values of the metric."""
    config = run.config
    env_spec = run.env_spec
    lines = run.metrics()  # every value is a number, except those of TEXT_METRICS
    with_metric = [line for line in lines if _is_finite_number(line.get(metric))]
    if not with_metric:
        raise LabError(_no_values_message(lines, metric))
    # After a resume, an evaluation may be logged twice for the same step. The later line counts.
    by_step = {line[STEP_METRIC]: line for line in with_metric}
    steps = sorted(by_step)
    speeds = [line[SPEED_METRIC] for line in lines if _is_finite_number(line.get(SPEED_METRIC))]
    return RunResult(
        run,
        config,
        env_spec,
        np.array(steps, float),
        np.array([_finite_or_nan(by_step[step].get(MINUTES_METRIC)) for step in steps]),
        np.array([by_step[step][metric] for step in steps], float),
        float(np.median(speeds)) if speeds else float("nan"),
        metric == SCORE_METRIC and _has_cuts(by_step[steps[-1]], config.run.eval_max_steps),
    )


def _has_cuts(evaluation: dict[str, Any], max_steps: int) -> bool:
    """Return True if episodes of an evaluation were cut.

    Runs of older versions did not log `CUT_METRIC`. Of these, an evaluation counts as cut if all its episodes have the
    maximum length; whether single episodes were cut is not known.

    Args:
        evaluation: The line of metrics.jsonl.
        max_steps: Agent steps after which an episode was cut.
    """
    if CUT_METRIC in evaluation:
        return evaluation[CUT_METRIC] > 0
    return _finite_or_nan(evaluation.get(LENGTH_METRIC)) >= max_steps


def _is_finite_number(value: Any) -> bool:
    return is_number(value) and math.isfinite(value)


def _finite_or_nan(value: Any) -> float:
    return float(value) if _is_finite_number(value) else math.nan


def _no_values_message(lines: list[dict[str, Any]], metric: str) -> str:
    """Return an error message that names the metrics which were logged."""
    names = {name for line in lines for name in line if "/" in name or name == "loss"}
    if not names:
        return f"it has not logged {metric} yet"
    return f"it has not logged {metric} yet; its metrics include {', '.join(sorted(names)[:8])}"
