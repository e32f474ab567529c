"""Tests of runs with collectors: exact resume, replacement of dead collectors, threads and error messages."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from identical import assert_identical
from numpy.typing import NDArray
from sweep_cluster import Cluster, Command

from agents.dqn import DQN
from envs.errors import EnvFault
from rl_lab import checkpoint, cli
from rl_lab.experiment import factory
from rl_lab.experiment.run import Run

OPTIONS = ["--env", "CartPole-v1", "--collectors", "2", "--wandb", "disabled", "--eval-episodes", "2"]
OPTIONS += ["--learning-starts", "200", "--eval-every", "550"]
AGENT_OPTIONS = {
    "dqn": ["--normalize-obs", "--normalize-reward"],
    "drqn": ["--unroll", "5", "--batch-size", "4", "--hidden", "16", "--replay-ratio", "2"],
}


@pytest.mark.slow
@pytest.mark.parametrize("agent", ["dqn", "drqn"])
def test_a_resumed_run_equals_an_uninterrupted_run(cluster: Cluster, agent: str, tmp_path: Path):
    train = ["train", agent, *OPTIONS, *AGENT_OPTIONS[agent]]
    for steps, runs_dir in (("2000", "whole"), ("1100", "resumed")):
        code, output = Command(tmp_path, *train, "--steps", steps, "--runs-dir", runs_dir).finish()
        assert code == 0, output
    code, output = Command(tmp_path, "resume", "latest", "--steps", "2000", "--runs-dir", "resumed").finish()
    assert code == 0, output
    assert_identical(Run.find("latest", tmp_path / "whole"), Run.find("latest", tmp_path / "resumed"))


def cart_pole_step(state: NDArray[np.float64], action: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the states of CartPole after one step.

    The equations are those of Barto, Sutton and Anderson 1983, integrated by Euler's method with steps of 0.02 s.

    Args:
        state: Position, velocity, angle and angular velocity, f64[B, 4].
        action: 0 pushes to the left, 1 to the right, i64[B].
    """
    position, velocity, angle, angular_velocity = state.T
    force = np.where(action == 1, 10.0, -10.0)
    total = (force + 0.05 * angular_velocity**2 * np.sin(angle)) / 1.1
    angular_acceleration = (9.8 * np.sin(angle) - np.cos(angle) * total) / (
        0.5 * (4 / 3 - 0.1 * np.cos(angle) ** 2 / 1.1)
    )
    acceleration = total - 0.05 * angular_acceleration * np.cos(angle) / 1.1
    return np.stack(
        [
            position + 0.02 * velocity,
            velocity + 0.02 * acceleration,
            angle + 0.02 * angular_velocity,
            angular_velocity + 0.02 * angular_acceleration,
        ],
        axis=1,
    )


def find_collector() -> psutil.Process:
    """Return the process of a collector of the tests' cluster. Other Ray clusters of this machine are ignored."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            is_collector = "ray::Collector" in " ".join(process.cmdline())
            if is_collector and process.environ().get("RAY_TMPDIR") == os.environ["RAY_TMPDIR"]:
                return process
    raise AssertionError("no collector is running")


def test_a_killed_collector_is_replaced_and_its_episodes_are_truncated(cluster: Cluster, tmp_path: Path):
    """After the kill, no transition in the replay joins states of two episodes: all obey the equations of CartPole."""
    command = Command(tmp_path, "train", "dqn", *OPTIONS, "--n-step", "1", "--steps", "4000", "--log-every", "100")
    (path,) = command.wait_for(lambda: list(tmp_path.glob("runs/*/*/*/metrics.jsonl")))
    run = Run(path.parent)
    command.wait_for(lambda: run.metrics() and run.metrics()[-1]["global_step"] >= 1000)
    os.kill(find_collector().pid, signal.SIGKILL)
    code, output = command.finish()
    assert code == 0, output
    assert "died and is replaced" in output
    replaced = [line["collectors/replaced"] for line in run.metrics() if "collectors/replaced" in line]
    assert (replaced[0], replaced[-1]) == (0, 1)
    staleness = [line["collectors/staleness"] for line in run.metrics() if "collectors/staleness" in line]
    assert 0 < max(staleness) <= 256

    agent = factory.make_agent(run.config, run.env_spec, torch.device("cpu"))
    assert isinstance(agent, DQN)
    checkpoint.load(checkpoint.generations(run.path)[0], agent, torch.device("cpu"))
    batch = agent.replay.sample(20_000)
    continues = (batch.discount > 0).numpy()
    state = batch.obs[:, -1].double().numpy()
    next_state = batch.next_obs[:, -1].double().numpy()
    expected = cart_pole_step(state, batch.action.numpy())
    assert continues.mean() > 0.9
    np.testing.assert_allclose(next_state[continues], expected[continues], atol=1e-5)
    assert (batch.ret == 1).all()


PRINT_THREADS = """
import os, pathlib, platform, sys, torch, rl_lab
from rl_lab.system import container

