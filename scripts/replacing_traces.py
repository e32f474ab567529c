"""SARSA(lambda) with replacing and with accumulating traces: Singh and Sutton 1996, "RL with replacing eligibility traces".

    python scripts/replacing_traces.py docs/replacing-traces.png [--runs 20]

Left: a random walk over 19 states, where nothing is to be chosen; root mean square error of V after the first 10 episodes, at
the best of the step sizes. Right: mountain car with 8 tilings of 8 x 8; steps an episode over the first 50, at the best of
the step sizes. Prints one line a point.
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
from studies import independent_runs

LAMBDAS = [0.0, 0.4, 0.8, 0.9, 0.95, 0.99]
TRACES = ["replacing", "accumulating"]
WALK = 19  # states


def walk_errors(decay: float, traces: str, alpha: float, runs: int) -> NDArray[np.float64]:
    """The error of each run's V; the exact value of state i is i / (states + 1)."""
    _, tables = independent_runs(
        "tabular_sarsa_lambda",
        "LongRandomWalk-v0",
        runs=runs,
        episodes=10,
        alpha=alpha,
        trace_decay=decay,
        traces=traces,
        initial=0.5,
    )
    exact = np.arange(1, WALK + 1) / (WALK + 1)
    return np.sqrt(((tables[:, 0] - exact) ** 2).mean(1))


def car_steps(decay: float, traces: str, alpha: float, runs: int) -> NDArray[np.float64]:
    """The mean steps of each run's first 50 episodes."""
    returns, _ = independent_runs(
        "tabular_sarsa_lambda",
        "LongMountainCar-v0",
        runs=runs,
        episodes=50,
        alpha=alpha,
        trace_decay=decay,
        traces=traces,
        epsilon_start=0.0,
        epsilon_end=0.0,
    )
    return -returns.mean(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=png, help="PNG to write")
    parser.add_argument(
        "--runs",
        type=int,
        default=20,
        help="independent runs of a point of the mountain car; the walk has five times as many",
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    figure, axes = plt.subplots(1, 2, figsize=(11, 4), constrained_layout=True)
    for axis, title, measure, alphas, runs in (
        (axes[0], "random walk: error of V", walk_errors, [0.05, 0.1, 0.2, 0.4, 0.6, 0.8], 5 * args.runs),
        (axes[1], "mountain car: steps an episode", car_steps, [0.025, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0], args.runs),
    ):
        for traces in TRACES:
            best = []
            for decay in LAMBDAS:
                points = []
                for alpha in alphas:
                    # accumulating traces diverge where both are large
                    with np.errstate(over="ignore", invalid="ignore"):
                        found = measure(decay, traces, alpha, runs)
                    points.append((found.mean(), found.std(ddof=1) / np.sqrt(runs), alpha))
                best.append(min(points))
                mean, error, alpha = best[-1]
                print(
                    f"{title}, {traces}, lambda {decay:g}: {mean:.3f} +- {error:.3f} at alpha {alpha:g} ({runs} runs)",
                    flush=True,
                )
            means, errors, _ = np.array(best).T
            axis.errorbar(LAMBDAS, means, errors, marker="o", ms=4, label=traces)
        axis.set_title(title)
        axis.set_xlabel("lambda")
        axis.grid(alpha=0.3)
        axis.legend(loc="upper left")
    axes[1].set_ylim(180, 260)  # accumulating traces go far beyond it where lambda is near 1
    figure.savefig(args.out, dpi=110)


if __name__ == "__main__":
    main()
