"""Tests of runs on a disk that is full or becomes full."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rl_lab import api, checkpoint
from rl_lab.checkpoint import tensor_files
from rl_lab.errors import Fault, LabError
from rl_lab.system.disk import check_disk


def folder_in(fault: pytest.ExceptionInfo[Fault]) -> str:
    """Return the run folder, which is the last word of the message."""
    return str(fault.value).rsplit(" ", 1)[1]


def last_step(run: Path) -> int:
    return checkpoint.read_state(checkpoint.find(run, "last"))["steps"]


def last_network(run: Path) -> bytes:
    return (checkpoint.find(run, "last") / "network.safetensors").read_bytes()


def test_check_disk_raises_if_a_checkpoint_does_not_fit(tmp_path: Path):
    message = r"a checkpoint needs 1000000000.00 GB, and 0.10 GB must remain free; the disk of .* has \d+.\d\d GB free"
    with pytest.raises(LabError, match=message):
        check_disk(tmp_path / "not" / "yet", 10**18)


def test_check_disk_raises_for_a_path_that_cannot_be_a_folder(tmp_path: Path):
    with pytest.raises(LabError, match="x cannot be used: File name too long"):
        check_disk(tmp_path / ("x" * 300), 1)


def test_a_failed_write_keeps_the_previous_checkpoint(train, monkeypatch: pytest.MonkeyPatch):
    save_file = tensor_files.save_file
    written: list[Path] = []

    def fail_after_twelve_files(tensors: dict[str, Any], path: Path) -> None:
        written.append(path)
        if len(written) > 12:
            path.write_bytes(b"incomplete")
            raise OSError(28, "No space left on device")
        save_file(tensors, path)

    monkeypatch.setattr(tensor_files, "save_file", fail_after_twelve_files)
    message = "no checkpoint can be written to .*No space left on device; go on from"
    with pytest.raises(Fault, match=message) as fault:
        train(steps=5000, checkpoint_every=300)
    monkeypatch.undo()
    run = api.resume(folder_in(fault), quiet=True)
    assert last_step(run.path) >= 5000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB, so that the kernel itself reports a full disk."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a file system needs root")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_run_resumes_exactly_after_the_disk_was_full(small_disk: Path, train, monkeypatch: pytest.MonkeyPatch):
    settings = {"steps": 9_000, "checkpoint_every": 500, "eval_every": 0, "hidden": 64, "replay_ratio": 0.5}
    for module in ("rl_lab.experiment.training_plan", "rl_lab.training.hooks"):
        monkeypatch.setattr(f"{module}.check_disk", lambda *_: None)  # otherwise it stops the run earlier
    with pytest.raises(Fault, match=r"(No space left on device|os error 28).*; go on from") as fault:
        train(**settings, runs_dir=str(small_disk))
    folder = folder_in(fault)
    assert last_step(Path(folder)) < 9_000
    subprocess.run(["mount", "-o", "remount,size=50m", small_disk], check=True)
    resumed = api.resume(folder, quiet=True)
    uninterrupted = train(**settings)
    assert last_network(resumed.path) == last_network(uninterrupted.path)
