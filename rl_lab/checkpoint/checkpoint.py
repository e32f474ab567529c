"""Checkpoints: everything a run needs to go on as if it had never stopped, written so that no moment can lose it.

checkpoints/
    step-000050000/       two generations of these are kept
        state.json            counters, and the size and checksum of every file that belongs to it
        network.safetensors   what plays
        learner.safetensors   what else training needs: target, optimiser, generators, carry, the way to the emulators' state
    rows/<name>-<first>-<end>.safetensors    the replay, in segments that are written once and shared by generations
    best/                 the best evaluation: network.safetensors and state.json

A checkpoint is written beside the others, forced to disk, and takes its name when it is complete; one that is torn or altered
fails its checksums and the one before serves, unless it needs the same segment of the replay. Tensors are safetensors and the rest JSON, so that a checkpoint from a stranger
can run no code.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from agents.core.agent import Agent
from agents.memory.ring import Ring
from rl_lab.checkpoint.ring_files import StoredRing, checksum, row_bytes, segment_file, segments, sync, write_tensors
from rl_lab.errors import LabError

Tree = dict[str, Any]
GENERATIONS = 2


class Damaged(LabError):
    """A checkpoint whose files are missing, torn or altered."""


@dataclass(frozen=True)
class Saved:
    """What writing a checkpoint cost."""

    folder: Path
    bytes: int


# --- trees and flat names -----------------------------------------------------------------------------------------


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


# --- writing ------------------------------------------------------------------------------------------------------


def save(run: Path, step: int, agent: Agent, state: Tree) -> Saved:
    """Write the full state of a run at an agent step, and drop the generations before the last two."""
    root = run / "checkpoints"
    (root / "rows").mkdir(parents=True, exist_ok=True)
    everything = flatten({"agent": agent.state_dict(), "run": state})
    rings = {name: value for name, value in everything.items() if isinstance(value, Ring)}
    tensors = {name: value for name, value in everything.items() if isinstance(value, Tensor)}
    network = {name: value for name, value in tensors.items() if name.startswith("agent/network/")}
    plain = {name: value for name, value in everything.items() if name not in rings and name not in tensors}
    files: dict[str, dict[str, Any]] = {}
    written = 0
    for name, ring in rings.items():
        plain[f"{name}/total"], plain[f"{name}/capacity"] = ring.total, ring.capacity
        plain[f"{name}/segments"] = []
        known = _known_files(root)
        for first, end in segments(ring):
            file = segment_file(name, first, end)
            there = root / file
            if file not in known or not there.is_file() or there.stat().st_size != known[file]["bytes"]:
                rows = torch.arange(max(first, ring.total - ring.capacity), end) % ring.capacity
                known[file] = write_tensors(root / file, {k: x[rows.to(x.device)] for k, x in ring.fields.items()})
                written += known[file]["bytes"]
            files[file] = known[file]
            plain[f"{name}/segments"].append(file)
    folder = root / f"step-{step:09}"
    fresh = _fresh(folder)
    sync(root / "rows")
    files["network.safetensors"] = write_tensors(
        fresh / "network.safetensors", {k.removeprefix("agent/network/"): v for k, v in network.items()}
    )
    learner = {name: value for name, value in tensors.items() if name not in network}
    files["learner.safetensors"] = write_tensors(fresh / "learner.safetensors", learner)
    _write_state(fresh, plain, files)
    _take_name(fresh, folder)
    _drop_old(root)
    own = sum(files[name]["bytes"] for name in ("network.safetensors", "learner.safetensors"))
    return Saved(folder, written + own)


def save_best(run: Path, agent: Agent, state: Tree) -> Path:
    """Write what plays, and the score it reached."""
    folder = run / "checkpoints" / "best"
    fresh = _fresh(folder)
    files = {"network.safetensors": write_tensors(fresh / "network.safetensors", agent.network.state_dict())}
    _write_state(fresh, flatten({"run": state}), files)
    _take_name(fresh, folder)
    return folder


def bytes_to_write(run: Path, agent: Agent) -> int:
    """About how many bytes the next checkpoint will take on disk: the segments that are not there yet, and the rest."""
    known, needed = _known_files(run / "checkpoints"), 2**20
    for name, value in flatten({"agent": agent.state_dict()}).items():
        if isinstance(value, Tensor):
            needed += value.nbytes
        elif isinstance(value, Ring):
            new = [(first, end) for first, end in segments(value) if segment_file(name, first, end) not in known]
            needed += sum(end - first for first, end in new) * row_bytes(value)
    return needed


def discard_newer(folder: Path) -> None:
    """Remove the generations after this one: they are damaged, and nothing may build on their segments."""
    there = generations(folder.parent.parent)
    for other in there[: there.index(folder)]:
        shutil.rmtree(other)
    _drop_old(folder.parent)


def _fresh(folder: Path) -> Path:
    fresh = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    return fresh


def _write_state(folder: Path, plain: dict[str, Any], files: dict[str, dict[str, Any]]) -> None:
    content = {"state": plain, "files": files}
    text = json.dumps({**content, "checksum": _checksum_of(content)}, indent=1)
    (folder / "state.json").write_text(text + "\n")
    sync(folder / "state.json")


def _take_name(fresh: Path, folder: Path) -> None:
    """Give a complete checkpoint its name; one that had it before serves until then."""
    sync(fresh)
    old = folder.with_name(f"{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    fresh.rename(folder)
    sync(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def _checksum_of(content: Tree) -> str:
    return hashlib.blake2b(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _drop_old(root: Path) -> None:
    """Remove generations before the last two, and the segments that no generation needs any more."""
    for folder in [*generations(root.parent)[GENERATIONS:], *root.glob("step-*.new")]:
        shutil.rmtree(folder)
    needed = _known_files(root)
    for path in (root / "rows").glob("*"):
        if f"rows/{path.name}" not in needed:
            path.unlink()


def _known_files(root: Path) -> dict[str, dict[str, Any]]:
    """The segments that generations on disk refer to."""
    found: dict[str, dict[str, Any]] = {}
    for folder in generations(root.parent):
        try:
            found |= {k: v for k, v in _read_state(folder)["files"].items() if k.startswith("rows/")}
        except Damaged:
            continue
    return found


# --- finding and reading ------------------------------------------------------------------------------------------


def generations(run: Path) -> list[Path]:
    """The full checkpoints of a run, newest first; one that was being replaced comes after what replaced it."""
    found = [p for p in (run / "checkpoints").glob("step-*") if re.fullmatch(r"step-\d{9,}(\.old)?", p.name)]
    return sorted(found, key=lambda p: (step_of(p), p.suffix != ".old"), reverse=True)


def step_of(generation: Path) -> int:
    """The agent step of a full checkpoint."""
    return int(generation.name.removeprefix("step-").removesuffix(".old"))


def find(run: Path, name: str | None = None) -> Path:
    """A checkpoint that can play: "best", "last" or a step; without a name the best, else the last.

    Raises LabError where there is none.
    """
    best = [p for p in (run / "checkpoints" / "best", run / "checkpoints" / "best.old") if (p / "state.json").is_file()]
    last = generations(run)
    named = {None: best + last, "best": best, "last": last}
    for folder in named[name] if name in named else [p for p in last if p.name == f"step-{name:0>9}"]:
        return folder
    raise LabError(f"{run} holds no checkpoint{f' {name!r}' if name else ''} yet")


def _read_state(folder: Path) -> Tree:
    try:
        content = json.loads((folder / "state.json").read_text())
        checksum = content.pop("checksum")
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise Damaged(f"{folder} is damaged: state.json cannot be read ({error})") from error
    if checksum != _checksum_of(content):
        raise Damaged(f"{folder} is damaged: state.json does not have its checksum")
    files = content.get("files")
    if not isinstance(content.get("state"), dict) or not isinstance(files, dict):
        raise Damaged(f"{folder} is damaged: state.json is no state of a run")
    if not all(isinstance(want, dict) and {"bytes", "blake2b"} <= want.keys() for want in files.values()):
        raise Damaged(f"{folder} is damaged: state.json lists files without their size and checksum")
    return content


def _verify(folder: Path, files: dict[str, dict[str, Any]]) -> None:
    for name, want in files.items():
        path = (folder.parent if name.startswith("rows/") else folder) / name
        if path.resolve().parent not in (folder.resolve(), (folder.parent / "rows").resolve()):
            raise Damaged(f"{folder} is damaged: it names the file {name}, which is not its own")
        if not path.is_file() or path.stat().st_size != want["bytes"] or checksum(path) != want["blake2b"]:
            raise Damaged(f"{folder} is damaged: {path} does not have its checksum")


def read_state(folder: Path) -> Tree:
    """What the runner wrote beside the weights: counters and scores."""
    return unflatten(_read_state(folder)["state"])["run"]


def load_network(folder: Path, agent: Agent) -> None:
    """Give a new agent a checkpoint's weights. Raises LabError where they are damaged or do not fit it."""
    files = _read_state(folder)["files"]
    _verify(folder, {"network.safetensors": files.get("network.safetensors", {"bytes": -1, "blake2b": ""})})
    weights = _read_weights(folder)
    try:
        agent.start_from(weights)
    except RuntimeError as error:
        raise LabError(
            f"{folder} does not fit the agent: its network has other layers or sizes; a run of the same agent, frames, actions"
            " and sizes fits"
        ) from error


