"""Fixtures for tests that train: short runs in a temporary folder, without W&B and without output."""

from pathlib import Path
from typing import Any, Protocol

import pytest

import rl_lab
from rl_lab.experiment.run import Run

WITHOUT_REPLAY = ("reinforce", "ppo", "recurrent_ppo", "a2c", "pqn")
SHORT_RUN = {"steps": 1200, "eval_every": 500, "eval_episodes": 4, "log_every": 200, "checkpoint_every": 400}


class Train(Protocol):
    """Trains an agent for a moment: DQN on CartPole, unless settings say otherwise."""

    def __call__(self, agent: str = "dqn", **settings: Any) -> Run: ...


@pytest.fixture
def train(tmp_path: Path) -> Train:
    """Return a function that trains a short run in `tmp_path/runs`."""

    def train_short_run(agent: str = "dqn", **settings: Any) -> Run:
        defaults: dict[str, Any] = {
            "env": "CartPole-v1",
            "wandb": "disabled",
            "runs_dir": str(tmp_path / "runs"),
            "quiet": True,
            **SHORT_RUN,
        }
        if agent not in WITHOUT_REPLAY and not agent.startswith("sb3_"):
            defaults["learning_starts"] = 200
        return rl_lab.train(agent, **{**defaults, **settings})

    return train_short_run
