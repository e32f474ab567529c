"""Begins a run, or goes on with one: everything that is checked before there is a folder, and the lock on it."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import replace
from pathlib import Path

import torch

from envs.make import adapt
from envs.spec import EnvSpec
from rl_lab import checkpoint
from rl_lab.errors import LabError
from rl_lab.experiment.config import Config
from rl_lab.experiment.factory import check_fits, make_agent, make_explicit
from rl_lab.experiment.registry import is_resumable
from rl_lab.experiment.run import DEMO, Run
from rl_lab.system.disk import check_disk
from rl_lab.system.lock import lock
from rl_lab.tracking.metrics_sink import MetricsSink
from rl_lab.training.trainer import Runner


def train(
    config: Config, env_spec: EnvSpec, *, quiet: bool = False, path: Path | None = None, listener: MetricsSink | None = None
) -> Run:
    """Train a new run to its end, in the folder `path` or one named by the time; `listener` is told what is logged.

    Raises Interrupted when a signal stopped it, after saving.
    """
    world = config.run
    env_spec = adapt(
        env_spec, flicker=world.flicker, mask_velocity=world.mask_velocity, view=world.view, actions=world.actions
    )
    config = make_explicit(config, env_spec)
    needed = check_fits(config, env_spec)
    check_disk(Path(config.run.runs_dir), needed if is_resumable(config.agent) else 0)  # the others save no replay
    agent = make_agent(
        config, env_spec, torch.device(config.run.device)
    )  # what it refuses, it refuses before there is a folder
    before = None
    if config.run.init_from:
        before = Run.find(config.run.init_from, config.run.runs_dir)
        config = replace(config, run=replace(config.run, init_from=str(before)))
        checkpoint.load_network(checkpoint.find(before.path), agent)
    run = Run.create(config, env_spec, path)
    with lock(run.path):
        try:
            runner = Runner(run, quiet=quiet, listener=listener)
            if before:
                checkpoint.load_network(checkpoint.find(before.path), runner.agent)
        except BaseException:  # a folder without anything to go on from helps nobody
            shutil.rmtree(run.path, ignore_errors=True)
            raise
        return runner.train()


def resume(
    run: Run, *, steps: int | None = None, address: str = "", quiet: bool = False, listener: MetricsSink | None = None
) -> Run:
    """Go on with a run from its last checkpoint; `steps` is a new total, to extend it, `address` where its collectors are now.

    Raises LabError where there is no checkpoint, or where the run already has more steps.
    """
    if run.path == DEMO:
        raise LabError("the demo is a network to watch and no more; a new run begins with it by --init-from demo")
    with lock(run.path):
        check_fits(run.config, run.env_spec)
        before = run.config
        given = replace(before.run, address=address or before.run.address)
        run.change(replace(before, run=given if steps is None else replace(given, steps=steps)))
        try:
            runner = Runner(run, quiet=quiet, listener=listener)
            with contextlib.ExitStack() as closing:
                closing.callback(runner.loop.close)
                runner.restore()
                if steps is not None and steps < runner.steps:
                    raise LabError(f"steps is {steps}; {run} already has {runner.steps}, so it must be at least that")
                closing.pop_all()
        except BaseException:
            run.change(before)
            raise
        return runner.train()


def is_finished(run: Run) -> bool:
    """Whether a run has made its steps and its last evaluation."""
    for folder in checkpoint.generations(run.path):
        with contextlib.suppress(checkpoint.Damaged):  # the one before it serves, as it does on resume
            state = checkpoint.read_state(folder)
            return state["steps"] >= run.config.run.steps and not state.get("evaluation_due")
    return False
