"""The command `rm`."""

from __future__ import annotations

from dataclasses import dataclass

import tyro

from rl_lab.cli.confirmation import confirm, megabytes
from rl_lab.cli.parsing import RunNames, parse
from rl_lab.errors import LabError
from rl_lab.experiment.run_removal import check_removable, find_exact_run, remove_run, size_of
from rl_lab.system.printable import count_of, print_line


@dataclass(frozen=True)
class RemoveOptions:
    """The options of `rm`."""

    runs: RunNames = ()
    """Runs: run folders, complete names as `list runs` shows them, or "latest". Parts of names are refused."""
    yes: tyro.conf.FlagCreatePairsOff[bool] = False
    """Remove without a question."""
    runs_dir: str = "runs"
    """Folder of the run folders. Nothing outside of it is removed."""


def rm_command(args: list[str]) -> None:
    """Remove run folders after a question.

    Raises:
        LabError: A run does not exist, is being trained, or is no run folder. Nothing was removed then.
    """
    options = parse(RemoveOptions, args, "rm", "Remove run folders with everything in them.")
    if not options.runs:
        raise LabError("which runs? name them as `list runs` shows them")
    found = [find_exact_run(name, options.runs_dir) for name in options.runs]
    runs = list({run.path: run for run in found}.values())
    for run in runs:
        check_removable(run, options.runs_dir)
    sizes = [size_of(run.path) for run in runs]
    for run, size in zip(runs, sizes, strict=True):
        print_line(f"{run}  {megabytes(size)}")
    if not confirm(f"remove {count_of(len(runs), 'run')}, {megabytes(sum(sizes))}?", yes=options.yes):
        print_line("nothing was removed")
        return
    for run in runs:
        remove_run(run, options.runs_dir)
    print_line(f"removed {count_of(len(runs), 'run')}, {megabytes(sum(sizes))}")
