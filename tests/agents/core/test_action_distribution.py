"""Tests of the distributions of actions against torch.distributions, NumPy and numerical integration."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Categorical

from agents.core.action_distribution import (
    CategoricalDistribution,
    GaussianDistribution,
    SquashedGaussianDistribution,
    action_distribution,
)
from agents.core.action_masks import ILLEGAL, is_legal
from agents.core.types import EnvSpaces

PARTS = [(), (3,), (2, 3), (1, 4), (2, 3, 4), (2, 2, 2, 2)]
NUM_ACTIONS = 5  # without parts


def make(parts: tuple[int, ...]) -> CategoricalDistribution:
    """Return a distribution with these parts."""
    num_actions = NUM_ACTIONS
    if parts:
        num_actions = len(combinations(parts))
    return CategoricalDistribution(num_actions, parts)


def combinations(parts: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return the actions of all parts for each number of a combination."""
    return list(itertools.product(*(range(size) for size in parts or (NUM_ACTIONS,))))


def categoricals(logits: Tensor, parts: tuple[int, ...]) -> list[Categorical]:
    """Return torch's distribution of each part."""
    return [Categorical(logits=part) for part in logits.split(parts or (NUM_ACTIONS,), 1)]


def naive_log_probs(logits: Tensor, parts: tuple[int, ...]) -> Tensor:
    """Return the logarithm of the probability of every combination, float64[B, A]."""
    each = categoricals(logits.double(), parts)

    def log_prob(actions: tuple[int, ...]) -> Tensor:
        of_parts = [dist.log_prob(torch.tensor(i)) for dist, i in zip(each, actions, strict=True)]
        return torch.stack(of_parts).sum(0)

    return torch.stack([log_prob(actions) for actions in combinations(parts)], 1)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(PARTS), st.integers(0, 1000), st.sampled_from([0.1, 1.0, 30.0]))
