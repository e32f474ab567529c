"""Tests of the search for run folders."""

import os
from pathlib import Path
from typing import Any

import pytest

from rl_lab.experiment.run_search import find_run_folders


def make_run_folder(path: Path, *files: str) -> Path:
    path.mkdir(parents=True)
    for name in files or ("config.yaml", "env.json"):
        (path / name).write_text("")
    return path


def test_runs_are_found_at_any_depth_and_ordered_by_path(tmp_path: Path):
    deep = make_run_folder(tmp_path / "b/c/d/e")
    first = make_run_folder(tmp_path / "a", "env.json", "metrics.jsonl")
    make_run_folder(tmp_path / "wandb/files", "config.yaml")  # W&B writes a file of this name
    assert find_run_folders(tmp_path).runs == [first, deep]
    assert find_run_folders(tmp_path, max_depth=3).runs == [first]
    assert find_run_folders(first).runs == [first]


def test_the_inside_of_a_run_folder_is_not_searched(tmp_path: Path):
    run = make_run_folder(tmp_path / "run")
    make_run_folder(run / "copy")
    assert find_run_folders(tmp_path).runs == [run]


def test_a_run_folder_whose_files_are_folders_is_found(tmp_path: Path):
    run = tmp_path / "run"
    (run / "config.yaml").mkdir(parents=True)
    (run / "env.json").mkdir()
    assert find_run_folders(tmp_path).runs == [run]


def test_links_are_followed_and_loops_end(tmp_path: Path):
    root = tmp_path / "runs"
    elsewhere = make_run_folder(tmp_path / "elsewhere/run")
    root.mkdir()
    (root / "linked").symlink_to(elsewhere.parent)
    (root / "up").symlink_to(root)
    (root / "itself").symlink_to(root / "itself")
    (root / "broken").symlink_to(tmp_path / "none")
    found = find_run_folders(root)
    assert [path.resolve() for path in found.runs] == [elsewhere]
    assert found.problems == []


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = make_run_folder(tmp_path / "a")
    private = make_run_folder(tmp_path / "private")
    scandir = os.scandir

    def refuse_private(path: Any) -> Any:
        if Path(path) == private:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse_private)
    found = find_run_folders(tmp_path)
    assert found.runs == [run]
    assert found.problems == [f"{private} is left out: it cannot be read: Permission denied"]


@pytest.mark.parametrize("name", ["none", "a\0b"])
def test_a_folder_that_does_not_exist_holds_nothing(name: str, tmp_path: Path):
    found = find_run_folders(tmp_path / name)
    assert (found.runs, found.problems) == ([], [])
