"""Checkpoints on disk."""

import pytest
import torch

from rl_lab import checkpoint
from rl_lab.errors import LabError


def test_flat_names_and_back():
    tree = {"a": {"b": 1, "c": {"d": torch.ones(2)}}, "e": "x"}
    flat = checkpoint.flatten(tree)
    assert list(flat) == ["a/b", "a/c/d", "e"]
    assert checkpoint.unflatten(flat) == tree


def test_best_comes_before_last_and_the_old_one_serves_until_the_new_is_whole(tmp_path):
    for name in ("last", "best"):
        folder = tmp_path / "checkpoints" / name
        folder.mkdir(parents=True)
        (folder / "state.json").write_text("{}")
    assert checkpoint.find(tmp_path).name == "best"
    assert checkpoint.find(tmp_path, "last").name == "last"
    (tmp_path / "checkpoints/last").rename(tmp_path / "checkpoints/last.old")  # as if stopped between two renames
    assert checkpoint.find(tmp_path, "last").name == "last.old"
    with pytest.raises(LabError, match="holds no checkpoint called 'first' yet"):
        checkpoint.find(tmp_path, "first")
