"""Draw the learning curves of runs into one picture: python scripts/learning_curves.py OUT.png RUN... [--games]."""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from pictures import png

from rl_lab.experiment.run import Run
from rl_lab.system.exit_codes import answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=png, help="PNG to write")
    parser.add_argument("runs", nargs="+", type=Path, help="run folders")
    parser.add_argument("--games", action="store_true", help="against games rather than agent steps")
    args = parser.parse_args()
    first = ("train/games", 1.0, "games") if args.games else ("global_step", 1e-3, "thousand agent steps")
    across = (first, ("time/minutes", 1.0, "minutes"))
    figure, axes = plt.subplots(1, 2, figsize=(11, 4), sharey=True, constrained_layout=True)
    runs = [Run.find(path) for path in args.runs]
    agents = list(dict.fromkeys(run.config.agent for run in runs))
    for number, run in enumerate(runs):
        colour = f"C{agents.index(run.config.agent) if len(agents) > 1 else number}"  # one for an agent, or for a run
        lines, name = run.metrics(), f"{run.config.agent}, seed {run.config.run.seed}"
        training = [line for line in lines if "train/return_100" in line]
        evaluated = [line for line in lines if "eval/return_mean" in line]
        for axis, (key, unit, _) in zip(axes, across, strict=True):
            x, y = [line[key] * unit for line in training], [line["train/return_100"] for line in training]
            axis.plot(x, y, lw=1, alpha=0.6, color=colour)
            x, y = [line[key] * unit for line in evaluated], [line["eval/return_mean"] for line in evaluated]
            axis.plot(x, y, "o-", ms=4, color=colour, label=name)
    for axis, (_, _, label) in zip(axes, across, strict=True):
        axis.set_xlabel(label)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("score")
    handles, labels = axes[0].get_legend_handles_labels()
    title = "dots: greedy evaluations; lines: last 100 training games"
    figure.legend(handles, labels, title=title, loc="outside lower center", ncols=5, fontsize=8, title_fontsize=8)
    figure.suptitle(runs[0].env_spec.name)
    figure.savefig(args.out, dpi=110)


if __name__ == "__main__":
    answer(main)
