"""Tests of the variants of DQN: what each of them changes, compared with the equations of its paper."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from loops import CPU, step_both, toy_loop
from numpy.typing import NDArray
from torch import Tensor, nn
from toy_envs import TwoArms

from agents.configs.dqn import DQNConfig, DuelingDQNConfig, QRDQNConfig, RainbowConfig
from agents.core.settings import ConfigError
from agents.core.types import EnvSpaces
from agents.double_dqn import DoubleDQN
from agents.dqn import DQN
from agents.dueling_double_dqn import DuelingDoubleDQN
from agents.dueling_dqn import DuelingDQN
from agents.expected_sarsa import ExpectedSarsa
from agents.memory.replay import TransitionBatch
from agents.nn.gradient_scale import ScaleGradient
from agents.nn.heads import DuelingHead
from agents.nn.networks import DistributionalQNetwork
from agents.nn.noisy import NoisyLinear, remove_noise, sample_noise
from agents.qr_dqn import QRDQN
from agents.rainbow import Rainbow

SPACES = EnvSpaces((3,), torch.float32, 4, 2)
SMALL: dict[str, Any] = {
    "hidden": 16,
    "learning_starts": 64,
    "epsilon_steps": 500,
    "target_every": 10,
    "replay_size": 4096,
    "lr": 1e-2,
}
SMALL_RAINBOW: dict[str, Any] = {**SMALL, "value_low": -1.0, "value_high": 2.0, "n_step": 1}


def make_agent(cls: type[DQN], config: DQNConfig | None = None, seed: int = 0) -> DQN:
    """Return an untrained agent for vectors of three numbers and four actions."""
    if config is None:
        config = cls.config_class(**SMALL)
    return cls(config, SPACES, seed=seed, device=CPU)


def make_rainbow(seed: int = 0, **settings: Any) -> Rainbow:
    """Return an untrained Rainbow agent for vectors of three numbers and four actions."""
    return Rainbow(RainbowConfig(**SMALL_RAINBOW | settings), SPACES, seed=seed, device=CPU)


def random_batch(batch_size: int = 16, seed: int = 0) -> TransitionBatch:
    """Return random transitions, one of five with a terminal next state."""
    generator = torch.Generator().manual_seed(seed)
    obs = torch.randn(batch_size, 1, 3, generator=generator)
    next_obs = torch.randn(batch_size, 1, 3, generator=generator)
    action = torch.randint(0, 4, (batch_size,), generator=generator)
    discount = 0.9 * (torch.rand(batch_size, generator=generator) < 0.8)
    return TransitionBatch(
        obs=obs,
        action=action,
        ret=torch.randn(batch_size, generator=generator),
        discount=discount,
        next_obs=next_obs,
        weight=torch.ones(batch_size),
        cell=torch.arange(batch_size),
    )


def assert_equal_parameters(network: nn.Module, other: nn.Module) -> None:
    """Assert that two networks have the same parameters bit for bit."""
    for param, other_param in zip(network.parameters(), other.parameters(), strict=True):
        assert torch.equal(param, other_param)


# --- Double DQN -------------------------------------------------------------------------------------------------------


def test_double_dqn_evaluates_online_choice_with_target_network():
    agent = make_agent(DoubleDQN)
    agent.target_network = make_agent(DoubleDQN, seed=1).target_network
    batch = random_batch()
    online_q = agent.online_network(batch.next_obs).tolist()
    target_q = agent.target_network(batch.next_obs)
    expected = []
    for i in range(16):
        best_action = online_q[i].index(max(online_q[i]))
        expected.append(float(target_q[i, best_action]))
    next_value = agent.next_state_value(batch.next_obs)
    assert next_value.tolist() == pytest.approx(expected)
    assert not torch.allclose(next_value, target_q.amax(1))


@pytest.mark.parametrize(("double", "plain"), [(DoubleDQN, DQN), (DuelingDoubleDQN, DuelingDQN)])
def test_double_dqn_with_equal_networks_is_dqn(double, plain):
    """The online and the target network of a new agent are equal, so the first update equals the one of DQN."""
    agent = make_agent(double)
    plain_agent = make_agent(plain)
    batch = random_batch()
    assert torch.equal(agent.next_state_value(batch.next_obs), plain_agent.next_state_value(batch.next_obs))
    agent.update(batch)
    plain_agent.update(batch)
    assert_equal_parameters(agent.network, plain_agent.network)


# --- Expected Sarsa ---------------------------------------------------------------------------------------------------


def test_expected_sarsa_bootstraps_from_mean_over_epsilon_greedy_policy():
    agent = make_agent(ExpectedSarsa)
    batch = random_batch()
    agent.steps = 200
    epsilon = agent.epsilon
    assert 0.3 < epsilon < 0.9
    target_q = agent.target_network(batch.next_obs).detach().numpy()
    policy = np.full((16, 4), epsilon / 4)
    policy[np.arange(16), target_q.argmax(1)] += 1 - epsilon
    expected = (policy * target_q).sum(1)
    np.testing.assert_allclose(agent.next_state_value(batch.next_obs).numpy(), expected, rtol=1e-5)


def test_expected_sarsa_without_exploration_is_dqn():
    config = dataclasses.replace(DQNConfig(**SMALL), epsilon_start=0.0, epsilon_end=0.0)
    agent = make_agent(ExpectedSarsa, config)
    dqn = make_agent(DQN, config)
    for seed in range(20):
        agent.update(random_batch(seed=seed))
        dqn.update(random_batch(seed=seed))
    for param, dqn_param in zip(agent.network.parameters(), dqn.network.parameters(), strict=True):
        assert torch.allclose(param, dqn_param, atol=1e-6)


# --- Dueling DQN ------------------------------------------------------------------------------------------------------


def test_dueling_head_computes_equation_9():
    head = DuelingHead(10, 4)
    features = torch.randn(6, 10)
    value = head.value(features[:, :5])
    advantage = head.advantage(features[:, 5:])
    q = head(features)
    assert torch.allclose(q, value + advantage - advantage.mean(1, keepdim=True))
    assert torch.allclose(q.mean(1, keepdim=True), value, atol=1e-6)  # the centred advantages have the mean 0


def test_dueling_head_with_atoms_centres_the_advantages_over_actions_for_each_atom():
    head = DuelingHead(10, 4, atoms=3)
    features = torch.randn(6, 10)
    q = head(features).detach().numpy()
    value = head.value(features[:, :5]).detach().numpy()
    advantage = head.advantage(features[:, 5:]).detach().numpy()
    for i in range(6):
        for atom in range(3):
            advantages = [advantage[i, 3 * action + atom] for action in range(4)]
            for action in range(4):
                expected = value[i, atom] + advantages[action] - sum(advantages) / 4
                assert q[i, 3 * action + atom] == pytest.approx(expected, abs=1e-5)


def test_scale_gradient_scales_gradient_but_not_output():
    x = torch.randn(3, requires_grad=True)
    y = ScaleGradient(0.5)(x)
    assert torch.equal(y, x)
    y.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, torch.full((3,), 0.5))


def gradient_norms(config: DuelingDQNConfig, obs: Tensor) -> list[float]:
    """Return the norm of the gradient of sum Q(s, a) for each parameter of the encoder."""
    agent = DuelingDQN(config, EnvSpaces((84, 84), torch.uint8, 4, 1), seed=0, device=CPU)
    agent.network(obs).sum().backward()
    norms = []
    for param in agent.network.get_submodule("encoder").parameters():
        assert param.grad is not None
        norms.append(float(param.grad.norm()))
    return norms


def test_dueling_dqn_divides_gradient_of_convolutions_by_square_root_of_2():
    obs = torch.randint(0, 256, (2, 4, 84, 84), dtype=torch.uint8)
    scaled = gradient_norms(DuelingDQNConfig(frame_stack=4, rescale_gradient=True), obs)
    plain = gradient_norms(DuelingDQNConfig(frame_stack=4, rescale_gradient=False), obs)
    ratios = np.array(scaled) / np.array(plain)
    num_convolution_parameters = 6  # three weights, three biases
    assert ratios[:num_convolution_parameters] == pytest.approx(0.5**0.5, rel=1e-4)
    assert ratios[num_convolution_parameters:] == pytest.approx(1, rel=1e-4)


def test_dueling_double_dqn_combines_network_and_target():
    agent = make_agent(DuelingDoubleDQN)
    assert isinstance(agent.network.get_submodule("head"), DuelingHead)
    assert DuelingDoubleDQN.next_state_value is DoubleDQN.next_state_value
    assert DuelingDoubleDQN.build_network is DuelingDQN.build_network


# --- Rainbow ----------------------------------------------------------------------------------------------------------


def test_noise_has_expected_mean_and_variance():
    layer = NoisyLinear(8, 5)
    x = torch.randn(8)
    generator = torch.Generator().manual_seed(0)
    without_noise = nn.functional.linear(x, layer.weight, layer.bias)
    assert torch.equal(layer(x), without_noise)
    samples = []
    for _ in range(20_000):
        sample_noise(layer, generator)
        samples.append(layer(x).detach() - without_noise.detach())
    noise = torch.stack(samples)
    # With f(e)^2 = |e| and k = E|e| = sqrt(2 / pi): the variance is k^2 sigma^2 for a weight, k sigma^2 for a bias.
    k = (2 / np.pi) ** 0.5
    sigma = 0.5 / 8**0.5
    expected = sigma**2 * (k**2 * float((x**2).sum()) + k)
    assert noise.mean(0).abs().max() < 0.05
    assert noise.var(0).tolist() == pytest.approx([expected] * 5, rel=0.06)
    remove_noise(layer)
    assert torch.equal(layer(x), without_noise)


def test_rainbow_explores_by_noise_and_acts_greedily_without_noise():
    agent = make_rainbow()
    assert agent.epsilon == 0
    obs = torch.randn(1, 3)
    is_first = torch.tensor([True])
    carry = agent.initial_carry(1)
    explored = {int(agent.act(obs, is_first, carry, explore=True)[0]) for _ in range(200)}
    greedy = {int(agent.act(obs, is_first, carry, explore=False)[0]) for _ in range(20)}
    assert len(explored) > 1
    assert len(greedy) == 1


@pytest.mark.parametrize("cls", [DQN, Rainbow, QRDQN])
def test_acting_and_outputs_have_no_dropout(cls: type[DQN]):
    """An update leaves the online network, which acts, in training mode."""
    agent = make_agent(cls, cls.config_class(**SMALL, dropout=0.5))
    obs = torch.randn(2, 3)
    is_first = torch.tensor([True, True])
    agent.online_network.train()
    q, _ = agent.acting_q_values(obs, is_first, agent.initial_carry(2))
    outputs = []
    for _ in range(2):
        agent.online_network.train()
        output, _ = agent.policy_output(obs, is_first, agent.initial_carry(2))
        outputs.append(output)
    first, second = outputs
    assert torch.equal(first.scores, q)
    assert torch.equal(second.scores, q)
    if first.distribution is not None:
        assert torch.equal(first.distribution, second.distribution)


def test_rainbow_without_noisy_layers_explores_by_epsilon():
    assert make_rainbow(noisy=False).epsilon == 1


class NoiseRecorder:
    """Records the noise of a noisy layer in each call of the layer. None stands for no noise."""

    def __init__(self, network: nn.Module) -> None:
        self.noise: list[list[float] | None] = []
        self.layer = next(layer for layer in network.modules() if isinstance(layer, NoisyLinear))
        self.layer.register_forward_pre_hook(self._record)

    def _record(self, *_: Any) -> None:
        noise = self.layer.noise
        self.noise.append(None if noise is None else noise.outputs.tolist())


@pytest.mark.parametrize("distributional", [True, False])
def test_choice_target_and_loss_of_every_update_have_noise_of_their_own(distributional: bool):
    agent = make_rainbow(distributional=distributional)
    online = NoiseRecorder(agent.online_network)
    target = NoiseRecorder(agent.target_network)
    for _ in range(3):
        agent.update(random_batch())
    assert len(online.noise) == 2 * 3  # of the choice and of the loss
    assert len(target.noise) == 3
    noise = online.noise + target.noise
    assert None not in noise
    assert len({str(sample) for sample in noise}) == 3 * 3


def test_acting_draws_new_noise_in_every_row():
    agent = make_rainbow()
    recorder = NoiseRecorder(agent.network)
    for _ in range(3):
        agent.act(torch.randn(2, 3), torch.tensor([True, True]), agent.initial_carry(2), explore=True)
    assert None not in recorder.noise
    assert len({str(sample) for sample in recorder.noise}) == 3


@pytest.mark.parametrize("distributional", [True, False])
def test_output_of_rainbow_has_no_noise(distributional: bool):
    """A new agent with the same seed has the same weights, and has never drawn noise."""
    agent = make_rainbow(distributional=distributional)
    obs = torch.randn(2, 3)
    is_first = torch.tensor([True, True])
    agent.act(obs, is_first, agent.initial_carry(2), explore=True)
    output, _ = agent.policy_output(obs, is_first, agent.initial_carry(2))
    expected = make_rainbow(distributional=distributional).network(obs[:, None])
    assert torch.equal(output.scores, expected)
    assert torch.equal(output.value, expected.amax(1))


@pytest.mark.parametrize("double", [True, False])
def test_rainbow_without_distributions_chooses_with_the_online_network_if_double(double: bool):
    agent = make_rainbow(double=double, distributional=False, noisy=False)
    agent.target_network = make_rainbow(seed=1, distributional=False, noisy=False).target_network
    batch = random_batch()
    target_q = agent.target_network(batch.next_obs).tolist()
    choosing_q = agent.online_network(batch.next_obs).tolist() if double else target_q
    expected = []
    for i in range(16):
        best_action = choosing_q[i].index(max(choosing_q[i]))
        expected.append(target_q[i][best_action])
    next_value = agent.next_state_value(batch.next_obs)
    assert next_value.tolist() == pytest.approx(expected)
    assert (next_value < agent.target_network(batch.next_obs).amax(1) - 1e-6).any() == double


def probabilities(network: nn.Module, obs: Tensor) -> NDArray[np.float64]:
    """Return p(z | s, a) of a distributional network, [B, A, atoms]."""
    assert isinstance(network, DistributionalQNetwork)
    return network.log_probabilities(obs).exp().detach().double().numpy()


def naive_projection(ret: float, discount: float, next_p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the projected target distribution for 51 atoms from -1 to 2: algorithm 1 of Bellemare et al. 2017."""
    atoms = np.linspace(-1, 2, 51)
    projected = np.zeros(51)
    for j in range(51):
        b = (np.clip(ret + discount * atoms[j], -1, 2) + 1) / (3 / 50)
        low = int(np.floor(round(b, 9)))
        high = int(np.ceil(round(b, 9)))
        if low == high:
            projected[low] += next_p[j]
        else:
            projected[low] += next_p[j] * (high - b)
            projected[high] += next_p[j] * (b - low)
    return projected


