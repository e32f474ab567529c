"""One trial: the training of one configuration in a worker of the cluster, wherever it stands, told to Tune as it goes.

A trial is an ordinary run folder with the lab's own exact checkpoints. Tune is told scores and where the run is, so a trial
that was killed, with its worker or its node, goes on as if nothing had been: the folder must be one that all nodes see.
"""

from __future__ import annotations

import shutil
import tempfile
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from ray import tune

from envs.spec import EnvSpec
from rl_lab import checkpoint
from rl_lab.errors import LabError
from rl_lab.experiment import config, launch
from rl_lab.experiment.config import Config
from rl_lab.experiment.registry import is_resumable, load_env_plugins
from rl_lab.experiment.run import Run
from rl_lab.system.lock import lock
from rl_lab.tracking.tracker import SCORE, summarise

PATIENCE = 60.0  # seconds that a trial waits for the one before it, on a node that is gone, to let go of its run
SEARCH_SEEDS = 10**6  # seeds from here on are the searches'


def plain(resolved: Config, env_spec: EnvSpec, path: Path, label: str = "") -> dict[str, Any]:
    """A trial as plain values, which Tune hands to a worker; `label` goes before its name in tables."""
    run = replace(resolved.run, runs_dir=str(Path(resolved.run.runs_dir).resolve()))  # a worker is elsewhere
    if run.init_from:
        run = replace(run, init_from=str(Run.find(run.init_from, run.runs_dir).path.resolve()))
    config = replace(resolved, run=run).to_dict()
    return {"config": config, "card": env_spec.to_dict(), "path": str(path.resolve()), "label": label}


def described(params: dict[str, Any], trial_id: str) -> tuple[Config, EnvSpec, Path]:
    """The configuration, the env card and the run folder of a trial.

    In a search the settings are the trial's own, and so is the seed; the folder's name ends with the trial's.
    """
    given = params["trial"]
    resolved, path = config.from_dict(given["config"], "the trial"), Path(given["path"])
    if "settings" in params:
        seed = SEARCH_SEEDS + zlib.crc32(trial_id.encode()) % SEARCH_SEEDS
        resolved = config.replaced(resolved, params["settings"] | {"seed": seed}, "the search")
        path = path.with_name(f"{path.name}-{trial_id}")
    return resolved, EnvSpec.from_dict(given["card"]), path


def train_trial(params: dict[str, Any]) -> None:
    """What Tune calls in a worker: train the run to its end; it begins, goes on from its last checkpoint, or is through already."""
    load_env_plugins()
    resolved, env_spec, path = described(params, tune.get_context().get_trial_id())
    run = Run(path)
    if path.exists():
        with lock(path, patience=PATIENCE):
            through = launch.is_through(run)
        if through:
            tune.report(result_of(run))
            return
        if is_resumable(resolved.agent) and checkpoint.generations(path):
            launch.resume(run, quiet=True, listener=Reports(run))
            tune.report(result_of(run))
            return
        shutil.rmtree(path)
    launch.train(resolved, env_spec, quiet=True, path=path, listener=Reports(run))
    tune.report(result_of(run))


def train_member(params: dict[str, Any]) -> None:
    """The same for a member of a population, in parts: after each its run is whole on disk and another member may take it over.

    Which run it goes on with it learns from a checkpoint of Tune's that holds nothing but the path of a run folder.
    """
    load_env_plugins()
    resolved, env_spec, path = described(params, tune.get_context().get_trial_id())
    total, part = resolved.run.steps, params["trial"]["part"]
    handed = tune.get_checkpoint()
    run, steps = None, 0
    if handed:
        run = _handed_on(handed, resolved, path)
        steps = _steps(run)
    elif checkpoint.generations(
        path
    ):  # cut off in its first part, or before that was told: then it is gone through in no time
        run = Run(path)
        steps = max(0, _steps(run) - 1)
    while steps < total:
        goal = min(total, (steps // part + 1) * part)
        if run is None:
            shutil.rmtree(path, ignore_errors=True)
            first = replace(resolved, run=replace(resolved.run, steps=goal))
            run = launch.train(first, env_spec, quiet=True, path=path)
        else:
            launch.resume(run, steps=goal, quiet=True)
        steps = _steps(run)
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "run").write_text(str(run))
            tune.report(result_of(run), checkpoint=tune.Checkpoint.from_directory(folder))


def _steps(run: Run) -> int:
    """The agent steps at its newest checkpoint."""
    return checkpoint.read_state(checkpoint.generations(run.path)[0])["steps"]


def _handed_on(handed: tune.Checkpoint, resolved: Config, path: Path) -> Run:
    """The run to go on with: the trial's own, or a copy of another member's with this trial's settings."""
    with handed.as_directory() as folder:
        run = Run(Path((Path(folder) / "run").read_text()))
    if run.path.name.split("+")[0] != path.name:
        run = branch(run, path)
        run.change(replace(resolved, run=replace(resolved.run, steps=run.config.run.steps)))
    return run


def branch(donor: Run, path: Path) -> Run:
    """A copy of the donor's run as of its newest checkpoint, in a folder of its own, path+1, path+2 and so on."""
    number = 1
    while (target := path.with_name(f"{path.name}+{number}")).exists():
        number += 1
    for _ in range(5):
        shutil.rmtree(target, ignore_errors=True)
        try:
            shutil.copytree(donor.path, target, ignore=shutil.ignore_patterns("wandb", "lock", "*.new", "*.old"))
            return Run(target)
        except (shutil.Error, OSError):  # the donor went on, and what was being copied is no longer needed there
            continue
    raise LabError(f"{donor} cannot be copied")


def result_of(run: Run) -> dict[str, Any]:
    """What a run has come to so far, for Tune. `mean` is the mean of its evaluations: the area under the learning curve."""
    lines = run.metrics()
    scores = [line[SCORE] for line in lines if SCORE in line]
    return {**summarise(lines, None), "mean": sum(scores) / len(scores), "run": str(run)}


class Reports:
    """Tells Tune of each evaluation but the last, after which a trial may be stopped: its run must be saved first."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def log(self, step: int, values: dict[str, Any]) -> None:
        if SCORE in values and step < self.run.config.run.steps:
            tune.report(result_of(self.run))

    def complete(self) -> None:
        pass

    def close(self) -> None:
        pass
