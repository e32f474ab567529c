"""Runs in a folder of the test's own, without W&B and without a word."""

import pytest

import rl_lab

TINY = {"steps": 1200, "eval_every": 500, "eval_episodes": 4, "log_every": 200, "checkpoint_every": 400}


@pytest.fixture
def train(tmp_path):
    """Train DQN on CartPole for a moment; keywords overrule, `agent` too."""

    def go(agent="dqn", **settings):
        given = {"env": "CartPole-v1", "wandb": "disabled", "runs_dir": str(tmp_path / "runs")}
        if agent != "reinforce" and not agent.startswith("sb3_"):
            given["learning_starts"] = 200
        return rl_lab.train(agent, quiet=True, **{**TINY, **given, **settings})

    return go
