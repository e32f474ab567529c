"""One member of a population in population-based training (Jaderberg et al. 2017).

A member trains its run in parts. After each part the run is complete on disk, and Tune may let another member continue
from a copy of this run with changed settings. The Tune checkpoint of a member holds only the path of its run folder.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from ray import tune

from rl_lab import checkpoint
from rl_lab.errors import LabError
from rl_lab.experiment import launch
from rl_lab.experiment.registry import load_env_plugins
from rl_lab.experiment.run import Run
from rl_lab.sweep.trial_result import exits_are_faults, trial_result
from rl_lab.sweep.trial_spec import TrialSpec

PATH_FILE = "run"  # file of a Tune checkpoint that holds the path of the run folder
COPY_ATTEMPTS = 5
NOT_COPIED = ("wandb", "lock", "*.new", "*.old")  # what belongs to the original run, and unfinished checkpoints


@exits_are_faults()
def train_member(params: dict[str, Any]) -> None:
    """Train the run of a population member to its end. Tune calls this function in a worker.

    Args:
        params: Parameters of the trial (`TrialSpec.from_params`). params["trial"]["part"] is the number of agent steps
            of a part.
    """
    load_env_plugins()
    spec = TrialSpec.from_params(params, tune.get_context().get_trial_id())
    total_steps = spec.config.run.steps
    part = params["trial"]["part"]
    run, steps = _run_to_continue(spec)
    while steps < total_steps:
        end_of_part = min(total_steps, (steps // part + 1) * part)
        if run is None:
            shutil.rmtree(spec.path, ignore_errors=True)
            first_part = replace(spec.config, run=replace(spec.config.run, steps=end_of_part))
            run = launch.train(first_part, spec.env_spec, quiet=True, path=spec.path)
        else:
            launch.resume(run, steps=end_of_part, quiet=True)
        steps = _saved_steps(run)
        _report(run)


def copy_run(original: Run, path: Path) -> Run:
    """Copy a run as of its newest checkpoint to the first free folder of path+1, path+2, ..."""
    number = 1
    while path.with_name(f"{path.name}+{number}").exists():
        number += 1
    target = path.with_name(f"{path.name}+{number}")
    for _ in range(COPY_ATTEMPTS):
        shutil.rmtree(target, ignore_errors=True)
        try:
            shutil.copytree(original.path, target, ignore=shutil.ignore_patterns(*NOT_COPIED))
            return Run(target)
        except (shutil.Error, OSError):
            continue  # the original is training and has removed an old checkpoint while it was copied
    raise LabError(f"{original} cannot be copied")


def _run_to_continue(spec: TrialSpec) -> tuple[Run | None, int]:
    """Return the run that this member continues and its agent steps, or None and 0 if the member starts a new run."""
    tune_checkpoint = tune.get_checkpoint()
    if tune_checkpoint:
        run = _run_from_checkpoint(tune_checkpoint, spec)
        return run, _saved_steps(run)
    if checkpoint.generations(spec.path):
        # The member was interrupted before Tune recorded its first part. If that part is complete, one step less makes
        # the loop repeat it: the resume ends at once, and the result is reported.
        run = Run(spec.path)
        return run, max(0, _saved_steps(run) - 1)
    return None, 0


def _run_from_checkpoint(tune_checkpoint: tune.Checkpoint, spec: TrialSpec) -> Run:
    """Return the run of a Tune checkpoint: the member's own run, or a copy of another run with the new settings."""
    with tune_checkpoint.as_directory() as folder:
        run = Run(Path((Path(folder) / PATH_FILE).read_text()))
    is_own = run.path.name.split("+")[0] == spec.path.name
    if is_own:
        return run
    copy = copy_run(run, spec.path)
    copy.change(replace(spec.config, run=replace(spec.config.run, steps=copy.config.run.steps)))
    return copy


def _saved_steps(run: Run) -> int:
    """Return the agent steps of the newest checkpoint."""
    return checkpoint.read_state(checkpoint.generations(run.path)[0])["steps"]


def _report(run: Run) -> None:
    """Report the result of a part to Tune, with a checkpoint that holds the path of the run folder."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / PATH_FILE).write_text(str(run))
        tune.report(trial_result(run), checkpoint=tune.Checkpoint.from_directory(folder))
