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


@dataclass(frozen=True)
class DashOptions:
    run: Annotated[str, tyro.conf.Positional] = "latest"
    """A run folder, "latest", or an unambiguous part of its name."""
    runs_dir: str = "runs"
    """Folder that holds the runs."""


def dash_command(args: list[str]) -> None:
    chosen = parse(DashOptions, args, "dash", "The live view of a run in this terminal (wandb leet).")
    run = Run.find(chosen.run, chosen.runs_dir)
    folders = sorted((run.path / "wandb").glob("**/*run-*"))
    if not folders:
        raise LabError(f"{run} was logged with --wandb disabled: there is nothing for W&B's view to show")
    os.execv(sys.executable, [sys.executable, "-m", "wandb", "leet", str(folders[0].parent)])