os.sched_getaffinity = lambda pid: set(range(8))
container.CGROUP = pathlib.Path("does not exist")
real_hostname = platform.node()
learner_hostname = real_hostname if sys.argv[1] == "same machine" else "another machine"
platform.node = lambda: learner_hostname
torch.set_num_threads(8)
set_num_threads = torch.set_num_threads
calls = []

def record_num_threads(n):
    calls.append(n)
    set_num_threads(n)

torch.set_num_threads = record_num_threads
rl_lab.train(
    "dqn", env="CartPole-v1", steps=100, torch_threads=8, collectors=2, eval_episodes=1, wandb="disabled"
)
print("threads", calls, torch.get_num_threads())
"""


@pytest.mark.parametrize(("collectors_on", "threads"), [("same machine", 6), ("another machine", 8)])
def test_the_learner_leaves_a_core_to_each_collector_on_its_machine(
    cluster: Cluster, collectors_on: str, threads: int, tmp_path: Path
):
    done = subprocess.run(
        [sys.executable, "-c", PRINT_THREADS, collectors_on], cwd=tmp_path, capture_output=True, text=True
    )
    assert f"threads [8, {threads}, 8, 8] 8" in done.stdout, done.stdout + done.stderr


def test_fault_of_an_environment_in_a_collector_keeps_its_line(monkeypatch: pytest.MonkeyPatch):
    """Ray raises the exception of an actor as one whose text is a traceback."""
    from ray.exceptions import RayTaskError

    from rl_lab.distributed.collector_loop import CollectorLoop

    error = RayTaskError("collect", "Traceback:\n  line 1\n", EnvFault("Steps-v0 fails"), "ray::x", 1, "127.0.0.1")

    def get(future: object) -> None:
        raise error.as_instanceof_cause()

    monkeypatch.setattr("ray.get", get)
    loop = CollectorLoop.__new__(CollectorLoop)
    loop.futures = [None]
    with pytest.raises(EnvFault) as raised:
        loop._fetch(0)
    assert str(raised.value) == "Steps-v0 fails"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("train reinforce --env CartPole-v1 --collectors 2", "reinforce learns from its own rows only"),
        ("train dqn --env CartPole-v1 --collectors 3", "collectors is 3; it must divide num_envs, 8"),
    ],
)
def test_invalid_collectors_exit_with_code_2_and_create_no_folder(
    args: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as exit_:
        cli.main([*args.split(), "--wandb", "disabled", "--runs-dir", str(tmp_path)])
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("*/*/*"))


def test_more_collectors_than_cores_exit_with_code_2_and_create_no_folder(cluster: Cluster, tmp_path: Path):
    code, output = Command(tmp_path, "train", "dqn", *OPTIONS, "--collectors", "8").finish()
    assert code == 2, output
    assert "collectors is 8; each needs a core, and Ray has 2" in output
    assert not list(tmp_path.glob("runs/*/*/*"))
