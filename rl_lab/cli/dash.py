"""The command `dash`."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import Annotated

import tyro

from rl_lab.cli.parsing import parse
from rl_lab.errors import LabError
from rl_lab.experiment.run import Run
from rl_lab.system.data_files import path_exists


@dataclass(frozen=True)
class DashOptions:
    """Options of `dash`."""

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="[RUN]")] = "latest"
    """A run folder, "latest", or an unambiguous part of its name."""
    runs_dir: str = "runs"
    """Folder of the run folders."""


def dash_command(args: list[str]) -> None:
    """Replace this process by W&B's terminal view of a run.

    Raises:
        LabError: The run was trained without W&B, or its folder cannot be read.
    """
    options = parse(DashOptions, args, "dash", "Show the W&B view of a run in the terminal (wandb leet).")
    run = Run.find(options.run, options.runs_dir)
    root = run.path / "wandb"
    try:
        has_folder = path_exists(root) and bool(os.listdir(root))
    except OSError as error:
        raise LabError(f"{root} cannot be read: {error.strerror}") from error
    wandb_folders = sorted(root.glob("**/*run-*")) if has_folder else []
    if not wandb_folders:
        raise LabError(f"{run} was trained with --wandb disabled, so W&B has nothing to show")
    os.execv(sys.executable, [sys.executable, "-m", "wandb", "leet", str(wandb_folders[0].parent)])
