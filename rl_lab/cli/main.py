"""The entry point of the command line: `python -m rl_lab COMMAND ...`.

The module of a command is imported when the command runs. It imports torch, Gymnasium and whatever needs them inside
functions, after the options have been parsed. So `COMMAND --help` and errors in the options need not wait for them.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from rl_lab.errors import LabError
from rl_lab.system.exit_codes import DISK_ERRORS, exit_with_error, run_command
from rl_lab.system.shell import PROG, VERBOSE
from rl_lab.version import __version__

USAGE = f"""usage: {PROG} COMMAND ...

deep reinforcement learning on Gymnasium environments

commands:
  train AGENT --env NAME    train an agent: {PROG} train dqn --env Pong
  resume RUN                continue a run, or extend it: resume latest --steps 2000000
  eval RUN                  play whole episodes and print the score
  watch RUN                 show episodes with the agent's values: watch demo; watch RUN1 RUN2 --video pong.mp4
  play ENV                  play an environment yourself, at the keyboard: play Pong
  look RUN                  draw what a network has learned, or attack the network
  export RUN                write the agent as ONNX, its episodes or its metrics: export latest --onnx
  push RUN --repo USER/NAME put an agent on the Hugging Face Hub, with video and model card; pull USER/NAME gets one
  compare RUN...            print a table, and write a page of curves with intervals: compare runs/Pong
  sweep grid|search|suite   train many agents on this machine or on a cluster, with Ray
  results [SUITE...]        build the page of results from the result files of suites
  sync [RUN...]             upload metrics that were logged offline to Weights & Biases
  dash [RUN]                show the W&B view of a run in the terminal
  list [runs|agents|envs|presets|demos]
                            list runs, agents, environments, presets of agents, or trained agents of the lab
  rm RUN...                 remove run folders
  clean [RUN...]            free the disk space of finished runs: remove what only `resume` needs
  completion SHELL          print a script that completes words in bash, zsh or fish
  doctor                    describe this machine, and report problems of the installation

RUN is a run folder, "latest", an unambiguous part of its name, or "demo", an agent that is part of the lab (list demos
shows more). compare and sync accept several: folders of runs, patterns, groups of --seeds, parts of names.
{PROG} COMMAND --help shows the options with their types, defaults and units; of train the most used ones,
and --help-all all of them.
{PROG} COMMAND --verbose also prints the traceback of an error; {PROG} --version prints the version."""

COMMANDS = {
    "train": "rl_lab.cli.train",
    "resume": "rl_lab.cli.resume",
    "eval": "rl_lab.cli.evaluate",
    "watch": "rl_lab.cli.watch",
    "play": "rl_lab.cli.play",
    "look": "rl_lab.cli.look",
    "export": "rl_lab.cli.export",
    "push": "rl_lab.cli.push",
    "pull": "rl_lab.cli.pull",
    "compare": "rl_lab.cli.compare",
    "sweep": "rl_lab.cli.sweep",
    "results": "rl_lab.cli.results",
    "sync": "rl_lab.cli.sync",
    "dash": "rl_lab.cli.dash",
    "list": "rl_lab.cli.listing",
    "rm": "rl_lab.cli.remove",
    "clean": "rl_lab.cli.clean",
    "doctor": "rl_lab.cli.doctor",
    "completion": "rl_lab.cli.completion",
}
"""Modules by command. A module defines the function `COMMAND_command(args)`."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command. The exit codes are those of `rl_lab.system.exit_codes`.

    Args:
        argv: The command and its arguments. None means those of the process.
    """
    if argv is None:
        _prepare_process()
    args = list(sys.argv[1:] if argv is None else argv)
    is_verbose = VERBOSE in args
    args = [arg for arg in args if arg != VERBOSE]
    if not args or args[0] in ("-h", "--help", "help"):
        print(USAGE)
        sys.exit(0)
    if args[0] in ("--version", "version"):
        print(f"rl-lab {__version__}")
        sys.exit(0)
    name, *rest = args
    if name not in COMMANDS:
        exit_with_error(f"unknown command {name!r}; the commands are: {', '.join(COMMANDS)}")

    def command() -> None:
        module = importlib.import_module(COMMANDS[name])
        with _unusable_paths(rest):
            getattr(module, f"{name}_command")(rest)

    run_command(command, verbose=is_verbose)


def _prepare_process() -> None:
    """Let the installed script `rl-lab` behave as `python -m rl_lab`, and make every text printable.

    `python -m` finds modules in the working directory first, for environments such as mymodule:MyEnv-v0; a script does
    not. Worker processes inherit the search path.
    """
    with suppress(OSError):  # the working directory was removed
        folder = os.getcwd()
        if not sys.flags.safe_path and sys.path[:1] != [folder]:
            sys.path.insert(0, folder)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files may hold bytes that are not UTF-8


@contextmanager
def _unusable_paths(args: Sequence[str]) -> Iterator[None]:
    """Convert an OSError about a path that the user has typed to a LabError.

    Other OSErrors pass, because they are faults of the program or of the machine.

    Args:
        args: The arguments of the command.
    """
    try:
        yield
    except OSError as error:
        if error.errno in DISK_ERRORS or not _is_typed(error.filename, args):
            raise
        raise LabError(f"{error.filename} cannot be used: {error.strerror}") from error


def _is_typed(filename: object, args: Sequence[str]) -> bool:
    """Return True if a path is an argument, the value of an option or the default of --runs-dir, or lies below one."""
    if not isinstance(filename, str | bytes | os.PathLike):
        return False
    path = Path(os.fsdecode(filename)).absolute()
    typed = [part for arg in args for part in (arg, arg.partition("=")[2]) if part and not part.startswith("-")]
    return any(path.is_relative_to(Path(part).absolute()) for part in [*typed, "runs"])
