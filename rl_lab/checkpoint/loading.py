"""Reading and verifying checkpoints."""

from __future__ import annotations

import os
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
from rl_lab.checkpoint.state_file import DamagedCheckpoint, StateFile, is_unreadable, read_state_file
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
    MemoryError,
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
        _check_run_state(tree)
        agent.load_state_dict({**tree.get("agent", {}), "network": network})
    except WRONG_STATE as error:
        raise wrong_state_error(folder, error) from error
    return tree["run"]


def wrong_state_error(folder: Path, error: BaseException) -> LabError:
    """Return the error of a checkpoint whose contents raised one of `WRONG_STATE`."""
    reason = " ".join(str(error).split())[:200]
    if isinstance(error, KeyError):
        reason = f"it has no {reason}"
    return LabError(f"{folder} cannot be resumed: {reason}")


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
    """Return the top-level numbers, texts and lists of the `state` that was saved, such as "steps" and "score".

    Raises:
        DamagedCheckpoint: The file is missing or altered, or has no agent step "steps".
        LabError: The file cannot be opened, or a newer version of the lab wrote the checkpoint.
    """
    names = {name.removeprefix("run/"): value for name, value in read_state_file(folder).values.items()}
    state = {name: value for name, value in names.items() if "/" not in name}
    if not is_step(state.get("steps")):
        raise DamagedCheckpoint(f"{folder} is damaged: state.json has no agent step")
    return state


def is_step(value: Any) -> bool:
    """Return True if the value is a number of agent steps."""
    return type(value) is int and value >= 0


def verify_files(folder: Path, files: dict[str, FileRecord]) -> None:
    """Raise DamagedCheckpoint if a file is missing or altered, or lies outside the checkpoint's folders."""
    own_folders = (Path(os.path.realpath(folder)), Path(os.path.realpath(folder.parent / "rows")))
    for name, record in files.items():
        path = (folder.parent if name.startswith("rows/") else folder) / name
        if Path(os.path.realpath(path)).parent not in own_folders:  # `Path.resolve` raises for a loop of links
            raise DamagedCheckpoint(f"{folder} is damaged: it lists {name}, which is not a file of a checkpoint")
        if not _is_intact(path, record):
            raise DamagedCheckpoint(f"{folder} is damaged: {path} is missing or does not match its checksum")


def _is_intact(path: Path, record: FileRecord) -> bool:
    """Return True if a file has the recorded size and checksum. Raise LabError if the file cannot be opened."""
    try:
        if not path.is_file() or path.stat().st_size != record["bytes"]:
            return False
        return file_checksum(path) == record["blake2b"]
    except OSError as error:
        if is_unreadable(error):
            raise LabError(f"{path} cannot be read: {error.strerror}") from error
        return False


def _check_run_state(tree: StateTree) -> None:
    """Raise ValueError if the state of the run is missing."""
    if not isinstance(tree.get("run"), dict):
        raise ValueError("state.json has no state of the run")


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
