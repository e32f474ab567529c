"""DQN: what it sees, when it learns, what it learns from."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from loops import CPU, step_both, toy_loop
from torch import nn
from toy_envs import NumberedSteps, TwoArms

from agents.core.settings import ConfigError
from agents.core.types import EnvSpaces
from agents.dqn import DQN, DQNConfig
from agents.dueling_double_dqn import DuelingDoubleDQN
from agents.memory.replay import TransitionBatch
from envs.make import make_stream, resolve
from rl_lab.training.overlapped_loop import OverlappedLoop

SMALL = DQNConfig(hidden=8, learning_starts=64, epsilon_steps=500, target_every=7, replay_size=4096)


def parameters(agent):
    return torch.cat([p.detach().flatten() for p in agent.network.parameters()])


class Recorder(nn.Module):
    """Stands in front of a network and keeps what it is shown."""

    def __init__(self, network):
        super().__init__()
        self.network, self.seen = network, []

    def forward(self, obs):
        self.seen.append(obs.clone())
        return self.network(obs)


@pytest.mark.parametrize("stack", [1, 3, 4])
def test_acting_and_replay_build_the_same_stack(stack):
    agent, loop = toy_loop(dataclasses.replace(SMALL, frame_stack=stack, replay_ratio=0), 3)
    agent.policy_network = recorder = Recorder(agent.policy_network)
    for _ in range(101):
        loop.step()
    for t in range(100):
        cells = torch.arange(3 * t, 3 * t + 3)
        assert torch.equal(recorder.seen[t], agent.replay.stacks(cells))


def test_the_number_of_environments_changes_no_schedule():
    """At the same agent step: the same updates, target copies and epsilon, for 1, 4 and 16 environments that never end."""

    def endless():
        return NumberedSteps(lengths=(10**9,))

    histories = []
    for num_envs in (1, 4, 16):
        agent, loop = toy_loop(SMALL, num_envs, endless)
        copies, history = 0, {}
        target = parameters(agent)
        while agent.steps < 960:
            loop.step()
            now = torch.cat([p.flatten() for p in agent.target_network.parameters()])
            copies, target = copies + int(not torch.equal(now, target)), now
            history[agent.steps] = (agent.updates, agent.updates // SMALL.target_every, agent.epsilon)
            assert agent.updates == agent.updates_due()
        assert copies > 0
        histories.append(history)
    one, four, sixteen = histories
    assert sixteen[960][0] == int((960 - 64) * 8 / 32)
    for t in range(16, 961, 16):
        assert one[t] == four[t] == sixteen[t]


def test_dead_rows_are_no_agent_steps():
    agent, loop = toy_loop(SMALL, 2)
    num_active = sum(loop.step().num_active for _ in range(50))
    loop.step()
    assert agent.steps == num_active < 100


@pytest.mark.parametrize("name", ["toy", "Pong"])
def test_the_same_seed_twice_gives_the_same_parameters_bit_for_bit(name):
    found = []
    for seed in (1, 1, 2):
        if name == "toy":
            agent, loop = toy_loop(SMALL, 4, seed=seed)
        else:
            env_spec = resolve("Pong")
            config = DQNConfig(frame_stack=4, filters=8, learning_starts=100, replay_size=2000, n_step=3)
            agent = DQN(config, EnvSpaces(env_spec.frame, torch.uint8, 6, 4), seed=seed, device=CPU)
            loop = OverlappedLoop(agent, make_stream(env_spec, 4), CPU, seed)
        for _ in range(60):
            loop.step()
        assert agent.updates > 20
        found.append(parameters(agent))
        loop.stream.close()
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_an_update_is_one_huber_step_on_the_target():
    """The gradient that an update takes, against the closed form of a linear network and a small learning rate."""
    config = DQNConfig(lr=1.0, grad_clip=0, batch_size=4)
    agent = DQN(config, EnvSpaces((2,), torch.float32, 3, 1), seed=0, device=CPU)
    agent.online_network = nn.Sequential(nn.Flatten(), nn.Linear(2, 3, bias=False))
    agent.target_network = nn.Sequential(nn.Flatten(), nn.Linear(2, 3, bias=False))
    agent.optimizer = torch.optim.SGD(agent.online_network.parameters(), lr=1.0)
    before, target = agent.online_network[1].weight.detach().clone(), agent.target_network[1].weight.detach()
    rng = torch.Generator().manual_seed(3)
    obs, next_obs = torch.randn(4, 1, 2, generator=rng) * 3, torch.randn(4, 1, 2, generator=rng)
    action, ret = torch.tensor([0, 2, 1, 0]), torch.tensor([0.1, -4.0, 5.0, 0.3])
    discount = torch.tensor([0.9, 0.0, 0.81, 0.9])
    metrics = agent.update(TransitionBatch(obs, action, ret, discount, next_obs, torch.ones(4), action))
    expected, losses = before.clone(), []
    for s, a, r, d, s2 in zip(obs[:, 0], action, ret, discount, next_obs[:, 0], strict=True):
        delta = float(r + d * (target @ s2).max() - before[a] @ s)
        losses.append(0.5 * delta**2 if abs(delta) < 1 else abs(delta) - 0.5)
        expected[a] += max(-1.0, min(1.0, delta)) * s / 4  # Huber: the error clipped to [-1, 1]
    assert torch.allclose(agent.online_network[1].weight, expected, atol=1e-6)
    assert float(metrics["loss"]) == pytest.approx(np.mean(losses), abs=1e-5)


def test_it_learns_which_arm_pays():
    config = dataclasses.replace(SMALL, lr=1e-2, target_every=10)
    agent, loop = toy_loop(config, 4, TwoArms)
    for _ in range(600):
        loop.step()
    with torch.no_grad():
        q = agent.network(torch.zeros(1, 1, 1))[0]
    assert torch.allclose(q, torch.tensor([0.0, 1.0]), atol=0.05)


def test_a_target_that_moves_is_the_mean_of_the_networks_before_and_plays():
    """theta- <- theta- + tau (theta - theta-) after every update, against the sum written out."""
    agent, loop = toy_loop(dataclasses.replace(SMALL, target_tau=0.1, target_every=1), 2)
    assert agent.network is agent.target_network
    expected, updates = parameters(agent).double(), 0
    for _ in range(200):
        loop.step()
        assert agent.updates <= updates + 1
        if agent.updates > updates:
            updates = agent.updates
            online = torch.cat([p.detach().flatten() for p in agent.online_network.parameters()]).double()
            expected = 0.9 * expected + 0.1 * online
    assert updates > 10
    assert torch.allclose(parameters(agent).double(), expected, atol=1e-6)
    assert not torch.allclose(parameters(agent).double(), online, atol=1e-4)


@pytest.mark.parametrize("tau", [0.0, 0.1])
def test_state_dict_goes_on_where_it_was(tau):
    config = dataclasses.replace(SMALL, target_tau=tau)
    agent, loop = toy_loop(config, 2)
    for _ in range(200):
        loop.step()
    other, _ = toy_loop(config, 2, seed=9)
    other.load_state_dict(copy.deepcopy(agent.state_dict()))
    step_both(loop, other, 50)
    assert other.updates == agent.updates > 10
    assert torch.equal(parameters(other), parameters(agent))


def test_the_learning_rate_anneals_over_agent_steps():
    """SGD's first step is lr times the gradient: the same batch after twice the steps moves the weights as the line says."""
    config = dataclasses.replace(SMALL, lr=1e-2, lr_end=1e-3, lr_hold=500, lr_steps=1500)
    for steps, lr in ((0, 1e-2), (500, 1e-2), (1000, 5.5e-3), (1500, 1e-3), (5000, 1e-3)):
        agent, _ = toy_loop(config, 2)
        agent.optimizer = torch.optim.SGD(agent.network.parameters(), lr=1.0)
        agent.steps = steps
        before = parameters(agent)
        ones, obs = torch.ones(4), torch.rand(4, 1, *agent.spaces.obs_shape)
        agent.update(
            TransitionBatch(obs, torch.zeros(4, dtype=torch.int64), ones, ones, obs, ones, torch.zeros(4).long())
        )
        grad = torch.cat([p.grad.flatten() for p in agent.network.parameters()])
        assert torch.allclose(parameters(agent), before - lr * grad)
        assert agent.gauges()["lr"] == pytest.approx(lr)


