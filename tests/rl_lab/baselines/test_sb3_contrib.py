"""Tests of SB3-Contrib's agents: their outputs compared with plain NumPy, and their settings."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from agents.core.types import EnvSpaces
from rl_lab.baselines.sb3_agents import SB3PPO
from rl_lab.baselines.sb3_config import SB3QRDQNConfig, SB3RecurrentPPOConfig
from rl_lab.baselines.sb3_contrib_agents import SB3QRDQN, SB3RecurrentPPO

CPU = torch.device("cpu")
SPACES = EnvSpaces((3,), torch.float32, 4, 2)
RECURRENT: dict[str, Any] = {"hidden": 5, "lstm_hidden_size": 6, "n_steps": 8, "batch_size": 16}

Array = NDArray[np.float64]


def recurrent_agent(**settings: Any) -> SB3RecurrentPPO:
    """Return an untrained agent of recurrent PPO for vectors of three numbers and four actions."""
    return SB3RecurrentPPO(SB3RecurrentPPOConfig(**RECURRENT | settings), SPACES, seed=0, device=CPU)


def weights_of(agent: Any) -> dict[str, Array]:
    """Return the weights of the network by name."""
    return {name: tensor.double().numpy() for name, tensor in agent.network.state_dict().items()}


def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + exp(-x))."""
    return 1 / (1 + np.exp(-x))


def lstm_step(weights: dict[str, Array], name: str, x: Array, hidden: Array, cell: Array) -> tuple[Array, Array]:
    """Return the hidden state and the cell state after one input: the equations in PyTorch's documentation of LSTM."""
    sums = weights[f"{name}.weight_ih_l0"] @ x + weights[f"{name}.bias_ih_l0"]
    sums = sums + weights[f"{name}.weight_hh_l0"] @ hidden + weights[f"{name}.bias_hh_l0"]
    i, f, g, o = np.split(sums, 4)
    cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(cell), cell


def naive_outputs(
    weights: dict[str, Array], obs: Array, is_first: NDArray[np.bool_]
) -> list[tuple[Array, float, float]]:
    """Return pi(. | s), V(s) and the norm of the policy's hidden state for the rows of one environment."""
    outputs = []
    states = {name: (np.zeros(6), np.zeros(6)) for name in ("lstm_actor", "lstm_critic")}
    for x, starts in zip(obs, is_first, strict=True):
        heads = []
        for name, net, head in (
            ("lstm_actor", "policy_net", "action_net"),
            ("lstm_critic", "value_net", "value_net"),
        ):
            hidden, cell = (np.zeros(6), np.zeros(6)) if starts else states[name]
            if f"{name}.weight_ih_l0" in weights:
                states[name] = lstm_step(weights, name, x, hidden, cell)
                features = states[name][0]
            else:  # the values without an LSTM
                features = weights["critic.weight"] @ x + weights["critic.bias"]
            layer = f"mlp_extractor.{net}.0"
            features = np.maximum(weights[f"{layer}.weight"] @ features + weights[f"{layer}.bias"], 0)
            heads.append(weights[f"{head}.weight"] @ features + weights[f"{head}.bias"])
        logits, value = heads
        probs = np.exp(logits) / np.exp(logits).sum()
        outputs.append((probs, float(value[0]), float(np.linalg.norm(states["lstm_actor"][0]))))
    return outputs


@pytest.mark.parametrize("enable_critic_lstm", [True, False])
def test_recurrent_ppo_carries_its_states_and_resets_them_where_an_episode_begins(enable_critic_lstm):
    agent = recurrent_agent(enable_critic_lstm=enable_critic_lstm, hidden_layers=1, activation="relu")
    rng = np.random.default_rng(0)
    num_rows, num_envs = 12, 3
    with torch.no_grad():  # larger weights, so that the states and the actions differ
        for param in agent.network.parameters():
            param.copy_(torch.as_tensor(rng.normal(0, 1, param.shape)))
    obs = rng.normal(0, 1, (num_rows, num_envs, 3))
    is_first = rng.random((num_rows, num_envs)) < 0.2
    is_first[0] = True
    expected = [naive_outputs(weights_of(agent), obs[:, env], is_first[:, env]) for env in range(num_envs)]
    carry = acting_carry = agent.initial_carry(num_envs)
    for row in range(num_rows):
        arguments = (torch.as_tensor(obs[row], dtype=torch.float32), torch.as_tensor(is_first[row]))
        action, acting_carry = agent.act(*arguments, acting_carry, explore=False)
        with torch.no_grad():
            output, carry = agent.policy_output(*arguments, carry)
        assert output.state_norm is not None
        for env in range(num_envs):
            probs, value, norm = expected[env][row]
            assert output.scores[env].tolist() == pytest.approx(probs.tolist(), abs=1e-4)
            assert float(output.value[env]) == pytest.approx(value, abs=1e-4)
            assert float(output.state_norm[env]) == pytest.approx(norm, abs=1e-4)
            assert int(output.action[env]) == int(action[env]) == probs.argmax()
        for tensor, acting_tensor in zip(carry, acting_carry, strict=True):
            torch.testing.assert_close(tensor, acting_tensor)


