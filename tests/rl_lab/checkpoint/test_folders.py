"""Tests of the order and the search of checkpoint folders."""

from pathlib import Path

import pytest

from rl_lab import checkpoint
from rl_lab.errors import LabError


def make_folders(run: Path, *names: str) -> None:
    for name in names:
        folder = run / "checkpoints" / name
        folder.mkdir(parents=True)
        (folder / "state.json").write_text("{}")


def test_find_prefers_the_best_checkpoint(tmp_path: Path):
    make_folders(tmp_path, "step-000000100", "step-000000200", "best")
    assert checkpoint.find(tmp_path).name == "best"
    assert checkpoint.find(tmp_path, "best").name == "best"


def test_find_returns_the_newest_complete_generation_as_last(tmp_path: Path):
    make_folders(tmp_path, "step-000000100", "step-000000200", "best")
    (tmp_path / "checkpoints/step-000000300.new").mkdir()  # as after a kill during writing
    assert checkpoint.find(tmp_path, "last").name == "step-000000200"


def test_find_accepts_an_agent_step(tmp_path: Path):
    make_folders(tmp_path, "step-000000100", "step-000000200")
    assert checkpoint.find(tmp_path, "100").name == "step-000000100"


def test_find_returns_the_old_best_checkpoint_until_the_new_one_is_complete(tmp_path: Path):
    make_folders(tmp_path, "step-000000100", "best.old")  # as after a kill between two renames
    assert checkpoint.find(tmp_path).name == "best.old"
    assert checkpoint.find(tmp_path, "best").name == "best.old"


def test_find_raises_if_there_is_no_such_checkpoint(tmp_path: Path):
    make_folders(tmp_path, "step-000000100", "best")
    with pytest.raises(LabError, match="has no checkpoint 'first' yet"):
        checkpoint.find(tmp_path, "first")
    with pytest.raises(LabError, match="has no checkpoint yet"):
        checkpoint.find(tmp_path / "other")


def test_generations_are_sorted_by_step_newest_first(tmp_path: Path):
    expected = ["step-1000000000", "step-999999999", "step-999999999.old", "step-000000900"]
    make_folders(tmp_path, *reversed(expected), "step-12", "step-000000001.new")
    assert [folder.name for folder in checkpoint.generations(tmp_path)] == expected
    steps = [checkpoint.step_of(folder) for folder in checkpoint.generations(tmp_path)]
    assert steps == [1_000_000_000, 999_999_999, 999_999_999, 900]
