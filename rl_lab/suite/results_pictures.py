"""The pictures of the page of results: learning curves, normalised scores and performance profiles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rl_lab.compare.statistics import curve_band, performance_profile
from rl_lab.suite.results_page import SectionPictures, SuiteSection
from rl_lab.suite.score_set import ScoreSet
from rl_lab.system.optional_packages import import_optional

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999999", "#000000")
"""The Okabe-Ito palette, which colour-blind readers can tell apart."""

WIDTH = 8.0  # inches
PANEL_HEIGHT = 2.4  # inches
COLUMNS = 3  # panels of learning curves side by side
DPI = 110
THRESHOLDS = 200  # points of a performance profile
HIGHEST_THRESHOLD = 3.0  # normalised score at which a profile ends: a few games have scores far above


def draw_pictures(section: SuiteSection, folder: Path) -> SectionPictures:
    """Draw the pictures of a suite for which there are data.

    Raises:
        LabError: matplotlib is missing.
        OSError: A file cannot be written.
    """
    pyplot = _load_pyplot()
    curves = f"results-{section.suite.name}-curves.png"
    profiles = f"results-{section.suite.name}-profiles.png"
    return SectionPictures(
        curves=curves if _draw_curves(pyplot, section, folder / curves) else "",
        profiles=profiles if _draw_profiles(pyplot, section, folder / profiles) else "",
    )


def _load_pyplot() -> Any:
    """Return matplotlib's pyplot, which draws into files."""
    import_optional("matplotlib", "a picture (--no-pictures leaves them out)").use("Agg")
    return import_optional("matplotlib.pyplot", "a picture")


def _draw_curves(pyplot: Any, section: SuiteSection, path: Path) -> bool:
    """Draw one panel of learning curves for each environment. Return False if no run has a curve of two points."""
    envs = [env for env in section.suite.envs if any(_seed_curves(each, env) for each in section.ours)]
    if not envs:
        return False
    columns = 2 if len(envs) == 4 else min(COLUMNS, len(envs))
    rows = math.ceil(len(envs) / columns)
    figure, axes = pyplot.subplots(
        rows, columns, figsize=(WIDTH, PANEL_HEIGHT * rows + 0.8), squeeze=False, constrained_layout=True
    )
    colors = _colors(section)
    for axis in axes.flat[len(envs) :]:
        axis.set_visible(False)
    for env, axis in zip(envs, axes.flat, strict=False):
        for score_set in section.ours:
            curves = _seed_curves(score_set, env)
            if curves:
                _draw_band(axis, curves, score_set.label, colors[score_set.label])
        axis.set_title(env.rsplit("/", 1)[-1], fontsize=10)
        axis.grid(alpha=0.3)
    handles, labels = _legend_entries(axes)
    figure.legend(handles, labels, loc="outside upper center", ncols=4, fontsize=9, frameon=False)
    figure.supxlabel("thousand agent steps", fontsize=9)
    figure.supylabel("mean score of an evaluation", fontsize=9)
    _save(pyplot, figure, path)
    return True


def _colors(section: SuiteSection) -> dict[str, str]:
    """Return the colour of each agent, which is the same in all pictures of a suite."""
    return {each.label: COLORS[number % len(COLORS)] for number, each in enumerate(section.score_sets)}


def _seed_curves(score_set: ScoreSet, env: str) -> list[list[list[float]]]:
    """Return the curves of an agent's runs on an environment that have at least two points."""
    return [result.curve for result in score_set.results if result.env == env and len(result.curve) > 1]


def _draw_band(axis: Any, curves: Sequence[list[list[float]]], label: str, color: str) -> None:
    """Draw the interquartile mean over seeds, with its interval, over the steps that all seeds cover."""
    start = max(curve[0][0] for curve in curves)
    end = min(curve[-1][0] for curve in curves)
    grid = np.array(sorted({step for curve in curves for step, _ in curve if start <= step <= end}))
    if len(grid) == 0:
        return
    scores = np.stack([np.interp(grid, *np.array(curve).T) for curve in curves])
    middle, low, high = curve_band(scores)
    axis.plot(grid / 1000, middle, color=color, label=label)
    if len(curves) > 1:
        axis.fill_between(grid / 1000, low, high, color=color, alpha=0.2, linewidth=0)


def _draw_profiles(pyplot: Any, section: SuiteSection, path: Path) -> bool:
    """Draw the normalised interquartile means and the performance profiles. Return False without normalised scores."""
    envs = section.common_envs
    normalised = {}
    for score_set in section.score_sets:
        scores = None if score_set.are_means else score_set.normalised(envs)
        if scores is not None:
            normalised[score_set.label] = scores
    if not normalised or len(envs) < 2:
        return False
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(WIDTH, 3.6), constrained_layout=True)
    lowest = min(float(np.min(scores)) for arrays in normalised.values() for scores in arrays)
    highest = max(float(np.max(scores)) for arrays in normalised.values() for scores in arrays)
    thresholds = np.linspace(min(0.0, lowest), min(HIGHEST_THRESHOLD, max(1.0, highest)), THRESHOLDS)
    colors = _colors(section)
    for label, scores in normalised.items():
        share, low, high = performance_profile(scores, thresholds)
        right.plot(thresholds, share, color=colors[label], label=label)
        right.fill_between(thresholds, low, high, color=colors[label], alpha=0.2, linewidth=0)
    labels: list[str] = []
    for score_set in section.score_sets:
        estimate = score_set.aggregate("IQM", envs, may_quote=section.is_complete)
        if estimate is not None:
            color = colors[score_set.label]
            left.plot([estimate.low, estimate.high], [len(labels)] * 2, color=color, linewidth=5)
            left.plot(estimate.value, len(labels), "o", color="black", markersize=4)
            labels.append(score_set.label)
    left.set_yticks(range(len(labels)), labels, fontsize=9)
    left.set_ylim(len(labels) - 0.5, -0.5)  # the first agent is at the top
    left.set_xlabel("IQM of the normalised scores, 95% interval", fontsize=9)
    right.set_xlabel("normalised score", fontsize=9)
    right.set_ylabel("share of runs with a higher score", fontsize=9)
    right.legend(fontsize=8, frameon=False)
    for axis in (left, right):
        axis.grid(alpha=0.3)
    _save(pyplot, figure, path)
    return True


def _legend_entries(axes: Any) -> tuple[list[Any], list[str]]:
    """Return the lines of all panels with their labels, each label once."""
    by_label: dict[str, Any] = {}
    for axis in axes.flat:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            by_label.setdefault(label, handle)
    return list(by_label.values()), list(by_label)


def _save(pyplot: Any, figure: Any, path: Path) -> None:
    """Write a figure and free its memory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI, metadata={"Software": None})
    pyplot.close(figure)
