"""What was logged offline, brought to Weights & Biases or shown in the terminal by W&B's own programs: the commands `sync` and `dash`."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from rl_lab.commands import parse
from rl_lab.compare.runs import find_runs, runs_below
from rl_lab.errors import Fault, LabError
from rl_lab.run import Run
from rl_lab.tracking import wandb_key

WANDB = [sys.executable, "-m", "wandb"]


@dataclass(frozen=True)
class SyncOptions:
    runs: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Runs: folders, patterns, groups or parts of names; all of runs_dir unless given."""
    runs_dir: str = "runs"
    """Folder that holds the runs."""


def sync_command(args: list[str]) -> None:
    chosen = parse(
        SyncOptions, args, "sync", "Upload what was logged offline; what is there already is not sent again."
    )
    if not wandb_key():
        raise LabError("no W&B key in WANDB_API_KEY or .netrc: `wandb login` first")
    runs = find_runs(chosen.runs, chosen.runs_dir) if chosen.runs else runs_below(Path(chosen.runs_dir))
    failed = []
    for run in runs:
        parts, id_file = offline_parts(run), run.path / "wandb" / "id"
        if not parts or not id_file.is_file():
            print(f"{run}: nothing was logged offline")
            continue
        name = id_file.read_text().strip()
        # One call for all parts of a run that was resumed, with its id: W&B appends them in the order in which they began.
        done = subprocess.run([*WANDB, "sync", "--yes", "--id", name, *map(str, parts)], capture_output=True, text=True)
        said = (done.stdout + done.stderr).strip().splitlines() or [f"exit code {done.returncode}"]
        if done.returncode:
            failed.append(str(run))
        print(f"{run}: {'FAILED: ' + said[-1] if done.returncode else f'{name}, {len(parts)} parts'}")
    if failed:
        raise Fault(f"{len(failed)} of {len(runs)} runs were not uploaded; run sync again later")


def offline_parts(run: Run) -> list[Path]:
    """The folders that W&B wrote offline for a run, one for each time it was begun or resumed, oldest first."""
    return sorted((run.path / "wandb").glob("**/offline-run-*"))


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
    os.execv(sys.executable, [*WANDB, "leet", str(folders[0].parent)])
