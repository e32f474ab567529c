"""A wheel, installed elsewhere, trains as the checkout does: presets included."""

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TRAIN = "train dqn --env CartPole-v1 --steps 600 --learning-starts 200 --eval-episodes 2 --wandb disabled".split()


def check(*command, **kwargs):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=1500, **kwargs)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    check(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT)
    return next(folder.glob("rl_lab-*.whl"))


def test_a_wheel_holds_the_four_folders_and_trains(wheel, tmp_path):
    """Unpacked on a path of its own, before the editable checkout: nothing is installed (building takes hatchling from the registry)."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    tops = {p.name for p in (tmp_path / "site").iterdir() if ".dist-info" not in p.name}
    assert tops == {"rl_lab", "agents", "envs", "configs"}
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    where = check(sys.executable, "-c", "import rl_lab; print(rl_lab.__file__)", cwd=tmp_path, env=env)
    assert where.strip() == str(tmp_path / "site/rl_lab/__init__.py")
    out = check(sys.executable, "-m", "rl_lab", *TRAIN, cwd=tmp_path, env=env)
    assert "done in" in out
    config = next(tmp_path.glob("runs/CartPole-v1/dqn/*/config.yaml")).read_text()
    assert "epsilon_steps: 10000" in config  # from configs/dqn.yaml, section CartPole-v1


@pytest.mark.slow
def test_a_wheel_in_an_empty_virtual_environment_trains(wheel, tmp_path):
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv/bin/python"
    pip = [python, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt"]
    check(*pip, "torch")
    check(*pip, wheel)
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    assert "done in" in check(python, "-m", "rl_lab", *TRAIN, cwd=tmp_path, env=env)


def test_a_foreign_agents_package_is_named(tmp_path):
    """openai-agents installs a module `agents` too: importing rl_lab says so instead of failing in the middle."""
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents/__init__.py").write_text("")
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", "import rl_lab"], capture_output=True, text=True, env=env, cwd=tmp_path
    )
    assert "rl_lab needs its own package 'agents'" in done.stderr
    assert "openai-agents" in done.stderr
