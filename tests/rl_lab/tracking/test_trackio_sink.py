"""The database of trackio holds the lines of metrics.jsonl, read by sqlite3."""

import json
import os
import sqlite3
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from rl_lab.errors import LabError
from rl_lab.experiment.run import Run

needs_trackio = pytest.mark.skipif(find_spec("trackio") is None, reason="the package trackio is not installed")
TRAIN = (
    "train dqn --env CartPole-v1 --steps 600 --learning-starts 200 --eval-episodes 2 --wandb disabled --trackio"
    " --torch-threads 1 --log-every 200 --checkpoint-every 300"
).split()
Point = tuple[str, int, float]  # name, agent step, value


def lab(folder: Path, *words: str) -> str:
    """Run a command of the lab with trackio's database in the folder, and return what it prints.

    trackio reads the place of its database when it is imported, so the test's own process cannot be used.
    """
    names = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL")
    env = {name: value for name, value in os.environ.items() if name not in names}
    env |= {"TRACKIO_DIR": str(folder / "trackio"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "rl_lab", *words]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def stored_points(folder: Path) -> list[Point]:
    """Return the values in trackio's database, sorted."""
    with sqlite3.connect(folder / "trackio" / "rl_lab.db") as database:
        rows = database.execute("select step, metrics from metrics").fetchall()
    return sorted((name, step, value) for step, text in rows for name, value in json.loads(text).items())


def logged_points(run: Run) -> list[Point]:
    """Return the numbers in metrics.jsonl, sorted."""
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    return sorted(
        (name, line["global_step"], value) for line in lines for name, value in line.items() if name != "global_step"
    )


@pytest.mark.slow  # two processes
@needs_trackio
def test_the_database_equals_the_lines_of_an_extended_run(tmp_path: Path):
    printed = lab(tmp_path, *TRAIN)
    assert "rackio" not in printed
    run = Run.find("latest", tmp_path / "runs")
    points = logged_points(run)
    assert any(name == "eval/return_mean" for name, _, _ in points)
    assert stored_points(tmp_path) == points
    lab(tmp_path, "resume", "latest", "--steps", "1000")
    extended = logged_points(run)
    assert len(extended) > len(points)
    assert stored_points(tmp_path) == extended
    with sqlite3.connect(tmp_path / "trackio" / "rl_lab.db") as database:
        (config,) = database.execute("select config from configs").fetchone()
        names = {name for (name,) in database.execute("select run_name from metrics")}
    assert json.loads(config)["learning_starts"] == 200
    assert len(names) == 1
    assert names.pop().startswith("dqn-CartPole-v1-s1-")


def test_a_failure_of_trackio_does_not_stop_training(train: Any, monkeypatch: Any, capsys: Any):
    class Broken:
        @staticmethod
        def Api() -> object:
            raise OSError("the disk is full")

    monkeypatch.setitem(sys.modules, "trackio", Broken)
    run = train(steps=600, trackio=True)
    assert run.metrics()[-1]["global_step"] >= 600
    assert capsys.readouterr().err == "trackio stopped: the disk is full; metrics.jsonl is complete\n"


def test_a_missing_package_is_named_before_the_run_exists(train: Any, tmp_path: Any, monkeypatch: Any):
    monkeypatch.setitem(sys.modules, "trackio", None)
    with pytest.raises(LabError, match=r"--trackio needs the package trackio.*.rl-lab\[trackio\]"):
        train(steps=600, trackio=True)
    assert not list(tmp_path.rglob("config.yaml"))
