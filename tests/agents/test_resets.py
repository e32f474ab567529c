"""Tests of resets of the networks, and of n and the discount that are annealed after a reset."""

from __future__ import annotations

import copy
import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from image_rows import play, trained
from loops import CPU, step_both, toy_loop
from torch import Tensor
from toy_envs import TwoArms

from agents.configs.dqn import DQNConfig, DRQNConfig, QRDQNConfig, RainbowConfig
from agents.core.settings import ConfigError
from agents.core.types import EnvSpaces
from agents.dqn import DQN
from agents.drqn import DRQN
from agents.qr_dqn import QRDQN
from agents.rainbow import Rainbow

IMAGES = EnvSpaces((36, 36), torch.uint8, 3, 2)
SMALL: dict[str, Any] = {
    "frame_stack": 2,
    "hidden": 8,
    "filters": 2,
    "init": "torch",
    "batch_size": 8,
    "replay_ratio": 4,  # one update a row of two environments
    "learning_starts": 20,
    "replay_size": 300,
    "lr": 1e-2,
    "target_every": 3,
}
RESETS: dict[str, Any] = {**SMALL, "reset_every": 10}
IMAGE_CASES = [
    pytest.param(DQN, DQNConfig(**RESETS), id="dqn"),
    pytest.param(DQN, DQNConfig(**RESETS, target_tau=0.1), id="dqn_with_averaging"),
    pytest.param(Rainbow, RainbowConfig(**RESETS, target_tau=0.1, reset_share=0.2), id="rainbow"),
    pytest.param(DRQN, DRQNConfig(**RESETS, unroll=3), id="drqn"),
]


def state_of(agent: Any) -> dict[str, dict[str, Tensor]]:
    """Return copies of the parameters of both networks."""
    networks = {"online": agent.online_network, "target": agent.target_network}
    return {
        kind: {name: param.detach().clone() for name, param in network.named_parameters()}
        for kind, network in networks.items()
    }


def played_until(cls: Any, config: Any, updates: int) -> tuple[Any, list[Any], int]:
    """Return an agent directly after a number of updates on random images, its carry in a list, and the next row."""
    agent, carry = trained(cls, config, IMAGES, rows=0)
    carries = [carry]
    row = 0
    while agent.updates < updates:
        play([agent], IMAGES, carries, range(row, row + 1))
        row += 1
    assert agent.updates == updates
    return agent, carries, row


def after_updates(cls: Any, config: Any, updates: int) -> Any:
    """Return an agent directly after a number of updates on random images."""
    return played_until(cls, config, updates)[0]


def is_convolution(name: str) -> bool:
    return name.startswith("encoder.conv.")


# --- Resets -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("cls", "config"), IMAGE_CASES)
def test_a_reset_shrinks_and_perturbs_convolutions_and_replaces_all_other_weights(cls: Any, config: Any):
    """An agent without resets has the weights before the reset. Both networks get the same new weights."""
    share = config.reset_share
    new = state_of(after_updates(cls, config, 10))
    old = state_of(after_updates(cls, dataclasses.replace(config, reset_every=0), 10))
    convolutions = [name for name in new["online"] if is_convolution(name)]
    assert len(convolutions) == 6
    for name in convolutions:
        fresh = [(new[kind][name] - (1 - share) * old[kind][name]) / share for kind in ("online", "target")]
        assert torch.allclose(fresh[0], fresh[1], atol=1e-5)
        bound = 1 / math.sqrt(old["online"][name.replace("bias", "weight")][0].numel())  # PyTorch's initialisation
        assert 0.5 * bound < fresh[0].abs().max() <= bound + 1e-5
        assert not torch.allclose(fresh[0], old["online"][name], atol=1e-3)
    for name in set(new["online"]) - set(convolutions):
        assert torch.equal(new["online"][name], new["target"][name])
        if "scale" not in name:  # the scales of noise start at a constant
            assert not torch.allclose(new["online"][name], old["online"][name], atol=1e-3)
            assert new["online"][name].abs().max() < 1


