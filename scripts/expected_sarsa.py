"""Expected SARSA beside SARSA and Q-learning over the step size: van Seijen et al. 2009, figures 2 to 5.

    python scripts/expected_sarsa.py docs/expected-sarsa.png [--runs 100] [--long 2000]

epsilon is .1 throughout and the discount 1. The first 100 episodes show how fast they learn; the second half of `--long` episodes
where they come to, beside the exact values of dynamic programming. Prints one line a point.
"""

from __future__ import annotations

import argparse

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from numpy.typing import NDArray
from pictures import png
from studies import exact_limits, independent_runs

AGENTS = {"SARSA": "tabular_sarsa", "expected SARSA": "tabular_expected_sarsa", "Q-learning": "tabular_q_learning"}
ALPHAS = {name: [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0] for name in AGENTS}
# With 1 SARSA's values wander, and its episodes become longer and longer.
LONG_ALPHAS = {name: [0.1, 0.5] if name == "SARSA" else [0.1, 0.5, 1.0] for name in AGENTS}
WORLDS = ["CliffWalking-v1", "WindyGridworld-v0", "StochasticWindyGridworld-v0"]
EPSILON = 0.1  # the agents' own


def study(
    env: str, runs: int, episodes: int, last: int, alphas: dict[str, list[float]]
) -> dict[str, NDArray[np.float64]]:
    """Mean and standard error of the mean return of the last so many episodes: an array [alphas, 2] for each agent."""
    out = {}
    for name, agent in AGENTS.items():
        points = []
        for alpha in alphas[name]:
            scores, _ = independent_runs(agent, env, runs=runs, episodes=episodes, alpha=alpha)
            means = scores[:, -last:].mean(1)
            points.append((means.mean(), means.std(ddof=1) / np.sqrt(runs)))
            print(f"{env}, {name}, alpha {alpha:g}, episodes {episodes - last} to {episodes}:", end=" ")
            print(f"{points[-1][0]:.2f} +- {points[-1][1]:.2f} ({runs} runs)", flush=True)
        out[name] = np.array(points)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=png, help="PNG to write")
    parser.add_argument("--runs", type=int, default=100, help="independent runs of a point")
    parser.add_argument("--long", type=int, default=2000, help="episodes of the long runs")
    args = parser.parse_args()
    torch.set_num_threads(1)
    figure, axes = plt.subplots(2, len(WORLDS), figsize=(13, 7), constrained_layout=True, sharex=True)
    for column, env in zip(axes.T, WORLDS, strict=True):
        limits = exact_limits(env, EPSILON)
        print(f"{env}: exact limits {limits}", flush=True)
        for axis, episodes, last, alphas in (
            (column[0], 100, 100, ALPHAS),
            (column[1], args.long, args.long // 2, LONG_ALPHAS),
        ):
            for name, points in study(env, args.runs, episodes, last, alphas).items():
                line = axis.errorbar(alphas[name], points[:, 0], points[:, 1], marker="o", ms=3, label=name)
                if last < episodes and name in limits:
                    axis.axhline(limits[name], color=line[0].get_color(), lw=0.8, ls="--")
            axis.grid(alpha=0.3)
            axis.set_title(f"{env}, episodes {episodes - last} to {episodes}", fontsize=9)
        column[1].set_xlabel("step size alpha")
    axes[0, 0].set_ylabel("mean return")
    axes[1, 0].set_ylabel("mean return (dashed: exact limits)")
    axes[0, 0].legend(fontsize=8)
    figure.savefig(args.out, dpi=110)


if __name__ == "__main__":
    main()