def test_recurrent_ppo_explores_with_the_probabilities_of_its_policy():
    agent = recurrent_agent()
    n = 4000
    obs = torch.ones(n, 3)
    is_first = torch.ones(n, dtype=torch.bool)
    action, _ = agent.act(obs, is_first, agent.initial_carry(n), explore=True)
    output, _ = agent.policy_output(obs, is_first, agent.initial_carry(n))
    shares = np.bincount(action.numpy(), minlength=4) / n
    assert shares.tolist() == pytest.approx(output.scores[0].tolist(), abs=0.04)  # five standard errors


@pytest.mark.parametrize("agent_class", [SB3PPO, SB3RecurrentPPO])
@pytest.mark.parametrize("parts", [(4,), (2, 2), (2, 1, 2)])
def test_policies_show_the_probabilities_of_each_part_of_an_action(parts, agent_class):
    """The oracle adds the probabilities of the combinations, from an agent for which they are single actions."""
    settings = {name: value for name, value in RECURRENT.items() if hasattr(agent_class.config_class, name)}
    obs = torch.randn(3, 3, generator=torch.Generator().manual_seed(0))
    outputs = []
    for action_parts in ((), parts):
        spaces = dataclasses.replace(SPACES, action_parts=action_parts)
        agent = agent_class(agent_class.config_class(**settings), spaces, seed=0, device=CPU)
        output, _ = agent.policy_output(obs, torch.ones(3, dtype=torch.bool), agent.initial_carry(3))
        outputs.append(output)
    whole, by_part = outputs
    assert torch.equal(by_part.action, whole.action)
    for probs, scores in zip(whole.scores.tolist(), by_part.scores.tolist(), strict=True):
        expected = [[0.0] * size for size in parts]
        combinations = itertools.product(*(range(size) for size in parts))
        for combination, probability in zip(combinations, probs, strict=True):
            for part, action in enumerate(combination):
                expected[part][action] += probability
        assert scores == pytest.approx([probability for part in expected for probability in part], abs=1e-6)


@pytest.mark.parametrize("spaces", [SPACES, EnvSpaces((84, 84), torch.uint8, 4, 2)], ids=["vectors", "images"])
def test_bytes_of_the_recurrent_rollout_are_those_of_its_arrays(spaces):
    config = SB3RecurrentPPOConfig(**RECURRENT, frame_stack=4)
    buffer: Any = SB3RecurrentPPO(config, spaces, seed=0, device=CPU).model
    buffer = buffer.rollout_buffer
    buffer.reset()
    names = ("observations", "hidden_states_pi", "cell_states_pi", "hidden_states_vf", "cell_states_vf")
    assert SB3RecurrentPPO.bytes_needed(config, spaces) == sum(getattr(buffer, name).nbytes for name in names)


def test_qrdqn_values_are_the_means_of_its_quantiles():
    agent = SB3QRDQN(SB3QRDQNConfig(hidden=5, n_quantiles=7, buffer_size=100), SPACES, seed=0, device=CPU)
    weights = weights_of(agent)
    obs = np.random.default_rng(0).normal(0, 1, (6, 3))
    features = obs
    for layer in (0, 2):
        name = f"quantile_net.quantile_net.{layer}"
        features = np.maximum(features @ weights[f"{name}.weight"].T + weights[f"{name}.bias"], 0)
    name = "quantile_net.quantile_net.4"
    outputs = features @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]  # quantile 0 of each action first
    is_first = torch.ones(6, dtype=torch.bool)
    with torch.no_grad():
        output, _ = agent.policy_output(torch.as_tensor(obs, dtype=torch.float32), is_first, agent.initial_carry(6))
    for row in range(6):
        q = [sum(outputs[row][4 * quantile + action] for quantile in range(7)) / 7 for action in range(4)]
        assert output.scores[row].tolist() == pytest.approx(q, abs=1e-5)
        assert float(output.value[row]) == pytest.approx(max(q), abs=1e-5)


@pytest.mark.parametrize(("limit", "expected"), [(0.0, None), (3.0, 3.0)])
def test_qrdqn_without_gradient_clipping_is_the_default_of_the_package(limit, expected):
    config = SB3QRDQNConfig(max_grad_norm=limit, buffer_size=100)
    model: Any = SB3QRDQN(config, SPACES, seed=0, device=CPU).model
    assert model.max_grad_norm == expected
    assert model.n_quantiles == 200


def test_memory_of_many_quantiles_is_refused_with_the_setting_to_lower():
    config = SB3QRDQNConfig(n_quantiles=10**6, buffer_size=100)
    largest = max(SB3QRDQN.memory_needs(config, SPACES), key=lambda need: need.bytes)
    assert largest.bytes > 10**14
    assert largest.advice == "lower batch_size or n_quantiles"
    recurrent = SB3RecurrentPPOConfig(lstm_hidden_size=10**7)
    largest = max(SB3RecurrentPPO.memory_needs(recurrent, SPACES), key=lambda need: need.bytes)
    assert largest.advice == "lower hidden, lstm_hidden_size or frame_stack"
