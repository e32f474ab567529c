"""Compare Expected SARSA with SARSA and Q-learning over the step size (van Seijen et al. 2009, figures 2 to 5).

    python scripts/expected_sarsa.py docs/expected-sarsa.png [--runs 100] [--long 2000]

All agents explore with epsilon 0.1, and the discount is 1. The upper row shows the mean return of the first 100
episodes, which measures the speed of learning. The lower row shows the mean return of the second half of `--long`
episodes, beside the exact limits from dynamic programming. The script prints one line per point, with the standard
error over independent runs.
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from numpy.typing import NDArray
from pictures import png
from studies import exact_limits, independent_runs

AGENTS = {"SARSA": "tabular_sarsa", "expected SARSA": "tabular_expected_sarsa", "Q-learning": "tabular_q_learning"}
ENVS = ["CliffWalking-v1", "WindyGridworld-v0", "StochasticWindyGridworld-v0"]
EPSILON = 0.1  # the default of the agents

SHORT_ALPHAS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
LONG_ALPHAS = [0.1, 0.5, 1.0]
LONG_SARSA_ALPHAS = [0.1, 0.5]  # with alpha = 1, the values of SARSA do not settle and its episodes become ever longer


class Study(NamedTuple):
    """One row of the picture: the mean return of the last episodes of runs of a given length."""

    episodes: int
    last_episodes: int
    alphas: dict[str, list[float]]  # agent -> step sizes


def measure(env: str, name: str, study: Study, runs: int) -> NDArray[np.float64]:
    """Return the mean return and its standard error for each step size [alphas, 2], and print them."""
    points = []
    for alpha in study.alphas[name]:
        scores, _ = independent_runs(AGENTS[name], env, runs=runs, episodes=study.episodes, alpha=alpha)
        run_means = scores[:, -study.last_episodes :].mean(1)
        mean = run_means.mean()
        error = run_means.std(ddof=1) / np.sqrt(runs)
        points.append((mean, error))
        first = study.episodes - study.last_episodes
        print(f"{env}, {name}, alpha {alpha:g}, episodes {first} to {study.episodes}:", end=" ")
        print(f"{mean:.2f} +- {error:.2f} ({runs} runs)", flush=True)
    return np.array(points)


def plot_study(axes: Axes, env: str, study: Study, runs: int, limits: dict[str, float]) -> None:
    """Measure and plot all agents on one environment. Limits are drawn as dashed lines if the runs are long."""
    is_long = study.last_episodes < study.episodes
    for name in AGENTS:
        points = measure(env, name, study, runs)
        line = axes.errorbar(study.alphas[name], points[:, 0], points[:, 1], marker="o", ms=3, label=name)
        if is_long and name in limits:
            axes.axhline(limits[name], color=line[0].get_color(), lw=0.8, ls="--")
    axes.grid(alpha=0.3)
    axes.set_title(f"{env}, episodes {study.episodes - study.last_episodes} to {study.episodes}", fontsize=9)


def main() -> None:
    """Measure all points and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=png, help="PNG file to write")
    parser.add_argument("--runs", type=int, default=100, help="independent runs per point")
    parser.add_argument("--long", type=int, default=2000, help="episodes of the long runs")
    args = parser.parse_args()
    torch.set_num_threads(1)
    short = Study(100, 100, dict.fromkeys(AGENTS, SHORT_ALPHAS))
    long = Study(args.long, args.long // 2, {**dict.fromkeys(AGENTS, LONG_ALPHAS), "SARSA": LONG_SARSA_ALPHAS})
    figure, all_axes = plt.subplots(2, len(ENVS), figsize=(13, 7), constrained_layout=True, sharex=True)
    for column, env in zip(all_axes.T, ENVS, strict=True):
        limits = exact_limits(env, EPSILON)
        print(f"{env}: exact limits {limits}", flush=True)
        plot_study(column[0], env, short, args.runs, limits)
        plot_study(column[1], env, long, args.runs, limits)
        column[1].set_xlabel("step size alpha")
    all_axes[0, 0].set_ylabel("mean return")
    all_axes[1, 0].set_ylabel("mean return (dashed: exact limits)")
    all_axes[0, 0].legend(fontsize=8)
    figure.savefig(args.out, dpi=110)


if __name__ == "__main__":
    main()
