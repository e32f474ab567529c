"""The data that collectors and the learner exchange, as numpy arrays, and its conversion to and from tensors."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.core.types import StepResult
from envs.stream import Episode

Arrays = dict[str, NDArray[Any]]

ROW_FIELDS = tuple(name for name in StepResult._fields if name != "num_active")
"""Fields of a row that are tensors."""


class ActingWeights(NamedTuple):
    """Weights that collectors act with."""

    weights: Arrays  # state dict of the network
    steps: int  # agent steps that the learner had observed when the weights were copied


class Chunk(NamedTuple):
    """T complete rows of the n environments of a collector, and the observations that follow them."""

    rows: Arrays  # by name in ROW_FIELDS: [T, n, ...]
    acting_records: list[tuple[NDArray[Any], ...]]  # T entries for a `RecordsActing` agent, otherwise empty
    episodes: list[tuple[int, Episode]]  # finished episodes, each with the index of its last row in the chunk
    next_row: Arrays  # obs, is_first and is_last of the row after the chunk: [n, ...]


def chunk_to_state(chunk: Chunk) -> dict[str, Any]:
    """Return a chunk as state for a checkpoint."""
    return {
        "rows": to_tensors(chunk.rows),
        "acting_records": to_tensors(chunk.acting_records),
        "episodes": [[row, *episode] for row, episode in chunk.episodes],
        "next_row": to_tensors(chunk.next_row),
    }


def chunk_from_state(state: dict[str, Any]) -> Chunk:
    """Return the chunk that `chunk_to_state` was given."""
    records = to_arrays(state.get("acting_records", []))  # checkpoints of format 1 lack an empty list
    episodes = []
    for row, env, score, length, *is_cut in state["episodes"]:  # older checkpoints lack `is_cut`
        episodes.append((int(row), Episode(int(env), score, int(length), *map(bool, is_cut))))
    return Chunk(
        rows=to_arrays(state["rows"]),
        acting_records=[tuple(record) for record in records],
        episodes=episodes,
        next_row=to_arrays(state["next_row"]),
    )


def to_arrays(tree: Any) -> Any:
    """Return nested dicts and lists with copies of the tensors as arrays. Tuples become lists."""
    if isinstance(tree, dict):
        return {key: to_arrays(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [to_arrays(value) for value in tree]
    if isinstance(tree, Tensor):
        return tree.cpu().numpy().copy()
    return tree


def to_tensors(tree: Any) -> Any:
    """Return nested dicts and lists with copies of the arrays as tensors. Tuples become lists.

    The copies are needed because arrays that Ray delivers are read-only.
    """
    if isinstance(tree, dict):
        return {key: to_tensors(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [to_tensors(value) for value in tree]
    if isinstance(tree, np.ndarray):
        return torch.tensor(tree)
    return tree
