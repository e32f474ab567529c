"""The lab from Python: what the commands `train`, `resume` and `eval` do, as functions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from agents.core.agent import Agent
from envs import make
from envs.atari import games
from envs.gymnasium_envs import trainable_ids
from envs.spec import EnvSpec
from rl_lab import checkpoint
from rl_lab.experiment import config, factory, launch
from rl_lab.experiment.registry import load_env_plugins
from rl_lab.experiment.run import Run
from rl_lab.training import evaluation
from rl_lab.training.evaluation import Evaluation


def resolve_env(name: str, protocol: str = "auto") -> EnvSpec:
    """The env card of a name, installed packages' environments included. Raises EnvError."""
    load_env_plugins()
    return make.resolve(name, None if protocol == "auto" else protocol)  # type: ignore[arg-type]


def train(
    agent: str,
    *,
    env: str,
    preset: str = "default",
    config_file: str | None = None,
    quiet: bool = False,
    **settings: Any,
) -> Run:
    """Train `agent` on `env` and return its run. `settings` are the fields of RunConfig and of the agent's config.

    Raises ConfigError, EnvError or LabError, each in one line, before a run folder is made; Fault, with the command to go on,
    where it breaks on the way; Interrupted after a signal.
    """
    env_spec = resolve_env(env, settings.get("protocol", config.protocol_of(config_file)))
    resolved = config.resolve(agent, env_spec, {"env": env, **settings}, preset=preset, file=config_file)
    return launch.train(resolved, env_spec, quiet=quiet)


def resume(
    run: str | Path | Run,
    *,
    steps: int | None = None,
    address: str = "",
    runs_dir: str = "runs",
    quiet: bool = False,
) -> Run:
    """Go on with a run from its last checkpoint, as if it had never stopped; `steps` is a new total, to extend it.

    `address` is that of the Ray cluster where its collectors run, if it is another than before. Raises LabError where there is
    nothing to go on from; Fault and Interrupted as `train`.
    """
    load_env_plugins()
    return launch.resume(Run.find(run, runs_dir), steps=steps, address=address, quiet=quiet)


def load(run: str | Path | Run, *, which: str | None = None, runs_dir: str = "runs") -> Agent:
    """The agent of a run with the weights of its best checkpoint (`which`: "best", "last" or a step), on this machine's CPU."""
    run = Run.find(run, runs_dir)
    load_env_plugins()
    folder = checkpoint.find(run.path, which)
    agent = factory.make_player(run.config, run.env_spec)
    checkpoint.load_network(folder, agent)
    return agent


def evaluate(
    run: str | Path | Run,
    *,
    episodes: int = 10,
    epsilon: float | None = None,
    seed: int = 0,
    which: str | None = None,
    runs_dir: str = "runs",
) -> Evaluation:
    """Play whole games with a run's best checkpoint (`which`: "best", "last" or a step). `epsilon` is the run's own unless given.

    The games are those of `seed` and no others: with the same seed, the same agent gets the same score.
    """
    run = Run.find(run, runs_dir)
    return play(run, load(run, which=which), episodes=episodes, epsilon=epsilon, seed=seed)


def play(run: Run, agent: Agent, *, episodes: int, epsilon: float | None, seed: int) -> Evaluation:
    """Evaluate this agent as the run's own would be; it needs `initial_carry` and `think`."""
    resolved, env_spec = run.config, run.env_spec
    stream = factory.make_envs(resolved, env_spec, min(factory.EVAL_ENVS, episodes))
    try:
        return evaluation.evaluate(
            agent,
            stream,
            episodes=episodes,
            epsilon=resolved.run.eval_epsilon if epsilon is None else epsilon,
            seed=seed,
            device=torch.device("cpu"),
            value_scaling=factory.value_scaling(resolved),
        )
    finally:
        stream.close()


def environments() -> dict[str, list[str]]:
    """The environments by kind: Atari games by name, other Gymnasium ids, and those of installed packages."""
    plugins = load_env_plugins()
    return {
        "Atari games": list(games()),
        "Gymnasium": trainable_ids(),
        **({"installed packages": plugins} if plugins else {}),
    }