def test_log_probabilities_and_entropy_are_those_of_independent_parts(parts, seed, scale):
    distribution = make(parts)
    logits = scale * torch.randn(4, distribution.num_outputs, generator=torch.Generator().manual_seed(seed))
    log_pi = distribution.parameters(logits)
    expected = naive_log_probs(logits, parts)
    for number in range(expected.shape[1]):
        log_prob = distribution.log_prob(log_pi, torch.full((4,), number))
        torch.testing.assert_close(log_prob, expected[:, number].float(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(expected.exp().sum(1), torch.ones(4, dtype=torch.float64))
    entropy = -(expected.exp() * expected).sum(1)
    torch.testing.assert_close(distribution.entropy(log_pi), entropy.float(), rtol=1e-3, atol=1e-4)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(PARTS), st.integers(0, 1000))
def test_mode_is_the_most_probable_combination(parts, seed):
    distribution = make(parts)
    logits = torch.randn(6, distribution.num_outputs, generator=torch.Generator().manual_seed(seed))
    mode = distribution.mode(distribution.parameters(logits))
    assert mode.tolist() == naive_log_probs(logits, parts).argmax(1).tolist()


@pytest.mark.parametrize("parts", PARTS)
def test_actions_are_drawn_with_their_probabilities(parts):
    distribution = make(parts)
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(1, distribution.num_outputs, generator=generator)
    draws = 20_000
    log_pi = distribution.parameters(logits).expand(draws, -1)
    actions = distribution.sample(log_pi, generator)
    assert (actions.shape, actions.dtype) == ((draws,), torch.int64)
    expected = naive_log_probs(logits, parts).exp()[0]
    frequencies = torch.bincount(actions, minlength=len(expected)) / draws
    deviations = (expected * (1 - expected) / draws).sqrt()
    assert ((frequencies - expected).abs() <= 4.5 * deviations + 1e-9).all()


@pytest.mark.parametrize("legal", [[0, 3], [4], [0, 1, 2, 3, 4]])
def test_illegal_actions_have_no_share(legal):
    """The distribution of masked logits is the distribution over the legal actions alone."""
    distribution = make(())
    generator = torch.Generator().manual_seed(1)
    logits = 3 * torch.randn(1, NUM_ACTIONS, generator=generator)
    masked = torch.full_like(logits, ILLEGAL)
    masked[:, legal] = logits[:, legal]
    log_pi = distribution.parameters(masked)
    expected = Categorical(logits=logits[:, legal])
    assert is_legal(log_pi)[0].nonzero().flatten().tolist() == legal
    torch.testing.assert_close(distribution.entropy(log_pi), expected.entropy())
    torch.testing.assert_close(log_pi[:, legal], expected.logits)
    assert distribution.mode(log_pi).item() == legal[int(expected.probs[0].argmax())]
    actions = distribution.sample(log_pi.expand(5000, -1), generator)
    assert set(actions.tolist()) <= set(legal)
    for i, action in enumerate(legal):
        log_prob = distribution.log_prob(log_pi, torch.tensor([action]))
        torch.testing.assert_close(log_prob, expected.log_prob(torch.tensor([i])))


def test_gradient_of_the_entropy_is_finite_with_masks():
    logits = torch.tensor([[1.0, 2.0, 0.0]], requires_grad=True)
    masked = torch.where(torch.tensor([True, False, True]), logits, ILLEGAL)
    distribution = CategoricalDistribution(3)
    log_pi = distribution.parameters(masked)
    (distribution.entropy(log_pi) + distribution.log_prob(log_pi, torch.tensor([0]))).sum().backward()
    legal = torch.tensor([[1.0, 0.0]], requires_grad=True)
    dist = Categorical(logits=legal)
    (dist.entropy() + dist.log_prob(torch.tensor([0]))).sum().backward()
    assert logits.grad is not None
    assert legal.grad is not None
    torch.testing.assert_close(logits.grad[:, [0, 2]], legal.grad)
    assert logits.grad[0, 1] == 0


# --- Continuous actions -----------------------------------------------------------------------------------------------


def gaussian_parameters(size: int, action_dim: int, seed: int) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """Return random parameters [size, 2 D], and their means and standard deviations as float64 arrays [size, D]."""
    rng = np.random.default_rng(seed)
    mean = rng.normal(0, 1, (size, action_dim))
    std = rng.uniform(0.1, 1.5, (size, action_dim))
    parameters = torch.from_numpy(np.concatenate([mean, np.log(std)], 1)).float()
    return parameters, mean, std


@pytest.mark.parametrize("action_dim", [1, 3])
def test_gaussian_log_probabilities_and_entropy_are_those_of_single_entries(action_dim):
    distribution = GaussianDistribution(action_dim)
    parameters, mean, std = gaussian_parameters(5, action_dim, seed=1)
    action = np.random.default_rng(2).normal(0, 2, (5, action_dim))
    for i in range(5):
        log_prob, entropy = 0.0, 0.0
        for d in range(action_dim):
            density = np.exp(-((action[i, d] - mean[i, d]) ** 2) / (2 * std[i, d] ** 2)) / np.sqrt(2 * np.pi)
            log_prob += np.log(density / std[i, d])
            entropy += 0.5 * np.log(2 * np.pi * np.e * std[i, d] ** 2)
        got = distribution.log_prob(parameters, torch.from_numpy(action).float())
        assert float(got[i]) == pytest.approx(log_prob, abs=1e-3, rel=1e-4)
        assert float(distribution.entropy(parameters)[i]) == pytest.approx(entropy, abs=1e-4)
    assert distribution.mode(parameters).numpy() == pytest.approx(mean, abs=1e-6)
    assert distribution.std(parameters).numpy() == pytest.approx(std, rel=1e-5)


@pytest.mark.parametrize("squashed", [False, True])
def test_samples_have_the_moments_of_the_distribution(squashed):
    spaces = EnvSpaces((3,), torch.float32, 0, 1, action_dim=2)
    distribution = action_distribution(spaces, squashed=squashed)
    parameters, mean, std = gaussian_parameters(1, 2, seed=3)
    samples = distribution.sample(parameters.expand(20_000, -1), torch.Generator().manual_seed(1)).double().numpy()
    reference = mean + std * np.random.default_rng(4).normal(size=(200_000, 2))
    if squashed:
        reference = np.tanh(reference)
        assert np.abs(samples).max() <= 1
    assert samples.mean(0) == pytest.approx(reference.mean(0), abs=0.03)
    assert samples.std(0) == pytest.approx(reference.std(0), rel=0.03)


@settings(max_examples=30, deadline=None)
@given(st.floats(-1.5, 1.5), st.floats(0.1, 1.0))
def test_squashed_density_integrates_to_one_and_to_its_entropy(mean, std):
    """The density is integrated over actions between -1 and 1, by the midpoint rule in the number before tanh."""
    distribution = SquashedGaussianDistribution(1)
    edges = np.tanh(np.linspace(mean - 8 * std, mean + 8 * std, 20_001))
    action = (edges[1:] + edges[:-1]) / 2
    inside = np.abs(action) < 1 - 2e-6
    action, width = action[inside], np.diff(edges)[inside]
    parameters = torch.tensor([[mean, np.log(std)]], dtype=torch.float64)
    log_prob = distribution.log_prob(parameters, torch.from_numpy(action)[:, None]).numpy()
    density = np.exp(log_prob)
    assert (density * width).sum() == pytest.approx(1, abs=2e-3)
    entropy = -(density * log_prob * width).sum()
    assert float(distribution.entropy(parameters)) == pytest.approx(entropy, abs=2e-2)


def test_squashed_log_probability_is_finite_at_the_bounds():
    distribution = SquashedGaussianDistribution(1)
    parameters = torch.tensor([[0.0, 0.0]]).expand(3, 2).clone().requires_grad_(True)
    log_prob = distribution.log_prob(parameters, torch.tensor([[-1.0], [0.0], [1.0]]))
    log_prob.sum().backward()
    assert torch.isfinite(log_prob).all()
    assert parameters.grad is not None
    assert torch.isfinite(parameters.grad).all()
