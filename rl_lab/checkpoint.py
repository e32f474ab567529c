"""Checkpoints: safetensors for tensors, JSON for the rest, so that one from a stranger can run no code.

checkpoints/<name>/
    network.safetensors   what plays
    learner.safetensors   what else training needs: target, optimiser, replay, generators (of `last` only)
    state.json            counters and the score
A checkpoint is written beside the old one and takes its name when it is complete.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from agents.base import Agent
from rl_lab.errors import LabError

Tree = dict[str, Any]


def flatten(tree: Tree, prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": x}} -> {"a/b": x}: safetensors and JSON hold flat names."""
    flat = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}/")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def unflatten(flat: dict[str, Any]) -> Tree:
    """The inverse of `flatten`; keys come back as texts."""
    tree: Tree = {}
    for name, value in flat.items():
        *folders, leaf = name.split("/")
        node = tree
        for folder in folders:
            node = node.setdefault(folder, {})
        node[leaf] = value
    return tree


def save(run: Path, name: str, agent: Agent, state: Tree, *, resumable: bool) -> Path:
    """Write checkpoint `name` of a run. `state` is the runner's own; `resumable` adds the agent's full state."""
    folder = run / "checkpoints" / name
    fresh, old = folder.with_name(f"{name}.new"), folder.with_name(f"{name}.old")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    save_file(_for_disk(agent.network.state_dict()), fresh / "network.safetensors")
    if resumable:
        everything = flatten({"agent": agent.state_dict(), "run": state})
        everything = {k: v for k, v in everything.items() if not k.startswith("agent/network/")}
        tensors = {k: v for k, v in everything.items() if isinstance(v, Tensor)}
        save_file(_for_disk(tensors), fresh / "learner.safetensors")
        plain = {k: v for k, v in everything.items() if k not in tensors}
    else:
        plain = flatten({"run": state})
    (fresh / "state.json").write_text(json.dumps(plain, indent=1) + "\n")
    if folder.exists():
        folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
    return folder


def _for_disk(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def find(run: Path, name: str | None = None) -> Path:
    """The folder of checkpoint `name`; without one the best, else the last. Raises LabError where there is none."""
    for candidate in [name] if name else ["best", "last"]:
        for folder in (run / "checkpoints" / candidate, run / "checkpoints" / f"{candidate}.old"):
            if (folder / "state.json").is_file():
                return folder
    raise LabError(f"{run} holds no checkpoint{f' called {name!r}' if name else ''} yet")


def read_state(folder: Path) -> Tree:
    """What the runner wrote beside the weights: counters and scores."""
    try:
        return unflatten(json.loads((folder / "state.json").read_text())).get("run", {})
    except (OSError, ValueError) as error:
        raise LabError(f"{folder} is not a readable checkpoint: {error}") from error


def load_network(folder: Path, agent: Agent) -> None:
    """Give the agent a checkpoint's weights, to play with. Raises LabError where they do not fit it."""
    try:
        agent.network.load_state_dict(load_file(folder / "network.safetensors"))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise LabError(f"{folder} does not fit the agent: {' '.join(str(error).split())[:200]}") from error


def load_all(folder: Path, agent: Agent, device: torch.device) -> Tree:
    """Restore the agent's full state; returns the runner's. Raises LabError where the checkpoint is not whole."""
    try:
        tensors = load_file(folder / "learner.safetensors", device=str(device))
        network = load_file(folder / "network.safetensors", device=str(device))
        tree = unflatten(tensors | json.loads((folder / "state.json").read_text()))
        agent.load_state_dict({**tree["agent"], "network": network})
    except (OSError, SafetensorError, RuntimeError, ValueError, KeyError) as error:
        raise LabError(f"{folder} cannot be resumed: {' '.join(str(error).split())[:200]}") from error
    return tree["run"]