@pytest.mark.parametrize("double", [True, False])
def test_distributional_loss_is_divergence_from_naively_projected_target(double):
    agent = make_rainbow(double=double, noisy=False)
    agent.target_network = make_rainbow(seed=1, noisy=False).target_network
    batch = random_batch()
    losses, errors, q = (x.detach() for x in agent.td_loss(batch))
    atoms = np.linspace(-1, 2, 51)
    p = probabilities(agent.online_network, batch.obs)
    target_p = probabilities(agent.target_network, batch.next_obs)
    choosing_p = probabilities(agent.online_network, batch.next_obs) if double else target_p
    np.testing.assert_allclose(q.numpy(), p @ atoms, atol=1e-5)
    for i in range(16):
        best_action = (choosing_p[i] @ atoms).argmax()
        projected = naive_projection(float(batch.ret[i]), float(batch.discount[i]), target_p[i, best_action])
        predicted = p[i, int(batch.action[i])]
        positive = projected > 0
        kl = (projected[positive] * np.log(projected[positive] / predicted[positive])).sum()
        assert float(losses[i]) == pytest.approx(kl, abs=1e-4)
        assert float(errors[i]) == pytest.approx(kl, abs=1e-4)


def test_rainbow_raises_if_value_range_is_empty():
    with pytest.raises(ConfigError, match=r"value_low is 3.0; it must be below value_high, 2.0"):
        make_rainbow(value_low=3.0)


