"""Run folders with the curves that a test wants."""

import json

import pytest

from envs.make import resolve
from rl_lab.experiment import config
from rl_lab.experiment.run import Run


@pytest.fixture
def make(tmp_path):
    """A run folder with evaluations [(step, minutes, score)], untrained."""

    def go(agent="dqn", env="CartPole-v1", seed=1, evaluations=((1000, 1.0, 10.0), (2000, 2.0, 20.0)), **settings):
        env_spec = resolve(env)
        given = {"env": env, "seed": seed, "runs_dir": str(tmp_path / "runs"), **settings}
        run = Run.create(config.resolve(agent, env_spec, given), env_spec)
        lines = [{"global_step": 500, "speed/steps_per_s": 100.0, "loss": 1.0}]
        lines += [{"global_step": s, "time/minutes": m, "eval/return_mean": x} for s, m, x in evaluations]
        (run.path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return run

    return go
