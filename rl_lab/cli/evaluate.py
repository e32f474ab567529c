"""The command `eval`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated

import tyro

from agents.core.settings import Count, Range, check_fields
from rl_lab.cli.parsing import PlayOptions, parse
from rl_lab.experiment.registry import load_env_plugins
from rl_lab.experiment.run import Run
from rl_lab.system.printable import print_wrapped
from rl_lab.tracking.progress import evaluation_progress


@dataclass(frozen=True)
class EvalOptions(PlayOptions):
    """Options of `eval`."""

    episodes: Count = 10
    """Number of episodes."""
    epsilon: Annotated[float | None, Range(0, 1)] = None
    """Probability of a random action. The run's setting eval_epsilon is used if this is not given."""
    max_steps: Annotated[int | None, Range(1)] = None
    """Agent steps after which an episode is cut. The run's setting eval_max_steps is used if this is not given."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print one JSON object: mean, std, returns, lengths, episodes, cut, checkpoint, env, agent."""


def eval_command(args: list[str]) -> None:
    """Evaluate a checkpoint of a run, and print the score."""
    options = parse(EvalOptions, args, "eval", "Evaluate a checkpoint of a run, and print the score (raw rewards).")
    check_fields(options)
    from rl_lab import api, checkpoint
    from rl_lab.experiment.factory import make_cpu_agent

    run = Run.find(options.run, options.runs_dir)
    load_env_plugins()
    folder = checkpoint.find(run.path, options.which)
    agent = make_cpu_agent(run.config, run.env_spec)
    # Read both files before the episodes: a run that is still training replaces its checkpoints.
    step = checkpoint.read_state(folder)["steps"]
    checkpoint.load_network(folder, agent)
    evaluation = api.EvaluationOptions(options.episodes, options.epsilon, options.seed, options.max_steps)
    with evaluation_progress() as after_row:
        result = api.evaluate_agent(run, agent, evaluation, after_row)
    if options.json:
        origin = {"checkpoint": str(folder), "env": run.env_spec.name, "agent": run.config.agent}
        print(json.dumps(result.to_dict() | origin))
        return
    print_wrapped(f"{run.config.agent} on {run.env_spec}")
    print_wrapped(f"checkpoint {folder.name} of step {step:,}: {result}")