# --- All variants -----------------------------------------------------------------------------------------------------

RAINBOW = RainbowConfig(**SMALL_RAINBOW)
CASES = [
    pytest.param(DoubleDQN, DQNConfig(**SMALL), id="double_dqn"),
    pytest.param(DuelingDQN, DuelingDQNConfig(**SMALL), id="dueling_dqn"),
    pytest.param(DuelingDoubleDQN, DuelingDQNConfig(**SMALL), id="dueling_double_dqn"),
    pytest.param(ExpectedSarsa, DQNConfig(**SMALL), id="expected_sarsa"),
    pytest.param(DQN, DQNConfig(**SMALL, priority_alpha=0.6), id="prioritised_dqn"),
    pytest.param(QRDQN, QRDQNConfig(**SMALL, num_quantiles=7), id="qr_dqn"),
    pytest.param(QRDQN, QRDQNConfig(**SMALL, num_quantiles=7, dueling=True, double=True), id="dueling_double_qr_dqn"),
    pytest.param(QRDQN, QRDQNConfig(**SMALL, num_quantiles=7, kappa=0.1, priority_alpha=0.6), id="prioritised_qr_dqn"),
    pytest.param(Rainbow, RAINBOW, id="rainbow"),
    pytest.param(Rainbow, dataclasses.replace(RAINBOW, double=False), id="rainbow_without_double"),
    pytest.param(Rainbow, dataclasses.replace(RAINBOW, dueling=False), id="rainbow_without_dueling"),
    pytest.param(Rainbow, dataclasses.replace(RAINBOW, noisy=False), id="rainbow_without_noise"),
    pytest.param(Rainbow, dataclasses.replace(RAINBOW, distributional=False), id="rainbow_without_distributions"),
    pytest.param(Rainbow, dataclasses.replace(RAINBOW, priority_alpha=0.0), id="rainbow_without_priorities"),
]


@pytest.mark.parametrize(("cls", "config"), CASES)
def test_variant_learns_two_armed_bandit_and_restored_agent_continues_bit_for_bit(cls, config):
    agent, loop = toy_loop(config, 4, TwoArms, cls=cls)
    for _ in range(1000 if cls is Rainbow else 600):  # with noise in its targets, Rainbow takes longer
        loop.step()
    remove_noise(agent.network)
    with torch.no_grad():
        q = agent.network.eval()(torch.zeros(1, 1, 1))[0]
    # When its noise has decreased, Rainbow rarely plays the arm that pays nothing, and estimates it less accurately.
    tolerance = 0.3 if cls is Rainbow else 0.1
    assert torch.allclose(q, torch.tensor([0.0, 1.0]), atol=tolerance)
    restored, _ = toy_loop(config, 4, TwoArms, seed=9, cls=cls)
    restored.load_state_dict(copy.deepcopy(agent.state_dict()))
    step_both(loop, restored, 20)
    assert restored.updates == agent.updates
    assert_equal_parameters(agent.network, restored.network)
