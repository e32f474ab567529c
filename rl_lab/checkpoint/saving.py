"""Write checkpoints.

A generation is one full checkpoint of a run, a folder with the name of its agent step. A ring is a ring buffer of rows,
such as the replay (`agents.memory.ring.Ring`). A segment is a file with the rows `first` to `end - 1` of a ring, where
row numbers count from the first row ever written to the ring. Generations share segments. `rl_lab.checkpoint` describes
all files.
"""

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
    bytes_written: int  # size of the new tensor files: weights, learner and segments, without state.json


def save(run: Path, step: int, agent: Agent, state: StateTree) -> SavedCheckpoint:
    """Write the full state of a run as a new generation, and remove all but the newest two generations.

    Args:
        run: The run folder.
        step: Agent steps taken so far; the generation is named after this number.
        agent: The agent; its `state_dict` is saved.
        state: The rest of the run's state. `load` returns this state.

    Returns:
        The folder of the generation, and the bytes that were written.
    """
    root = run / "checkpoints"
    (root / "rows").mkdir(parents=True, exist_ok=True)
    entries = flatten({"agent": agent.state_dict(), "run": state})
    rings = {name: value for name, value in entries.items() if isinstance(value, Ring)}
    tensors = {name: value for name, value in entries.items() if isinstance(value, Tensor)}
    values = {name: value for name, value in entries.items() if name not in rings and name not in tensors}
    network = {name.removeprefix(NETWORK): value for name, value in tensors.items() if name.startswith(NETWORK)}
    # All other tensors of the agent and of the run: target network, optimiser, random generators, state of the loop.
    learner = {name: value for name, value in tensors.items() if not name.startswith(NETWORK)}

    # 1. The segments of the rings. The segments are on disk before a state.json refers to them.
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

    # 3. The rename makes the generation valid: a folder with a temporary name is never loaded.
    replace_folder(new, folder)
    drop_old(root)
    return SavedCheckpoint(folder, bytes_written)


def save_best(run: Path, agent: Agent, state: StateTree) -> Path:
    """Write the agent's present network to the folder "best", in place of the network of the previous best evaluation.

    Args:
        run: The run folder.
        agent: The agent that was just evaluated; only its network is saved.
        state: Numbers and texts about the evaluation. `read_state` returns this state.

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
    recorded = segment_records(run / "checkpoints")
    total = 2**20  # allowance of 1 MiB for state.json and for the state that is not the agent's
    for name, value in flatten({"agent": agent.state_dict()}).items():
        if isinstance(value, Tensor):
            total += value.nbytes
        elif isinstance(value, Ring):
            for first, end in segments(value):
                if segment_file(name, first, end) not in recorded:
                    total += (end - first) * row_bytes(value)
    return total


def _write_segments(root: Path, rings: dict[str, Ring]) -> tuple[dict[str, FileRecord], int]:
    """Write the segments that are not on disk yet.

    Args:
        root: The folder `checkpoints` of the run.
        rings: The rings by flat name.

    Returns:
        The records of all segments of the rings by file name, and the bytes written.
    """
    recorded = segment_records(root)  # the segments that earlier generations refer to
    records: dict[str, FileRecord] = {}
    bytes_written = 0
    for name, ring in rings.items():
        for first, end in segments(ring):
            file = segment_file(name, first, end)
            path = root / file
            # The rows of a segment never change. The checksum is verified at loading only: to verify it here would mean
            # to read the whole ring from disk for every checkpoint.
            if file in recorded and path.is_file() and path.stat().st_size == recorded[file]["bytes"]:
                records[file] = recorded[file]
                continue
            records[file] = write_tensors(path, segment_rows(ring, first, end))
            bytes_written += records[file]["bytes"]
    return records, bytes_written


def _make_new_folder(folder: Path) -> Path:
    """Make and return an empty folder beside `folder`, with the temporary name NAME.new."""
    new = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    return new
