"""The command `sync`."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass
from pathlib import Path

from rl_lab.cli.parsing import RunNames, parse
from rl_lab.compare.runs import FoundRuns, find_runs, runs_below
from rl_lab.errors import USER_ERRORS, Fault, LabError
from rl_lab.experiment.run import Run
from rl_lab.system.lock import lock_run
from rl_lab.system.printable import print_line
from rl_lab.tracking.wandb_mode import find_wandb_key

UPLOAD_TIMEOUT = 300.0  # seconds to upload one run


@dataclass(frozen=True)
class SyncOptions:
    """Options of `sync`."""

    runs: RunNames = ()
    """Runs: folders, patterns, groups or parts of names. Default: all runs in runs_dir."""
    runs_dir: str = "runs"
    """Folder of the run folders."""


def sync_command(args: list[str]) -> None:
    """Upload the metrics that W&B does not have yet, and print one line for each run.

    Raises:
        LabError: There is no W&B key, there are no runs, or a run cannot be read. The other runs were uploaded.
        Fault: The upload of a run failed.
    """
    options = parse(SyncOptions, args, "sync", "Upload the metrics of runs that W&B does not have yet.")
    if not find_wandb_key():
        raise LabError("no W&B key in WANDB_API_KEY or .netrc: `wandb login` first")
    found = _selected_runs(options)
    if not found.runs:
        raise LabError(found.problems[0] if found.problems else f"there are no runs in {options.runs_dir}")
    for problem in found.problems:
        print_line(problem, file=sys.stderr)
    runs = found.runs
    if not options.runs:
        runs = _without_private_runs(runs)
    unusable: list[str] = []  # messages of the runs that cannot be read
    num_failed = 0
    for run in runs:
        try:
            num_failed += not _sync_run(run)
        except (*USER_ERRORS, OSError) as error:
            unusable.append(f"{run} is left out: {error}")
    if num_failed:
        _print_lines(unusable)
        raise Fault(f"{num_failed} of {len(runs)} runs are not completely uploaded; run sync again later")
    if unusable:
        _print_lines(unusable[:-1])
        raise LabError(unusable[-1])


def _print_lines(lines: list[str]) -> None:
    """Print lines to stderr."""
    for line in lines:
        print_line(line, file=sys.stderr)


def _selected_runs(options: SyncOptions) -> FoundRuns:
    if options.runs:
        return find_runs(options.runs, options.runs_dir)
    return runs_below(Path(options.runs_dir))


def _without_private_runs(runs: list[Run]) -> list[Run]:
    """Return the runs that were trained with W&B. Print the others: their owner has to name them to upload them."""
    public = []
    for run in runs:
        if _is_private(run):
            print_line(f"{run}: not uploaded, because it was trained with --wandb disabled; name the run to upload it")
        else:
            public.append(run)
    return public


def _is_private(run: Run) -> bool:
    """Return True if the run was trained with --wandb disabled. Damage is not reported here but by `_sync_run`."""
    with contextlib.suppress(*USER_ERRORS):
        return run.config.run.wandb == "disabled"
    return False


def _sync_run(run: Run) -> bool:
    """Upload the metrics of a run that W&B does not have yet. Print the outcome, and return True if it succeeded.

    Raises:
        LabError, ConfigError, OSError: The run cannot be read, or is being trained.
    """
    from rl_lab.tracking.wandb_sink import WandbSink

    with lock_run(run.path):
        lines = run.metrics()
        sink = WandbSink(run, "online", lines, finish_timeout=UPLOAD_TIMEOUT, offline_fallback=False)
        sink.complete()
        sink.close()
    if sink.is_working:
        num_missing = max(len(lines) - sink.num_uploaded, 0)
        print_line(f"{run}: {len(lines)} lines, of which {num_missing} were missing")
        return True
    if sink.is_online:
        print_line(f"{run}: FAILED: W&B stopped answering")
    else:
        print_line(f"{run}: FAILED: W&B could not start the run")
    return False
