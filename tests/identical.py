"""Comparison of two run folders, bit for bit, except for values that depend on the clock."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from agents.memory.ring import Ring
from rl_lab import checkpoint
from rl_lab.checkpoint.ring_segments import StoredRing
from rl_lab.checkpoint.state_file import read_state_file
from rl_lab.experiment.run import Run

CLOCK_METRICS = ("time/", "speed/", "seconds/", "checkpoint/")
TENSOR_FILES = ["learner.safetensors", "network.safetensors"]


def logged_metrics(run: Run) -> list[dict[str, Any]]:
    """Return the lines of metrics.jsonl without metrics that depend on the clock, and without empty lines."""
    lines = []
    for line in run.metrics():
        kept = {name: value for name, value in line.items() if not name.startswith(CLOCK_METRICS)}
        if len(kept) > 1:
            lines.append(kept)
    return lines


def replay_rows(generation: Path) -> Ring:
    """Return the replay of a checkpoint that has one ring buffer."""
    values = read_state_file(generation).values
    (name,) = (key.removesuffix("/segments") for key in values if key.endswith("/segments"))
    paths = [generation.parent / file for file in values[f"{name}/segments"]]
    stored = StoredRing(paths, values[f"{name}/capacity"], values[f"{name}/total"])
    fields = {
        field: torch.zeros((stored.capacity, *rows.shape[1:]), dtype=rows.dtype)
        for field, rows in load_file(paths[0]).items()
    }
    stored.copy_into(fields)
    return Ring(fields, stored.total)


def assert_identical(first: Run, second: Run) -> None:
    """Assert that the newest checkpoints hold equal tensors and replay rows, and that the logged metrics are equal."""
    first_folder = checkpoint.generations(first.path)[0]
    second_folder = checkpoint.generations(second.path)[0]
    assert first_folder.name == second_folder.name
    for folder in (first_folder, second_folder):
        assert sorted(path.name for path in folder.glob("*.safetensors")) == TENSOR_FILES
    for file in TENSOR_FILES:
        assert_equal_tensors(load_file(first_folder / file), load_file(second_folder / file))
    first_rows, second_rows = replay_rows(first_folder), replay_rows(second_folder)
    assert first_rows.total == second_rows.total
    assert_equal_tensors(first_rows.fields, second_rows.fields)
    assert logged_metrics(first) == logged_metrics(second)


def assert_equal_tensors(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    """Assert that both dicts hold the same names and equal tensors."""
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name
