"""Tests that a stopped and resumed run equals, bit for bit, a run that was never stopped."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from identical import assert_identical

from rl_lab import api, checkpoint
from rl_lab.checkpoint.loading import verify_files
from rl_lab.checkpoint.state_file import read_state_file
from rl_lab.errors import LabError
from rl_lab.experiment.run import Run
from rl_lab.training.trainer import Interrupted

CARTPOLE: dict[str, Any] = {
    "env": "CartPole-v1",
    "steps": 2000,
    "log_every": 150,
    "eval_every": 700,
    "checkpoint_every": 400,
}
PONG: dict[str, Any] = {
    "env": "ALE/Pong-v5",  # sticky actions
    "precision": "float32",  # otherwise the speed decides, and two runs may differ
    "steps": 900,
    "filters": 4,
    "hidden": 32,
    "num_envs": 3,
    "learning_starts": 300,
    "replay_size": 500,
    "replay_ratio": 1,
    "log_every": 150,
    "eval_every": 0,
    "eval_episodes": 1,
    "checkpoint_every": 200,
}
BREAKOUT = {**PONG, "env": "Breakout"}  # no sticky actions: the action log skips finished episodes
PENDULUM: dict[str, Any] = {
    "env": "Pendulum-v1",
    "steps": 700,
    "hidden": 8,
    "batch_size": 16,
    "replay_ratio": 8,
    "learning_starts": 150,
    "log_every": 100,
    "eval_every": 300,
    "eval_episodes": 1,
    "checkpoint_every": 150,
}
RESETS: dict[str, Any] = {
    "target_tau": 0.05,
    "weight_decay": 0.1,
    "reset_every": 7,
    "n_step": 3,
    "n_step_start": 10,
    "gamma_start": 0.97,
    "gamma": 0.997,
    "anneal_updates": 5,
}
AUGMENTED: dict[str, Any] = {"encoder": "data_efficient", "augment_shift": 4, "augment_intensity": 0.05}
REINFORCE: dict[str, Any] = {"agent": "reinforce", "batch_size": 96}
MINIBATCHES: dict[str, Any] = {"batch_size": 96, "minibatch_size": 24}
NORMALIZED: dict[str, Any] = {"normalize_obs": True, "normalize_reward": True, "reward_scale": 2.0}
REPLAY_SETTINGS = ("learning_starts", "replay_size", "replay_ratio")
PONG_WITHOUT_REPLAY = {name: value for name, value in PONG.items() if name not in REPLAY_SETTINGS}
REINFORCE_PONG = PONG_WITHOUT_REPLAY | REINFORCE
PPO_PONG = PONG_WITHOUT_REPLAY | MINIBATCHES | {"agent": "ppo"}


@pytest.mark.parametrize(
    "settings",
    [
        CARTPOLE,
        pytest.param({**CARTPOLE, "dropout": 0.2, "num_envs": 3}, marks=pytest.mark.slow),
        pytest.param({**CARTPOLE, "agent": "rainbow", "hidden": 16}, marks=pytest.mark.slow),
        {**CARTPOLE, "agent": "qr_dqn", "hidden": 16, "num_quantiles": 8, "priority_alpha": 0.5},
        {**CARTPOLE, "agent": "drqn", "hidden": 16, "start_state": "stored", "mask_velocity": True},
        {**CARTPOLE, **REINFORCE, "batch_games": 3, "baseline": False},
        pytest.param({**CARTPOLE, **NORMALIZED, "target_tau": 0.01}, marks=pytest.mark.slow),
        pytest.param({**CARTPOLE, **NORMALIZED, "agent": "drqn", "hidden": 16}, marks=pytest.mark.slow),
        {**CARTPOLE, **NORMALIZED, **REINFORCE},
        {**CARTPOLE, **NORMALIZED, **MINIBATCHES, "agent": "ppo", "value_clip": 0.2, "target_kl": 0.01},
        {**CARTPOLE, **NORMALIZED, **MINIBATCHES, "agent": "recurrent_ppo", "hidden": 16, "mask_velocity": True},
        {**CARTPOLE, "agent": "a2c", "batch_size": 40},
        {**CARTPOLE, **MINIBATCHES, "agent": "pqn"},
        {**CARTPOLE, "env": "Taxi-v4", "steps": 1000, "hidden": 16, "learning_starts": 200, "epsilon_zeta": 2.0},
        {**PENDULUM, **NORMALIZED, "agent": "sac", "priority_alpha": 0.5, "num_envs": 2},
        pytest.param({**PENDULUM, "agent": "td3", "n_step": 3}, marks=pytest.mark.slow),
        PONG,
        pytest.param(BREAKOUT, marks=pytest.mark.slow),
        pytest.param(REINFORCE_PONG, marks=pytest.mark.slow),
        pytest.param(PPO_PONG, marks=pytest.mark.slow),
        pytest.param({**PONG, "agent": "rainbow"}, marks=pytest.mark.slow),
        {**CARTPOLE, **RESETS, "steps": 1000, "hidden": 16, "priority_alpha": 0.5},
        pytest.param({**PONG, **RESETS, **AUGMENTED, "agent": "rainbow", "noisy": False}, marks=pytest.mark.slow),
    ],
    ids=[
        "cartpole",
        "dropout",
        "rainbow on cartpole",
        "qr_dqn on cartpole",
        "drqn on cartpole",
        "reinforce on cartpole",
        "normalised dqn on cartpole",
        "normalised drqn on cartpole",
        "normalised reinforce on cartpole",
        "normalised ppo on cartpole",
        "normalised recurrent_ppo on cartpole",
        "a2c on cartpole",
        "pqn on cartpole",
        "dqn with repeated actions and masks on taxi",
        "sac on pendulum",
        "td3 on pendulum",
        "pong",
        "breakout",
        "reinforce on pong",
        "ppo on pong",
        "rainbow on pong",
        "dqn with resets on cartpole",
        "rainbow with resets and augmented images on pong",
    ],
)
def test_run_stopped_at_random_rows_equals_an_uninterrupted_run(
    settings: dict[str, Any], train: Any, monkeypatch: pytest.MonkeyPatch
):
    uninterrupted = train(**settings)
    rng = random.Random(0)
    run = None
    stops = 0
    while True:
        rows = rng.randrange(20, 60) * 2**stops  # more each time, because an interrupted evaluation is repeated
        monkeypatch.setattr("rl_lab.system.watchdog.Watchdog.reset", stop_after(rows))
        try:
            run = train(**settings) if run is None else api.resume(run, quiet=True)
        except Interrupted as stop:
            run = stop.run
            stops += 1
            continue
        break
    assert stops >= 2
    assert_identical(uninterrupted, run)


def stop_after(rows: int) -> Callable[[Any], None]:
    """Return a replacement of `Watchdog.reset` that raises SIGTERM at a row of training or evaluation."""
    rows_seen = 0

    def reset(self: Any) -> None:
        nonlocal rows_seen
        rows_seen += 1
        if rows_seen == rows:
            signal.raise_signal(signal.SIGTERM)

    return reset


def train_command(settings: dict[str, Any], folder: Path) -> list[str]:
    """Return the command that trains with these settings and saves its run below `folder`."""
    agent = settings.get("agent", "dqn")
    flags = []
    for name, value in settings.items():
        if name != "agent":
            flags += [f"--{name.replace('_', '-')}", str(value)]
    return [sys.executable, "-m", "rl_lab", "train", agent, *flags, "--wandb", "disabled", "--runs-dir", str(folder)]


def start(args: list[str], output: Path) -> tuple[subprocess.Popen[bytes], float]:
    """Start a command, and return the process and the time of its first output.

    The first line is printed when agent and environments exist, directly before training.
    """
    with output.open("w") as file:
        process = subprocess.Popen(args, stdout=file, stderr=file)
    while process.poll() is None and not output.stat().st_size:
        time.sleep(0.005)
    return process, time.monotonic()


def has_unfinished_checkpoint(folder: Path) -> bool:
    """Return True if a run below `folder` has a checkpoint that is not completely written."""
    return any(folder.glob("*/*/*/checkpoints/*.new"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {**CARTPOLE, "steps": 30000, "learning_starts": 500, "checkpoint_every": 500},
        {**PONG, "steps": 9000, "frame_stack": 4},
        {**BREAKOUT, "steps": 9000, "frame_stack": 4},
        {**PONG, "steps": 5000, "frame_stack": 4, "agent": "rainbow"},
        {**PONG, "steps": 5000, "agent": "drqn", "start_state": "stored", "flicker": 0.5},
        {**PPO_PONG, "steps": 9000},
    ],
    ids=["cartpole", "pong", "breakout", "rainbow on pong", "drqn on flickering pong", "ppo on pong"],
)
def test_run_killed_ten_times_equals_an_uninterrupted_run(settings: dict[str, Any], tmp_path: Path):
    """SIGKILL arrives at random moments, and every second time while a checkpoint is being written."""
    output = tmp_path / "output.txt"
    uninterrupted = tmp_path / "uninterrupted"
    killed = tmp_path / "killed"
    process, started_at = start(train_command(settings, uninterrupted), output)
    assert process.wait() == 0, output.read_text()
    duration = time.monotonic() - started_at
    rng = random.Random(1)
    kills = 0
    kills_while_writing = 0
    args = train_command(settings, killed)
    while True:
        process, started_at = start(args, output)
        deadline = started_at + rng.uniform(0, duration / 8)
        writing = False
        while process.poll() is None:
            waits_for_checkpoint = kills % 2 == 1 and not writing
            if kills < 10 and time.monotonic() >= deadline and not waits_for_checkpoint:
                break
            time.sleep(0.005)
            writing = has_unfinished_checkpoint(killed)
        if process.poll() is not None:
            assert process.returncode == 0, output.read_text()
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
        kills_while_writing += has_unfinished_checkpoint(killed)
        args = [sys.executable, "-m", "rl_lab", "resume", "latest", "--runs-dir", str(killed)]
        if not list(killed.glob("*/*/*/checkpoints/step-*[0-9]")):  # killed before the first checkpoint
            shutil.rmtree(killed, ignore_errors=True)
            args = train_command(settings, killed)
    # `pytest -rP` shows this line.
    print(f"killed {kills} times, {kills_while_writing} of them with a checkpoint half written")
    assert kills == 10
    assert_identical(Run.find("latest", uninterrupted), Run.find("latest", killed))


def test_damaged_checkpoint_is_replaced_by_the_previous_one(train: Any, capsys: pytest.CaptureFixture[str]):
    run = train(**{**CARTPOLE, "steps": 1500})
    newest, older = checkpoint.generations(run.path)
    text = (newest / "state.json").read_text()
    (newest / "state.json").write_text(text.replace('"run/steps": 1', '"run/steps": 2'))
    api.resume(run, quiet=False)
    output = capsys.readouterr().out
    assert f"{newest} is damaged: state.json does not match its checksum; the previous checkpoint is used" in output
    assert f"resume at step {int(older.name[5:]):,}" in output


def test_damaged_segment_is_not_used_again(train: Any):
    """The previous generation is resumed, and later checkpoints are undamaged, although generations share segments."""
    run = train(**{**CARTPOLE, "steps": 1500})
    newest, older = (read_state_file(folder).files for folder in checkpoint.generations(run.path))
    (torn,) = (run.path / "checkpoints" / name for name in newest if name.startswith("rows/") and name not in older)
    torn.write_bytes(torn.read_bytes()[:-1] + b"?")
    for steps in (1500, 2500):
        api.resume(run, steps=steps, quiet=True)
    for folder in checkpoint.generations(run.path):
        verify_files(folder, read_state_file(folder).files)


def test_resume_changes_address_and_steps_but_a_refused_resume_changes_nothing(train: Any):
    run = train(**{**CARTPOLE, "steps": 500})
    before = run.config
    with pytest.raises(LabError, match="steps is 400"):
        api.resume(run, steps=400, address="10.0.0.1:6379", quiet=True)
    assert run.config == before
    api.resume(run, steps=600, address="10.0.0.1:6379", quiet=True)
    assert (run.config.run.steps, run.config.run.address) == (600, "10.0.0.1:6379")


def test_checkpoint_writes_only_new_replay_rows(train: Any):
    run = train(**{**PONG, "replay_size": 60_000, "steps": 2400, "learning_starts": 2000})
    costs = [line["checkpoint/megabytes"] for line in run.metrics() if "checkpoint/megabytes" in line]
    assert max(costs) < 90  # one segment and the networks, although the replay grows
    names = sorted(p.name for p in (run.path / "checkpoints/rows").iterdir())
    needed = {
        name
        for folder in checkpoint.generations(run.path)
        for name in read_state_file(folder).files
        if name.startswith("rows/")
    }
    assert {f"rows/{name}" for name in names} == needed


def test_resume_starts_new_episodes_if_the_environment_is_not_reproducible(
    train: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    import gymnasium
    from toy_envs import NumberedSteps

    class NotReproducible(NumberedSteps):
        def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
            _obs, info = super().reset(seed=seed)
            self.seed = int.from_bytes(os.urandom(2), "little")
            return self._obs(), info

    gymnasium.register("NotReproducible-v0", lambda **_: NotReproducible())
    settings = {
        "env": "NotReproducible-v0",
        "steps": 900,
        "checkpoint_every": 300,
        "eval_every": 0,
        "learning_starts": 100,
    }
    monkeypatch.setattr("rl_lab.system.watchdog.Watchdog.reset", stop_after(60))
    with pytest.raises(Interrupted) as stop:
        train(**settings)
    monkeypatch.undo()
    run = api.resume(stop.value.run, quiet=False)
    assert "is not reproducible from its seed: new episodes begin here" in capsys.readouterr().out
    state = json.loads((checkpoint.find(run.path, "last") / "state.json").read_text())
    assert state["state"]["run/steps"] >= 900


def test_refused_resume_leaves_damaged_checkpoints_as_they_are(train: Any):
    run = train(**{**CARTPOLE, "steps": 900})
    newest, previous = checkpoint.generations(run.path)
    (newest / "state.json").write_text("{}")
    with pytest.raises(LabError, match="already has"):
        api.resume(run, steps=100, quiet=True)
    assert checkpoint.generations(run.path) == [newest, previous]
    api.resume(run, steps=1000, quiet=True)
    assert newest not in checkpoint.generations(run.path)
