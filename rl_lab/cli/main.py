"""The command line's entry point: `python -m rl_lab COMMAND ...`. It imports nothing heavy, so that `--help` is fast."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from rl_lab.system.exit_codes import answer, fail
from rl_lab.system.shell import PROG

USAGE = f"""usage: {PROG} COMMAND ...

deep reinforcement learning on Gymnasium environments

commands:
  train AGENT --env NAME    train an agent: {PROG} train dqn --env Pong
  resume RUN                go on with a run, or extend it: resume latest --steps 2000000
  eval RUN                  play whole games and print the score
  watch RUN                 see it play, and what it thinks: watch demo; watch latest --video pong.mp4
  look RUN                  see what its network has learned, as pictures; or attack it
  compare RUN...            a table, and a page with curves and intervals: compare runs/Pong
  sweep grid|search         many runs on this machine or a cluster, by Ray
  sync [RUN...]             upload what was logged offline to Weights & Biases
  dash [RUN]                W&B's live view of a run in the terminal
  list [agents|envs]        what there is to train, and on what
  doctor                    what this machine has, and what is wrong with it

RUN is a run folder, "latest", an unambiguous part of its name, or "demo", an agent that comes with the lab; compare and sync
take several: folders of runs, patterns, groups of --seeds, parts of names.
{PROG} COMMAND --help shows the options with their types, defaults and units."""
COMMANDS = {
    "train": "rl_lab.cli.train",
    "resume": "rl_lab.cli.resume",
    "eval": "rl_lab.cli.evaluate",
    "watch": "rl_lab.cli.watch",
    "look": "rl_lab.cli.look",
    "compare": "rl_lab.cli.compare",
    "sweep": "rl_lab.cli.sweep",
    "sync": "rl_lab.cli.sync",
    "dash": "rl_lab.cli.dash",
    "list": "rl_lab.cli.listing",
    "doctor": "rl_lab.cli.doctor",
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command and exit: 0 done, 1 failed, 2 bad input, 128 + n stopped by signal n (after saving)."""
    args = list(sys.argv[1:] if argv is None else argv)
    if not args or args[0] in ("-h", "--help", "help"):
        print(USAGE)
        sys.exit(0)
    name, rest = args[0], args[1:]
    if name not in COMMANDS:
        fail(f"unknown command {name!r}; there are: {', '.join(COMMANDS)}")

    def command() -> None:
        getattr(importlib.import_module(COMMANDS[name]), f"{name}_command")(rest)

    answer(command)