def test_the_new_weights_are_those_of_initialisation_and_differ_between_resets():
    agent = after_updates(DQN, DQNConfig(**RESETS), 10)
    first = state_of(agent)["online"]
    inputs = first["encoder.hidden.0.weight"].shape[1]
    weights = first["encoder.hidden.0.weight"].flatten().numpy()
    assert np.abs(weights).max() <= 1 / math.sqrt(inputs)
    assert weights.std() == pytest.approx(1 / math.sqrt(3 * inputs), rel=0.2)
    play([agent], IMAGES, [agent.initial_carry(2)], range(100, 110))
    assert agent.updates == 20
    second = state_of(agent)["online"]
    assert not torch.allclose(first["head.weight"], second["head.weight"], atol=1e-2)


def test_networks_for_vectors_are_replaced_whole():
    config = DQNConfig(**{**RESETS, "frame_stack": 1})
    agent, loop = toy_loop(config, 2)
    while agent.updates < 10:
        loop.step()
    state = state_of(agent)
    assert agent.updates == 10
    for name, param in state["online"].items():
        assert torch.equal(param, state["target"][name])
        fan_in = state["online"][name.replace("bias", "weight")].shape[1]
        assert param.abs().max() <= 1 / math.sqrt(fan_in)


@pytest.mark.parametrize("optimizer", ["adam", "radam", "rmsprop", "centered_rmsprop"])
def test_the_optimiser_forgets_the_replaced_weights_only(optimizer: Any):
    config = DQNConfig(**RESETS, optimizer=optimizer)
    agent = after_updates(DQN, config, 10)
    plain = after_updates(DQN, dataclasses.replace(config, reset_every=0), 10)
    named = zip(agent.online_network.named_parameters(), plain.online_network.parameters(), strict=True)
    for (name, param), plain_param in named:
        state = agent.optimizer.state[param]
        plain_state = plain.optimizer.state[plain_param]
        assert state.keys() == plain_state.keys()
        for key, tensor in state.items():
            expected = plain_state[key] if is_convolution(name) else torch.zeros_like(tensor)
            assert torch.equal(tensor, expected), (name, key)
        assert any(bool(tensor.any()) for tensor in plain_state.values())


def test_the_first_step_after_a_reset_is_the_first_step_of_adam():
    """For a gradient g, Adam's first step is lr g / (|g| + eps)."""
    config = DQNConfig(**RESETS, grad_clip=0.0)
    agent = after_updates(DQN, config, 10)
    before = agent.online_network.head.weight.detach().clone()
    agent.update(agent.sample())
    weight = agent.online_network.head.weight
    gradient = weight.grad
    expected = before - 1e-2 * gradient / (gradient.abs() + config.optimizer_eps)
    assert gradient.abs().max() > 1e-3
    torch.testing.assert_close(weight.detach(), expected, rtol=1e-4, atol=1e-6)


def test_bfloat16_copies_of_weights_are_renewed_by_a_reset():
    """Image encoders on a CPU keep bfloat16 copies of their weights until the weights change."""
    agent = DQN(DQNConfig(**RESETS), IMAGES, seed=1, device=CPU, dtype=torch.bfloat16)
    obs = torch.randint(0, 256, (4, 2, 36, 36), dtype=torch.uint8)
    with torch.no_grad():
        agent.online_network.eval()(obs)
        agent.target_network(obs)
        agent.reset_networks()
        q = agent.online_network(obs)
        other = DQN(DQNConfig(**RESETS), IMAGES, seed=2, device=CPU, dtype=torch.bfloat16)
        other.online_network.load_state_dict(agent.online_network.state_dict())
        assert torch.equal(q, other.online_network.eval()(obs))


def test_buffers_keep_their_values():
    config = RainbowConfig(**{**RESETS, "frame_stack": 1}, normalize_obs=True, normalize_reward=True)
    agent, loop = toy_loop(config, 2, cls=Rainbow)
    while agent.updates < 9:
        loop.step()
    before = {name: buffer.clone() for name, buffer in agent.online_network.named_buffers()}
    agent.reset_networks()
    assert before.keys() >= {"support"}
    assert len(before) > 3
    for name, buffer in agent.online_network.named_buffers():
        assert torch.equal(buffer, before[name]), name


