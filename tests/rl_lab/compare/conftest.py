"""Run folders with given learning curves."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from envs.make import resolve
from rl_lab.experiment import config
from rl_lab.experiment.run import Run

Evaluation = tuple[int, float, float]  # agent step, minutes, score
MakeRun = Callable[..., Run]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Return a function that creates a run folder with the given evaluations, without training."""

    def make(
        agent: str = "dqn",
        env: str = "CartPole-v1",
        seed: int = 1,
        evaluations: Sequence[Evaluation] = ((1000, 1.0, 10.0), (2000, 2.0, 20.0)),
        **settings: Any,
    ) -> Run:
        env_spec = resolve(env)
        overrides = {"env": env, "seed": seed, "runs_dir": str(tmp_path / "runs"), **settings}
        run = Run.create(config.resolve(agent, env_spec, overrides), env_spec)
        lines: list[dict[str, float]] = [{"global_step": 500, "speed/steps_per_s": 100.0, "loss": 1.0}]
        for step, minutes, score in evaluations:
            lines.append({"global_step": step, "time/minutes": minutes, "eval/return_mean": score})
        (run.path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return run

    return make


@pytest.fixture
def study(make_run: MakeRun) -> list[Run]:
    """Return the runs of two agents on two environments with three seeds each."""
    runs = []
    for seed in (1, 2, 3):
        runs.append(make_run("dqn", "Pong", seed, _evaluations(-20, -10, seed)))
        runs.append(make_run("double_dqn", "Pong", seed, _evaluations(-20, 0, 10 + seed)))
        runs.append(make_run("dqn", "CartPole-v1", seed, _evaluations(100, 300, 400)))
        runs.append(make_run("double_dqn", "CartPole-v1", seed, _evaluations(100, 475, 450)))
    return runs


def _evaluations(*scores: float) -> list[Evaluation]:
    """Return evaluations every 1000 agent steps and every half minute."""
    return [(1000 * i, 0.5 * i, float(score)) for i, score in enumerate(scores, 1)]
