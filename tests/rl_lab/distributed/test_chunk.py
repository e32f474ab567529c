"""Tests of the conversion of chunks to the state of a checkpoint."""

from typing import Any

import numpy as np
import pytest
import torch

from envs.stream import Episode
from rl_lab.checkpoint.flat_names import flatten, unflatten
from rl_lab.distributed.chunk import Chunk, chunk_from_state, chunk_to_state, to_arrays, to_tensors


@pytest.mark.parametrize("records", [[], [(np.ones((2, 3)), np.zeros(2)), (np.zeros((2, 3)), np.ones(2))]])
def test_a_chunk_is_restored_from_its_state(records: list[Any]):
    rows = {"obs": np.arange(8.0).reshape(2, 2, 2), "is_last": np.zeros((2, 2), bool)}
    next_row = {"obs": np.ones((2, 2)), "is_first": np.ones(2, bool), "is_last": np.zeros(2, bool)}
    chunk = Chunk(rows, records, [(1, Episode(0, 2.5, 7)), (1, Episode(1, 3.0, 9, is_cut=True))], next_row)
    restored = chunk_from_state(unflatten(flatten(chunk_to_state(chunk))))
    assert restored.episodes == chunk.episodes
    assert [type(field) for field in restored.episodes[0][1]] == [int, float, int, bool]
    for before, after in ((rows, restored.rows), (next_row, restored.next_row)):
        assert before.keys() == after.keys()
        for name, array in before.items():
            np.testing.assert_array_equal(after[name], array)
            assert after[name].dtype == array.dtype
    assert len(restored.acting_records) == len(records)
    for before, after in zip(records, restored.acting_records, strict=True):
        assert isinstance(after, tuple)
        for array, other in zip(before, after, strict=True):
            np.testing.assert_array_equal(array, other)


def test_episodes_of_older_checkpoints_are_restored():
    state = chunk_to_state(Chunk({}, [], [(1, Episode(0, 2.5, 7))], {}))
    state["episodes"] = [[1, 0, 2.5, 7]]
    assert chunk_from_state(state).episodes == [(1, Episode(0, 2.5, 7, is_cut=False))]


def test_conversion_copies_memory():
    tensor = torch.zeros(2)
    arrays = to_arrays({"a": [tensor]})
    tensors = to_tensors(arrays)
    tensor += 1
    arrays["a"][0] += 2
    assert tensors["a"][0].tolist() == [0.0, 0.0]
    assert arrays["a"][0].tolist() == [2.0, 2.0]