# --- Annealing --------------------------------------------------------------------------------------------------------

BBF: dict[str, Any] = {
    "n_step": 3,
    "n_step_start": 10,
    "gamma": 0.997,
    "gamma_start": 0.97,
    "anneal_updates": 10_000,
    "reset_every": 40_000,
}


@pytest.mark.parametrize(
    ("updates", "n", "gamma"),
    [
        (0, 10, 0.97),
        (2_500, 7, 1 - 0.03**0.75 * 0.003**0.25),  # 10 (3 / 10)^0.25 = 7.40
        (5_000, 5, 1 - math.sqrt(0.03 * 0.003)),  # sqrt(30) = 5.48
        (9_999, 3, 0.997),
        (10_000, 3, 0.997),
        (39_999, 3, 0.997),
        (40_000, 10, 0.97),
        (45_000, 5, 1 - math.sqrt(0.03 * 0.003)),
        (85_000, 5, 1 - math.sqrt(0.03 * 0.003)),
    ],
)
def test_n_falls_and_gamma_rises_exponentially_after_the_start_and_every_reset(updates: int, n: int, gamma: float):
    agent = DQN(DQNConfig(**{**SMALL, **BBF}), IMAGES, seed=0, device=CPU)
    agent.updates = updates
    assert agent.n_step == n
    assert agent.gamma == pytest.approx(gamma, abs=1e-6)
    assert agent.gauges()["n_step"] == n
    if updates:
        assert agent.value_scaling.gamma == agent.gamma


def test_without_annealing_n_and_gamma_are_constant():
    agent = DQN(DQNConfig(**RESETS, n_step=2, gamma=0.9), IMAGES, seed=0, device=CPU)
    for updates in (0, 5, 10, 15):
        agent.updates = updates
        assert (agent.n_step, agent.gamma) == (2, 0.9)
    assert "n_step" not in agent.gauges()


@pytest.mark.parametrize("priority_alpha", [0.0, 0.5])
def test_batches_have_the_returns_of_the_present_n_and_gamma(priority_alpha: float):
    """Rewards are those of the rows, so returns are sums over the list of rewards."""
    anneal = BBF | {"n_step": 2, "n_step_start": 5, "gamma_start": 0.5, "gamma": 0.9, "anneal_updates": 10}
    config = DQNConfig(**{**SMALL, **anneal, "reset_every": 14, "priority_alpha": priority_alpha, "replay_ratio": 0})
    agent, _ = trained(DQN, config, IMAGES, rows=60)
    rewards = agent.replay.storage["reward"].view(-1, 2).numpy()
    seen = set()
    for updates in range(40):
        agent.updates = updates
        batch = agent.sample()
        share = min(updates % 14, 10) / 10
        n = round(5 * (2 / 5) ** share)
        gamma = 1 - 0.5 * (0.1 / 0.5) ** share
        seen.add(n)
        for i, cell in enumerate(batch.cell.tolist()):
            row, env = divmod(cell, 2)
            expected = sum(gamma**k * float(rewards[row + k, env]) for k in range(n))
            assert float(batch.ret[i]) == pytest.approx(expected, abs=1e-5)
            assert float(batch.discount[i]) == pytest.approx(gamma**n, abs=1e-6)
            assert torch.equal(batch.next_obs[i], agent.replay.stacks(batch.cell[i : i + 1] + 2 * n)[0])
    assert seen == {5, 4, 3, 2}


# --- Resume -----------------------------------------------------------------------------------------------------------

EVERYTHING: dict[str, Any] = {
    **RESETS,
    "target_tau": 0.1,
    "weight_decay": 0.1,
    "n_step": 1,
    "n_step_start": 4,
    "gamma_start": 0.9,
    "anneal_updates": 8,
    "priority_alpha": 0.5,
}
SEQUENCES: dict[str, Any] = {**RESETS, "replay_ratio": 12, "unroll": 3, "start_state": "stored"}
AUGMENTED: dict[str, Any] = {**EVERYTHING, "augment_shift": 2, "augment_intensity": 0.05}


