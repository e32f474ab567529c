"""A run that is stopped and resumed is the run that never stopped, bit for bit."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from identical import assert_identical

from rl_lab import api, checkpoint
from rl_lab.checkpoint.loading import verify_files
from rl_lab.checkpoint.state_file import read_state_file
from rl_lab.errors import LabError
from rl_lab.experiment.run import Run
from rl_lab.training.trainer import Interrupted

CARTPOLE = {"env": "CartPole-v1", "steps": 2000, "log_every": 150, "eval_every": 700, "checkpoint_every": 400}
PONG = {
    "env": "ALE/Pong-v5",  # sticky actions
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
BREAKOUT = {**PONG, "env": "Breakout"}  # the way to a state skips finished games
REINFORCE = {"agent": "reinforce", "batch_size": 96, "minibatch_size": 24}
REINFORCE_PONG = {
    **{k: v for k, v in PONG.items() if k not in ("learning_starts", "replay_size", "replay_ratio")},
    **REINFORCE,
}


@pytest.mark.parametrize(
    "settings",
    [
        CARTPOLE,
        {**CARTPOLE, "dropout": 0.2, "num_envs": 3},
        {**CARTPOLE, "agent": "rainbow", "hidden": 16},
        {**CARTPOLE, "agent": "drqn", "hidden": 16, "start_state": "stored", "mask_velocity": True},
        {**CARTPOLE, **REINFORCE, "batch_games": 3, "baseline": False},
        PONG,
        BREAKOUT,
        pytest.param(REINFORCE_PONG, marks=pytest.mark.slow),
        pytest.param({**PONG, "agent": "rainbow"}, marks=pytest.mark.slow),
    ],
    ids=[
        "cartpole",
        "dropout",
        "rainbow on cartpole",
        "drqn on cartpole",
        "reinforce on cartpole",
        "pong",
        "breakout",
        "reinforce on pong",
        "rainbow on pong",
    ],
)
def test_stopping_changes_nothing(settings, train, monkeypatch):
    """Asked to stop at random rows, several times, against a run that is left alone."""
    undisturbed = train(**settings)
    rng = random.Random(0)
    run, stops = None, 0
    while True:
        rows = rng.randrange(20, 60) * 2**stops  # more each time: an evaluation that is cut begins again
        monkeypatch.setattr("rl_lab.training.trainer.Watchdog.reset", stop_after(rows))
        try:
            run = train(**settings) if run is None else api.resume(run, quiet=True)
        except Interrupted as stop:
            run, stops = stop.run, stops + 1
            continue
        break
    assert stops >= 2
    assert_identical(undisturbed, run)


def stop_after(rows):
    """A `pat`, called after every row of training or evaluation, that sends a signal after so many."""
    seen = 0

    def pat(self):
        nonlocal seen
        seen += 1
        if seen == rows:
            signal.raise_signal(signal.SIGTERM)

    return pat


def command(settings, folder):
    agent = settings.get("agent", "dqn")
    flags = [x for k, v in settings.items() if k != "agent" for x in (f"--{k.replace('_', '-')}", str(v))]
    return [sys.executable, "-m", "rl_lab", "train", agent, *flags, "--wandb", "disabled", "--runs-dir", str(folder)]


def begin(args, said):
    """The command as a process, what it says in a file, and the time when it has said the first: everything is built then."""
    with said.open("w") as file:
        process = subprocess.Popen(args, stdout=file, stderr=file)
    while process.poll() is None and not said.stat().st_size:
        time.sleep(0.005)
    return process, time.monotonic()


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {**CARTPOLE, "steps": 30000, "learning_starts": 500, "checkpoint_every": 500},
        {**PONG, "steps": 9000, "frame_stack": 4},
        {**BREAKOUT, "steps": 9000, "frame_stack": 4},
        {**PONG, "steps": 5000, "frame_stack": 4, "agent": "rainbow"},
        {**PONG, "steps": 5000, "agent": "drqn", "start_state": "stored", "flicker": 0.5},
        {**REINFORCE_PONG, "steps": 9000},
    ],
    ids=["cartpole", "pong", "breakout", "rainbow on pong", "drqn on flickering pong", "reinforce on pong"],
)
def test_killed_at_any_moment(settings, tmp_path):
    """SIGKILL ten times: at random moments, and every second time when a checkpoint is half written."""
    said = tmp_path / "said.txt"
    process, began = begin(command(settings, tmp_path / "calm"), said)
    assert process.wait() == 0, said.read_text()
    whole = time.monotonic() - began
    rng, kills, half_written = random.Random(1), 0, 0
    args = command(settings, tmp_path / "killed")
    while True:
        process, began = begin(args, said)
        deadline = began + rng.uniform(0, whole / 8)
        writing = False
        while process.poll() is None and (kills >= 10 or time.monotonic() < deadline or (kills % 2 and not writing)):
            time.sleep(0.005)
            writing = any((tmp_path / "killed").glob("*/*/*/checkpoints/*.new"))
        if process.poll() is not None:
            assert process.returncode == 0, said.read_text()
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills, half_written = kills + 1, half_written + any((tmp_path / "killed").glob("*/*/*/checkpoints/*.new"))
        found = list((tmp_path / "killed").glob("*/*/*/checkpoints/step-*[0-9]"))
        args = [sys.executable, "-m", "rl_lab", "resume", "latest", "--runs-dir", str(tmp_path / "killed")]
        if not found:  # too early: nothing to go on from
            subprocess.run(["rm", "-rf", str(tmp_path / "killed")], check=True)
            args = command(settings, tmp_path / "killed")
    print(
        f"killed {kills} times, {half_written} of them with a checkpoint half written"
    )  # for BENCHMARKS.md: pytest -rP
    assert kills == 10
    assert_identical(Run.find("latest", tmp_path / "calm"), Run.find("latest", tmp_path / "killed"))


def test_a_torn_or_altered_checkpoint_gives_way_to_the_one_before(train, capsys):
    run = train(**{**CARTPOLE, "steps": 1500})
    newest, older = checkpoint.generations(run.path)
    text = (newest / "state.json").read_text()
    (newest / "state.json").write_text(text.replace('"run/steps": 1', '"run/steps": 2'))
    api.resume(run, quiet=False)
    said = capsys.readouterr().out
    assert f"{newest} is damaged: state.json does not match its checksum; the one before it serves" in said
    assert f"resume at step {int(older.name[5:]):,}" in said


def test_a_torn_segment_does_not_come_back(train):
    """A segment of the newest generation is damaged: the one before serves, and what is saved then is whole again."""
    run = train(**{**CARTPOLE, "steps": 1500})
    newest, older = (read_state_file(folder).files for folder in checkpoint.generations(run.path))
    (torn,) = (run.path / "checkpoints" / name for name in newest if name.startswith("rows/") and name not in older)
    torn.write_bytes(torn.read_bytes()[:-1] + b"?")
    for steps in (1500, 2500):
        api.resume(run, steps=steps, quiet=True)
    for folder in checkpoint.generations(run.path):
        verify_files(folder, read_state_file(folder).files)


def test_another_cluster_may_carry_the_collectors_and_a_refusal_changes_nothing(train):
    run = train(**{**CARTPOLE, "steps": 500})
    before = run.config
    with pytest.raises(LabError, match="steps is 400"):
        api.resume(run, steps=400, address="10.0.0.1:6379", quiet=True)
    assert run.config == before
    api.resume(run, steps=600, address="10.0.0.1:6379", quiet=True)
    assert (run.config.run.steps, run.config.run.address) == (600, "10.0.0.1:6379")


def test_only_what_changed_is_written_again(train):
    run = train(**{**PONG, "replay_size": 60_000, "steps": 2400, "learning_starts": 2000})
    costs = [line["checkpoint/megabytes"] for line in run.metrics() if "checkpoint/megabytes" in line]
    assert max(costs) < 90  # a segment and the networks, while the replay grows
    names = sorted(p.name for p in (run.path / "checkpoints/rows").iterdir())
    needed = {
        name
        for folder in checkpoint.generations(run.path)
        for name in read_state_file(folder).files
        if name.startswith("rows/")
    }
    assert {f"rows/{name}" for name in names} == needed


def test_an_environment_without_a_seed_begins_new_episodes(train, monkeypatch, capsys):
    """Where the same seed gives another episode, the run says so and cuts, and the replay knows of the cut."""
    import gymnasium
    from toy_envs import NumberedSteps

    class Moody(NumberedSteps):
        def reset(self, *, seed=None, options=None):
            _obs, info = super().reset(seed=seed)
            self.seed = int.from_bytes(os.urandom(2), "little")
            return self._obs(), info

    gymnasium.register("Moody-v0", Moody)
    settings = {"env": "Moody-v0", "steps": 900, "checkpoint_every": 300, "eval_every": 0, "learning_starts": 100}
    monkeypatch.setattr("rl_lab.training.trainer.Watchdog.reset", stop_after(60))
    with pytest.raises(Interrupted) as stop:
        train(**settings)
    monkeypatch.undo()
    run = api.resume(stop.value.run, quiet=False)
    assert "is not the same after the same seed: new episodes begin here" in capsys.readouterr().out
    state = json.loads((checkpoint.find(run.path, "last") / "state.json").read_text())
    assert state["state"]["run/steps"] >= 900
