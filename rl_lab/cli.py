"""The command line's front door: `python -m rl_lab COMMAND ...`. It imports nothing heavy, so that `--help` is instant."""

from __future__ import annotations

import errno
import importlib
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

PROG = "python -m rl_lab"
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
    "train": "rl_lab.commands",
    "resume": "rl_lab.commands",
    "eval": "rl_lab.commands",
    "watch": "rl_lab.watch.commands",
    "look": "rl_lab.watch.commands",
    "compare": "rl_lab.compare.commands",
    "sweep": "rl_lab.sweep.commands",
    "sync": "rl_lab.sync",
    "dash": "rl_lab.sync",
    "list": "rl_lab.commands",
    "doctor": "rl_lab.commands",
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


def answer(command: Callable[[], None]) -> None:
    """Run a command, or a script's main, and say in one line what it raises that a person can mend, with the exit codes of `main`."""
    try:
        _answer(command)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # `... | head`
        sys.stderr.close()
        sys.exit(1)


def _answer(command: Callable[[], None]) -> None:
    from rl_lab.errors import USER_ERRORS, Fault  # not at once: they import torch

    try:
        command()
    except USER_ERRORS as error:
        fail(str(error))
    except Fault as fault:
        print(f"rl_lab: {fault}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise
        print(f"rl_lab: {error.strerror}{f': {error.filename}' if error.filename else ''}", file=sys.stderr)
        sys.exit(1)


def as_typed(*words: object) -> str:
    """The lab's command with these words, as it can be typed into a shell."""
    return f"{PROG} {shlex.join(map(str, words))}"


def fail(message: str) -> NoReturn:
    """One line on stderr, exit code 2."""
    print(f"rl_lab: {message}", file=sys.stderr)
    sys.exit(2)
