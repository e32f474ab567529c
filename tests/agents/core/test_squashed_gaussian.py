"""Tests of the squashed Gaussian against numerical integration, finite differences and samples."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agents.core.squashed_gaussian import squashed_sample, squashed_std

MEANS = st.floats(-3, 3)
LOG_STDS = st.floats(-3, 1)


@given(mean=MEANS, log_std=LOG_STDS)
def test_density_integrates_to_one(mean: float, log_std: float):
    """The integral over the actions from -1 to 1, by the trapezoidal rule."""
    noise = torch.linspace(-9, 9, 20_001, dtype=torch.float64)[:, None]
    action, log_prob = squashed_sample(torch.full_like(noise, mean), torch.full_like(noise, log_std), noise)
    assert np.trapezoid(log_prob.exp().numpy(), action[:, 0].numpy()) == pytest.approx(1, abs=1e-4)


@given(mean=MEANS, log_std=LOG_STDS, noise=st.floats(-2, 2))
def test_density_is_that_of_the_change_of_variables(mean: float, log_std: float, noise: float):
    """p(a) = p(u) du/da, where da is the difference of two actions nearby."""
    std = math.exp(log_std)
    u = mean + std * noise
    h = 1e-5
    slope = (math.tanh(u + h) - math.tanh(u - h)) / (2 * h)
    density = math.exp(-0.5 * ((u - mean) / std) ** 2) / (std * math.sqrt(2 * math.pi)) / slope
    action, log_prob = squashed_sample(*(torch.tensor([[x]], dtype=torch.float64) for x in (mean, log_std, noise)))
    assert float(action) == pytest.approx(math.tanh(u))
    # Where tanh is flat, the difference of two actions loses digits.
    assert float(log_prob.exp()) == pytest.approx(density, rel=1e-8 / slope + 1e-6)


def test_log_density_of_several_entries_is_the_sum_of_their_log_densities():
    generator = torch.Generator().manual_seed(0)
    mean, log_std, noise = torch.randn((3, 7, 4), generator=generator)
    action, log_prob = squashed_sample(mean, log_std, noise)
    for b in range(7):
        total = 0.0
        for d in range(4):
            entry = [x[b, d].view(1, 1) for x in (mean, log_std, noise)]
            entry_action, entry_log_prob = squashed_sample(*entry)
            total += float(entry_log_prob)
            assert float(action[b, d]) == pytest.approx(float(entry_action))
        assert float(log_prob[b]) == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("u", [-80.0, -20.0, -9.0, 9.0, 20.0, 80.0])
def test_log_density_is_exact_where_the_action_rounds_to_one(u: float):
    """1 - tanh(u)^2 is 4 exp(-2 |u|) up to a factor 1 + exp(-2 |u|) squared."""
    mean = torch.tensor([[u]], requires_grad=True)
    action, log_prob = squashed_sample(mean, torch.zeros(1, 1), torch.zeros(1, 1))
    assert float(action.detach().abs()) == pytest.approx(1, abs=1e-6)
    expected = -0.5 * math.log(2 * math.pi) - math.log(4) + 2 * abs(u)
    assert float(log_prob.detach()) == pytest.approx(expected, rel=1e-6)
    log_prob.sum().backward()
    assert mean.grad is not None
    assert float(mean.grad) == pytest.approx(2 * np.sign(u), abs=1e-6)


def test_gradients_are_those_of_finite_differences():
    generator = torch.Generator().manual_seed(1)
    mean, log_std, noise = torch.randn((3, 5, 2), generator=generator, dtype=torch.float64)
    arguments = (mean.requires_grad_(), log_std.requires_grad_(), noise)
    assert torch.autograd.gradcheck(squashed_sample, arguments)


@pytest.mark.parametrize("mean", [-1.0, 0.0, 0.7])
def test_standard_deviation_of_narrow_policies_is_that_of_samples(mean: float):
    generator = torch.Generator().manual_seed(2)
    noise = torch.randn((100_000, 1), generator=generator)
    means = torch.full_like(noise, mean)
    log_stds = torch.full_like(noise, math.log(0.05))
    action, _ = squashed_sample(means, log_stds, noise)
    assert float(action.std()) == pytest.approx(float(squashed_std(means, log_stds)[0]), rel=0.02)
