"""The lab from Python: what the commands `train`, `resume` and `eval` do, as functions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from agents.base import Agent
from envs import make
from envs.atari import games
from envs.card import EnvCard
from envs.gym import other_ids
from rl_lab import build, checkpoint, config, evaluation, start
from rl_lab.evaluation import Evaluation
from rl_lab.registry import load_env_plugins
from rl_lab.run import Run


def resolve_env(name: str, protocol: str = "auto") -> EnvCard:
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
    card = resolve_env(env, settings.get("protocol", config.protocol_of(config_file)))
    resolved = config.resolve(agent, card, {"env": env, **settings}, preset=preset, file=config_file)
    return start.train(resolved, card, quiet=quiet)


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
    return start.resume(Run.find(run, runs_dir), steps=steps, address=address, quiet=quiet)


def load(run: str | Path | Run, *, which: str | None = None, runs_dir: str = "runs") -> Agent:
    """The agent of a run with the weights of its best checkpoint (`which`: "best", "last" or a step), on this machine's CPU."""
    run = Run.find(run, runs_dir)
    load_env_plugins()
    folder = checkpoint.find(run.path, which)
    agent = build.make_player(run.config, run.card)
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
    resolved, card = run.config, run.card
    stream = build.make_envs(resolved, card, min(build.EVAL_ENVS, episodes))
    try:
        return evaluation.evaluate(
            agent,
            stream,
            episodes=episodes,
            epsilon=resolved.run.eval_epsilon if epsilon is None else epsilon,
            seed=seed,
            device=torch.device("cpu"),
            learned_with=build.learned_with(resolved),
        )
    finally:
        stream.close()


def environments() -> dict[str, list[str]]:
    """The environments by kind: Atari games by name, other Gymnasium ids, and those of installed packages."""
    plugins = load_env_plugins()
    return {
        "Atari games": list(games()),
        "Gymnasium": other_ids(),
        **({"installed packages": plugins} if plugins else {}),
    }
