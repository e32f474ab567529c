"""Tests of DQN: inputs, schedules, updates and resuming."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch
from loops import CPU, step_both, toy_loop
from torch import Tensor, nn
from toy_envs import NumberedSteps, TwoArms

from agents.configs.dqn import DQNConfig, DRQNConfig, QRDQNConfig, RainbowConfig
from agents.core.settings import ConfigError
from agents.core.types import EnvSpaces
from agents.dqn import DQN
from agents.drqn import DRQN
from agents.dueling_double_dqn import DuelingDoubleDQN
from agents.expected_sarsa import ExpectedSarsa
from agents.memory.replay import TransitionBatch
from agents.pqn import PQN
from agents.qr_dqn import QRDQN
from agents.rainbow import Rainbow
from envs.make import make_stream, resolve
from rl_lab.training.overlapped_loop import OverlappedLoop

SMALL = DQNConfig(hidden=8, learning_starts=64, epsilon_steps=500, target_every=7, replay_size=4096)


def flat_parameters(network: nn.Module) -> Tensor:
    """Return all parameters of a network as one vector."""
    return torch.cat([param.detach().flatten() for param in network.parameters()])


def flat_gradients(network: nn.Module) -> Tensor:
    """Return the gradients of all parameters of a network as one vector."""
    gradients = []
    for param in network.parameters():
        assert param.grad is not None
        gradients.append(param.grad.flatten())
    return torch.cat(gradients)


class InputRecorder(nn.Module):
    """A wrapper of a network that records its inputs."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.inputs: list[Tensor] = []

    def forward(self, obs: Tensor) -> Tensor:
        self.inputs.append(obs.clone())
        return self.network(obs)


@pytest.mark.parametrize("stack", [1, 3, 4])
def test_acting_and_replay_build_same_stacks(stack):
    agent, loop = toy_loop(dataclasses.replace(SMALL, frame_stack=stack, replay_ratio=0), 3)
    recorder = InputRecorder(agent.policy_network)
    agent.policy_network = recorder
    for _ in range(101):
        loop.step()
    for t in range(100):
        cells = torch.arange(3 * t, 3 * t + 3)
        assert torch.equal(recorder.inputs[t], agent.replay.stacks(cells))


