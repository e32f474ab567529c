"""The sum tree beside a naive list."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from agents.memory.sum_tree import SumTree

CPU = torch.device("cpu")


@given(st.integers(1, 70), st.integers(0, 2**31), st.integers(1, 12))
def test_sums_and_draws_are_those_of_a_list(size, seed, writes):
    rng = np.random.default_rng(seed)
    tree, naive = SumTree(size, CPU), np.zeros(size)
    for _ in range(writes):
        index = rng.choice(size, rng.integers(1, size + 1), replace=False)
        values = rng.random(len(index)) * (rng.random(len(index)) < 0.7) * 10.0 ** rng.integers(-6, 6)
        tree.set(torch.from_numpy(index), torch.from_numpy(values))
        naive[index] = values
    assert np.array_equal(tree.values.numpy(), naive)
    np.testing.assert_allclose(float(tree.total), naive.sum())
    if not naive.any():
        return
    drawn = tree.draw(64, torch.Generator().manual_seed(seed)).numpy()
    assert (naive[drawn] > 0).all()
    # One draw a part: the same uniform numbers, looked up in the cumulative sums by hand.
    part = torch.rand(64, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).numpy()
    wanted = (np.arange(64) + part) / 64 * float(tree.total)
    ends = np.cumsum(naive)
    begins = ends - naive
    slack = 1e-9 * ends[-1]
    assert (begins[drawn] - slack <= wanted).all()
    assert (wanted <= ends[drawn] + slack).all()
    other = SumTree(size, CPU)
    other.set_all(torch.from_numpy(naive))
    assert all(torch.allclose(a, b) for a, b in zip(tree.levels, other.levels, strict=True))


def test_a_draw_is_in_proportion():
    tree = SumTree(5, CPU)
    tree.set(torch.arange(5), torch.tensor([1.0, 0, 2, 3, 4]))
    counts = torch.bincount(tree.draw(10_000, torch.Generator().manual_seed(0)), minlength=5)
    assert torch.allclose(counts / 10_000, torch.tensor([0.1, 0, 0.2, 0.3, 0.4]), atol=0.001)


def test_its_bytes_are_known():
    for size in (1, 2, 3, 64, 1000):
        assert SumTree.bytes_needed(size) == sum(level.nbytes for level in SumTree(size, CPU).levels)