def test_exploration_is_drawn_for_each_environment():
    agent, _ = toy_loop(dataclasses.replace(SMALL, epsilon_start=0.5), 1)
    obs, is_first = torch.zeros(20_000, 3), torch.ones(20_000, dtype=torch.bool)
    carry = agent.initial_carry(20_000)
    greedy, _ = agent.act(obs, is_first, carry, explore=False)
    assert len(greedy.unique()) == 1
    explored, _ = agent.act(obs, is_first, carry, explore=True)
    assert float((explored != greedy).float().mean()) == pytest.approx(0.25, abs=0.02)


def test_epsilon_may_wait_before_it_falls():
    agent, _ = toy_loop(dataclasses.replace(SMALL, epsilon_end=0.2, epsilon_hold=100, epsilon_steps=500), 1)
    for agent.steps, epsilon in ((0, 1.0), (100, 1.0), (300, 0.6), (500, 0.2), (900, 0.2)):
        assert agent.epsilon == pytest.approx(epsilon)


def test_a_replay_smaller_than_a_batch_is_refused():
    with pytest.raises(ConfigError, match="replay_size is 8; it must be at least batch_size, 32"):
        toy_loop(dataclasses.replace(SMALL, replay_size=8), 1)


@pytest.mark.parametrize("kind", [DQN, DuelingDoubleDQN])
def test_bfloat16_aims_where_float32_does(kind):
    """Targets and gradients of the same batch with the same weights, in either format: under 1% and 10% apart."""
    rows = EnvSpaces((84, 84), torch.uint8, 6, 2)
    config = kind.config_class(frame_stack=4, hidden=64, filters=8, replay_size=4096)
    generator = torch.Generator().manual_seed(0)

    def random(high, *shape):
        return torch.randint(high, shape, generator=generator)

    blocks = random(256, 64, 4, 12, 12).to(torch.uint8)  # shapes, as games have them, and not noise
    frames = blocks.repeat_interleave(7, 2).repeat_interleave(7, 3)
    batch = TransitionBatch(
        obs=frames[:32],
        action=random(6, 32),
        ret=random(3, 32) - 1.0,
        discount=torch.full((32,), 0.95),
        next_obs=frames[32:],
        weight=torch.ones(32),
        cell=torch.arange(32),
    )
    targets, gradients = [], []
    for dtype in (torch.float32, torch.bfloat16):
        agent = kind(config, rows, seed=1, device=CPU, dtype=dtype)
        losses, error, q = agent.td_loss(batch)
        losses.mean().backward()
        targets.append(error + q.gather(1, batch.action[:, None]).squeeze(1) - batch.ret)
        gradients.append(torch.cat([p.grad.flatten() for p in agent.online_network.parameters()]))
        assert all(p.dtype == p.grad.dtype == torch.float32 for p in agent.online_network.parameters())
    for (exact, rounded), share in ((targets, 0.01), (gradients, 0.1)):
        assert 0 < (rounded - exact).norm() < share * exact.norm()
