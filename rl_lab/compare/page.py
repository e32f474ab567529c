"""A comparison as a self-contained HTML page: curves, intervals, performance profiles, videos and settings.

page.html is the template. Its JavaScript draws the page from one JSON object, which `page_data` builds.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl_lab.compare.comparison import CURVE_DECIMALS, Comparison, Curve, RunGroup
from rl_lab.compare.run_result import RunResult
from rl_lab.compare.scores import score_scale
from rl_lab.compare.statistics import Scores, performance_profile, probability_of_improvement
from rl_lab.errors import LabError
from rl_lab.experiment.human_scores import HumanScores
from rl_lab.tracking.metric_names import XAxis

TEMPLATE = Path(__file__).with_name("page.html")
AXIS_TITLES: dict[XAxis, str] = {"steps": "agent steps", "frames": "emulator frames", "minutes": "minutes"}
PROFILE_POINTS = 100  # thresholds of a performance profile
EFFICIENCY_POINTS = 40  # points of a sample-efficiency curve
VIDEO_SECONDS = 30  # the page holds the beginning of one video per group
VIDEO_BYTES = 6 * 10**6  # larger videos are left out


def write_page(
    comparison: Comparison,
    path: Path,
    *,
    x: XAxis,
    warnings: list[str],
    human: Mapping[str, HumanScores] | None = None,
) -> None:
    """Write the page.

    Args:
        comparison: The comparison.
        path: The HTML file. Its folder is created.
        x: The x-axis that is selected when the page opens.
        warnings: Messages at the top of the page.
        human: Scores of a person by environment.
    """
    html = render_page(page_data(comparison, x=x, warnings=warnings, human=human))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(html, encoding="utf-8")


def render_page(data: dict[str, Any]) -> str:
    """Return the HTML of the page that displays JSON-compatible values (`page_data`)."""
    from plotly.offline import get_plotlyjs  # a slow import

    inserted = {"/*PLOTLY*/": get_plotlyjs(), "/*DATA*/": embedded_json(data)}
    # One pass over the template: inserted text is not searched, whatever it holds.
    return re.sub(r"/\*(PLOTLY|DATA)\*/", lambda match: inserted[match[0]], TEMPLATE.read_text(encoding="utf-8"))


def embedded_json(data: dict[str, Any]) -> str:
    """Return JSON that HTML reads as plain text inside a script element: ASCII without <, > and &."""
    text = json.dumps(to_json(data), allow_nan=False)
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


def page_data(
    comparison: Comparison, *, x: XAxis, warnings: list[str], human: Mapping[str, HumanScores] | None = None
) -> dict[str, Any]:
    """Return everything that the page displays as JSON-compatible values."""
    groups = comparison.groups
    scores = comparison.normalised_scores()
    scales = {env: _scale_text(comparison, env) for env in comparison.envs}
    return {
        "metric": comparison.metric,
        "x": x,
        "axes": AXIS_TITLES,
        "warnings": warnings,
        "envs": [_env_data(comparison, env, (human or {}).get(env)) for env in comparison.envs],
        "rows": [to_json(group.summary()) for group in groups],
        "scales": scales,
        "aggregates": to_json(comparison.aggregates()),
        "profiles": _profiles(scores),
        "improvement": _improvements(scores),
        "efficiency": {axis: _efficiency_curves(comparison, axis) for axis in AXIS_TITLES},
        "left_out": [
            f"{agent} is not part of the statistics over all environments: it needs exactly one group on each"
            " environment with a known scale"
            for agent in comparison.agents
            if agent not in scores and any(scales.values())
        ],
        "videos": _videos(groups),
        "differences": {
            "groups": [f"{group.label} on {group.env_spec.name}" for group in groups],
            "keys": comparison.differing_settings(),
        },
    }


def to_json(value: Any) -> Any:
    """Return dataclasses, dicts, sequences and numbers as JSON-compatible values. NaN and infinity become None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_json(dataclasses.asdict(value))
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def _env_data(comparison: Comparison, env: str, human: HumanScores | None) -> dict[str, Any]:
    """Return the curves of all groups on an environment, the evaluations of each run, and the scores of a person."""
    groups = comparison.groups_on(env)
    env_spec = groups[0].env_spec
    return {
        "name": env if env_spec.protocol == "id" else f"{env} ({env_spec.protocol})",
        "frame_skip": env_spec.frame_skip or 1,
        "target": groups[0].target,
        "human": None if human is None else {"mean": human.mean, "text": f"a person: {human}"},
        "groups": [
            {
                "label": group.label,
                "seeds": len(group.results),
                "curves": {axis: _curve_json(group.curve(axis)) for axis in AXIS_TITLES},
                "runs": [_run_json(result) for result in group.results],
            }
            for group in groups
        ],
    }


