"""What a recurrent agent solves and one that sees a single frame cannot: Hausknecht and Stone 2015.

    python scripts/memory.py docs/memory.png [--seeds 1 2 3] [--runs-dir runs/memory]

Trains drqn and dqn, each with one frame, as many steps and as many samples a step, on Recall-v0 and LongRecall-v0 (a bit shown
4 or 12 rows before it is asked for) and on CartPole-v1 whose velocities are masked. Draws the evaluations of each seed and
prints the last and the best.
"""

from __future__ import annotations

import argparse

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from pictures import png

import rl_lab
from rl_lab.system.exit_codes import answer

TASKS = {  # with the steps and samples of drqn's presets for both
    "Recall-v0": {"replay_ratio": 16.0},
    "LongRecall-v0": {"replay_ratio": 64.0},
    "CartPole-v1": {"mask_velocity": True, "steps": 80_000, "replay_ratio": 64.0},
}
COLOURS = {"drqn": "tab:blue", "dqn": "tab:orange"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=png, help="PNG to write")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--runs-dir", default="runs/memory", help="where the runs go")
    args = parser.parse_args()
    figure, axes = plt.subplots(1, len(TASKS), figsize=(5 * len(TASKS), 4), constrained_layout=True)
    for axis, (env, options) in zip(axes, TASKS.items(), strict=True):
        for agent, colour in COLOURS.items():
            for seed in args.seeds:
                settings = {"seed": seed, "frame_stack": 1, "wandb": "disabled", "runs_dir": args.runs_dir, **options}
                run = rl_lab.train(agent, env=env, quiet=True, **settings)
                lines = [line for line in run.metrics() if "eval/return_mean" in line]
                scores = [line["eval/return_mean"] for line in lines]
                label = agent if seed == args.seeds[0] else None
                axis.plot([line["global_step"] / 1000 for line in lines], scores, color=colour, label=label)
                print(f"{env}, {agent}, seed {seed}: last {scores[-1]:.2f}, best {max(scores):.2f}", flush=True)
        axis.set_title(env + (", velocities masked" if "mask_velocity" in options else ""), fontsize=9)
        axis.set_xlabel("thousand agent steps")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("return of an evaluation")
    axes[0].legend()
    figure.savefig(args.out, dpi=110)


if __name__ == "__main__":
    answer(main)
