"""Tests that agents learn: results of docs/benchmarks/ for CartPole and Pong, measured again (`make test-slow`)."""

from pathlib import Path

import pytest

import rl_lab

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
def test_dqn_solves_cartpole_in_two_minutes(seed: int, tmp_path: Path):
    run = rl_lab.train("dqn", env="CartPole-v1", seed=seed, wandb="disabled", runs_dir=str(tmp_path), quiet=True)
    assert rl_lab.evaluate(run, episodes=20, seed=100).mean >= 475
    assert run.metrics()[-1]["time/minutes"] < 2


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_dqn_learns_pong_in_300_000_steps(precision: str, tmp_path: Path):
    """Seed 2 reaches a score of 18 in both precisions; docs/benchmarks/pong.md has the results of other seeds."""
    run = rl_lab.train(
        "dqn",
        env="Pong",
        seed=2,
        precision=precision,
        steps=300_000,
        wandb="disabled",
        runs_dir=str(tmp_path),
        quiet=True,
    )
    assert rl_lab.evaluate(run, episodes=10, seed=100).mean >= 18


def test_ppo_learns_pong_in_300_000_steps(tmp_path: Path):
    run = rl_lab.train("ppo", env="Pong", seed=1, steps=300_000, wandb="disabled", runs_dir=str(tmp_path), quiet=True)
    assert rl_lab.evaluate(run, episodes=10, seed=100).mean >= 18


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
def test_ppo_solves_cartpole_in_two_minutes(seed: int, tmp_path: Path):
    run = rl_lab.train("ppo", env="CartPole-v1", seed=seed, wandb="disabled", runs_dir=str(tmp_path), quiet=True)
    assert rl_lab.evaluate(run, episodes=20, seed=100).mean >= 475
    assert run.metrics()[-1]["time/minutes"] < 2


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_reinforce_solves_cartpole(seed: int, tmp_path: Path):
    run = rl_lab.train("reinforce", env="CartPole-v1", seed=seed, wandb="disabled", runs_dir=str(tmp_path), quiet=True)
    assert rl_lab.evaluate(run, episodes=20, seed=100).mean >= 475