@pytest.mark.parametrize(
    ("cls", "config"),
    [
        pytest.param(DQN, DQNConfig(**AUGMENTED), id="dqn"),
        pytest.param(Rainbow, RainbowConfig(**AUGMENTED), id="rainbow"),
        pytest.param(Rainbow, RainbowConfig(**AUGMENTED, noisy=False), id="rainbow_without_noise"),
        pytest.param(QRDQN, QRDQNConfig(**AUGMENTED, num_quantiles=5), id="qr_dqn"),
        pytest.param(DRQN, DRQNConfig(**SEQUENCES), id="drqn"),
    ],
)
@pytest.mark.parametrize("updates", [8, 10, 13])
def test_agent_restored_around_a_reset_continues_bit_for_bit(cls: Any, config: Any, updates: int):
    """The state is taken two updates before the first reset, directly after it, and in the annealing after it."""
    agent, carries, row = played_until(cls, config, updates)
    restored = cls(config, IMAGES, seed=9, device=CPU)
    restored.load_state_dict(copy.deepcopy(agent.state_dict()))
    play([agent, restored], IMAGES, [carries[0], copy.deepcopy(carries[0])], range(row, row + 15))
    assert agent.updates == restored.updates == updates + 15
    for kind, params in state_of(agent).items():
        for name, param in params.items():
            assert torch.equal(param, state_of(restored)[kind][name]), (kind, name)
    assert torch.equal(agent.generator.get_state(), restored.generator.get_state())


def test_rainbow_with_resets_learns_the_two_armed_bandit_again_after_a_reset():
    settings = EVERYTHING | {"frame_stack": 1, "hidden": 16, "value_low": -1.0, "value_high": 2.0, "n_step_start": 2}
    config = RainbowConfig(
        **settings | {"reset_every": 250, "replay_size": 4096, "replay_ratio": 8, "weight_decay": 0.0}
    )
    agent, loop = toy_loop(config, 4, TwoArms, cls=Rainbow)
    while agent.updates < 490:
        loop.step()
    obs = torch.zeros(1, 1, 1)
    assert learned_values(agent, obs) == pytest.approx([0.0, 1.0], abs=0.3)
    while agent.updates < 501:
        loop.step()
    assert learned_values(agent, obs) != pytest.approx([0.0, 1.0], abs=0.3)
    restored, _ = toy_loop(config, 4, TwoArms, seed=9, cls=Rainbow)
    restored.load_state_dict(copy.deepcopy(agent.state_dict()))
    step_both(loop, restored, 20)
    assert learned_values(agent, obs) == learned_values(restored, obs)


def learned_values(agent: Rainbow, obs: Tensor) -> list[float]:
    output, _ = agent.policy_output(obs[:, 0], torch.tensor([True]), agent.initial_carry(1))
    return output.scores[0].tolist()


# --- Settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_step_start": 10}, "n_step_start is 10; it needs anneal_updates above 0"),
        ({"gamma_start": 0.97}, "gamma_start is 0.97; it needs anneal_updates above 0"),
        ({"anneal_updates": 10}, "anneal_updates is 10; it needs n_step_start or gamma_start above 0"),
        (
            {"anneal_updates": 10, "gamma_start": 0.9, "gamma": 1.0},
            "gamma_start is 0.9 and gamma is 1; gamma must be below 1",
        ),
    ],
)
def test_contradicting_settings_are_refused(settings: dict[str, Any], message: str):
    with pytest.raises(ConfigError) as error:
        DQN(DQNConfig(**settings), IMAGES, seed=0, device=CPU)
    assert str(error.value) == message


def test_drqn_refuses_annealing():
    with pytest.raises(ConfigError, match="anneal_updates is 10; with drqn it must be 0"):
        DRQN(DRQNConfig(anneal_updates=10, gamma_start=0.9), IMAGES, seed=0, device=CPU)


def test_cuda_graphs_refuse_annealing():
    agent = DQN(DQNConfig(**{**SMALL, **BBF}), IMAGES, seed=0, device=CPU)
    with pytest.raises(ConfigError, match="set cuda_graphs to false or anneal_updates to 0"):
        agent.capture_graphs(lambda function: function)
