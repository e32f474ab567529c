"""How much the maximum over-estimates, and Double Q-learning does not: van Hasselt et al. 2015, figures 1 and 3.

    python scripts/overestimation.py docs/overestimation.png [--samples 20000] [--runs RUN RUN ...]

A state with m actions, all worth 0, whose estimates are wrong by U(-1, 1), each by itself. The target's bias is E[max] =
(m - 1) / (m + 1); Double takes the action that one set of estimates prefers and its value from another. Prints one line for each m. With runs (of dqn and double_dqn
on a game, say) a second picture shows what they expected in their evaluations and what discounted returns came.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch
from pictures import png

from agents.core.targets import double_value, max_value
from rl_lab.experiment.run import Run
from rl_lab.system.exit_codes import answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=png, help="PNG to write")
    parser.add_argument("--samples", type=int, default=20_000, help="states for each number of actions")
    parser.add_argument("--runs", nargs="*", type=Path, default=[], help="run folders for the second picture")
    args = parser.parse_args()
    generator = torch.Generator().manual_seed(1)
    actions = [2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]
    rows = []
    for m in actions:
        one, other = torch.rand((2, args.samples, m), generator=generator) * 2 - 1
        found = [max_value(one), double_value(one, other)]
        means = [float(x.mean()) for x in found]
        errors = [float(x.std()) / args.samples**0.5 for x in found]
        rows.append(((m - 1) / (m + 1), *means, *errors))
        print(f"m {m:>4}: exact {rows[-1][0]:.4f}, max {means[0]:.4f} +- {errors[0]:.4f}, ", end="")
        print(f"double {means[1]:+.4f} +- {errors[1]:.4f}")
    exact, of_max, of_double, *_ = zip(*rows, strict=True)
    panels = 2 if args.runs else 1
    figure, axes = plt.subplots(1, panels, figsize=(6 * panels, 4), constrained_layout=True, squeeze=False)
    axis = axes[0, 0]
    axis.semilogx(actions, exact, "k--", lw=1, base=2, label="(m - 1) / (m + 1)")
    axis.semilogx(actions, of_max, "o", base=2, label="max Q")
    axis.semilogx(actions, of_double, "s", base=2, label="double Q")
    axis.set_xlabel("actions m")
    axis.set_ylabel("bias of the target, in units of the error's bound")
    axis.grid(alpha=0.3)
    axis.legend()
    for path in args.runs:
        run = Run.find(path)
        lines = [line for line in run.metrics() if "eval/value" in line]
        x = [line["global_step"] / 1000 for line in lines]
        name = f"{run.config.agent}, seed {run.config.run.seed}"
        (curve,) = axes[0, 1].plot(x, [line["eval/value"] for line in lines], label=f"{name}: expected")
        axes[0, 1].plot(x, [line["eval/realised"] for line in lines], "--", color=curve.get_color(), label="realised")
        axes[0, 1].set_title(f"{run.env_spec.name}, evaluations")
        axes[0, 1].set_xlabel("thousand agent steps")
        axes[0, 1].set_ylabel("discounted return, mean over states")
    if args.runs:
        axes[0, 1].grid(alpha=0.3)
        axes[0, 1].legend(fontsize=8)
    figure.savefig(args.out, dpi=110)


if __name__ == "__main__":
    answer(main)
