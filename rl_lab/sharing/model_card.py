"""The page of an agent on the Hugging Face Hub: README.md with the metadata that the Hub reads."""

from __future__ import annotations

import math
from typing import Any

import yaml

from rl_lab.experiment.run import Run
from rl_lab.system.shell import shell_command
from rl_lab.training.evaluation import Evaluation
from rl_lab.version import __version__

CARD = """---
{metadata}---

# {agent} on {env}

A {agent} agent that plays {env}, trained with rl_lab {version}.

| | |
|---|---|
| environment | {env_spec} |
| score | {score} |
| agent steps | {steps:,} |
| seed | {seed} |

The score is that of whole episodes with a random action with probability {epsilon:g}.
{video}
## Use

    pip install "rl-lab[hub]"
    {pull}
    {evaluate}
    {watch}

`config.yaml` holds every setting, `env.json` the environment, `metrics.jsonl` the learning curve, and
`checkpoints/best/network.safetensors` the weights.
"""


def model_card(run: Run, repo: str, evaluation: Evaluation, *, steps: int, has_video: bool) -> str:
    """Return the content of README.md.

    Args:
        run: The run.
        repo: Name of the repository, user/name.
        evaluation: Evaluation of the pushed network.
        steps: Agent steps after which the network was saved.
        has_video: The repository holds replay.mp4, which the Hub shows.
    """
    config = run.config
    env_spec = run.env_spec
    name = repo.partition("/")[2]
    return CARD.format(
        metadata=yaml.safe_dump(card_metadata(run, evaluation), sort_keys=False),
        agent=config.agent,
        env=env_spec.name,
        version=__version__,
        env_spec=str(env_spec).replace("|", "/"),
        score=evaluation,
        steps=steps,
        seed=config.run.seed,
        epsilon=config.run.eval_epsilon,
        video="\nThe video replay.mp4 shows an episode.\n" if has_video else "",
        pull=shell_command("pull", repo),
        evaluate=shell_command("eval", name),
        watch=shell_command("watch", name),
    )


def card_metadata(run: Run, evaluation: Evaluation) -> dict[str, Any]:
    """Return the metadata of the model card, with the score in the Hub's form for reinforcement learning."""
    agent = run.config.agent
    env = run.env_spec.name
    score = f"{evaluation.mean:.2f} +/- {evaluation.std:.2f}" if math.isfinite(evaluation.mean) else "n/a"
    result = {
        "task": {"type": "reinforcement-learning", "name": "reinforcement-learning"},
        "dataset": {"name": env, "type": env},
        "metrics": [{"type": "mean_reward", "value": score, "name": "mean_reward", "verified": False}],
    }
    return {
        "library_name": "rl_lab",
        "pipeline_tag": "reinforcement-learning",
        "tags": [env, agent, "reinforcement-learning", "deep-reinforcement-learning", "rl_lab"],
        "model-index": [{"name": agent, "results": [result]}],
    }
