"""Tests of running moments against the mean and the variance that numpy computes from all samples at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agents.core.running_moments import RunningMoments


def batches_of(sizes: list[int], shape: tuple[int, ...]) -> list[np.ndarray]:
    """Return random float32 batches whose entries have means and deviations of very different sizes."""
    rng = np.random.default_rng(0)
    mean = 10.0 ** rng.uniform(-3, 4, size=shape)
    deviation = 10.0 ** rng.uniform(-3, 2, size=shape)
    return [rng.normal(mean, deviation, size=(size, *shape)).astype(np.float32) for size in sizes]


@pytest.mark.parametrize("sizes", [[5], [1, 1, 1, 1], [1, 7, 300, 2, 1, 64]], ids=str)
@pytest.mark.parametrize("shape", [(), (3,), (2, 3)], ids=str)
def test_moments_are_those_of_all_samples(sizes: list[int], shape: tuple[int, ...]):
    moments = RunningMoments(shape)
    batches = batches_of(sizes, shape)
    for batch in batches:
        moments.update(torch.from_numpy(batch))
    samples = np.concatenate(batches).astype(np.float64)
    assert float(moments.count) == sum(sizes)
    assert moments.mean.numpy() == pytest.approx(samples.mean(0), rel=1e-12)
    assert moments.variance.numpy() == pytest.approx(samples.var(0), rel=1e-9, abs=1e-15)


def test_samples_that_do_not_count_change_nothing():
    rng = np.random.default_rng(1)
    moments = RunningMoments((2,))
    kept = []
    for _ in range(20):
        batch = rng.normal(3, 2, size=(6, 2))
        counted = rng.random(6) < 0.4
        moments.update(torch.from_numpy(batch), torch.from_numpy(counted))
        kept.append(batch[counted])
    samples = np.concatenate(kept)
    assert float(moments.count) == len(samples)
    assert moments.mean.numpy() == pytest.approx(samples.mean(0))
    assert moments.variance.numpy() == pytest.approx(samples.var(0))


def test_moments_before_the_first_sample():
    moments = RunningMoments((2,))
    moments.update(torch.full((3, 2), 7.0), torch.zeros(3, dtype=torch.bool))
    assert moments.mean.tolist() == [0, 0]
    assert moments.variance.tolist() == [1, 1]
    assert float(moments.count) == 0


def test_moments_stay_exact_after_many_samples():
    """After 1e8 samples of mean 1000 and variance 4, two million samples of mean 1001 and variance 1 arrive."""
    moments = RunningMoments(())
    moments.mean.fill_(1000)
    moments.variance.fill_(4)
    moments.count.fill_(1e8)
    batch = torch.tensor([1000.0, 1002.0] * 400)
    for _ in range(2500):
        moments.update(batch)
    share = 2e6 / 1.02e8
    assert float(moments.mean) == pytest.approx(1000 + share, rel=1e-12)
    assert float(moments.variance) == pytest.approx(4 * (1 - share) + share + share * (1 - share), rel=1e-9)


def test_constant_samples_have_variance_0():
    moments = RunningMoments(())
    for size in (1, 3, 8):
        moments.update(torch.full((size,), 0.1))
    assert float(moments.mean.float()) == float(torch.tensor(0.1))
    assert float(moments.variance) == pytest.approx(0, abs=1e-30)


def test_buffers_change_in_place():
    """A CUDA graph reads them by address."""
    moments = RunningMoments((2,))
    addresses = [buffer.data_ptr() for buffer in moments.buffers()]
    moments.update(torch.ones(4, 2))
    assert [buffer.data_ptr() for buffer in moments.buffers()] == addresses


def test_moments_have_float32_on_a_device_without_float64():
    """A function in place of a move to mps refuses float64, as mps does."""

    class OnMps:
        device = torch.device("mps")

    def move(tensor: torch.Tensor) -> torch.Tensor:
        assert tensor.dtype != torch.float64
        return tensor if tensor.numel() else OnMps()  # type: ignore[return-value]

    moments = RunningMoments((2,))
    moments._apply(move)
    moments.update(torch.tensor([[1.0, 2.0], [3.0, 2.0]]))
    assert {buffer.dtype for buffer in moments.buffers()} == {torch.float32}
    assert moments.mean.tolist() == [2, 2]
    assert moments.variance.tolist() == [1, 0]
