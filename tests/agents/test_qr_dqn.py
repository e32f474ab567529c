"""Tests of QR-DQN: loss, gradient, targets and learned quantiles, compared with sums over lists and closed forms."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from hypothesis import given, settings
from hypothesis import strategies as st
from loops import CPU, toy_loop

from agents.configs.dqn import QRDQNConfig
from agents.core.types import EnvSpaces, StepResult
from agents.memory.replay import TransitionBatch
from agents.nn.networks import QuantileQNetwork
from agents.qr_dqn import QRDQN, histogram, quantile_huber_loss

NUM_ACTIONS = 4
SPACES = EnvSpaces((3,), torch.float32, NUM_ACTIONS, 2)
SMALL = QRDQNConfig(hidden=16, num_quantiles=5, learning_starts=64, replay_size=4096, grad_clip=0.0)


def make_agent(seed: int = 0, **changes: Any) -> QRDQN:
    """Return an untrained agent for vectors of three numbers and four actions."""
    return QRDQN(dataclasses.replace(SMALL, **changes), SPACES, seed=seed, device=CPU)


def agent_with_two_networks(**changes: Any) -> QRDQN:
    """Return an agent whose target network has other weights than its online network."""
    agent = make_agent(**changes)
    agent.target_network = make_agent(seed=1, **changes).target_network
    return agent


def random_batch(batch_size: int = 12) -> TransitionBatch:
    """Return random transitions with different weights, of which one of three ends in a terminal state."""
    generator = torch.Generator().manual_seed(3)
    return TransitionBatch(
        obs=torch.randn(batch_size, 1, 3, generator=generator),
        action=torch.randint(0, NUM_ACTIONS, (batch_size,), generator=generator),
        ret=2 * torch.randn(batch_size, generator=generator),
        discount=0.9**3 * (torch.arange(batch_size) % 3 > 0),
        next_obs=torch.randn(batch_size, 1, 3, generator=generator),
        weight=torch.rand(batch_size, generator=generator) + 0.1,
        cell=torch.arange(batch_size),
    )


def quantiles_of(network: QuantileQNetwork, obs: torch.Tensor) -> list[list[list[float]]]:
    """Return theta_i(s, a) for each observation, action and quantile, as lists.

    The outputs of the last layer are those of action 0, then those of action 1, and so on.
    """
    with torch.no_grad():
        outputs = network.eval().head(network.encoder(obs)).tolist()
    rows = []
    for row in outputs:
        size = len(row) // NUM_ACTIONS
        rows.append([row[a * size : (a + 1) * size] for a in range(NUM_ACTIONS)])
    return rows


def mean(numbers: list[float]) -> float:
    """Return the mean of a list."""
    return sum(numbers) / len(numbers)


def naive_targets(agent: QRDQN, batch: TransitionBatch) -> list[list[float]]:
    """Return y_j of each transition: lines 1 to 3 of algorithm 1 of the paper."""
    evaluated = quantiles_of(agent.target_network, batch.next_obs)
    chosen_by = quantiles_of(agent.online_network, batch.next_obs) if agent.config.double else evaluated
    targets = []
    for i, (ret, discount) in enumerate(zip(batch.ret.tolist(), batch.discount.tolist(), strict=True)):
        values = [mean(quantiles) for quantiles in chosen_by[i]]
        best_action = values.index(max(values))
        targets.append([ret + discount * theta for theta in evaluated[i][best_action]])
    return targets


def naive_rho(u: float, tau: float, kappa: float) -> float:
    """Return the quantile Huber loss of one error, or the quantile loss if kappa is 0: equations 8 to 10."""
    if kappa == 0:
        return u * (tau - (1 if u < 0 else 0))
    huber = 0.5 * u * u if abs(u) <= kappa else kappa * (abs(u) - 0.5 * kappa)
    return (1 - tau if u < 0 else tau) * huber


def naive_loss(quantiles: list[float], targets: list[float], kappa: float) -> float:
    """Return sum_i E_j rho(y_j - theta_i): the last line of algorithm 1."""
    n = len(quantiles)
    loss = 0.0
    for i in range(1, n + 1):
        for y in targets:
            loss += naive_rho(y - quantiles[i - 1], (2 * i - 1) / (2 * n), kappa) / n
    return loss


def naive_gradient(quantiles: list[float], targets: list[float], kappa: float) -> list[float]:
    """Return the derivative of `naive_loss` by each theta_i."""
    n = len(quantiles)
    gradient = []
    for i in range(1, n + 1):
        total = 0.0
        for y in targets:
            u = y - quantiles[i - 1]
            tau = (2 * i - 1) / (2 * n)
            slope = max(-kappa, min(kappa, u)) if kappa else math.copysign(1, u)
            total -= (1 - tau if u < 0 else tau) * slope / n
        gradient.append(total)
    return gradient


# --- Loss -------------------------------------------------------------------------------------------------------------

NUMBERS = st.floats(-20, 20, width=32)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), kappa=st.sampled_from([0.0, 0.3, 1.0, 5.0]), n=st.integers(1, 7))
def test_quantile_huber_loss_and_gradient_equal_the_double_sum(data: st.DataObject, kappa: float, n: int):
    rows = st.lists(st.lists(NUMBERS, min_size=n, max_size=n), min_size=2, max_size=2)
    quantiles, targets = data.draw(rows), data.draw(rows)
    theta = torch.tensor(quantiles, requires_grad=True)
    midpoints = torch.tensor([(2 * i - 1) / (2 * n) for i in range(1, n + 1)])
    losses = quantile_huber_loss(theta, torch.tensor(targets), midpoints, kappa)
    losses.sum().backward()
    assert theta.grad is not None
    for b in range(2):
        assert float(losses[b].detach()) == pytest.approx(
            naive_loss(quantiles[b], targets[b], kappa), rel=1e-4, abs=1e-5
        )
        if kappa or not set(quantiles[b]) & set(targets[b]):  # the loss with kappa = 0 has no derivative at 0
            expected = naive_gradient(quantiles[b], targets[b], kappa)
            assert theta.grad[b].tolist() == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("kappa", [0.0, 1.0])
def test_td_loss_and_errors_equal_the_double_sum(double, kappa):
    agent = agent_with_two_networks(double=double, kappa=kappa)
    batch = random_batch()
    losses, td_error, q = (x.detach() for x in agent.td_loss(batch))
    targets = naive_targets(agent, batch)
    predicted = quantiles_of(agent.online_network, batch.obs)
    for i, action in enumerate(batch.action.tolist()):
        quantiles = predicted[i][action]
        assert float(losses[i]) == pytest.approx(naive_loss(quantiles, targets[i], kappa), rel=1e-4)
        assert float(td_error[i]) == pytest.approx(mean(targets[i]) - mean(quantiles), abs=1e-5)
        assert q[i].tolist() == pytest.approx([mean(values) for values in predicted[i]], abs=1e-5)


@pytest.mark.parametrize("kappa", [0.0, 1.0])
def test_gradient_step_descends_the_weighted_mean_of_the_losses(kappa):
    """The gradient of a bias of the last layer is that of its quantile, summed over the transitions."""
    agent = agent_with_two_networks(kappa=kappa)
    batch = random_batch()
    predicted = quantiles_of(agent.online_network, batch.obs)
    targets = naive_targets(agent, batch)
    expected_loss = 0.0
    expected = [[0.0] * 5 for _ in range(NUM_ACTIONS)]
    for i, (action, weight) in enumerate(zip(batch.action.tolist(), batch.weight.tolist(), strict=True)):
        quantiles = predicted[i][action]
        expected_loss += weight * naive_loss(quantiles, targets[i], kappa) / 12
        for k, slope in enumerate(naive_gradient(quantiles, targets[i], kappa)):
            expected[action][k] += weight * slope / 12
    metrics, td_error = agent.gradient_step(batch)
    head = agent.online_network.head
    assert isinstance(head, torch.nn.Linear)
    assert head.bias.grad is not None
    np.testing.assert_allclose(head.bias.grad.view(NUM_ACTIONS, 5).numpy(), expected, rtol=1e-4, atol=1e-6)
    assert float(metrics["loss"]) == pytest.approx(expected_loss, rel=1e-4)
    assert float(metrics["td_error"]) == pytest.approx(mean([abs(x) for x in td_error.tolist()]))


def test_priorities_follow_the_td_errors_of_the_means():
    agent, loop = toy_loop(dataclasses.replace(SMALL, priority_alpha=1.0), 2, cls=QRDQN)
    for _ in range(60):
        loop.step()
    seen = []
    set_priorities = agent.replay.set_priorities

    def recording_set_priorities(cell: torch.Tensor, td_error: torch.Tensor) -> None:
        seen.append(td_error)
        set_priorities(cell, td_error)

    agent.replay.set_priorities = recording_set_priorities
    batch = agent.sample()
    with torch.no_grad():
        q_of_action = agent.online_network(batch.obs)[torch.arange(len(batch.action)), batch.action]
        y = batch.ret + batch.discount * agent.target_network(batch.next_obs).max(1).values
    agent.update(batch)
    torch.testing.assert_close(seen[0], y - q_of_action, rtol=1e-4, atol=1e-5)


# --- Targets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_step", [1, 3])
def test_targets_are_n_step_returns_of_the_played_rows(n_step):
    """The observations of `NumberedSteps` are [seed, episode, step], so each sampled transition can be looked up."""
    config = dataclasses.replace(SMALL, n_step=n_step, gamma=0.9)
    agent, loop = toy_loop(config, 3, cls=QRDQN)
    played: dict[tuple[float, ...], tuple[float, bool, bool]] = {}
    observe = agent.observe

    def recording_observe(step: StepResult) -> Any:
        flags = zip(step.reward.tolist(), step.terminated.tolist(), step.truncated.tolist(), strict=True)
        for obs, numbers in zip(step.obs.tolist(), flags, strict=True):
            played[tuple(obs)] = numbers
        return observe(step)

    agent.observe = recording_observe
    for _ in range(80):
        loop.step()
    batch = agent.sample()
    targets = agent.target_quantiles(batch).tolist()
    num_terminal = 0
    for i, start in enumerate(batch.obs[:, 0].tolist()):
        seed, episode, step = start
        ret, discount = 0.0, 1.0
        is_terminal = False
        for _ in range(n_step):
            reward, is_terminal, is_truncated = played[seed, episode, step]
            ret += discount * reward
            discount *= 0.9
            step += 1
            if is_terminal or is_truncated:
                break
        num_terminal += is_terminal
        with torch.no_grad():
            reached = agent.target_network.quantiles(torch.tensor([[[seed, episode, step]]]))[0].tolist()
        best = max(reached, key=mean)
        expected = [ret if is_terminal else ret + discount * theta for theta in best]
        assert targets[i] == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert 0 < num_terminal < len(targets)


# --- Output -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dueling", [False, True])
def test_policy_output_holds_the_means_and_shares_of_the_quantiles(dueling):
    agent = make_agent(dueling=dueling, num_quantiles=7)
    obs = torch.randn(6, 3)
    with torch.no_grad():
        output, _ = agent.policy_output(obs, torch.ones(6, dtype=torch.bool), agent.initial_carry(6))
    predicted = quantiles_of(agent.online_network, obs[:, None])
    assert output.distribution is not None
    for i, rows in enumerate(predicted):
        values = [mean(quantiles) for quantiles in rows]
        assert output.scores[i].tolist() == pytest.approx(values, abs=1e-5)
        assert float(output.value[i]) == pytest.approx(max(values), abs=1e-5)
        assert int(output.action[i]) == values.index(max(values))
        lowest, highest = min(map(min, rows)), max(map(max, rows))
        for action, quantiles in enumerate(rows):
            shares, _ = np.histogram(quantiles, 50, (lowest, highest))
            # A quantile on an edge may be rounded into the neighbouring interval.
            difference = np.abs(np.cumsum(output.distribution[i, action].numpy() - shares / 7))
            assert difference.max() < 1.01 / 7
            assert float(output.distribution[i, action].sum()) == pytest.approx(1)


def test_histogram_counts_quantiles_in_equal_intervals():
    quantiles = torch.tensor([[[0.0, 1.0, 9.9, 10.0], [2.6, 2.6, 5.1, 7.4]]])
    assert histogram(quantiles, 4).tolist() == [[[0.5, 0, 0, 0.5], [0, 0.5, 0.5, 0]]]
    assert histogram(torch.ones(1, 2, 3), 4).tolist() == [[[1, 0, 0, 0], [1, 0, 0, 0]]]


# --- Learning ---------------------------------------------------------------------------------------------------------


class RandomRewards(gymnasium.Env):
    """A bandit with episodes of one step. Action 0 pays an exponential reward, action 1 a uniform one, with mean 1."""

    def __init__(self) -> None:
        self.observation_space = Box(0, 1, (1,), np.float32)
        self.action_space = Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Return the observation 0."""
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action: int) -> Any:
        """Return the observation 1 and a random reward."""
        reward = self.np_random.exponential() if action == 0 else self.np_random.uniform(0, 2)
        return np.ones(1, np.float32), float(reward), True, False, {}


def test_quantiles_of_random_rewards_approach_their_closed_form():
    """The quantile of the exponential reward at tau is -ln(1 - tau), that of the uniform reward is 2 tau."""
    config = QRDQNConfig(
        hidden=16,
        num_quantiles=8,
        kappa=0,
        epsilon_end=1.0,
        learning_starts=2000,
        replay_size=20_000,
        batch_size=128,
        replay_ratio=64,
        grad_clip=0,
        lr=5e-2,
        lr_end=5e-4,
        lr_steps=9000,
        optimizer_eps=1e-8,
    )
    agent, loop = toy_loop(config, 16, RandomRewards, cls=QRDQN)
    while agent.steps < 10_000:
        loop.step()
    with torch.no_grad():
        exponential, uniform = agent.online_network.quantiles(torch.zeros(1, 1, 1))[0].tolist()
    num_rewards = 5000  # of each action
    for i in range(8):
        tau = (2 * i + 1) / 16
        standard_error = math.sqrt(tau * (1 - tau) / num_rewards)  # divided by the density at the quantile
        assert exponential[i] == pytest.approx(-math.log(1 - tau), abs=5 * standard_error / (1 - tau))
        assert uniform[i] == pytest.approx(2 * tau, abs=5 * standard_error / 0.5)
