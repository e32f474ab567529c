"""The commands and examples of the README work as they stand there."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_python_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    short = code.replace("steps=20_000", "steps=1_500").replace("steps=30_000", "steps=2_000")
    assert short.count("_500") == short.count("_000") == 1
    names: dict = {}
    exec(short, names)
    assert len(names["score"].returns) == 20
    assert names["run"].metrics()
    assert names["agent"].network is not None


def test_example_of_the_python_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    code = "".join(re.findall(r"```python\n(.*?)```", (ROOT / "docs/python.md").read_text(), re.DOTALL))
    assert code.count("steps=20_000") == 2
    assert code.count("< 5_000") == 1
    names: dict = {}
    exec(code.replace("steps=20_000", "steps=1_500").replace("< 5_000", "< 1_200"), names)
    assert names["score"] > 0
    assert names["run"].metrics()[-1]["global_step"] < 1_500


def quickstart_commands() -> list[list[str]]:
    """Return the words of each command of the quickstart, without `python -m rl_lab`."""
    section = README.split("## Quickstart")[1].split("\n## ")[0]
    lines = re.findall(r"^    python -m rl_lab (.*)$", section, re.MULTILINE)
    return [shlex.split(line, comments=True) for line in lines]


@pytest.mark.slow
def test_quickstart_commands_run_in_order(tmp_path):
    """Every command succeeds, and `compare` compares the five seeds without the single run before them."""
    short = {
        "train": ["--steps", "600", "--wandb", "disabled", "--learning-starts", "200", "--eval-episodes", "2"],
        "watch": ["--video", "episode.mp4"],
    }
    printed = {}
    for command in quickstart_commands():
        command = ["900" if word == "80000" else word for word in command]
        done = subprocess.run(
            [sys.executable, "-m", "rl_lab", *command, *short.get(command[0], [])],
            cwd=tmp_path,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, (command, done.stderr)
        printed[command[0]] = done.stdout + done.stderr
    assert set(printed) == {"doctor", "train", "eval", "watch", "resume", "compare"}
    (row,) = [line for line in printed["compare"].splitlines() if line.startswith("dqn ")]
    assert row.split()[2] == "5", row
    assert "WARNING" not in printed["compare"]


def test_first_commands_are_clone_and_make_targets():
    commands = re.findall(r"^    (\S.*)$", README, re.MULTILINE)
    starts = [" ".join(command.split()[:2]) for command in commands[:4]]
    assert starts == ["git clone", "make pong", "make watch", "make test"]


def test_readme_is_short():
    assert len(README.splitlines()) <= 140