def schedule_by_step(num_envs: int) -> dict[int, tuple[int, int, float]]:
    """Return updates, due target copies and epsilon by agent step, from environments that never end."""
    agent, loop = toy_loop(SMALL, num_envs, lambda: NumberedSteps(lengths=(10**9,)))
    copies = 0
    target = flat_parameters(agent.target_network)
    schedule = {}
    while agent.steps < 960:
        loop.step()
        new_target = flat_parameters(agent.target_network)
        copies += int(not torch.equal(new_target, target))
        target = new_target
        schedule[agent.steps] = (agent.updates, agent.updates // SMALL.target_every, agent.epsilon)
        assert agent.updates == agent.updates_due()
    assert copies > 0
    return schedule


def test_schedules_do_not_depend_on_number_of_environments():
    one = schedule_by_step(1)
    four = schedule_by_step(4)
    sixteen = schedule_by_step(16)
    assert sixteen[960][0] == int((960 - 64) * 8 / 32)
    for t in range(16, 961, 16):
        assert one[t] == four[t] == sixteen[t]


def test_last_rows_of_episodes_are_not_counted_as_agent_steps():
    agent, loop = toy_loop(SMALL, 2)
    num_active = 0
    for _ in range(50):
        num_active += loop.step().num_active
    loop.step()
    assert agent.steps == num_active < 100


def parameters_after_training(name: str, seed: int) -> Tensor:
    """Return the parameters after 60 rows of a toy environment or of Pong."""
    if name == "toy":
        agent, loop = toy_loop(SMALL, 4, seed=seed)
    else:
        env_spec = resolve("Pong")
        config = DQNConfig(frame_stack=4, filters=8, learning_starts=100, replay_size=2000, n_step=3)
        agent = DQN(config, EnvSpaces(env_spec.frame, torch.uint8, 6, 4), seed=seed, device=CPU)
        loop = OverlappedLoop(agent, make_stream(env_spec, 4), CPU, seed)
    for _ in range(60):
        loop.step()
    loop.stream.close()
    assert agent.updates > 20
    return flat_parameters(agent.network)


@pytest.mark.parametrize("name", ["toy", "Pong"])
def test_training_is_reproducible_bit_for_bit(name):
    first = parameters_after_training(name, seed=1)
    assert torch.equal(parameters_after_training(name, seed=1), first)
    assert not torch.equal(parameters_after_training(name, seed=2), first)


def test_update_takes_huber_gradient_step():
    """The gradient step of linear networks is compared with its closed form."""
    config = DQNConfig(lr=1.0, grad_clip=0, batch_size=4)
    agent = DQN(config, EnvSpaces((2,), torch.float32, 3, 1), seed=0, device=CPU)
    online = nn.Linear(2, 3, bias=False)
    target = nn.Linear(2, 3, bias=False)
    agent.online_network = nn.Sequential(nn.Flatten(), online)
    agent.target_network = nn.Sequential(nn.Flatten(), target)
    agent.optimizer = torch.optim.SGD(agent.online_network.parameters(), lr=1.0)
    matrix = online.weight.detach().clone()
    target_matrix = target.weight.detach()
    rng = torch.Generator().manual_seed(3)
    batch = TransitionBatch(
        obs=torch.randn(4, 1, 2, generator=rng) * 3,
        action=torch.tensor([0, 2, 1, 0]),
        ret=torch.tensor([0.1, -4.0, 5.0, 0.3]),
        discount=torch.tensor([0.9, 0.0, 0.81, 0.9]),
        next_obs=torch.randn(4, 1, 2, generator=rng),
        weight=torch.tensor([1.0, 0.5, 0.2, 0.9]),
        cell=torch.arange(4),
    )
    metrics = agent.update(batch)
    expected = matrix.clone()
    losses = []
    for i in range(4):
        obs = batch.obs[i, 0]
        action = int(batch.action[i])
        next_value = (target_matrix @ batch.next_obs[i, 0]).max()
        td_error = float(batch.ret[i] + batch.discount[i] * next_value - matrix[action] @ obs)
        weight = float(batch.weight[i])
        losses.append(weight * (0.5 * td_error**2 if abs(td_error) < 1 else abs(td_error) - 0.5))
        clipped_error = max(-1.0, min(1.0, td_error))
        expected[action] += weight * clipped_error * obs / 4
    assert torch.allclose(online.weight, expected, atol=1e-6)
    assert float(metrics["loss"]) == pytest.approx(np.mean(losses), abs=1e-5)


@pytest.mark.parametrize(
    "settings",
    [
        {"advantage_alpha": 0.9},
        {"advantage_alpha": 0.5, "advantage_persistent": True},
        {"munchausen_alpha": 0.9, "munchausen_tau": 0.5},
    ],
    ids=["advantage learning", "persistent advantage learning", "munchausen"],
)
def test_targets_of_options_equal_their_definition(settings):
    """The oracle computes the target of each transition from the tables Q^(s, .) and Q^(s', .)."""
    agent = DQN(DQNConfig(**settings), EnvSpaces((2,), torch.float32, 3, 1), seed=0, device=CPU)
    batch = TransitionBatch(
        obs=torch.randn(20, 1, 2),
        action=torch.randint(3, (20,)),
        ret=torch.randn(20),
        discount=torch.tensor([0.9, 0.0] * 10),
        next_obs=torch.randn(20, 1, 2),
        weight=torch.ones(20),
        cell=torch.arange(20),
    )
    with torch.no_grad():
        for weight in agent.target_network.parameters():  # other values than those of the online network
            weight.add_(0.1 * torch.randn_like(weight))
        q = agent.target_network(batch.obs).tolist()
        next_q = agent.target_network(batch.next_obs).tolist()
    y = agent.targets(batch)
    for i in range(20):
        action = int(batch.action[i])
        ret = float(batch.ret[i])
        discount = float(batch.discount[i])
        if "munchausen_alpha" in settings:
            log_pi = q[i][action] / 0.5 - np.logaddexp.reduce(np.array(q[i]) / 0.5)
            bonus = 0.9 * max(0.5 * log_pi, -1.0)
            expected = ret + bonus + discount * 0.5 * np.logaddexp.reduce(np.array(next_q[i]) / 0.5)
        else:
            gap = q[i][action] - max(q[i])
            if settings.get("advantage_persistent"):
                next_gap = next_q[i][action] - max(next_q[i])
                gap = max(gap, next_gap if discount else 0.0)
            expected = ret + discount * max(next_q[i]) + settings["advantage_alpha"] * gap
        assert float(y[i]) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("cls", "config", "message"),
    [
        (DQN, DQNConfig(advantage_alpha=0.5, munchausen_alpha=0.5), "advantage_alpha and munchausen_alpha are both"),
        (
            DQN,
            DQNConfig(advantage_persistent=True),
            "advantage_persistent is true; it needs an advantage_alpha above 0",
        ),
        (DRQN, DRQNConfig(advantage_alpha=0.5), "advantage_alpha is 0.5; with drqn it must be 0"),
        (Rainbow, RainbowConfig(munchausen_alpha=0.9), "munchausen_alpha is 0.9; with distributional rainbow"),
        (QRDQN, QRDQNConfig(advantage_alpha=0.9), "advantage_alpha is 0.9; with qr_dqn it must be 0"),
        (QRDQN, QRDQNConfig(munchausen_alpha=0.9), "munchausen_alpha is 0.9; with qr_dqn it must be 0"),
        (ExpectedSarsa, DQNConfig(munchausen_alpha=0.9), "munchausen_alpha is 0.9; with expected_sarsa"),
    ],
)
def test_targets_that_the_agent_cannot_compute_are_refused(cls, config, message):
    with pytest.raises(ConfigError, match=message):
        cls(config, EnvSpaces((2,), torch.float32, 3, 1), seed=0, device=CPU)


