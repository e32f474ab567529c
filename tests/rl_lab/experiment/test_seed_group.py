"""Several seeds as one group."""

import os
import signal
import subprocess
import sys
import time

import pytest

from envs.make import resolve
from rl_lab import cli
from rl_lab.errors import LabError
from rl_lab.experiment import config as configuration
from rl_lab.experiment.run import Run
from rl_lab.experiment.seed_group import plan_jobs
from rl_lab.experiment.seed_list import parse_seeds


@pytest.mark.parametrize(
    ("text", "seeds"), [("1..3", [1, 2, 3]), ("4", [4]), ("1,5,2", [1, 5, 2]), ("7..8, 1", [7, 8, 1]), ("0..0", [0])]
)
def test_seeds_are_written_as_people_do(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "1-3", "3..1", "1,1", "1..3,2", "-1", "1.5", "1..10000000000", "2147483648"])
def test_other_texts_are_refused(text):
    with pytest.raises(LabError, match="seeds is"):
        parse_seeds(text)


TRAIN = "train dqn --env CartPole-v1 --eval-episodes 2 --learning-starts 200 --wandb disabled".split()


def start(tmp_path, *args):
    return subprocess.Popen(
        [sys.executable, "-m", "rl_lab", *TRAIN, *args],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )


def test_a_group_is_trained_and_compared(tmp_path, monkeypatch, capsys):
    """Two side by side; each is a run as it would be alone; the group's name leads to all of them."""
    process = start(tmp_path, "--steps", "600", "--seeds", "3..4", "--jobs", "2", "--group", "study")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, out + err
    assert "next:  python -m rl_lab compare study" in out
    assert "seed 3 done, evaluation" in out
    runs = [Run(path.parent) for path in sorted(tmp_path.glob("runs/*/*/*/config.yaml"))]
    assert sorted(run.config.run.seed for run in runs) == [3, 4]
    assert {run.config.run.group for run in runs} == {"study"}
    monkeypatch.chdir(tmp_path)
    cli.main(["compare", "study"])
    assert "page: comparison.html" in capsys.readouterr().out


def test_ctrl_c_stops_each_and_says_how_to_go_on(tmp_path):
    process = start(tmp_path, "--steps", "10000000", "--seeds", "1..3")
    while not list(tmp_path.glob("runs/*/*/*/metrics.jsonl")) and process.poll() is None:
        time.sleep(0.1)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert "seed 1 stopped: stopped and saved; go on from the last checkpoint with:" in out
    assert len(list(tmp_path.glob("runs/*/*/*"))) == 1, "the others were never begun"


def test_a_group_that_was_stopped_goes_on_under_its_name(tmp_path, monkeypatch, capsys):
    """Seed 1 is through, seed 2 was stopped, seed 3 never begun: the same command does what is left, and nothing twice."""
    args = ["--steps", "1200", "--replay-ratio", "20", "--checkpoint-every", "250", "--group", "study"]
    process = start(tmp_path, *args, "--seeds", "1..3")
    while process.poll() is None and len(list(tmp_path.glob("runs/*/*/*/checkpoints/step-*"))) < 3:
        time.sleep(0.05)  # each run keeps two
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 143, out + err
    assert "the same command with --group study continues the group" in out
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        cli.main([*TRAIN, *args[2:], "--steps", "1000", "--seeds", "1..3"])
    assert "the group study has seed 1 with steps 1200, not 1000" in capsys.readouterr().err
    out, err = start(tmp_path, *args, "--seeds", "1..3").communicate(timeout=120)
    assert "next:  python -m rl_lab compare study" in out, out + err
    runs = [Run(path.parent) for path in sorted(tmp_path.glob("runs/*/*/*/config.yaml"))]
    assert sorted(run.config.run.seed for run in runs) == [1, 2, 3]
    assert all(run.metrics()[-1]["global_step"] >= 1200 for run in runs)


def test_both_ways_to_name_seeds_are_one_too_many(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([*TRAIN, "--runs-dir", str(tmp_path), "--seed", "1", "--seeds", "1..2"])
    assert stop.value.code == 2
    assert "either --seed or --seeds, not both" in capsys.readouterr().err


def test_a_run_cut_off_before_its_first_checkpoint_begins_anew(tmp_path):
    config = resolved(group="study", runs_dir=str(tmp_path), wandb="disabled", seed=2)
    run = Run.create(config, resolve("CartPole-v1"))
    (job,) = plan_jobs(["lab"], ["train", "dqn"], [2], config)
    assert job.command == ["lab", "train", "dqn", "--seed", "2", "--group", "study"]
    assert not run.path.exists()


def resolved(**given):
    return configuration.resolve("dqn", resolve("CartPole-v1"), {"env": "CartPole-v1", **given})
