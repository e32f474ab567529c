"""The summary of a run: a few numbers computed from all lines of metrics.jsonl."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from rl_lab.tracking.metric_names import MINUTES_METRIC, SCORE_METRIC, STEP_METRIC


class TargetReached(NamedTuple):
    """The first evaluation whose mean score is at least the target."""

    steps: int  # agent steps
    minutes: float | None  # wall-clock minutes of training, None if they were not logged


def find_target_reached(lines: Sequence[dict[str, Any]], target: float | None) -> TargetReached | None:
    """Return the first evaluation that reached the target, or None without a target or such an evaluation.

    Args:
        lines: Lines of metrics.jsonl, oldest first. Scores that are not finite do not count.
        target: Target score, or None.
    """
    if target is None:
        return None
    for line in lines:
        score = line.get(SCORE_METRIC, math.nan)
        if math.isfinite(score) and score >= target:
            return TargetReached(line[STEP_METRIC], line.get(MINUTES_METRIC))
    return None


def summarise_metrics(lines: list[dict[str, Any]], target: float | None) -> dict[str, Any]:
    """Return the summary of a run.

    Args:
        lines: The lines of metrics.jsonl.
        target: Target score, or None.

    Returns:
        "best" and "final": highest and last finite evaluation score, None without one.
        "steps": agent steps. "minutes": wall-clock minutes.
        "target", "steps_to_target" and "minutes_to_target", if there is a target: agent steps and minutes at the first
        evaluation whose score is at least the target, None without such an evaluation.
    """
    evaluations = [line for line in lines if math.isfinite(line.get(SCORE_METRIC, math.nan))]
    minutes = [line[MINUTES_METRIC] for line in lines if math.isfinite(line.get(MINUTES_METRIC, math.nan))]
    summary: dict[str, Any] = {
        "best": max((line[SCORE_METRIC] for line in evaluations), default=None),
        "final": evaluations[-1][SCORE_METRIC] if evaluations else None,
        "steps": lines[-1][STEP_METRIC] if lines else 0,
        "minutes": max(minutes, default=0.0),
    }
    if target is None:
        return summary
    reached = find_target_reached(lines, target)
    summary["target"] = target
    summary["steps_to_target"] = reached.steps if reached else None
    summary["minutes_to_target"] = reached.minutes if reached else None
    return summary