def _read_weights(folder: Path) -> dict[str, Tensor]:
    try:
        weights = load_file(folder / "network.safetensors")
    except (OSError, SafetensorError) as error:
        raise Damaged(f"{folder} is damaged: its weights cannot be read ({error})") from error
    if not all(bool(x.isfinite().all()) for x in weights.values()):
        raise LabError(f"{folder} holds weights that are not finite numbers")
    return weights


def load(folder: Path, agent: Agent, device: torch.device) -> Tree:
    """Restore the agent's full state from a generation; returns the runner's.

    Raises Damaged where the checkpoint is not whole, LabError where it belongs to another agent.
    """
    content = _read_state(folder)
    _verify(folder, content["files"])
    try:
        network = _read_weights(folder)
        flat = load_file(folder / "learner.safetensors", device=str(device)) | content["state"]
        for name in [k.removesuffix("/segments") for k in flat if k.endswith("/segments")]:
            files = flat.pop(f"{name}/segments")
            if not set(files) <= set(content["files"]):
                raise Damaged(f"{folder} is damaged: it names segments that are not among its files")
            paths = [folder.parent / file for file in files]
            flat[name] = StoredRing(paths, flat.pop(f"{name}/capacity"), flat.pop(f"{name}/total"))
        tree = unflatten(flat)
        agent.load_state_dict({**tree.get("agent", {}), "network": network})
    except (
        OSError,
        SafetensorError,
        RuntimeError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        ArithmeticError,
    ) as error:
        raise LabError(f"{folder} cannot be resumed: {' '.join(str(error).split())[:200]}") from error
    return tree["run"]
