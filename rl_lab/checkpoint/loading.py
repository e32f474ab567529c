"""Reading and verifying checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from agents.core.agent import Agent
from rl_lab.checkpoint.flat_names import StateTree, unflatten
from rl_lab.checkpoint.migration import migrate
from rl_lab.checkpoint.ring_segments import StoredRing
from rl_lab.checkpoint.state_file import DamagedCheckpoint, StateFile, read_state_file
from rl_lab.checkpoint.tensor_files import FileRecord, file_checksum
from rl_lab.errors import LabError

WRONG_STATE = (
    OSError,
    SafetensorError,
    RuntimeError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
)
"""Exceptions that a state with correct checksums raises if its contents are wrong, or belong to another agent."""


def load(folder: Path, agent: Agent, device: torch.device) -> StateTree:
    """Restore the full state of an agent from a generation.

    Args:
        folder: The generation.
        agent: An agent with the same settings as the one that was saved.
        device: The device of the tensors that are returned.

    Returns:
        The `state` that `save` was given.

    Raises:
        DamagedCheckpoint: A file is missing or altered.
        LabError: The state does not fit the agent.
    """
    state_file = read_state_file(folder)
    verify_files(folder, state_file.files)
    try:
        network = _read_network(folder)
        tensors = load_file(folder / "learner.safetensors", device=str(device))
        flat = _current_names(state_file, tensors | state_file.values)
        _insert_stored_rings(folder, flat, state_file.files)
        tree = unflatten(flat)
        agent.load_state_dict({**tree.get("agent", {}), "network": network})
    except WRONG_STATE as error:
        reason = " ".join(str(error).split())[:200]
        raise LabError(f"{folder} cannot be resumed: {reason}") from error
    return tree["run"]


def load_network(folder: Path, agent: Agent) -> None:
    """Initialise an agent's network with the weights of a checkpoint.

    Raises:
        DamagedCheckpoint: A file is missing or altered.
        LabError: The weights do not fit the agent, or are not finite.
    """
    files = read_state_file(folder).files
    missing: FileRecord = {"bytes": -1, "blake2b": ""}
    verify_files(folder, {"network.safetensors": files.get("network.safetensors", missing)})
    weights = _read_network(folder)
    try:
        agent.start_from(weights)
    except RuntimeError as error:
        raise LabError(
            f"{folder} does not fit the agent: its network has other layers or sizes. Both runs need the same agent,"
            " observations, actions and network settings"
        ) from error


def read_state(folder: Path) -> StateTree:
    """Return the top-level numbers, texts and lists of the `state` that was saved, such as "steps" and "score"."""
    names = {name.removeprefix("run/"): value for name, value in read_state_file(folder).values.items()}
    return {name: value for name, value in names.items() if "/" not in name}


def verify_files(folder: Path, files: dict[str, FileRecord]) -> None:
    """Raise DamagedCheckpoint if a file is missing or altered, or lies outside the checkpoint's folders."""
    own_folders = (folder.resolve(), (folder.parent / "rows").resolve())
    for name, record in files.items():
        path = (folder.parent if name.startswith("rows/") else folder) / name
        if path.resolve().parent not in own_folders:
            raise DamagedCheckpoint(f"{folder} is damaged: it lists {name}, which is not a file of a checkpoint")
        if not path.is_file() or path.stat().st_size != record["bytes"] or file_checksum(path) != record["blake2b"]:
            raise DamagedCheckpoint(f"{folder} is damaged: {path} is missing or does not match its checksum")


def _read_network(folder: Path) -> dict[str, Tensor]:
    """Return the weights in network.safetensors."""
    try:
        weights = load_file(folder / "network.safetensors")
    except (OSError, SafetensorError) as error:
        raise DamagedCheckpoint(f"{folder} is damaged: its weights cannot be read ({error})") from error
    if not all(bool(weight.isfinite().all()) for weight in weights.values()):
        raise LabError(f"{folder} holds weights that are not finite numbers")
    return weights


def _current_names(state_file: StateFile, flat: dict[str, Any]) -> dict[str, Any]:
    """Return tensors and values under the names of the current format."""
    return migrate(flat) if state_file.format == 1 else flat


def _insert_stored_rings(folder: Path, flat: dict[str, Any], listed: dict[str, FileRecord]) -> None:
    """Replace the three entries of each ring buffer by one `StoredRing`."""
    names = [name.removesuffix("/segments") for name in flat if name.endswith("/segments")]
    for name in names:
        files = flat.pop(f"{name}/segments")
        if not set(files) <= set(listed):
            raise DamagedCheckpoint(f"{folder} is damaged: it refers to segments that are not among its files")
        paths = [folder.parent / file for file in files]
        flat[name] = StoredRing(paths, flat.pop(f"{name}/capacity"), flat.pop(f"{name}/total"))
