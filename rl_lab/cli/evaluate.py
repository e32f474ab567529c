"""The command `eval`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated

import tyro

from agents.core.settings import Count, Range, check_fields
from rl_lab import api, checkpoint
from rl_lab.cli.parsing import PlayOptions, parse
from rl_lab.experiment import factory
from rl_lab.experiment.registry import load_env_plugins
from rl_lab.experiment.run import Run


@dataclass(frozen=True)
class EvalOptions(PlayOptions):
    episodes: Count = 10
    """Whole games to play."""
    epsilon: Annotated[float | None, Range(0, 1)] = None
    """Share of random actions; the run's own eval_epsilon unless given."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print one JSON object: mean, std, returns, lengths, episodes, checkpoint, env, agent."""


def eval_command(args: list[str]) -> None:
    chosen = parse(EvalOptions, args, "eval", "Play whole games with a run's checkpoint and print the raw score.")
    check_fields(chosen)
    run = Run.find(chosen.run, chosen.runs_dir)
    load_env_plugins()
    folder = checkpoint.find(run.path, chosen.which)
    step, agent = checkpoint.read_state(folder)["steps"], factory.make_cpu_agent(run.config, run.env_spec)
    checkpoint.load_network(folder, agent)  # now: a run that trains may soon have others
    result = api.evaluate_agent(run, agent, episodes=chosen.episodes, epsilon=chosen.epsilon, seed=chosen.seed)
    if chosen.json:
        about = {"checkpoint": str(folder), "env": run.env_spec.name, "agent": run.config.agent}
        print(json.dumps(result.to_dict() | about))
    else:
        print(f"{run.config.agent} on {run.env_spec}\ncheckpoint {folder.name} of step {step:,}: {result}")
