"""The picture of a race: evaluation scores over minutes, one band per agent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from plot_results import COLOURS, DPI, WIDTH, plt
from result_data import ResultGroup, ResultTopic


def draw_race(topic: ResultTopic, path: Path) -> None:
    """Write one panel per machine: a line at the median over seeds, in a band from the lowest to the highest seed."""
    machines = list(dict.fromkeys(group.machine for group in topic.groups))
    figure, axes = plt.subplots(
        1, len(machines), figsize=(WIDTH, 5.4), sharex=True, sharey=True, squeeze=False, constrained_layout=True
    )
    for ax, machine in zip(axes[0], machines, strict=True):
        groups = [group for group in topic.groups if group.machine == machine]
        _draw_machine(ax, topic, groups)
        settings = {group.setting for group in groups}
        ax.set_title("; ".join([machine, *settings]) if len(settings) == 1 else machine, fontsize=10, wrap=True)
    axes[0][0].set_ylabel("evaluation score")
    figure.suptitle(
        f"{topic.title}, at most {topic.minutes_limit:g} minutes a run\n"
        "line: median over seeds; band: lowest to highest seed; a run keeps its last score",
        fontsize=11,
    )
    figure.savefig(path, dpi=DPI)
    plt.close(figure)


def minutes_band(group: ResultGroup) -> NDArray[np.float64]:
    """Return rows (minutes, median, lowest, highest score) [N, 4] from the minute at which every seed has a score.

    Scores between two evaluations of a run are interpolated. After its end, a run keeps its last score. N is 0 if a
    run has no evaluation.
    """
    curves = [np.array(run.minutes_curve, np.float64) for run in group.runs]
    if not all(len(curve) for curve in curves):
        return np.zeros((0, 4))
    start = max(curve[0, 0] for curve in curves)
    grid = np.unique(np.concatenate([curve[:, 0] for curve in curves]))
    grid = grid[grid >= start]
    scores = np.stack([np.interp(grid, curve[:, 0], curve[:, 1]) for curve in curves])
    return np.stack([grid, np.median(scores, axis=0), scores.min(axis=0), scores.max(axis=0)], axis=1)


def _draw_machine(ax: Axes, topic: ResultTopic, groups: list[ResultGroup]) -> None:
    """Draw the groups of one machine, and the target."""
    assert topic.target is not None
    has_several_settings = len({group.setting for group in groups}) > 1
    for number, group in enumerate(groups):
        reached = sum(run.best >= topic.target for run in group.runs)
        label = f"{group.agent}: {reached} of {len(group.runs)} at {topic.target:g}"
        if has_several_settings:
            label += f"\n({group.setting})"
        # The last agents of a long list have the colours of the first ones, with dashed lines.
        colour = COLOURS[number % len(COLOURS)]
        style = "-" if number < len(COLOURS) else "--"
        minutes, medians, lows, highs = minutes_band(group).T
        ax.plot(minutes, medians, color=colour, linewidth=2, linestyle=style, label=label)
        ax.fill_between(minutes, lows, highs, color=colour, alpha=0.15, linewidth=0)
    ax.axhline(topic.target, color="black", linewidth=1, linestyle=":", label=f"target: {topic.target:g}")
    ax.set_xlim(left=0)
    ax.set_xlabel("minutes")
    ax.grid(alpha=0.3)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), fontsize=9, frameon=False, ncols=2)
