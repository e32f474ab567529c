"""What keeps a run safe, and how faults end it."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from rl_lab import api, checkpoint
from rl_lab.checkpoint import tensor_files
from rl_lab.errors import Fault, LabError
from rl_lab.system.disk import check_disk
from rl_lab.system.lock import lock_run

FAULTS = """
    import os, sys, time
    import gymnasium
    import rl_lab
    from rl_lab.cli import main
    from envs.toy import NumberedSteps

    class Broken(NumberedSteps):
        rows = 0
        def step(self, action):
            Broken.rows += 1
            if Broken.rows == 2000:
                {fault}
            return super().step(action)

    if __name__ == "__main__":  # workers import this file too
      gymnasium.register("Broken-v0", Broken)
      main("train dqn --env Broken-v0 --steps 100000 --num-envs 2 --checkpoint-every 300 --eval-every 0 --hidden 8"
           " --learning-starts 100 --wandb disabled --runs-dir runs --env-timeout 3 {flags}".split())
"""


@pytest.mark.parametrize(
    ("fault", "flags", "message"),
    [
        ("raise OSError('the joystick broke')", "", "OSError: the joystick broke (see "),
        ("return self._obs()[:2], 0.0, False, False, {}", "", "ValueError: "),
        ("time.sleep(1000)", "", "nothing has moved for 3 s, Broken-v0 hangs"),
        ("os._exit(3)", "--vectorization async", "the process of an environment died"),
        ("return self._obs(), float('nan'), False, False, {}", "", ": lower lr, or set grad_clip; "),
    ],
    ids=["raises", "wrong shape", "hangs", "worker dies", "nan"],
)
def test_a_fault_is_one_message_with_the_way_on(fault, flags, message, tmp_path):
    code = textwrap.dedent(FAULTS).format(fault=fault, flags=flags)
    if "async" in flags:
        code = code.replace("Broken.rows == 2000", "Broken.rows == 1000")  # each worker counts its own
    script = tmp_path / "broken.py"
    script.write_text(code)
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.returncode == 1, done.stderr
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith("rl_lab: ")
    assert message in line
    assert "go on from the last checkpoint with:  python -m rl_lab resume runs/Broken-v0/dqn/" in line
    (run,) = tmp_path.glob("runs/Broken-v0/dqn/*")
    assert len(checkpoint.generations(run)) == 2


def test_a_second_process_is_refused_and_the_lock_of_a_dead_one_is_free(train):
    run = train(steps=300)
    code = f"import time; from pathlib import Path; from rl_lab.guard import lock\nwith lock_run(Path({str(run)!r})): print('held', flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LabError, match=f"is being trained by process {holder.pid}; wait for it or stop it"):
            api.resume(run, steps=400, quiet=True)
        assert run.config.run.steps == 300  # nothing was changed by the one that was refused
    finally:
        holder.kill()
        holder.communicate()
    with lock_run(run.path):
        assert (run.path / "lock").read_text() == str(os.getpid())


def test_a_full_disk_keeps_the_last_checkpoint(train, monkeypatch):
    """The disk fills while a checkpoint is written: the run ends in one line, the one before it is whole."""
    real, written = tensor_files.save_file, []

    def save_file(tensors, path):
        written.append(path)
        if len(written) > 12:
            path.write_bytes(b"torn")
            raise OSError(28, "No space left on device")
        real(tensors, path)

    monkeypatch.setattr(tensor_files, "save_file", save_file)
    with pytest.raises(Fault, match="no checkpoint can be written to .*No space left on device; go on from") as fault:
        train(steps=5000, checkpoint_every=300)
    monkeypatch.undo()
    folder = str(fault.value).rsplit(" ", 1)[1]
    run = api.resume(folder, quiet=True)
    assert checkpoint.read_state(checkpoint.find(run.path, "last"))["steps"] >= 5000


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 1 MB that really is full when it is full."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("mounting a small disk takes root")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_disk_that_is_full_loses_nothing(small_disk, train, monkeypatch):
    settings = {"steps": 9_000, "checkpoint_every": 500, "eval_every": 0, "hidden": 64, "replay_ratio": 0.5}
    for module in ("start", "runner"):  # so that the disk itself has to say it
        monkeypatch.setattr(f"rl_lab.{module}.check_disk", lambda *_: None)
    with pytest.raises(Fault, match=r"(No space left on device|os error 28).*; go on from") as fault:
        train(**settings, runs_dir=str(small_disk))
    folder = str(fault.value).rsplit(" ", 1)[1]
    assert checkpoint.read_state(checkpoint.find(Path(folder), "last"))["steps"] < 9_000
    subprocess.run(["mount", "-o", "remount,size=50m", small_disk], check=True)
    run, whole = api.resume(folder, quiet=True), train(**settings)
    one, other = (checkpoint.find(r.path, "last") / "network.safetensors" for r in (run, whole))
    assert one.read_bytes() == other.read_bytes()


def test_the_disk_is_looked_at_first(tmp_path):
    with pytest.raises(LabError, match=r"a checkpoint needs 1000000000.00 GB and the disk of .* has"):
        check_disk(tmp_path / "not" / "yet", 10**18)


def test_a_run_is_extended_as_if_it_had_been_longer(train):
    short, long = train(steps=600), train(steps=1000)
    with pytest.raises(LabError, match="steps is 100; .* already has 6"):
        api.resume(short, steps=100, quiet=True)
    run = api.resume(short, steps=1000, quiet=True)
    assert run.config.run.steps == 1000
    one, other = (checkpoint.find(r.path, "last") / "network.safetensors" for r in (run, long))
    assert one.read_bytes() == other.read_bytes()
