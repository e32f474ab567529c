"""The command `sync`."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from rl_lab.cli.parsing import parse
from rl_lab.compare.runs import find_runs, runs_below
from rl_lab.errors import USER_ERRORS, Fault, LabError
from rl_lab.experiment.run import Run
from rl_lab.system.lock import lock
from rl_lab.tracking.tracker import Wandb, wandb_key

PATIENCE = 300.0  # seconds for all of a run to arrive


@dataclass(frozen=True)
class SyncOptions:
    runs: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Runs: folders, patterns, groups or parts of names; all of runs_dir unless given."""
    runs_dir: str = "runs"
    """Folder that holds the runs."""


def sync_command(args: list[str]) -> None:
    chosen = parse(
        SyncOptions, args, "sync", "Send W&B what it does not have of runs; what is there already is not sent again."
    )
    if not wandb_key():
        raise LabError("no W&B key in WANDB_API_KEY or .netrc: `wandb login` first")
    runs = find_runs(chosen.runs, chosen.runs_dir) if chosen.runs else runs_below(Path(chosen.runs_dir))
    if not runs:
        raise LabError(f"there are no runs in {chosen.runs_dir}")
    private = [] if chosen.runs else [run for run in runs if _is_private(run)]
    for run in private:
        print(f"{run}: not sent: it was trained with --wandb disabled, so it must be named")
    runs = [run for run in runs if run not in private]
    failed = sum(not _synced(run) for run in runs)
    if failed:
        raise Fault(f"{failed} of {len(runs)} runs are not wholly uploaded; run sync again later")


def _is_private(run: Run) -> bool:
    """Whether a run was to be kept from W&B; what is damaged is told when it is to be sent."""
    with contextlib.suppress(*USER_ERRORS):
        return run.config.run.wandb == "disabled"
    return False


def _synced(run: Run) -> bool:
    """Send what W&B does not have of a run, and say so in one line; whether it has it all now."""
    try:
        with lock(run.path):
            lines = run.metrics()
            there = Wandb(run, "online", lines, patience=PATIENCE, or_offline=False)
            there.complete()
            there.close()
    except USER_ERRORS as error:
        print(f"{run}: FAILED: {error}")
        return False
    done = there.works
    if done:
        print(f"{run}: {len(lines)} lines, of which {max(len(lines) - there.there, 0)} were missing")
    else:
        print(f"{run}: FAILED: {'W&B stopped answering' if there.online else 'W&B has not begun it'}")
    return done
