"""The start and the resume of a run: checks before the run folder is created or changed, and the lock on the folder."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from agents.core.agent import Agent
from envs.make import adapt
from envs.spec import EnvSpec
from rl_lab import checkpoint
from rl_lab.errors import LabError
from rl_lab.experiment import config as configuration
from rl_lab.experiment.config import Config
from rl_lab.experiment.env_settings import check_env_options
from rl_lab.experiment.run import Run
from rl_lab.experiment.run_config import RunConfig
from rl_lab.experiment.training_plan import TrainingPlan, plan_training
from rl_lab.system.lock import lock_run
from rl_lab.system.quiet_output import quiet_if_lost
from rl_lab.system.update_speed import torch_threads
from rl_lab.tracking.metrics_sink import MetricsSink
from rl_lab.training.hooks import Callback
from rl_lab.training.run_state import RunState
from rl_lab.training.trainer import Trainer


@quiet_if_lost()
def train(
    config: Config,
    env_spec: EnvSpec,
    *,
    quiet: bool = False,
    path: Path | None = None,
    listener: MetricsSink | None = None,
    callbacks: Sequence[Callback] = (),
) -> Run:
    """Train a new run.

    Args:
        config: The configuration.
        env_spec: The environment. The settings flicker, mask_velocity, view and actions are not yet applied.
        quiet: Print nothing.
        path: The run folder to create. None creates one whose name is the time and the seed.
        listener: A further receiver of everything that is logged.
        callbacks: Functions that are called with the training session after every row.

    Returns:
        The run folder.

    Raises:
        LabError, ConfigError, EnvError: The run cannot start. No run folder is left behind.
        Interrupted: A signal stopped training. A checkpoint was saved.
        Fault: An error ended training.
    """
    plan = _plan_new_run(config, env_spec)
    with torch_threads(plan.compute.threads):  # also for the initial weights, which depend on the threads
        return _train_planned(plan, quiet=quiet, path=path, listener=listener, callbacks=callbacks)


def dry_run(config: Config, env_spec: EnvSpec) -> None:
    """Make everything that a new run needs, print its settings, and end without an agent step or a run folder.

    Args:
        config: The configuration.
        env_spec: The environment, as for `train`.

    Raises:
        LabError, ConfigError, EnvError: The run cannot start.
    """
    plan = _plan_new_run(config, env_spec)
    with torch_threads(plan.compute.threads):
        agent = plan.make_agent()
        if plan.config.run.init_from:
            plan = _initialise_from_run(plan, agent)
        trainer = Trainer(plan, Run(Run.folder_of(plan.config, plan.env_spec)), agent, quiet=False)
        try:
            trainer.print_settings()
            num_weights = sum(weight.numel() for weight in agent.network.parameters())
            trainer.session.display.print_line(f"network of {num_weights:,} weights")
            trainer.session.display.print_line("dry run: the run can start; no step was taken, nothing was written")
        finally:
            trainer.session.loop.close()


def _plan_new_run(config: Config, env_spec: EnvSpec) -> TrainingPlan:
    """Return the plan of a new run after all checks. The arguments and exceptions are those of `train`."""
    settings = config.run
    check_env_options(settings, env_spec)
    env_spec = adapt(
        env_spec,
        flicker=settings.flicker,
        mask_velocity=settings.mask_velocity,
        view=settings.view,
        actions=settings.actions,
    )
    plan = plan_training(config, env_spec)
    plan.check_disk()
    return plan


def _train_planned(
    plan: TrainingPlan,
    *,
    quiet: bool,
    path: Path | None,
    listener: MetricsSink | None,
    callbacks: Sequence[Callback],
) -> Run:
    """Create the agent and the run folder of a plan, and train. The arguments are those of `train`."""
    agent = plan.make_agent()
    if plan.config.run.init_from:
        plan = _initialise_from_run(plan, agent)
    run = Run.create(plan.config, plan.env_spec, path)
    with lock_run(run.path):
        try:
            trainer = Trainer(plan, run, agent, quiet=quiet, listener=listener, callbacks=callbacks)
        except BaseException:  # also on Ctrl-C, because a folder without a checkpoint cannot be resumed
            shutil.rmtree(run.path, ignore_errors=True)
            raise
        return trainer.train()


@quiet_if_lost()
def resume(
    run: Run,
    *,
    steps: int | None = None,
    address: str = "",
    quiet: bool = False,
    listener: MetricsSink | None = None,
    callbacks: Sequence[Callback] = (),
) -> Run:
    """Resume a run from its last checkpoint.

    Args:
        run: The run folder.
        steps: New total of agent steps, to extend the run. None keeps the total; a finished run is then left as it is.
            A run that has stopped at its target trains on to this total, without `stop_at_target`.
        address: New address of the collectors' Ray cluster. "" keeps the address.
        quiet: Print nothing.
        listener: A further receiver of everything that is logged.
        callbacks: As `train`.

    Returns:
        The run folder.

    Raises:
        LabError: There is no checkpoint, or the run already has more than `steps` steps. The configuration in the run
            folder is unchanged.
        Interrupted, Fault: As `train`.
    """
    if run.is_demo:
        demo = f"demo:{run.path.name}"
        raise LabError(f"{demo} cannot be resumed; a new run starts from its network with --init-from {demo}")
    with lock_run(run.path), contextlib.ExitStack() as stack:
        previous = run.config
        settings = replace(previous.run, address=address or previous.run.address)
        if steps is not None:
            stop_at_target = settings.stop_at_target and not _has_stopped_at_target(run)
            settings = replace(settings, steps=steps, stop_at_target=stop_at_target)
        config = replace(previous, run=settings)
        configuration.check(config)
        plan = plan_training(config, run.env_spec)
        stack.enter_context(torch_threads(plan.compute.threads))
        run.metrics()  # raises LabError if the file is damaged, before anything changes
        run.change(plan.config)
        try:
            trainer = Trainer(plan, run, plan.make_agent(), quiet=quiet, listener=listener, callbacks=callbacks)
            _restore(trainer, steps)
        except BaseException:  # also on Ctrl-C, because a run that was not resumed keeps its configuration
            run.change(previous)
            raise
        state = trainer.session.state
        if steps is None and plan.config.run.is_finished(state.steps, state.score):
            trainer.session.loop.close()
            reason = _describe_end(plan.config.run, state)
            trainer.session.display.print_line(f"{run} is finished: {reason}; --steps N extends it")
            return run
        return trainer.train()


def is_finished(run: Run) -> bool:
    """Return True if training has nothing left to do.

    The newest undamaged checkpoint has all steps of the run and the agent was evaluated there, or the score of this
    evaluation has ended the run (`stop_at_target`).
    """
    state = _newest_state(run)
    return state is not None and run.config.run.is_finished(state["steps"], _score_at_step(state))


def _has_stopped_at_target(run: Run) -> bool:
    """Return True if the evaluation of the newest undamaged checkpoint has ended the run (`stop_at_target`)."""
    state = _newest_state(run)
    return state is not None and run.config.run.ends_at(_score_at_step(state))


def _newest_state(run: Run) -> dict[str, Any] | None:
    """Return the state of the newest undamaged checkpoint, or None if there is none."""
    for folder in checkpoint.generations(run.path):
        # `Trainer.restore` skips damaged checkpoints too.
        with contextlib.suppress(checkpoint.DamagedCheckpoint):
            return checkpoint.read_state(folder)
    return None


def _score_at_step(state: dict[str, Any]) -> float | None:
    """Return the score of the evaluation at the step of a checkpoint, or None if the agent was not evaluated there.

    Old checkpoints may lack the score. The agent then counts as evaluated.
    """
    return None if state.get("evaluation_due") else state.get("score", 0.0)


def _describe_end(settings: RunConfig, state: RunState) -> str:
    """Return why a finished run is finished."""
    if state.has_stopped_at_target(settings):
        return f"its target {settings.target:g} is reached"
    return f"it has all its {settings.steps:,} steps"


def _initialise_from_run(plan: TrainingPlan, agent: Agent) -> TrainingPlan:
    """Load the best network of the run that `init_from` names into the agent.

    Returns:
        The plan in which `init_from` is the path of that run.
    """
    settings = plan.config.run
    source = Run.find(settings.init_from, settings.runs_dir)
    checkpoint.load_network(checkpoint.find(source.path), agent)
    return replace(plan, config=replace(plan.config, run=replace(settings, init_from=str(source))))


def _restore(trainer: Trainer, steps: int | None) -> None:
    """Restore the run's checkpoint. Close the environments if this raises an exception.

    Raises:
        LabError: There is no checkpoint, or the run already has more than `steps` steps.
    """
    try:
        trainer.restore()
        steps_done = trainer.session.state.steps
        if steps is not None and steps < steps_done:
            raise LabError(f"steps is {steps}; {trainer.run} already has {steps_done}, so it must be at least that")
    except BaseException:
        trainer.session.loop.close()
        raise
