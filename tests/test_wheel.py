"""Tests that an installed wheel trains like the checkout."""

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
TRAIN = "train dqn --env CartPole-v1 --steps 600 --learning-starts 200 --eval-episodes 2 --wandb disabled".split()


def output_of(*command: object, **options: Any) -> str:
    """Run a command, assert that it succeeds, and return what it prints."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=1500, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of the checkout. Building it downloads hatchling from the package index."""
    folder = tmp_path_factory.mktemp("wheel")
    output_of(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT)
    return next(folder.glob("rl_lab-*.whl"))


def test_an_unpacked_wheel_holds_the_four_packages_and_trains(wheel: Path, tmp_path: Path):
    """PYTHONPATH puts the unpacked wheel before the editable installation of the checkout."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    packages = {path.name for path in (tmp_path / "site").iterdir() if ".dist-info" not in path.name}
    assert packages == {"rl_lab", "agents", "envs", "configs"}
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    imported_file = output_of(sys.executable, "-c", "import rl_lab; print(rl_lab.__file__)", cwd=tmp_path, env=env)
    assert imported_file.strip() == str(tmp_path / "site/rl_lab/__init__.py")
    assert "done in" in output_of(sys.executable, "-m", "rl_lab", *TRAIN, cwd=tmp_path, env=env)
    config = next(tmp_path.glob("runs/CartPole-v1/dqn/*/config.yaml")).read_text()
    assert "epsilon_steps: 10000" in config  # from configs/dqn.yaml, section CartPole-v1


@pytest.mark.slow
def test_a_wheel_in_an_empty_virtual_environment_trains(wheel: Path, tmp_path: Path):
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv/bin/python"
    pip_install = [python, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt"]
    output_of(*pip_install, "torch")
    output_of(*pip_install, wheel)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    assert "done in" in output_of(python, "-m", "rl_lab", *TRAIN, cwd=tmp_path, env=env)


def test_import_raises_if_another_package_is_called_agents(tmp_path: Path):
    """The package openai-agents also installs a module `agents`."""
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents/__init__.py").write_text("")
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", "import rl_lab"], capture_output=True, text=True, env=env, cwd=tmp_path
    )
    assert "rl_lab needs its own package 'agents'" in done.stderr
    assert "openai-agents" in done.stderr
