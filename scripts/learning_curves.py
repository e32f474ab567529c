"""Draw the learning curves of runs: training scores and evaluation scores over agent steps and over minutes.

    python scripts/learning_curves.py OUT.png RUN... [--games]

Lines are means over the last 100 training episodes, dots are greedy evaluations.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from pictures import png

from rl_lab.experiment.run import Run
from rl_lab.system.exit_codes import run_command


class XAxis(NamedTuple):
    """The metric on an x-axis."""

    metric: str
    scale: float  # factor from the metric to the unit of the axis
    label: str


STEPS = XAxis("global_step", 1e-3, "thousand agent steps")
GAMES = XAxis("train/games", 1.0, "games")
MINUTES = XAxis("time/minutes", 1.0, "minutes")


def plot_curve(axes: Axes, run: Run, x_axis: XAxis, color: str) -> None:
    """Plot the training scores of a run as a line and its evaluation scores as dots."""
    lines = run.metrics()
    for metric, style in (
        ("train/return_100", {"lw": 1, "alpha": 0.6}),
        ("eval/return_mean", {"marker": "o", "ms": 4, "label": f"{run.config.agent}, seed {run.config.run.seed}"}),
    ):
        with_metric = [line for line in lines if metric in line]
        x = [line[x_axis.metric] * x_axis.scale for line in with_metric]
        axes.plot(x, [line[metric] for line in with_metric], color=color, **style)


def main() -> None:
    """Read the runs and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=png, help="PNG file to write")
    parser.add_argument("runs", nargs="+", type=Path, help="run folders")
    parser.add_argument("--games", action="store_true", help="use episodes instead of agent steps as x-axis")
    args = parser.parse_args()
    runs = [Run.find(path) for path in args.runs]
    agents = list(dict.fromkeys(run.config.agent for run in runs))
    figure, all_axes = plt.subplots(1, 2, figsize=(11, 4), sharey=True, constrained_layout=True)
    for axes, x_axis in zip(all_axes, (GAMES if args.games else STEPS, MINUTES), strict=True):
        for number, run in enumerate(runs):
            # One color per agent; runs of a single agent have one color each.
            color_number = agents.index(run.config.agent) if len(agents) > 1 else number
            plot_curve(axes, run, x_axis, f"C{color_number}")
        axes.set_xlabel(x_axis.label)
        axes.grid(alpha=0.3)
    all_axes[0].set_ylabel("score")
    handles, labels = all_axes[0].get_legend_handles_labels()
    title = "dots: greedy evaluations; lines: last 100 training games"
    figure.legend(handles, labels, title=title, loc="outside lower center", ncols=5, fontsize=8, title_fontsize=8)
    figure.suptitle(runs[0].env_spec.name)
    figure.savefig(args.out, dpi=110)


if __name__ == "__main__":
    run_command(main)
