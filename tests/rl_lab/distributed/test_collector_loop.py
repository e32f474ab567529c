"""Collectors: a run with them is as exact as any other, and outlives them."""

import contextlib
import os
import signal
import subprocess
import sys

import numpy as np
import psutil
import pytest
import torch
from identical import assert_identical
from sweep_cluster import Command

from rl_lab import checkpoint, cli
from rl_lab.experiment import factory
from rl_lab.experiment.run import Run

TRAIN = ["train", "dqn", "--env", "CartPole-v1", "--collectors", "2", "--wandb", "disabled", "--eval-episodes", "2"]
TRAIN += ["--learning-starts", "200", "--eval-every", "550"]
DRQN = ["--unroll", "5", "--batch-size", "4", "--hidden", "16"]


@pytest.mark.slow
@pytest.mark.parametrize("agent", ["dqn", "drqn"])
def test_a_run_that_is_resumed_is_the_run_that_never_stopped(cluster, agent, tmp_path):
    options = [agent if word == "dqn" else word for word in TRAIN] + (DRQN if agent == "drqn" else [])
    both = [
        Command(tmp_path, *options, "--steps", steps, "--runs-dir", folder)
        for steps, folder in (("2000", "calm"), ("1100", "stopped"))
    ]
    for command in both:
        code, said = command.finish()
        assert code == 0, said
    code, said = Command(tmp_path, "resume", "latest", "--steps", "2000", "--runs-dir", "stopped").finish()
    assert code == 0, said
    assert_identical(*(Run.find("latest", tmp_path / folder) for folder in ("calm", "stopped")))


def physics(state, action):
    """One step of the cart and the pole (Barto, Sutton and Anderson 1983), Euler's method, .02 s: f64[B, 4]."""
    x, speed, angle, spin = state.T
    force = np.where(action == 1, 10.0, -10.0)
    pushed = (force + 0.05 * spin**2 * np.sin(angle)) / 1.1
    turn = (9.8 * np.sin(angle) - np.cos(angle) * pushed) / (0.5 * (4 / 3 - 0.1 * np.cos(angle) ** 2 / 1.1))
    push = pushed - 0.05 * turn * np.cos(angle) / 1.1
    return np.stack([x + 0.02 * speed, speed + 0.02 * push, angle + 0.02 * spin, spin + 0.02 * turn], 1)


def a_collector():
    """The process of a collector in the tests' cluster, and in no other that this machine may have."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            is_collector = "ray::Collector" in " ".join(process.cmdline())
            if is_collector and process.environ().get("RAY_TMPDIR") == os.environ["RAY_TMPDIR"]:
                return process
    raise AssertionError("no collector runs")


def test_a_collector_that_is_killed_is_replaced_and_no_transition_crosses_the_cut(cluster, tmp_path):
    command = Command(tmp_path, *TRAIN, "--n-step", "1", "--steps", "4000", "--log-every", "100")
    (path,) = command.wait_for(lambda: list(tmp_path.glob("runs/*/*/*/metrics.jsonl")))
    run = Run(path.parent)
    command.wait_for(lambda: run.metrics() and run.metrics()[-1]["global_step"] >= 1000)
    os.kill(a_collector().pid, signal.SIGKILL)
    code, said = command.finish()
    assert code == 0, said
    assert "died; another takes its place" in said
    logged = [line["collectors/replaced"] for line in run.metrics() if "collectors/replaced" in line]
    assert (logged[0], logged[-1]) == (0, 1)
    staleness = [line["collectors/staleness"] for line in run.metrics() if "collectors/staleness" in line]
    assert 0 < max(staleness) <= 256

    agent = factory.make_agent(run.config, run.env_spec, torch.device("cpu"))
    checkpoint.load(checkpoint.generations(run.path)[0], agent, torch.device("cpu"))
    batch = agent.replay.sample(20_000)
    goes_on = (batch.discount > 0).numpy()
    before, after = batch.obs[:, -1].double().numpy(), batch.next_obs[:, -1].double().numpy()
    assert goes_on.mean() > 0.9
    np.testing.assert_allclose(after[goes_on], physics(before, batch.action.numpy())[goes_on], atol=1e-5)
    assert (batch.ret == 1).all()


THREADS = """
import os, pathlib, platform, sys, torch, rl_lab
from rl_lab import device
os.sched_getaffinity = lambda pid: set(range(8))
device.CGROUP = pathlib.Path("nowhere")
platform.node = lambda here=platform.node(): here if sys.argv[1] == "here" else "elsewhere"
torch.set_num_threads(8)
original, asked = torch.set_num_threads, []
torch.set_num_threads = lambda n: (asked.append(n), original(n))
rl_lab.train("dqn", env="CartPole-v1", steps=100, collectors=2, eval_episodes=1, wandb="disabled")
print("threads", asked[-2:], torch.get_num_threads())
"""


@pytest.mark.parametrize(("where", "left"), [("here", 6), ("elsewhere", 8)])
def test_the_learner_leaves_collectors_on_its_machine_a_core_each(cluster, where, left, tmp_path):
    said = subprocess.run([sys.executable, "-c", THREADS, where], cwd=tmp_path, capture_output=True, text=True)
    assert f"threads [{left}, 8] 8" in said.stdout, said.stdout + said.stderr


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ("train reinforce --env CartPole-v1 --collectors 2", "reinforce has no replay"),
        ("train dqn --env CartPole-v1 --collectors 3", "collectors is 3; it must divide num_envs, 8"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_no_folder(args, says, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([*args.split(), "--wandb", "disabled", "--runs-dir", str(tmp_path)])
    assert stop.value.code == 2
    assert says in capsys.readouterr().err
    assert not list(tmp_path.glob("*/*/*"))


def test_more_collectors_than_cores_are_refused(cluster, tmp_path):
    code, said = Command(tmp_path, *TRAIN, "--collectors", "8").finish()
    assert code == 2, said
    assert "collectors is 8; each needs a core, and Ray has 2" in said
    assert not list(tmp_path.glob("runs/*/*/*"))
