"""The removal of run folders, which touches nothing else.

A folder is removed only if it lies below the folder of the runs, holds the files that `Run.create` writes, and is not
being trained. Symbolic links are never followed: not on the way to the folder, not inside it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rl_lab.errors import USER_ERRORS, LabError
from rl_lab.experiment.config_layers import read_yaml
from rl_lab.experiment.run import RUN_DEPTH, Run
from rl_lab.experiment.run_search import find_run_folders
from rl_lab.system.data_files import read_json
from rl_lab.system.lock import is_locked, lock_run


def find_exact_run(name: str, runs_dir: str) -> Run:
    """Return the run that a name stands for. Parts of names are refused, because a removal cannot be undone.

    Args:
        name: The path of a run folder, its name, its path below `runs_dir`, or "latest".
        runs_dir: Folder of the run folders.

    Raises:
        LabError: No run, or more than one, has this name.
    """
    root = Path(runs_dir)
    folders = find_run_folders(root, RUN_DEPTH).runs
    if name == "latest":
        return Run.find(name, runs_dir)
    path = Path(name)
    matches = [folder for folder in folders if path in (folder, Path(folder.name), folder.relative_to(root))]
    matches = matches or [folder for folder in folders if path.absolute() == folder.absolute()]
    if len(matches) == 1:
        return Run(matches[0])
    if matches:
        examples = ", ".join(str(folder) for folder in matches[:3])
        raise LabError(f"{len(matches)} runs are called {name!r}, among them {examples}; type the path of one")
    raise LabError(f"no run in {runs_dir} has the name {name!r}; `list runs` shows the names, which must be complete")


def check_removable(run: Run, runs_dir: str) -> None:
    """Raise LabError, with the reason, if a folder must not be changed by `rm` or `clean`.

    Args:
        run: The run folder.
        runs_dir: The folder below which runs may be removed.
    """
    root = Path(runs_dir).absolute()
    below = run.path.relative_to(root).parts if root in run.path.parents else ()
    if not below or ".." in below:
        raise LabError(f"{run} is not below {runs_dir}: it is not touched")
    for number in range(1, len(below) + 1):
        part = root.joinpath(*below[:number])
        if part.is_symlink():
            raise LabError(f"{part} is a symbolic link: it is not touched")
    for name in ("config.yaml", "env.json", "lock"):
        if (run.path / name).is_symlink():
            raise LabError(f"{run.path / name} is a symbolic link: {run} is not touched")
    _check_files(run)
    if find_run_folders(run.path).runs != [run.path]:
        raise LabError(f"{run} holds other run folders: it is not touched")
    if Path.cwd().is_relative_to(run.path.resolve()):
        raise LabError(f"{run} is the working directory: leave it first")
    if is_locked(run.path):
        raise LabError(f"{run} is being trained: stop it first")


def _check_files(run: Run) -> None:
    """Raise LabError unless config.yaml and env.json are those of a run of this lab."""
    not_a_run = f"{run} is not a run folder of this lab; remove it by hand if it is not needed"
    try:
        config = read_yaml(run.path / "config.yaml")
        env_spec = read_json(run.path / "env.json")
    except USER_ERRORS as error:
        raise LabError(f"{not_a_run}: {error}") from error
    is_run = isinstance(env_spec, dict) and "id" in env_spec
    if not is_run or not {"agent", "env", "seed", "runs_dir"} <= config.keys():
        raise LabError(not_a_run)


def size_of(folder: Path) -> int:
    """Return the bytes of all files below a folder. Links are not followed, and files that vanish do not count."""
    total = 0
    for directory, _, names in os.walk(folder, followlinks=False):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(directory, name)).st_size
    return total


@contextmanager
def locked_for_removal(run: Run, runs_dir: str) -> Iterator[None]:
    """Hold the lock of a run that passes `check_removable`.

    Raises:
        LabError: As `check_removable`, or another process has locked the run since.
    """
    check_removable(run, runs_dir)
    with lock_run(run.path):
        yield


def remove_run(run: Run, runs_dir: str) -> None:
    """Remove a run folder, and the folders of its agent and environment if they are empty then.

    Raises:
        LabError: The folder must not be removed (`check_removable`), or cannot be removed.
    """
    with locked_for_removal(run, runs_dir):
        try:
            shutil.rmtree(run.path)
        except OSError as error:
            raise LabError(f"{error.filename} cannot be removed: {error.strerror}") from error
    root = Path(runs_dir).absolute()
    for folder in run.path.parents:
        if folder == root:
            break
        try:
            folder.rmdir()
        except OSError:  # it holds other runs
            break
