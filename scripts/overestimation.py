"""Measure the bias of max_a Q and of double Q-learning (van Hasselt et al. 2015, figures 1 and 3).

    python scripts/overestimation.py docs/overestimation.png [--samples 20000] [--runs RUN RUN ...]

A state has m actions with true value 0. The estimates Q(a) have independent errors, uniform in [-1, 1]. Then

    E[max_a Q(a)] = (m - 1) / (m + 1),    E[Q'(argmax_a Q(a))] = 0,

where Q' is a second, independent set of estimates. The script prints a line for each m: the exact bias of the
maximum, and the mean and standard error of both targets over the sampled states.

With --runs, for example of dqn and double_dqn on a game, a second panel compares the values that the agents
predicted in their evaluations with the discounted returns that followed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from pictures import png

from agents.core.targets import double_value, max_value
from rl_lab.experiment.run import Run
from rl_lab.system.exit_codes import run_command

NUM_ACTIONS = [2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]


class Bias(NamedTuple):
    """The bias of the targets in a state with m actions."""

    exact: float  # of the maximum
    max_q: float
    double_q: float


def measure_bias(m: int, samples: int, generator: torch.Generator) -> Bias:
    """Sample the targets of states with m actions, print their means with standard errors, and return the means."""
    q, other_q = torch.rand((2, samples, m), generator=generator) * 2 - 1
    targets = [max_value(q), double_value(q, other_q)]
    means = [float(target.mean()) for target in targets]
    errors = [float(target.std()) / samples**0.5 for target in targets]
    bias = Bias((m - 1) / (m + 1), *means)
    print(f"m {m:>4}: exact {bias.exact:.4f}, max {bias.max_q:.4f} +- {errors[0]:.4f}, ", end="")
    print(f"double {bias.double_q:+.4f} +- {errors[1]:.4f}")
    return bias


def plot_bias(axes: Axes, biases: Sequence[Bias]) -> None:
    """Plot the bias over the number of actions."""
    axes.semilogx(NUM_ACTIONS, [bias.exact for bias in biases], "k--", lw=1, base=2, label="(m - 1) / (m + 1)")
    axes.semilogx(NUM_ACTIONS, [bias.max_q for bias in biases], "o", base=2, label="max Q")
    axes.semilogx(NUM_ACTIONS, [bias.double_q for bias in biases], "s", base=2, label="double Q")
    axes.set_xlabel("actions m")
    axes.set_ylabel("bias of the target, in units of the error's bound")
    axes.grid(alpha=0.3)
    axes.legend()


def plot_values(axes: Axes, paths: Sequence[Path]) -> None:
    """Plot the predicted values and the discounted returns of the evaluations of runs."""
    for path in paths:
        run = Run.find(path)
        lines = [line for line in run.metrics() if "eval/value" in line]
        x = [line["global_step"] / 1000 for line in lines]
        name = f"{run.config.agent}, seed {run.config.run.seed}"
        (curve,) = axes.plot(x, [line["eval/value"] for line in lines], label=f"{name}: expected")
        axes.plot(x, [line["eval/realised"] for line in lines], "--", color=curve.get_color(), label="realised")
        axes.set_title(f"{run.env_spec.name}, evaluations")
    axes.set_xlabel("thousand agent steps")
    axes.set_ylabel("discounted return, mean over states")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)


def main() -> None:
    """Measure the bias and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=png, help="PNG file to write")
    parser.add_argument("--samples", type=int, default=20_000, help="states for each number of actions")
    parser.add_argument("--runs", nargs="*", type=Path, default=[], help="run folders for the second panel")
    args = parser.parse_args()
    generator = torch.Generator().manual_seed(1)
    biases = [measure_bias(m, args.samples, generator) for m in NUM_ACTIONS]
    panels = 2 if args.runs else 1
    figure, all_axes = plt.subplots(1, panels, figsize=(6 * panels, 4), constrained_layout=True, squeeze=False)
    plot_bias(all_axes[0, 0], biases)
    if args.runs:
        plot_values(all_axes[0, 1], args.runs)
    figure.savefig(args.out, dpi=110)


if __name__ == "__main__":
    run_command(main)