def test_dqn_learns_values_of_two_armed_bandit():
    config = dataclasses.replace(SMALL, lr=1e-2, target_every=10)
    agent, loop = toy_loop(config, 4, TwoArms)
    for _ in range(600):
        loop.step()
    with torch.no_grad():
        q = agent.network(torch.zeros(1, 1, 1))[0]
    assert torch.allclose(q, torch.tensor([0.0, 1.0]), atol=0.05)


def test_polyak_averaged_target_equals_written_out_mean_and_acts():
    """After every update: target <- 0.9 target + 0.1 online."""
    agent, loop = toy_loop(dataclasses.replace(SMALL, target_tau=0.1, target_every=1), 2)
    assert agent.network is agent.target_network
    expected = flat_parameters(agent.target_network).double()
    updates = 0
    for _ in range(200):
        loop.step()
        assert agent.updates <= updates + 1
        if agent.updates > updates:
            updates = agent.updates
            expected = 0.9 * expected + 0.1 * flat_parameters(agent.online_network).double()
    assert updates > 10
    target = flat_parameters(agent.target_network).double()
    online = flat_parameters(agent.online_network).double()
    assert torch.allclose(target, expected, atol=1e-6)
    assert not torch.allclose(target, online, atol=1e-4)


@pytest.mark.parametrize("tau", [0.0, 0.1])
def test_restored_agent_continues_bit_for_bit(tau):
    config = dataclasses.replace(SMALL, target_tau=tau)
    agent, loop = toy_loop(config, 2)
    for _ in range(200):
        loop.step()
    restored, _ = toy_loop(config, 2, seed=9)
    restored.load_state_dict(copy.deepcopy(agent.state_dict()))
    step_both(loop, restored, 50)
    assert restored.updates == agent.updates > 10
    assert torch.equal(flat_parameters(restored.network), flat_parameters(agent.network))


@pytest.mark.parametrize(("steps", "lr"), [(0, 1e-2), (500, 1e-2), (1000, 5.5e-3), (1500, 1e-3), (5000, 1e-3)])
def test_learning_rate_follows_schedule(steps, lr):
    """A step of SGD is the gradient times the learning rate."""
    config = dataclasses.replace(SMALL, lr=1e-2, lr_end=1e-3, lr_hold=500, lr_steps=1500)
    agent, _ = toy_loop(config, 2)
    agent.optimizer = torch.optim.SGD(agent.network.parameters(), lr=1.0)
    agent.steps = steps
    before = flat_parameters(agent.network)
    obs = torch.rand(4, 1, *agent.spaces.obs_shape)
    ones = torch.ones(4)
    zeros = torch.zeros(4, dtype=torch.int64)
    agent.update(TransitionBatch(obs=obs, action=zeros, ret=ones, discount=ones, next_obs=obs, weight=ones, cell=zeros))
    gradient = flat_gradients(agent.network)
    assert torch.allclose(flat_parameters(agent.network), before - lr * gradient)
    assert agent.gauges()["lr"] == pytest.approx(lr)


