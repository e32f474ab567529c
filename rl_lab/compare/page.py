"""A comparison as one HTML file that needs nothing else: curves, intervals, profiles, videos, settings."""

from __future__ import annotations

import base64
import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl_lab.compare.comparison import AXES, Comparison
from rl_lab.compare.scores import scale
from rl_lab.compare.statistics import Estimate, Scores, performance_profile, probability_of_improvement
from rl_lab.errors import LabError

TEMPLATE = Path(__file__).with_name("page.html")
THRESHOLDS = 100  # points of a performance profile
VIDEO_SECONDS = 30  # of each group's newest video are put into the page, if they are no larger than
VIDEO_BYTES = 6 * 10**6


def write(comparison: Comparison, path: Path, *, x: str, warnings: list[str]) -> None:
    """Write the page."""
    from plotly.offline import get_plotlyjs

    data = json.dumps(content(comparison, x=x, warnings=warnings)).replace("</", "<\\/")
    page = TEMPLATE.read_text().replace("/*DATA*/null", data)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page.replace("/*PLOTLY*/", get_plotlyjs()))


def content(comparison: Comparison, *, x: str, warnings: list[str]) -> dict[str, Any]:
    """All that the page shows, as JSON."""
    groups = comparison.groups
    everywhere = comparison.everywhere()
    every = np.concatenate([np.zeros(1), *(scores for arrays in everywhere.values() for scores in arrays)])
    thresholds = np.linspace(every.min(), max(1.0, every.max() * 1.05), THRESHOLDS)
    return {
        "metric": comparison.metric,
        "x": x,
        "axes": {"steps": "agent steps", "frames": "emulator frames", "minutes": "minutes"},
        "warnings": warnings,
        "envs": [
            {
                "name": env,
                "protocol": comparison.on(env)[0].env_spec.protocol,
                "target": comparison.on(env)[0].target,
                "groups": [
                    {"label": g.label, "seeds": len(g.results), "curves": {axis: g.curve(axis) for axis in AXES}}
                    for g in comparison.on(env)
                ],
            }
            for env in comparison.envs
        ],
        "rows": [plain(g.row()) for g in groups],
        "scales": {
            env: None
            if (s := scale(comparison.on(env)[0].env_spec)) is None
            else f"{s[2]}: 0 is {s[0]:g}, 1 is {s[1]:g}"
            for env in comparison.envs
        },
        "aggregates": {a: {k: plain(e) for k, e in row.items()} for a, row in comparison.aggregates().items()},
        "profiles": {
            "x": thresholds.round(4).tolist(),
            "agents": {agent: _profile(arrays, thresholds) for agent, arrays in everywhere.items()},
        },
        "improvement": [
            {"better": a, "than": b, **plain(probability_of_improvement(everywhere[a], everywhere[b]))}
            for a in everywhere
            for b in everywhere
            if a != b
        ],
        "efficiency": {axis: _efficiency(comparison, axis) for axis in AXES},
        "left_out": [
            f"{agent} is not in what is said over all environments: it did not run on each that has a scale, or with several settings"
            for agent in dict.fromkeys(g.results[0].config.agent for g in groups)
            if agent not in everywhere
        ],
        "videos": [
            {"label": f"{g.label} on {g.env_spec.name}", "data": video} for g in groups if (video := _video(g.results))
        ],
        "differences": {
            "groups": [f"{g.label} on {g.env_spec.name}" for g in groups],
            "keys": comparison.differences(),
        },
    }


def _profile(scores: Scores, thresholds: NDArray[np.float64]) -> dict[str, list[float | None]]:
    parts = performance_profile(scores, thresholds)
    return {name: plain(part.tolist()) for name, part in zip(("y", "low", "high"), parts, strict=True)}


def plain(value: Any) -> Any:
    """Estimates and numbers as JSON has them: no NaN."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, Estimate):
        return plain({"value": value.value, "low": value.low, "high": value.high})
    if isinstance(value, list):
        return [plain(v) for v in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _efficiency(comparison: Comparison, axis: str) -> dict[str, dict[str, list[float]]]:
    """The mean over environments of the normalised curves of each agent, where all have some; no curve where they have nothing in common."""
    found = {}
    for agent in comparison.everywhere():
        groups = [g for g in comparison.groups if g.results[0].config.agent == agent and scale(g.env_spec) is not None]
        curves = [g.curve(axis) for g in groups]
        if not all(c["x"] for c in curves):
            continue
        start, end = max(c["x"][0] for c in curves), min(c["x"][-1] for c in curves)
        if end <= start:
            continue
        grid = np.linspace(start, end, 40)
        normalised = []
        for group, curve in zip(groups, curves, strict=True):
            low, high, _ = scale(group.env_spec) or (0.0, 1.0, "")
            normalised.append((np.interp(grid, curve["x"], curve["y"]) - low) / (high - low))
        found[agent] = {"x": grid.round(3).tolist(), "y": np.mean(normalised, 0).round(4).tolist()}
    return found


def _video(results: list[Any]) -> str | None:
    """The beginning of the newest video of the best of a group's runs that have one, as the page can hold it."""
    from rl_lab.watch.sinks.video import beginning  # opens codecs

    for result in sorted(results, key=lambda r: r.scores[-1], reverse=True):
        for path in sorted((result.run.path / "videos").glob("step-*"), reverse=True):
            with contextlib.suppress(LabError):  # it is still being made
                if len(film := beginning(path, VIDEO_SECONDS)) <= VIDEO_BYTES:
                    return f"data:video/{path.suffix[1:]};base64,{base64.b64encode(film).decode()}"
    return None
