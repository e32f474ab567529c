"""Tests that environments of other projects train through the command line.

The packages are installed once into a folder of their own, without dependencies, so that no pinned package changes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import third_party
from third_party_envs import ENVIRONMENTS, ThirdPartyEnv, all_packages

pytestmark = pytest.mark.slow

STEPS = "100"


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the packages. Skip the tests if pip cannot install them."""
    folder = tmp_path_factory.mktemp("packages")
    try:
        third_party.install(all_packages(), folder)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"the packages cannot be installed (is the package registry reachable?): {error}")
    return folder


def train(entry: ThirdPartyEnv, packages: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Train the agent of an entry for a moment, with its own options, in a folder."""
    words = ["train", entry.agents[0], "--env", entry.env, *entry.flags, *entry.agent_flags, "--steps", STEPS]
    words += ["--num-envs", "2", "--eval-episodes", "1", "--eval-max-steps", "20"]
    if entry.agents[0] != "ppo":  # which has no replay memory
        words += ["--learning-starts", "50"]
    command = [sys.executable, "-m", "rl_lab", *words, "--wandb", "disabled"]
    environment = {**third_party.environment(packages), "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("entry", ENVIRONMENTS.values(), ids=lambda entry: entry.name)
def test_environment_trains_and_its_spec_says_the_transformations(
    entry: ThirdPartyEnv, packages: Path, tmp_path: Path
) -> None:
    done = train(entry, packages, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    first_lines = [line for line in done.stdout.splitlines() if line.startswith("train ")]
    assert len(first_lines) == 1
    assert first_lines[0].startswith(f"train {entry.agents[0]} on {entry.env}")
    (path,) = tmp_path.glob("runs/*/*/*/env.json")
    env_spec = json.loads(path.read_text())
    described = env_spec["transformations"]
    for expected in entry.transformations:
        assert any(text.startswith(expected) for text in described), described
    assert bool(entry.transformations) == bool(described)
    for text in described:
        assert text in first_lines[0]


def test_installed_packages_do_not_replace_pinned_ones(packages: Path) -> None:
    names = {path.name.split("-")[0].lower() for path in packages.glob("*.dist-info")}
    assert names == {package.split("==")[0].lower().replace(".", "_") for package in all_packages()}
    assert not any((packages / name).exists() for name in ("gymnasium", "numpy", "torch", "pygame"))


def test_modules_of_packages_are_listed(packages: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rl_lab", "list", "envs", "minigrid"]
    environment = {**os.environ, **third_party.environment(packages)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100)
    assert "minigrid:MiniGrid-DoorKey-5x5-v0" in done.stdout.splitlines(), done.stderr