def test_each_environment_explores_independently():
    agent, _ = toy_loop(dataclasses.replace(SMALL, epsilon_start=0.5), 1)
    obs = torch.zeros(20_000, 3)
    is_first = torch.ones(20_000, dtype=torch.bool)
    carry = agent.initial_carry(20_000)
    greedy, _ = agent.act(obs, is_first, carry, explore=False)
    assert len(greedy.unique()) == 1
    explored, _ = agent.act(obs, is_first, carry, explore=True)
    # With two actions, half of the random actions differ from the greedy one.
    assert float((explored != greedy).float().mean()) == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize(("steps", "epsilon"), [(0, 1.0), (100, 1.0), (300, 0.6), (500, 0.2), (900, 0.2)])
def test_epsilon_follows_schedule(steps, epsilon):
    agent, _ = toy_loop(dataclasses.replace(SMALL, epsilon_end=0.2, epsilon_hold=100, epsilon_steps=500), 1)
    agent.steps = steps
    assert agent.epsilon == pytest.approx(epsilon)


def test_dqn_raises_if_replay_is_smaller_than_batch():
    with pytest.raises(ConfigError, match="replay_size is 8; it must be at least batch_size, 32"):
        toy_loop(dataclasses.replace(SMALL, replay_size=8), 1)


@pytest.mark.parametrize("cls", [DQN, DRQN, Rainbow, PQN])
def test_agents_with_action_values_refuse_more_than_4096_combinations_of_action_parts(cls):
    config = cls.config_class(hidden=4)
    many = EnvSpaces((3,), torch.float32, 4_096, 1, action_parts=(64, 64))
    assert cls(config, many, seed=0, device=CPU).spaces is many
    with pytest.raises(ConfigError, match="an action has 2 parts with 4,160 combinations; agents that learn action"):
        cls(config, dataclasses.replace(many, num_actions=4_160, action_parts=(64, 65)), seed=0, device=CPU)


@pytest.mark.parametrize("cls", [DQN, DRQN, Rainbow])
@pytest.mark.parametrize(("num_envs", "batch_size"), [(1, 4), (1, 300), (64, 4)])
def test_example_update_works_for_any_number_of_environments_and_samples(cls, num_envs, batch_size):
    config = cls.config_class(hidden=8, batch_size=batch_size, replay_size=1000)
    spaces = EnvSpaces((3,), torch.float32, 4, num_envs)
    update = cls.example_update(config, spaces, device=CPU, dtype=torch.float32)
    assert torch.isfinite(update()["loss"])


def random_image_batch() -> TransitionBatch:
    """Return 32 transitions with images of random squares, which resemble games more than noise does."""
    generator = torch.Generator().manual_seed(0)
    squares = torch.randint(256, (64, 4, 12, 12), generator=generator).to(torch.uint8)
    frames = squares.repeat_interleave(7, 2).repeat_interleave(7, 3)
    return TransitionBatch(
        obs=frames[:32],
        action=torch.randint(6, (32,), generator=generator),
        ret=torch.randint(3, (32,), generator=generator) - 1.0,
        discount=torch.full((32,), 0.95),
        next_obs=frames[32:],
        weight=torch.ones(32),
        cell=torch.arange(32),
    )


@pytest.mark.parametrize("cls", [DQN, DuelingDoubleDQN])
def test_bfloat16_targets_and_gradients_are_close_to_float32(cls):
    """For the same weights and batch, targets differ by less than 1%, gradients by less than 10%."""
    spaces = EnvSpaces((84, 84), torch.uint8, 6, 2)
    config = cls.config_class(frame_stack=4, hidden=64, filters=8, replay_size=4096)
    batch = random_image_batch()
    bootstrap_terms = []
    gradients = []
    for dtype in (torch.float32, torch.bfloat16):
        agent = cls(config, spaces, seed=1, device=CPU, dtype=dtype)
        losses, td_error, q = agent.td_loss(batch)
        losses.mean().backward()
        target = td_error + q.gather(1, batch.action[:, None]).squeeze(1)
        bootstrap_terms.append(target - batch.ret)
        gradients.append(flat_gradients(agent.online_network))
        for param in agent.online_network.parameters():
            assert param.grad is not None
            assert param.dtype == param.grad.dtype == torch.float32
    for (exact, rounded), tolerance in ((bootstrap_terms, 0.01), (gradients, 0.1)):
        assert 0 < (rounded - exact).norm() < tolerance * exact.norm()
