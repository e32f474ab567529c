"""Tests of the training of several seeds as one group."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from envs.make import resolve
from rl_lab import cli
from rl_lab.experiment import config as configuration
from rl_lab.experiment.config import Config
from rl_lab.experiment.run import Run
from rl_lab.experiment.seed_group import plan_jobs
from rl_lab.experiment.training_job import TrainingJob

TRAIN = "train dqn --env CartPole-v1 --eval-episodes 2 --learning-starts 200 --wandb disabled".split()


def start_training(folder: Path, *args: str) -> subprocess.Popen[str]:
    """Start a training command in `folder`."""
    return subprocess.Popen(
        [sys.executable, "-m", "rl_lab", *TRAIN, *args],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )


def runs_in(folder: Path) -> list[Run]:
    return [Run(path.parent) for path in sorted(folder.glob("runs/*/*/*/config.yaml"))]


def cartpole_config(**settings: Any) -> Config:
    return configuration.resolve("dqn", resolve("CartPole-v1"), {"env": "CartPole-v1", **settings})


def test_job_survives_output_that_is_not_utf8():
    """Without a reader of its output, the process would wait forever."""
    program = "import sys; sys.stdout.buffer.write(b'caf\\xe9\\n' + b'more\\n' * 100_000 + b'na\\xefve')"
    job = TrainingJob(1, [sys.executable, "-c", program])
    job.start(dict(os.environ))
    deadline = time.monotonic() + 60
    while job.state == "running":
        if time.monotonic() > deadline:
            job.send_signal(signal.SIGKILL)
            pytest.fail("the job does not end")
        time.sleep(0.01)
    assert job.last_line() == "na\\xefve"


def test_group_trains_every_seed_and_can_be_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    process = start_training(tmp_path, "--steps", "600", "--seeds", "3..4", "--jobs", "2", "--group", "study")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, out + err
    assert "next:  python -m rl_lab compare study" in out
    assert "seed 3 done, evaluation" in out
    runs = runs_in(tmp_path)
    assert sorted(run.config.run.seed for run in runs) == [3, 4]
    assert {run.config.run.group for run in runs} == {"study"}
    monkeypatch.chdir(tmp_path)
    cli.main(["compare", "study"])
    assert "page: comparison.html" in capsys.readouterr().out


def test_sigint_saves_the_running_seed_and_prints_how_to_resume(tmp_path: Path):
    process = start_training(tmp_path, "--steps", "10000000", "--seeds", "1..3")
    while not list(tmp_path.glob("runs/*/*/*/metrics.jsonl")) and process.poll() is None:
        time.sleep(0.1)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert "seed 1 stopped: stopped and saved; go on from the last checkpoint with:" in out
    assert len(list(tmp_path.glob("runs/*/*/*"))) == 1, "the other seeds must not have started"


def test_stopped_group_is_continued_by_the_same_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Seed 1 is finished, seed 2 was stopped, and seed 3 has not started when the group is continued."""
    args = ["--steps", "1200", "--replay-ratio", "20", "--checkpoint-every", "250", "--group", "study"]
    process = start_training(tmp_path, *args, "--seeds", "1..3")
    while process.poll() is None and len(list(tmp_path.glob("runs/*/*/*/checkpoints/step-*"))) < 3:
        time.sleep(0.05)  # each run keeps two checkpoints, so the third one belongs to seed 2
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 143, out + err
    assert "the same command with --group study continues the group" in out
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        cli.main([*TRAIN, *args[2:], "--steps", "1000", "--seeds", "1..3"])
    assert "the group study has seed 1 with steps 1200, not 1000" in capsys.readouterr().err
    out, err = start_training(tmp_path, *args, "--seeds", "1..3").communicate(timeout=120)
    assert "next:  python -m rl_lab compare study" in out, out + err
    runs = runs_in(tmp_path)
    assert sorted(run.config.run.seed for run in runs) == [1, 2, 3]
    assert all(run.metrics()[-1]["global_step"] >= 1200 for run in runs)


def test_seed_and_seeds_together_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stop:
        cli.main([*TRAIN, "--runs-dir", str(tmp_path), "--seed", "1", "--seeds", "1..2"])
    assert stop.value.code == 2
    assert "either --seed or --seeds, not both" in capsys.readouterr().err


def test_run_without_a_checkpoint_is_deleted_and_trained_again(tmp_path: Path):
    config = cartpole_config(group="study", runs_dir=str(tmp_path), wandb="disabled", seed=2)
    run = Run.create(config, resolve("CartPole-v1"))
    (job,) = plan_jobs(["lab"], ["train", "dqn"], [2], config)
    assert job.command == ["lab", "train", "dqn", "--seed", "2", "--group", "study"]
    assert not run.path.exists()