def _curve_json(curve: Curve) -> dict[str, Any]:
    return {name: to_json(values.tolist()) for name, values in curve._asdict().items()}


def _run_json(result: RunResult) -> dict[str, Any]:
    """Return the evaluations of one run, rounded to `CURVE_DECIMALS`."""
    return {
        "seed": result.seed,
        "steps": result.steps.tolist(),
        "minutes": to_json(result.minutes.round(CURVE_DECIMALS).tolist()),
        "values": result.values.round(CURVE_DECIMALS).tolist(),
    }


def _scale_text(comparison: Comparison, env: str) -> str | None:
    """Return a description of the scale of normalised scores on an environment, None without a known scale."""
    scale = score_scale(comparison.groups_on(env)[0].env_spec)
    if scale is None:
        return None
    return f"{scale.description}: 0 is {scale.zero:g}, 1 is {scale.one:g}"


def _profiles(scores: dict[str, list[NDArray[np.float64]]]) -> dict[str, Any]:
    """Return the performance profiles of all agents over the same thresholds, from the lowest score to at least 1."""
    pooled = np.concatenate([np.zeros(1), *(array for arrays in scores.values() for array in arrays)])
    thresholds = np.linspace(pooled.min(), max(1.0, pooled.max() * 1.05), PROFILE_POINTS)
    profiles = {agent: _profile(arrays, thresholds) for agent, arrays in scores.items()}
    return {"x": thresholds.round(4).tolist(), "agents": profiles}


def _profile(scores: Scores, thresholds: NDArray[np.float64]) -> dict[str, list[float | None]]:
    share, low, high = performance_profile(scores, thresholds)
    return {"y": to_json(share.tolist()), "low": to_json(low.tolist()), "high": to_json(high.tolist())}


def _improvements(scores: dict[str, list[NDArray[np.float64]]]) -> list[dict[str, Any]]:
    """Return the probability of improvement for each ordered pair of agents."""
    improvements = []
    for better in scores:
        for than in scores:
            if better == than:
                continue
            probability = probability_of_improvement(scores[better], scores[than])
            improvements.append({"better": better, "than": than, **to_json(probability)})
    return improvements


def _efficiency_curves(comparison: Comparison, axis: XAxis) -> dict[str, dict[str, list[float]]]:
    """Return the sample-efficiency curve of each agent: the mean over environments of its normalised curves.

    The curve covers the range of x that all environments share. An agent is left out if there is no such range.
    """
    efficiency: dict[str, dict[str, list[float]]] = {}
    for agent in comparison.normalised_scores():
        groups = [group for group in comparison.groups if group.agent == agent]
        curve = _efficiency_curve(groups, axis)
        if curve is not None:
            efficiency[agent] = curve
    return efficiency


def _efficiency_curve(groups: Sequence[RunGroup], axis: XAxis) -> dict[str, list[float]] | None:
    """Return the sample-efficiency curve of the groups of one agent, None if their curves share no range of x."""
    scales = []
    curves = []
    for group in groups:
        scale = score_scale(group.env_spec)
        if scale is None:
            continue
        scales.append(scale)
        curves.append(group.curve(axis))
    if any(len(curve.x) == 0 for curve in curves):
        return None
    start = max(curve.x[0] for curve in curves)
    end = min(curve.x[-1] for curve in curves)
    if end <= start:
        return None
    grid = np.linspace(start, end, EFFICIENCY_POINTS)
    normalised = []
    for scale, curve in zip(scales, curves, strict=True):
        normalised.append((np.interp(grid, curve.x, curve.y) - scale.zero) / (scale.one - scale.zero))
    return {"x": grid.round(3).tolist(), "y": np.mean(normalised, 0).round(4).tolist()}


def _videos(groups: Sequence[RunGroup]) -> list[dict[str, str]]:
    """Return one video for each group that has any, as data URLs."""
    videos = []
    for group in groups:
        url = _video_url(group.results)
        if url is not None:
            videos.append({"label": f"{group.label} on {group.env_spec.name}", "data": url})
    return videos


def _video_url(results: Sequence[RunResult]) -> str | None:
    """Return the beginning of a video as a data URL, None if there is no readable video of at most `VIDEO_BYTES`.

    Runs with higher final values come first, and within a run newer videos.
    """
    from rl_lab.watch.video_excerpt import read_video_excerpt  # loads video codecs

    for result in sorted(results, key=lambda each: each.values[-1], reverse=True):
        for path in sorted((result.run.path / "videos").glob("step-*"), reverse=True):
            with contextlib.suppress(LabError):  # the video is still being written
                video = read_video_excerpt(path, VIDEO_SECONDS)
                if len(video) <= VIDEO_BYTES:
                    return f"data:video/{path.suffix[1:]};base64,{base64.b64encode(video).decode()}"
    return None
