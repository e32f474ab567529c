"""Writing checkpoints."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from agents.core.agent import Agent
from agents.memory.ring import Ring
from rl_lab.checkpoint.flat_names import StateTree, flatten
from rl_lab.checkpoint.folders import drop_old, replace_folder, segment_records
from rl_lab.checkpoint.ring_segments import row_bytes, segment_file, segment_rows, segments
from rl_lab.checkpoint.state_file import write_state_file
from rl_lab.checkpoint.tensor_files import FileRecord, force_to_disk, write_tensors

NETWORK = "agent/network/"
"""Flat names with this prefix are the weights of the network that plays."""


@dataclass(frozen=True)
class SavedCheckpoint:
    """A checkpoint that was written."""

    folder: Path
    bytes: int  # bytes of tensors that were written


def save(run: Path, step: int, agent: Agent, state: StateTree) -> SavedCheckpoint:
    """Write the full state of a run as a new generation, and remove all but the newest two generations.

    Args:
        run: The run folder.
        step: Agent steps taken so far; they name the generation.
        agent: The agent; its `state_dict` is saved.
        state: The rest of the run's state. `load` returns it.
    """
    root = run / "checkpoints"
    (root / "rows").mkdir(parents=True, exist_ok=True)
    entries = flatten({"agent": agent.state_dict(), "run": state})
    rings = {name: value for name, value in entries.items() if isinstance(value, Ring)}
    tensors = {name: value for name, value in entries.items() if isinstance(value, Tensor)}
    values = {name: value for name, value in entries.items() if name not in rings and name not in tensors}
    network = {name.removeprefix(NETWORK): value for name, value in tensors.items() if name.startswith(NETWORK)}
    learner = {name: value for name, value in tensors.items() if not name.startswith(NETWORK)}

    # 1. Segments of the rings. They are on disk before a state.json refers to them.
    files, bytes_written = _write_segments(root, rings)
    force_to_disk(root / "rows")
    for name, ring in rings.items():
        values[f"{name}/total"] = ring.total
        values[f"{name}/capacity"] = ring.capacity
        values[f"{name}/segments"] = [segment_file(name, first, end) for first, end in segments(ring)]

    # 2. The generation's own files, in a folder with a temporary name.
    folder = root / f"step-{step:09}"
    new = _make_new_folder(folder)
    files["network.safetensors"] = write_tensors(new / "network.safetensors", network)
    files["learner.safetensors"] = write_tensors(new / "learner.safetensors", learner)
    bytes_written += files["network.safetensors"]["bytes"] + files["learner.safetensors"]["bytes"]
    write_state_file(new, values, files)

    # 3. The folder's name makes the generation valid.
    replace_folder(new, folder)
    drop_old(root)
    return SavedCheckpoint(folder, bytes_written)


def save_best(run: Path, agent: Agent, state: StateTree) -> Path:
    """Write the network of the best evaluation, and replace the previous one.

    Args:
        run: The run folder.
        agent: The agent; only its network is saved.
        state: Numbers and texts about the evaluation. `read_state` returns them.

    Returns:
        The folder of the checkpoint.
    """
    folder = run / "checkpoints" / "best"
    new = _make_new_folder(folder)
    files = {"network.safetensors": write_tensors(new / "network.safetensors", agent.network.state_dict())}
    write_state_file(new, flatten({"run": state}), files)
    replace_folder(new, folder)
    return folder


def bytes_to_write(run: Path, agent: Agent) -> int:
    """Return an estimate of the bytes that the next `save` writes: tensors, and segments that are not on disk yet."""
    known = segment_records(run / "checkpoints")
    total = 2**20  # everything that is not the agent's
    for name, value in flatten({"agent": agent.state_dict()}).items():
        if isinstance(value, Tensor):
            total += value.nbytes
        elif isinstance(value, Ring):
            new = [(first, end) for first, end in segments(value) if segment_file(name, first, end) not in known]
            total += sum(end - first for first, end in new) * row_bytes(value)
    return total


def _write_segments(root: Path, rings: dict[str, Ring]) -> tuple[dict[str, FileRecord], int]:
    """Write the segments that are not on disk yet. Return the records of all segments, and the bytes written."""
    known = segment_records(root)
    records: dict[str, FileRecord] = {}
    bytes_written = 0
    for name, ring in rings.items():
        for first, end in segments(ring):
            file = segment_file(name, first, end)
            path = root / file
            if file in known and path.is_file() and path.stat().st_size == known[file]["bytes"]:
                records[file] = known[file]
                continue
            records[file] = write_tensors(path, segment_rows(ring, first, end))
            bytes_written += records[file]["bytes"]
    return records, bytes_written


def _make_new_folder(folder: Path) -> Path:
    """Return an empty folder beside `folder`, with a temporary name."""
    new = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    return new
