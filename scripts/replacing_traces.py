"""Compare SARSA(lambda) with replacing and with accumulating traces (Singh and Sutton 1996).

    python scripts/replacing_traces.py docs/replacing-traces.png [--runs 20]

For each lambda and each kind of trace, the script tries several step sizes and keeps the best one. It prints one
line per lambda with the mean and its standard error over independent runs.

Left panel: a random walk over 19 states without actions to choose. The error of a run is the root mean square error
of V over states after 10 episodes. The exact value of state i is i / 20.

Right panel: mountain car with 8 tilings of 8 x 8. The measure is the mean number of steps per episode over 50
episodes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NamedTuple

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from numpy.typing import NDArray
from pictures import png
from studies import independent_runs

LAMBDAS = [0.0, 0.4, 0.8, 0.9, 0.95, 0.99]
TRACES = ["replacing", "accumulating"]
WALK_STATES = 19

Measure = Callable[[float, str, float, int], NDArray[np.float64]]
"""(lambda, traces, alpha, runs) -> the measure of each run."""


class Task(NamedTuple):
    """One panel of the picture."""

    title: str
    measure: Measure
    alphas: list[float]
    runs: int


class Point(NamedTuple):
    """A measure with its standard error, for the step size alpha."""

    mean: float
    error: float
    alpha: float


def walk_errors(trace_decay: float, traces: str, alpha: float, runs: int) -> NDArray[np.float64]:
    """Return the root mean square error of V [runs] on the random walk after 10 episodes."""
    _, tables = independent_runs(
        "tabular_sarsa_lambda",
        "LongRandomWalk-v0",
        runs=runs,
        episodes=10,
        alpha=alpha,
        trace_decay=trace_decay,
        traces=traces,
        initial=0.5,
    )
    exact = np.arange(1, WALK_STATES + 1) / (WALK_STATES + 1)
    return np.sqrt(((tables[:, 0] - exact) ** 2).mean(1))


def car_steps(trace_decay: float, traces: str, alpha: float, runs: int) -> NDArray[np.float64]:
    """Return the mean number of steps per episode [runs] on the mountain car over 50 episodes."""
    returns, _ = independent_runs(
        "tabular_sarsa_lambda",
        "LongMountainCar-v0",
        runs=runs,
        episodes=50,
        alpha=alpha,
        trace_decay=trace_decay,
        traces=traces,
        epsilon_start=0.0,
        epsilon_end=0.0,
    )
    return -returns.mean(1)


def best_point(task: Task, trace_decay: float, traces: str) -> Point:
    """Return the point with the lowest mean over the step sizes."""
    points = []
    for alpha in task.alphas:
        # Accumulating traces diverge if lambda and alpha are both large.
        with np.errstate(over="ignore", invalid="ignore"):
            values = task.measure(trace_decay, traces, alpha, task.runs)
        points.append(Point(values.mean(), values.std(ddof=1) / np.sqrt(task.runs), alpha))
    return min(points)


def plot_task(axes: Axes, task: Task) -> None:
    """Measure and plot all points of a task."""
    for traces in TRACES:
        points = []
        for trace_decay in LAMBDAS:
            point = best_point(task, trace_decay, traces)
            points.append(point)
            print(f"{task.title}, {traces}, lambda {trace_decay:g}: {point.mean:.3f} +- {point.error:.3f}", end=" ")
            print(f"at alpha {point.alpha:g} ({task.runs} runs)", flush=True)
        means = [point.mean for point in points]
        errors = [point.error for point in points]
        axes.errorbar(LAMBDAS, means, errors, marker="o", ms=4, label=traces)
    axes.set_title(task.title)
    axes.set_xlabel("lambda")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left")


def main() -> None:
    """Measure both tasks and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=png, help="PNG file to write")
    runs_help = "independent runs per point on the mountain car; the random walk has five times as many"
    parser.add_argument("--runs", type=int, default=20, help=runs_help)
    args = parser.parse_args()
    torch.set_num_threads(1)
    walk_alphas = [0.05, 0.1, 0.2, 0.4, 0.6, 0.8]
    car_alphas = [0.025, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0]
    figure, (walk_axes, car_axes) = plt.subplots(1, 2, figsize=(11, 4), constrained_layout=True)
    plot_task(walk_axes, Task("random walk: error of V", walk_errors, walk_alphas, 5 * args.runs))
    plot_task(car_axes, Task("mountain car: steps an episode", car_steps, car_alphas, args.runs))
    car_axes.set_ylim(180, 260)  # with lambda near 1, accumulating traces need far more steps
    figure.savefig(args.out, dpi=110)


if __name__ == "__main__":
    main()
