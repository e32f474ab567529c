"""The Python interface: the commands `train`, `resume` and `eval` as functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, cast

import torch

from agents.core.agent import Agent
from agents.core.settings import Count, Range, check_fields
from envs import make
from envs.atari import games
from envs.gymnasium_envs import trainable_ids
from envs.spec import AtariProtocol, EnvSpec
from rl_lab import checkpoint
from rl_lab.experiment import config, factory, launch
from rl_lab.experiment.config_layers import ConfigFile
from rl_lab.experiment.registry import load_env_plugins
from rl_lab.experiment.run import Run
from rl_lab.experiment.run_config import Seed
from rl_lab.training import evaluation
from rl_lab.training.evaluation import EvaluatedAgent, Evaluation, EvaluationProgress


@dataclass(frozen=True)
class EvaluationOptions:
    """The options of an evaluation. None means the setting of the run."""

    episodes: Count = 10
    """Number of episodes."""
    epsilon: Annotated[float | None, Range(0, 1)] = None
    """Probability of a random action. None: `eval_epsilon`."""
    seed: Seed = 0
    """Seed of the environments and of random actions."""
    max_steps: Annotated[int | None, Range(1)] = None
    """Agent steps after which an episode is cut. None: `eval_max_steps`."""


def train(
    agent: str,
    *,
    env: str,
    preset: str = "default",
    config_file: str | None = None,
    quiet: bool = False,
    **settings: Any,
) -> Run:
    """Train an agent on an environment, and return the run.

    Args:
        agent: Name of the agent, as `list agents` shows it.
        env: Name of an Atari game, or a Gymnasium id.
        preset: Name of a preset in the agent's YAML file.
        config_file: A YAML file of settings.
        quiet: Print nothing.
        **settings: Settings of the run (`RunConfig`) and of the agent (its config class). Names that Stable-Baselines3
            and CleanRL use are accepted too (`rl_lab.experiment.setting_names`).

    Raises:
        ConfigError, EnvError, LabError: The run cannot start. The message is one line, and no folder is left behind.
        Fault: An error ended training. The message names the command that resumes the run.
        Interrupted: A signal stopped training. A checkpoint was saved.
    """
    file = ConfigFile.read(config_file) if config_file else None
    protocol_of_file = file.protocol if file else "auto"
    env_spec = resolve_env(env, settings.get("protocol", protocol_of_file))
    resolved = config.resolve(agent, env_spec, {"env": env, **settings}, preset=preset, file=file)
    return launch.train(resolved, env_spec, quiet=quiet)


def resume(
    run: str | Path | Run,
    *,
    steps: int | None = None,
    address: str = "",
    runs_dir: str = "runs",
    quiet: bool = False,
) -> Run:
    """Resume a run from its last checkpoint. The result equals that of a run that was never stopped.

    Args:
        run: The run, or its name (`Run.find`).
        steps: New total of agent steps, to extend the run.
        address: New address of the Ray cluster of the run's collectors.
        runs_dir: Folder of the run folders.
        quiet: Print nothing.

    Raises:
        LabError: There is no checkpoint, or the run already has more than `steps` steps.
        Fault, Interrupted: As `train`.
    """
    load_env_plugins()
    return launch.resume(Run.find(run, runs_dir), steps=steps, address=address, quiet=quiet)


def load(run: str | Path | Run, *, which: str | None = None, runs_dir: str = "runs") -> Agent:
    """Return the trained agent of a run, on the CPU.

    Args:
        run: The run, or its name (`Run.find`).
        which: The checkpoint: "best", "last" or an agent step. None is the best one, or else the last one.
        runs_dir: Folder of the run folders.
    """
    run = Run.find(run, runs_dir)
    load_env_plugins()
    folder = checkpoint.find(run.path, which)
    agent = factory.make_cpu_agent(run.config, run.env_spec)
    checkpoint.load_network(folder, agent)
    return agent


def evaluate(
    run: str | Path | Run,
    *,
    episodes: int = 10,
    epsilon: float | None = None,
    seed: int = 0,
    max_steps: int | None = None,
    which: str | None = None,
    runs_dir: str = "runs",
) -> Evaluation:
    """Evaluate a checkpoint of a run. The same checkpoint and seed give the same scores.

    Args:
        run: The run, or its name (`Run.find`).
        episodes: Number of episodes.
        epsilon: Probability of a random action. None is the run's setting `eval_epsilon`.
        seed: Seed of the environments and of random actions.
        max_steps: Agent steps after which an episode is cut. None is the run's setting `eval_max_steps`.
        which: The checkpoint: "best", "last" or an agent step. None is the best one, or else the last one.
        runs_dir: Folder of the run folders.

    Raises:
        ConfigError: A number is out of range.
        LabError: The run or the checkpoint does not exist.
        EnvFault: The environment failed.
    """
    options = EvaluationOptions(episodes, epsilon, seed, max_steps)
    check_fields(options)
    run = Run.find(run, runs_dir)
    return evaluate_agent(run, load(run, which=which), options)


def evaluate_agent(
    run: Run,
    agent: EvaluatedAgent,
    options: EvaluationOptions,
    after_row: Callable[[EvaluationProgress], None] = lambda _: None,
) -> Evaluation:
    """Evaluate an agent on the CPU, in the environment of a run.

    Args:
        run: The run.
        agent: The agent.
        options: The options of the evaluation.
        after_row: Called after every row.
    """
    settings = run.config
    stream = factory.make_eval_envs(settings, run.env_spec, options.episodes)
    try:
        return evaluation.evaluate(
            agent,
            stream,
            episodes=options.episodes,
            epsilon=settings.run.eval_epsilon if options.epsilon is None else options.epsilon,
            seed=options.seed,
            device=torch.device("cpu"),
            max_steps=options.max_steps or settings.run.eval_max_steps,
            after_row=after_row,
        )
    finally:
        stream.close()


def resolve_env(name: str, protocol: str = "auto") -> EnvSpec:
    """Return the spec of an environment, which an installed package may have added.

    Args:
        name: Name of an Atari game, or a Gymnasium id.
        protocol: Protocol of an Atari game. "auto" is the one that the name implies.

    Raises:
        EnvError: The environment or the protocol is unknown.
    """
    load_env_plugins()
    if protocol == "auto":
        return make.resolve(name)
    return make.resolve(name, cast(AtariProtocol, protocol))  # raises EnvError for any other text


def environments() -> dict[str, list[str]]:
    """Return the names of all environments by kind: Atari games, Gymnasium ids, those of installed packages."""
    plugins = load_env_plugins()
    names = {"Atari games": list(games()), "Gymnasium": trainable_ids()}
    if plugins:
        names["installed packages"] = plugins
    return names
