"""Tests of the sum tree: values, sums and draws are compared with those of a naive list."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agents.memory.sum_tree import SumTree

CPU = torch.device("cpu")


@given(st.integers(1, 70), st.integers(0, 2**31), st.integers(1, 12))
def test_values_and_draws_equal_naive_list(size, seed, writes):
    rng = np.random.default_rng(seed)
    tree = SumTree(size, CPU)
    naive = np.zeros(size)
    for _ in range(writes):
        index = rng.choice(size, rng.integers(1, size + 1), replace=False)
        values = rng.random(len(index)) * (rng.random(len(index)) < 0.7) * 10.0 ** rng.integers(-6, 6)
        tree.set(torch.from_numpy(index), torch.from_numpy(values))
        naive[index] = values
    assert np.array_equal(tree.values.numpy(), naive)
    np.testing.assert_allclose(float(tree.total), naive.sum())
    other = SumTree(size, CPU)
    other.set_all(torch.from_numpy(naive))
    for level, other_level in zip(tree.levels, other.levels, strict=True):
        assert torch.allclose(level, other_level)
    if not naive.any():
        return
    drawn = tree.draw(64, torch.Generator().manual_seed(seed)).numpy()
    assert (naive[drawn] > 0).all()
    # The same uniform numbers as positions in the cumulative sums: one position in each of 64 equal parts of the total.
    position_in_part = torch.rand(64, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).numpy()
    position = (np.arange(64) + position_in_part) / 64 * float(tree.total)
    ends = np.cumsum(naive)
    starts = ends - naive
    rounding = 1e-9 * ends[-1]
    assert (starts[drawn] - rounding <= position).all()
    assert (position <= ends[drawn] + rounding).all()


def test_draw_is_proportional_to_values():
    tree = SumTree(5, CPU)
    tree.set(torch.arange(5), torch.tensor([1.0, 0, 2, 3, 4]))
    counts = torch.bincount(tree.draw(10_000, torch.Generator().manual_seed(0)), minlength=5)
    assert torch.allclose(counts / 10_000, torch.tensor([0.1, 0, 0.2, 0.3, 0.4]), atol=0.001)


@pytest.mark.parametrize("size", [1, 2, 3, 64, 1000])
def test_bytes_needed_equals_allocated_bytes(size):
    assert SumTree.bytes_needed(size) == SumTree(size, CPU).nbytes
