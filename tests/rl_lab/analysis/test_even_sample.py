"""Tests of evenly spaced samples."""

from itertools import pairwise

import pytest

from rl_lab.analysis.even_sample import EvenSample


@pytest.mark.parametrize("length", [0, 1, 9, 10, 19, 20, 1000])
def test_sample_is_evenly_spaced_over_the_sequence(length):
    sample = EvenSample[int](10)
    for i in range(length):
        sample.add(i)
    assert min(10, length) <= len(sample.items) < 20
    assert len({b - a for a, b in pairwise(sample.items)}) <= 1
    assert length < 20 or sample.items[-1] >= 0.9 * length - sample.spacing
