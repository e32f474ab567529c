"""Tests that code of others cannot end a command as if it had succeeded."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from rl_lab.experiment.training_job import TrainingJob
from rl_lab.system.exit_codes import CommandExit, no_silent_exit, run_command

TESTS = Path(__file__).parents[2]

EXITING_ENV = """
    import os, sys
    import gymnasium
    from toy_envs import NumberedSteps

    class Exits(NumberedSteps):
        num_steps = 0

        def step(self, action):
            Exits.num_steps += 1
            if Exits.num_steps == 2000:
                {statement}
            return super().step(action)

    gymnasium.register("Exits-v0", Exits)
"""
OPTIONS = (
    "--steps 3000 --eval-every 0 --eval-episodes 1 --hidden 4 --learning-starts 100 --checkpoint-every 500".split()
)


def train_exiting(folder: Path, statement: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Train in an environment that executes a statement at its 2000th step."""
    (folder / "exits.py").write_text(textwrap.dedent(EXITING_ENV).format(statement=statement))
    command = [sys.executable, "-m", "rl_lab", "train", "dqn", "--env", "exits:Exits-v0", *OPTIONS, *args]
    return subprocess.run(
        [*command, "--wandb", "disabled"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(TESTS)])},
        capture_output=True,
        text=True,
        timeout=100,
    )


@pytest.mark.parametrize("statement", ["sys.exit(0)", "os._exit(0)"])
def test_exit_of_an_environment_is_a_fault(statement: str, tmp_path: Path):
    done = train_exiting(tmp_path, statement)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert f"called {statement}" in line
    assert "exits.py:12" in line
    assert "go on from the last checkpoint with:  python -m rl_lab resume runs/" in line


def test_seed_whose_environment_exits_has_failed(tmp_path: Path):
    done = train_exiting(tmp_path, "os._exit(0)", "--seeds", "1", "--group", "study")
    assert done.returncode == 1
    assert done.stdout.startswith("group study: seeds 1\n")
    assert "seed 1 failed: rl_lab: " in done.stdout
    assert "done" not in done.stdout
    assert done.stderr == "rl_lab: seed 1 failed; the others are in the group study\n"


@pytest.mark.parametrize("flags", [(), ("--verbose",)])
def test_seeds_that_fail_print_a_traceback_with_verbose(tmp_path: Path, flags: tuple[str, ...]):
    """The group is continued, so that the second command resumes the run."""
    for _ in range(2):
        done = train_exiting(tmp_path, "raise KeyError('lost')", "--seeds", "1", "--group", "study", *flags)
        assert done.returncode == 1
        lines = done.stdout.splitlines()
        assert lines[-1].startswith("seed 1 failed: rl_lab: Exits-v0 fails in step: KeyError")
        tracebacks = [line for line in lines if line.startswith("Traceback (most recent call last)")]
        assert bool(tracebacks) == bool(flags)
        assert any("direct cause" in line for line in lines) == bool(flags)


def test_job_whose_run_has_not_all_steps_has_failed():
    """An extension in C may end a process with code 0 without any Python code that could notice."""
    job = TrainingJob(
        1, [sys.executable, "-c", "print('working', flush=True); import ctypes; ctypes.CDLL(None)._exit(0)"]
    )
    job.start(dict(os.environ))
    while job.state == "running":
        pass
    assert job.state == "failed"
    assert job.problem == "the process ended with exit code 0 before the run had all its steps; its last line: working"


def exit_with(code: int | None) -> None:
    """Call sys.exit."""
    sys.exit(code)


EXIT_LINE = exit_with.__code__.co_firstlineno + 2


@pytest.mark.parametrize("code", [0, None, 3])
def test_foreign_exit_of_a_command_is_one_line(code: int | None, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stop:
        run_command(lambda: exit_with(code))
    assert stop.value.code == 1
    assert f"test_exits.py:{EXIT_LINE} called sys.exit({code!r})" in capsys.readouterr().err


def test_own_exit_and_help_keep_their_codes():
    def leave() -> None:
        raise CommandExit(130)

    def show_help() -> None:
        import argparse

        argparse.ArgumentParser().parse_args(["--help"])

    for command, code in ((leave, 130), (show_help, 0)):
        with pytest.raises(SystemExit) as stop:
            run_command(command)
        assert stop.value.code == code


def test_only_code_0_of_this_process_is_changed():
    """A forked child ends as it wants. Afterwards os._exit is Python's again."""
    original = os._exit
    with no_silent_exit():
        child = multiprocessing.get_context("fork").Process(target=os._exit, args=(0,))
        child.start()
        child.join()
        assert child.exitcode == 0
        assert os._exit is not original
    assert os._exit is original
    code = "import os; from rl_lab.system.exit_codes import no_silent_exit\nwith no_silent_exit(): os._exit({})"
    for requested, expected in ((0, 1), (1, 1), (5, 5)):
        done = subprocess.run([sys.executable, "-c", code.format(requested)], capture_output=True, text=True)
        assert done.returncode == expected
        assert ("called os._exit(0)" in done.stderr) == (requested == 0)
