"""Compare a recurrent agent with a feed-forward agent on tasks that require memory (Hausknecht and Stone 2015).

    python scripts/memory.py docs/memory.png [--seeds 1 2 3] [--runs-dir runs/memory]

Trains drqn and dqn on three tasks. Both receive a single observation per step and the same numbers of steps and
samples.

    Recall-v0       a bit is shown 4 steps before the agent must repeat it
    LongRecall-v0   a bit is shown 12 steps before the agent must repeat it
    CartPole-v1     with masked velocities: the agent sees positions only

The picture shows the evaluation scores of each seed. The script prints the last and the best one.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from pictures import png

import rl_lab
from rl_lab.system.exit_codes import run_command

TASKS: dict[str, dict[str, Any]] = {  # environment -> settings of both agents, from the presets of drqn
    "Recall-v0": {"replay_ratio": 16.0},
    "LongRecall-v0": {"replay_ratio": 64.0},
    "CartPole-v1": {"mask_velocity": True, "steps": 80_000, "replay_ratio": 64.0},
}
COLORS = {"drqn": "tab:blue", "dqn": "tab:orange"}


def plot_task(axes: Axes, env: str, settings: dict[str, Any], seeds: Sequence[int], runs_dir: str) -> None:
    """Train both agents on one task with all seeds, and plot their evaluation scores."""
    for agent, color in COLORS.items():
        for seed in seeds:
            run = rl_lab.train(
                agent,
                env=env,
                quiet=True,
                **{"seed": seed, "frame_stack": 1, "wandb": "disabled", "runs_dir": runs_dir, **settings},
            )
            lines = [line for line in run.metrics() if "eval/return_mean" in line]
            scores = [line["eval/return_mean"] for line in lines]
            label = agent if seed == seeds[0] else None  # one entry in the legend per agent
            axes.plot([line["global_step"] / 1000 for line in lines], scores, color=color, label=label)
            print(f"{env}, {agent}, seed {seed}: last {scores[-1]:.2f}, best {max(scores):.2f}", flush=True)
    title = f"{env}, velocities masked" if settings.get("mask_velocity") else env
    axes.set_title(title, fontsize=9)
    axes.set_xlabel("thousand agent steps")
    axes.grid(alpha=0.3)


def main() -> None:
    """Train all agents and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=png, help="PNG file to write")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--runs-dir", default="runs/memory", help="folder of the runs")
    args = parser.parse_args()
    figure, all_axes = plt.subplots(1, len(TASKS), figsize=(5 * len(TASKS), 4), constrained_layout=True)
    for axes, (env, settings) in zip(all_axes, TASKS.items(), strict=True):
        plot_task(axes, env, settings, args.seeds, args.runs_dir)
    all_axes[0].set_ylabel("return of an evaluation")
    all_axes[0].legend()
    figure.savefig(args.out, dpi=110)


if __name__ == "__main__":
    run_command(main)
