"""The command `clean`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from rl_lab.cli.confirmation import confirm, megabytes
from rl_lab.cli.parsing import RunNames, parse
from rl_lab.errors import USER_ERRORS, LabError
from rl_lab.experiment.run import Run
from rl_lab.experiment.run_removal import check_removable, find_exact_run, locked_for_removal
from rl_lab.system.printable import count_of, print_line


@dataclass(frozen=True)
class CleanOptions:
    """The options of `clean`."""

    runs: RunNames = ()
    """Runs: run folders, complete names as `list runs` shows them, or "latest". Default: all runs in runs_dir."""
    yes: tyro.conf.FlagCreatePairsOff[bool] = False
    """Remove without a question."""
    runs_dir: str = "runs"
    """Folder of the run folders. Nothing outside of it is removed."""


def clean_command(args: list[str]) -> None:
    """Remove from finished runs what only `resume` needs: replay memories, optimizers and older checkpoints.

    Raises:
        LabError: A run that was named is not finished, is being trained, or is no run folder.
    """
    description = (
        "Remove what only resume needs from finished runs. They can still be evaluated, watched and compared,"
        " but no longer be extended."
    )
    options = parse(CleanOptions, args, "clean", description)
    from rl_lab.checkpoint import files_for_resume

    runs = _finished_runs(options)
    files = {run: files_for_resume(run.path) for run in runs}
    sizes = {run: _bytes_of(paths) for run, paths in files.items() if paths}
    if not sizes:
        print_line("there is nothing to remove")
        return
    for run, size in sizes.items():
        print_line(f"{run}  {megabytes(size)}")
    question = (
        f"remove checkpoints of {count_of(len(sizes), 'finished run')}, which frees {megabytes(sum(sizes.values()))}?"
    )
    if not confirm(question, yes=options.yes):
        print_line("nothing was removed")
        return
    freed = sum(_clean(run, options.runs_dir) for run in sizes)
    print_line(f"freed {megabytes(freed)}; these runs can no longer be resumed")


def _finished_runs(options: CleanOptions) -> list[Run]:
    """Return the runs to clean. Runs that were not named are left out if they are unfinished or must not be touched."""
    from rl_lab.compare.runs import runs_below
    from rl_lab.experiment.launch import is_finished

    if options.runs:
        runs = [find_exact_run(name, options.runs_dir) for name in options.runs]
        for run in runs:
            check_removable(run, options.runs_dir)
            if not is_finished(run):
                raise LabError(f"{run} is not finished: `resume` needs its checkpoints")
        return list({run.path: run for run in runs}.values())
    finished = []
    for run in runs_below(Path(options.runs_dir)).runs:
        try:
            check_removable(run, options.runs_dir)
            if is_finished(run):
                finished.append(run)
        except USER_ERRORS as error:
            print_line(f"left out: {error}")
    return finished


def _clean(run: Run, runs_dir: str) -> int:
    """Remove the files of a run that only `resume` needs. Return their bytes."""
    from rl_lab.checkpoint import files_for_resume

    with locked_for_removal(run, runs_dir):
        paths = files_for_resume(run.path)
        size = _bytes_of(paths)
        for path in paths:
            path.unlink()
        for folder in {path.parent for path in paths}:
            if not any(folder.iterdir()):
                folder.rmdir()
    return size


def _bytes_of(paths: list[Path]) -> int:
    return sum(path.lstat().st_size for path in paths)
