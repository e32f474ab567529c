"""The summary of a run: a few numbers computed from all lines of metrics.jsonl."""

from __future__ import annotations

import math
from typing import Any

from rl_lab.tracking.metric_names import MINUTES_METRIC, SCORE_METRIC, STEP_METRIC


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
    reached = next((line for line in evaluations if line[SCORE_METRIC] >= target), {})
    summary["target"] = target
    summary["steps_to_target"] = reached.get(STEP_METRIC)
    summary["minutes_to_target"] = reached.get(MINUTES_METRIC)
    return summary
