"""Tests that errors of an environment end a run with one line and the command that resumes the run."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from rl_lab import checkpoint

TESTS = Path(__file__).parents[2]

SCRIPT = """
    import os, sys, time
    import gymnasium
    import rl_lab
    from rl_lab.cli import main
    from toy_envs import NumberedSteps

    class Broken(NumberedSteps):
        num_steps = 0

        def step(self, action):
            Broken.num_steps += 1
            if Broken.num_steps == {fault_at}:
                {fault}
            return super().step(action)

    if __name__ == "__main__":  # processes of environments import this file too
        gymnasium.register("Broken-v0", Broken)
        main("train dqn --env Broken-v0 --steps 100000 --num-envs 2 --checkpoint-every 300 --eval-every 0 --hidden 8"
             " --learning-starts 100 --wandb disabled --runs-dir runs --env-timeout 3 {flags}".split())
"""


@pytest.mark.parametrize(
    ("fault", "fault_at", "flags", "message"),
    [
        ("raise OSError('the joystick broke')", 2000, "", "fails in step: OSError: the joystick broke (broken.py:"),
        ("return self._obs()[:2], 0.0, False, False, {}", 2000, "", "step returned an observation of shape (2,)"),
        ("time.sleep(1000)", 2000, "", "no environment step for 3 s, Broken-v0 may hang"),
        # Each of the two processes counts the steps of its own environment.
        ("os._exit(3)", 1000, "--vectorization async", "the process of environment "),
        ("return self._obs(), float('nan'), False, False, {}", 2000, "", "Broken-v0 sent a reward that is nan ("),
    ],
    ids=["raises", "wrong shape", "hangs", "process dies", "nan"],
)
def test_an_error_is_one_line_with_the_command_to_resume(
    fault: str, fault_at: int, flags: str, message: str, tmp_path: Path
):
    script = tmp_path / "broken.py"
    script.write_text(textwrap.dedent(SCRIPT).format(fault=fault, fault_at=fault_at, flags=flags))
    done = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 1, done.stderr
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith("rl_lab: ")
    assert message in line
    assert "go on from the last checkpoint with:  python -m rl_lab resume runs/Broken-v0/dqn/" in line
    (run,) = tmp_path.glob("runs/Broken-v0/dqn/*")
    assert len(checkpoint.generations(run)) == 2
