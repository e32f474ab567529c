"""DQN's variants: each against what its paper says it does differently."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from loops import CPU, step_both, toy_loop
from torch import nn
from toy_envs import TwoArms

from agents.core.settings import ConfigError
from agents.core.types import EnvSpaces
from agents.double_dqn import DoubleDQN
from agents.dqn import DQN, DQNConfig
from agents.dueling_double_dqn import DuelingDoubleDQN
from agents.dueling_dqn import DuelingDQN, DuelingDQNConfig
from agents.expected_sarsa import ExpectedSarsa
from agents.memory.replay import TransitionBatch
from agents.nn.gradient_scale import ScaleGradient
from agents.nn.heads import DuelingHead
from agents.nn.noisy import NoisyLinear, remove_noise, sample_noise
from agents.rainbow import Rainbow, RainbowConfig

ROWS = EnvSpaces((3,), torch.float32, 4, 2)
SMALL = {"hidden": 16, "learning_starts": 64, "epsilon_steps": 500, "target_every": 10, "replay_size": 4096, "lr": 1e-2}
RAINBOW = {**SMALL, "value_low": -1.0, "value_high": 2.0, "n_step": 1}


def make(cls, config=None, rows=ROWS, seed=0):
    return cls(config or cls.config_class(**SMALL), rows, seed=seed, device=CPU)


def random_batch(n=16, seed=0):
    g = torch.Generator().manual_seed(seed)
    obs, next_obs = torch.randn(n, 1, 3, generator=g), torch.randn(n, 1, 3, generator=g)
    action = torch.randint(0, 4, (n,), generator=g)
    discount = 0.9 * (torch.rand(n, generator=g) < 0.8)
    return TransitionBatch(obs, action, torch.randn(n, generator=g), discount, next_obs, torch.ones(n), torch.arange(n))


def test_double_values_the_online_choice_with_the_target_network():
    agent, batch = make(DoubleDQN), random_batch()
    agent.target_network = make(DoubleDQN, seed=1).target_network
    online, target = agent.network(batch.next_obs).detach(), agent.target_network(batch.next_obs)
    by_hand = [float(t[max(range(4), key=lambda a, o=o: float(o[a]))]) for o, t in zip(online, target, strict=True)]
    assert agent.next_state_value(batch.next_obs).tolist() == pytest.approx(by_hand)
    assert not torch.allclose(agent.next_state_value(batch.next_obs), target.amax(1))


@pytest.mark.parametrize(("double", "plain"), [(DoubleDQN, DQN), (DuelingDoubleDQN, DuelingDQN)])
def test_double_with_equal_networks_is_dqn(double, plain):
    """A new agent's two networks are the same: its values of the next state are then DQN's, and so is what it learns."""
    one, other, batch = make(double), make(plain), random_batch()
    assert torch.equal(one.next_state_value(batch.next_obs), other.next_state_value(batch.next_obs))
    one.update(batch)
    other.update(batch)
    for mine, its in zip(one.network.parameters(), other.network.parameters(), strict=True):
        assert torch.equal(mine, its)


def test_expected_sarsa_is_the_mean_over_the_behaviour():
    agent, batch = make(ExpectedSarsa), random_batch()
    agent.steps = 200
    epsilon = agent.epsilon
    assert 0.3 < epsilon < 0.9
    target = agent.target_network(batch.next_obs).detach().numpy()
    policy = np.full((16, 4), epsilon / 4)
    policy[np.arange(16), target.argmax(1)] += 1 - epsilon
    np.testing.assert_allclose(agent.next_state_value(batch.next_obs).numpy(), (policy * target).sum(1), rtol=1e-5)


def test_expected_sarsa_without_exploration_is_dqn():
    config = DQNConfig(**SMALL | {"epsilon_start": 0.0, "epsilon_end": 0.0})
    one, other = make(ExpectedSarsa, config), make(DQN, config)
    for seed in range(20):
        one.update(random_batch(seed=seed))
        other.update(random_batch(seed=seed))
    for mine, theirs in zip(one.network.parameters(), other.network.parameters(), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-6)


def test_the_dueling_head_is_equation_9():
    head, features = DuelingHead(10, 4), torch.randn(6, 10)
    value, advantage = head.value(features[:, :5]), head.advantage(features[:, 5:])
    q = head(features)
    assert torch.allclose(q, value + advantage - advantage.mean(1, keepdim=True))
    assert torch.allclose(q.mean(1, keepdim=True), value, atol=1e-6)  # A has mean 0


def test_the_gradient_into_the_last_convolution_is_divided_by_sqrt_2():
    x = torch.randn(3, requires_grad=True)
    y = ScaleGradient(0.5)(x)
    assert torch.equal(y, x)
    y.sum().backward()
    assert torch.equal(x.grad, torch.full((3,), 0.5))
    rows, obs = EnvSpaces((84, 84), torch.uint8, 4, 1), torch.randint(0, 256, (2, 4, 84, 84), dtype=torch.uint8)
    norms = []
    for rescale in (True, False):
        agent = make(DuelingDQN, DuelingDQNConfig(frame_stack=4, rescale_gradient=rescale), rows)
        agent.network(obs).sum().backward()
        norms.append([p.grad.norm() for p in agent.network.encoder.parameters()])
    convolutions, streams = slice(0, 6), slice(6, None)
    for scaled, plain in zip(*(n[convolutions] for n in norms), strict=True):
        assert float(scaled / plain) == pytest.approx(0.5**0.5, rel=1e-4)
    for scaled, plain in zip(*(n[streams] for n in norms), strict=True):
        assert float(scaled / plain) == pytest.approx(1, rel=1e-4)


def test_dueling_double_is_both():
    agent = make(DuelingDoubleDQN)
    assert isinstance(agent.network.head, DuelingHead)
    assert DuelingDoubleDQN.next_state_value is DoubleDQN.next_state_value
    assert DuelingDoubleDQN.build_network is DuelingDQN.build_network


def test_noise_has_the_variance_its_scales_say():
    layer = NoisyLinear(8, 5)
    x, g = torch.randn(8), torch.Generator().manual_seed(0)
    quiet = nn.functional.linear(x, layer.weight, layer.bias)
    assert torch.equal(layer(x), quiet)
    samples = []
    for _ in range(20_000):
        sample_noise(layer, g)
        samples.append(layer(x).detach() - quiet.detach())
    noise = torch.stack(samples)
    # f(e)^2 = |e| has the mean sqrt(2 / pi) = k: weights vary by k^2 sigma^2, the bias by k sigma^2, independently.
    k, sigma = (2 / np.pi) ** 0.5, 0.5 / 8**0.5
    expected = sigma**2 * (k**2 * float((x**2).sum()) + k)
    assert noise.mean(0).abs().max() < 0.05
    assert noise.var(0).tolist() == pytest.approx([expected] * 5, rel=0.06)
    remove_noise(layer)
    assert torch.equal(layer(x), quiet)


def test_rainbow_explores_by_noise_and_is_evaluated_without():
    agent = make(Rainbow, RainbowConfig(**RAINBOW))
    assert agent.epsilon == 0
    obs, first, carry = torch.randn(1, 3), torch.tensor([True]), agent.initial_carry(1)
    explored = {int(agent.act(obs, first, carry, explore=True)[0]) for _ in range(200)}
    greedy = {int(agent.act(obs, first, carry, explore=False)[0]) for _ in range(20)}
    assert len(explored) > 1
    assert len(greedy) == 1
    quiet = make(Rainbow, RainbowConfig(**RAINBOW, noisy=False))
    assert quiet.epsilon == 1


@pytest.mark.parametrize("double", [True, False])
def test_the_loss_over_distributions_is_the_divergence_from_the_projected_target(double):
    agent, batch = make(Rainbow, RainbowConfig(**RAINBOW, double=double, noisy=False)), random_batch()
    agent.target_network = make(Rainbow, RainbowConfig(**RAINBOW, noisy=False), seed=1).target_network
    losses, errors, q = (x.detach() for x in agent.td_loss(batch))
    z = np.linspace(-1, 2, 51)
    p, target_p = (
        n.log_probabilities(o).exp().detach().double().numpy()
        for n, o in ((agent.network, batch.obs), (agent.target_network, batch.next_obs))
    )
    chooser = agent.network.log_probabilities(batch.next_obs).exp().detach().double().numpy() if double else target_p
    np.testing.assert_allclose(q.numpy(), p @ z, atol=1e-5)
    for i in range(16):
        best = (chooser[i] @ z).argmax()
        wanted = np.zeros(51)
        for j in range(51):  # algorithm 1 of Bellemare et al. 2017, atom by atom
            b = (np.clip(float(batch.ret[i]) + float(batch.discount[i]) * z[j], -1, 2) + 1) / (3 / 50)
            low, high = int(np.floor(round(b, 9))), int(np.ceil(round(b, 9)))
            if low == high:
                wanted[low] += target_p[i, best, j]
            else:
                wanted[low] += target_p[i, best, j] * (high - b)
                wanted[high] += target_p[i, best, j] * (b - low)
        mine = p[i, int(batch.action[i])]
        some = wanted > 0
        kl = (wanted[some] * np.log(wanted[some] / mine[some])).sum()
        assert float(losses[i]) == pytest.approx(kl, abs=1e-4)
        assert float(errors[i]) == pytest.approx(kl, abs=1e-4)


SWITCHED_OFF = [
    {},
    *({name: False} for name in ("double", "dueling", "noisy", "distributional")),
    {"priority_alpha": 0.0},
]
CASES = [
    *((cls, cls.config_class(**SMALL)) for cls in (DoubleDQN, DuelingDQN, DuelingDoubleDQN, ExpectedSarsa)),
    (DQN, DQNConfig(**SMALL, priority_alpha=0.6)),
    *((Rainbow, RainbowConfig(**RAINBOW | off)) for off in SWITCHED_OFF),
]


@pytest.mark.parametrize(("cls", "config"), CASES, ids=lambda x: getattr(x, "__name__", ""))
def test_each_learns_which_arm_pays_and_goes_on_where_it_was(cls, config):
    agent, loop = toy_loop(config, 4, TwoArms, cls=cls)
    for _ in range(600):
        loop.step()
    remove_noise(agent.network)
    with torch.no_grad():
        q = agent.network.eval()(torch.zeros(1, 1, 1))[0]
    slack = 0.3 if cls is Rainbow else 0.1  # as its noise dies down it hardly plays the arm that does not pay
    assert torch.allclose(q, torch.tensor([0.0, 1.0]), atol=slack)
    other, _ = toy_loop(config, 4, TwoArms, seed=9, cls=cls)
    other.load_state_dict(copy.deepcopy(agent.state_dict()))
    step_both(loop, other, 20)
    assert other.updates == agent.updates
    for mine, theirs in zip(agent.network.parameters(), other.network.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_a_value_range_that_is_none_is_refused():
    with pytest.raises(ConfigError, match=r"value_low is 3.0; it must be below value_high, 2.0"):
        make(Rainbow, dataclasses.replace(RainbowConfig(**RAINBOW), value_low=3.0))
