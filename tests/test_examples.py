"""The programs in examples/ run as their texts say."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(*command: str, cwd: Path, path: Path | None = None) -> str:
    """Run Python with these arguments, with `path` on its module path, and return what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(path or "")}
    done = subprocess.run(
        [sys.executable, *command], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def last_score(printed: str) -> float:
    """Return the score of the last evaluation from the line 'done in ...: last evaluation X'."""
    (line,) = [line for line in printed.splitlines() if line.startswith("done in")]
    return float(line.rsplit(" ", 1)[1])


def install_without_pip(package: Path, site: Path) -> None:
    """Write the metadata that `pip install` would write: the entry points of the package's pyproject.toml."""
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    lines = []
    for group, points in project["entry-points"].items():
        lines.append(f"[{group}]")
        lines += [f"{name} = {target}" for name, target in points.items()]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


def test_single_file_dqn_prints_its_scores(tmp_path):
    printed = run(str(EXAMPLES / "single_file_dqn.py"), "--steps", "5000", cwd=tmp_path)
    assert "step 5,000: mean score of the last 20 episodes" in printed


def test_single_file_dqn_says_that_no_episode_has_ended(tmp_path):
    printed = run("-W", "error", str(EXAMPLES / "single_file_dqn.py"), "--steps", "5", cwd=tmp_path)
    assert printed == "0 episodes; no episode has ended yet\n"


@pytest.mark.slow
def test_single_file_dqn_learns_cartpole(tmp_path):
    printed = run(str(EXAMPLES / "single_file_dqn.py"), "--steps", "40000", cwd=tmp_path)
    assert float(printed.rsplit(" ", 1)[1]) > 150


def test_custom_agent_trains_under_its_name(tmp_path):
    package = EXAMPLES / "custom_agent"
    install_without_pip(package, tmp_path / "site")
    for file in package.glob("mellowmax_dqn.*"):
        (tmp_path / "site" / file.name).write_bytes(file.read_bytes())
    command = "-m rl_lab train mellowmax_dqn --env CartPole-v1 --omega 5 --steps 800 --learning-starts 200"
    run(*command.split(), "--wandb", "disabled", cwd=tmp_path, path=tmp_path / "site")
    (config,) = (tmp_path / "runs/CartPole-v1/mellowmax_dqn").glob("*/config.yaml")
    text = config.read_text()
    assert "omega: 5.0" in text
    assert "hidden: 128" in text, "the package's own settings for CartPole-v1"
    listed = run("-m", "rl_lab", "list", "agents", cwd=tmp_path, path=tmp_path / "site")
    assert "mellowmax_dqn" in listed


def test_custom_environment_is_learned(tmp_path):
    command = (
        "-m rl_lab train dqn --env catch:Catch-v0 --steps 6000 --learning-starts 500 --epsilon-steps 3000 --lr 1e-3"
        " --hidden 64 --target-every 50 --eval-episodes 20 --wandb disabled --replay-ratio 16"
    )
    printed = run(*command.split(), cwd=tmp_path, path=EXAMPLES / "custom_env")
    assert last_score(printed) > 0.5, printed
