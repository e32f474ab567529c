"""Tests of the installed script `rl-lab`, of modules in the working directory, of pipes, and of --verbose."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import yaml

from rl_lab.cli.main import main

SCRIPT = Path(sys.executable).with_name("rl-lab")
STARTS = {"script": [str(SCRIPT)], "module": [sys.executable, "-m", "rl_lab"]}

MODULE = """
    import gymnasium
    import numpy as np
    from gymnasium.spaces import Box, Discrete

    class Counter(gymnasium.Env):
        observation_space = Box(0, 1, (2,), np.float32)
        action_space = Discrete(2)

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.count = 0
            return np.zeros(2, np.float32), {}

        def step(self, action):
            self.count += 1
            return np.ones(2, np.float32), float(action), self.count >= 5, False, {}

    gymnasium.register("Counter-v0", "mymodule:Counter")
"""
QUICK = "--steps 200 --wandb disabled --eval-episodes 1 --learning-starts 100 --hidden 8 --num-envs 2".split()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working directory with a module that defines an environment."""
    (tmp_path / "mymodule.py").write_text(textwrap.dedent(MODULE))
    return tmp_path


def run_in(folder: Path, *command: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, without a search path of modules from the environment."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONSAFEPATH")}
    return subprocess.run(
        command,
        cwd=folder,
        env={**environment, "CUDA_VISIBLE_DEVICES": ""},
        input=text,
        capture_output=True,
        text=True,
        timeout=200,
    )


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--vectorization", "async"], ["--seeds", "1..2"]], ids=["", "async", "seeds"])
@pytest.mark.parametrize("start", STARTS)
def test_an_environment_of_a_module_in_the_working_directory_is_trained(start: str, options: list[str], folder: Path):
    command = [*STARTS[start], "train", "dqn", "--env", "mymodule:Counter-v0", *QUICK, *options]
    done = run_in(folder, *command)
    assert done.returncode == 0, done.stderr
    num_runs = 2 if "--seeds" in options else 1
    assert len(list(folder.glob("runs/*/dqn/*/checkpoints/best/state.json"))) == num_runs


@pytest.mark.slow
@pytest.mark.parametrize("start", STARTS)
def test_ray_workers_find_a_module_in_the_working_directory(start: str, folder: Path):
    done = run_in(folder, *STARTS[start], "train", "dqn", "--env", "mymodule:Counter-v0", *QUICK, "--collectors", "1")
    assert done.returncode == 0, done.stderr
    grid = ["sweep", "grid", "--agents", "dqn", "--envs", "mymodule:Counter-v0", "--seeds", "1,2"]
    done = run_in(folder, *STARTS[start], *grid, *QUICK, "--retries", "0")
    assert done.returncode == 0, done.stderr + done.stdout


def test_an_environment_of_a_module_is_resolved_by_the_script(folder: Path):
    done = run_in(folder, *STARTS["script"], "train", "dqn", "--env", "mymodule:Counter-v0", "--steps", "1")
    assert done.returncode == 2
    assert "num_envs is 8; it must be at most steps, 1" in done.stderr  # the environment itself was found


@pytest.mark.parametrize("source", ["/dev/stdin", "pipe"])
def test_settings_are_read_from_a_pipe(source: str, folder: Path):
    settings = yaml.safe_dump({"env": "CartPole-v1", "steps": 3, "num_envs": 8})
    command = [*STARTS["module"], "train", "dqn", "--config", source]
    if source == "pipe":
        command = ["bash", "-c", f"{sys.executable} -m rl_lab train dqn --config <(cat)"]
    done = run_in(folder, *command, text=settings)
    assert done.returncode == 2
    assert "num_envs is 8; it must be at most steps, 3" in done.stderr  # all settings were read


@pytest.mark.slow
def test_a_group_of_seeds_reads_settings_from_a_pipe(folder: Path):
    settings = yaml.safe_dump({"env": "CartPole-v1", "steps": 200, "num_envs": 2, "hidden": 8, "wandb": "disabled"})
    command = [*STARTS["module"], "train", "dqn", "--config", "/dev/stdin", "--seeds", "1..2", "--eval-episodes", "1"]
    done = run_in(folder, *command, text=settings)
    assert done.returncode == 0, done.stdout + done.stderr
    configs = [yaml.safe_load(path.read_text()) for path in folder.glob("runs/*/dqn/*/config.yaml")]
    assert [config["hidden"] for config in configs] == [8, 8]


def test_verbose_prints_the_traceback_with_its_causes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    args = ["train", "dqn", "--env", "CartPole-v1", "--config", "none.yaml"]
    for verbose_args in ([*args, "--verbose"], ["--verbose", *args]):
        with pytest.raises(SystemExit) as exit_:
            main(verbose_args)
        errors = capsys.readouterr().err
        assert exit_.value.code == 2
        assert "Traceback" in errors
        assert "FileNotFoundError" in errors
        assert "direct cause" in errors
        assert errors.splitlines()[-1] == "rl_lab: none.yaml cannot be read: No such file or directory"


def test_a_path_of_the_arguments_that_cannot_be_used_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """OSErrors about other files are faults of the program, so their traceback is printed."""
    monkeypatch.chdir(tmp_path)

    def use(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    for argument in ("some", f"{tmp_path}/some", "--out=some"):
        path = argument.removeprefix("--out=")
        monkeypatch.setattr("rl_lab.cli.listing.list_command", lambda args, path=path: use(f"{path}/below"))
        with pytest.raises(SystemExit) as exit_:
            main(["list", argument])
        assert exit_.value.code == 2
        assert capsys.readouterr().err == f"rl_lab: {path}/below cannot be used: Permission denied\n"
    monkeypatch.setattr("rl_lab.cli.listing.list_command", lambda args: use("/etc/other"))
    with pytest.raises(PermissionError):
        main(["list", "some"])
