"""Tests of normalised observations: statistics of all rows, in every network that plays."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from identical import assert_equal_tensors
from loops import CPU, toy_loop
from numpy.typing import NDArray
from toy_envs import ContinuousSteps, NumberedSteps

from agents.configs.dqn import DQNConfig, DRQNConfig, QRDQNConfig, RainbowConfig
from agents.configs.ppo import RecurrentPPOConfig
from agents.configs.reinforce import ReinforceConfig
from agents.configs.sac import SACConfig
from agents.configs.shared import NetworkConfig
from agents.configs.td3 import TD3Config
from agents.core.settings import ConfigError
from agents.core.types import EnvSpaces
from agents.dqn import DQN
from agents.drqn import DRQN
from agents.dueling_double_dqn import DuelingDoubleDQN
from agents.memory.ring import Ring
from agents.memory.rollout import RolloutBatch
from agents.nn.encoders import MLP, build_encoder
from agents.nn.normalization import ObservationNormalization, find_normalization
from agents.qr_dqn import QRDQN
from agents.rainbow import Rainbow
from agents.recurrent_ppo import RecurrentPPO
from agents.reinforce import Reinforce
from agents.sac import SAC
from agents.td3 import TD3
from rl_lab import checkpoint

VECTOR = EnvSpaces((3,), torch.float32, 2, 3)
IMAGE = EnvSpaces((84, 84), torch.uint8, 2, 3)
ON = NetworkConfig(frame_stack=2, hidden=5, normalize_obs=True)

VALUE_SETTINGS = {"hidden": 8, "learning_starts": 20, "replay_size": 400, "target_every": 5, "normalize_obs": True}
VALUE_AGENTS = [
    pytest.param(DQN, DQNConfig(**VALUE_SETTINGS), id="dqn"),
    pytest.param(DQN, DQNConfig(**VALUE_SETTINGS, frame_stack=3), id="dqn with stacks"),
    pytest.param(DQN, DQNConfig(**VALUE_SETTINGS, target_tau=0.1), id="dqn with tau"),
    pytest.param(DuelingDoubleDQN, DuelingDoubleDQN.config_class(**VALUE_SETTINGS), id="dueling_double_dqn"),
    pytest.param(Rainbow, RainbowConfig(**VALUE_SETTINGS), id="rainbow"),
    pytest.param(QRDQN, QRDQNConfig(**VALUE_SETTINGS, num_quantiles=5), id="qr_dqn"),
    pytest.param(DRQN, DRQNConfig(**VALUE_SETTINGS, unroll=4), id="drqn"),
]
CONTINUOUS_SETTINGS: dict[str, Any] = {
    "hidden": 8,
    "learning_starts": 20,
    "replay_size": 400,
    "batch_size": 16,
    "replay_ratio": 16,
    "normalize_obs": True,
}
REINFORCE = ReinforceConfig(hidden=8, batch_size=48, lr=0.01, normalize_obs=True)
RECURRENT_PPO = RecurrentPPOConfig(hidden=8, batch_size=48, minibatch_size=16, unroll=5, normalize_obs=True)
AGENTS = [
    *VALUE_AGENTS,
    pytest.param(Reinforce, REINFORCE, id="reinforce"),
    pytest.param(RecurrentPPO, RECURRENT_PPO, id="recurrent_ppo"),
    pytest.param(SAC, SACConfig(**CONTINUOUS_SETTINGS), id="sac"),
    pytest.param(TD3, TD3Config(**CONTINUOUS_SETTINGS), id="td3"),
]


def normalized(obs: NDArray[np.float32], samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return observations [..., D], normalised by the mean and the deviation of samples [n, D]."""
    return ((obs - samples.mean(0)) / np.sqrt(samples.var(0) + 1e-8)).clip(-10, 10)


def record_observations(agent: Any) -> list[NDArray[np.float32]]:
    """Return a list to which every observed row adds its observations [N, D]."""
    rows: list[NDArray[np.float32]] = []
    observe = agent.observe

    def recording_observe(step: Any) -> Any:
        rows.append(step.obs.numpy().copy())
        return observe(step)

    agent.observe = recording_observe
    return rows


def normalization_of(network: torch.nn.Module) -> ObservationNormalization:
    """Return the layer of a network that normalises the observations."""
    normalization = find_normalization(network)
    assert normalization is not None
    return normalization


def assert_statistics(network: torch.nn.Module, samples: NDArray[np.float64]) -> None:
    """Check that a network normalises by the mean and the variance of samples [n, D]."""
    normalization = normalization_of(network)
    assert float(normalization.count) == len(samples)
    assert normalization.mean.numpy() == pytest.approx(samples.mean(0), rel=1e-9)
    assert normalization.variance.numpy() == pytest.approx(samples.var(0), rel=1e-9, abs=1e-12)


def test_encoder_normalises_every_observation_of_a_stack():
    rng = np.random.default_rng(0)
    samples = rng.normal((5, -300, 0.01), (1, 20, 0.001), size=(500, 3)).astype(np.float32)
    obs = rng.normal((5, -300, 0.01), (3, 200, 0.001), size=(40, 2, 3)).astype(np.float32)
    encoder, plain = build_encoder(VECTOR, ON), build_encoder(VECTOR, dataclasses.replace(ON, normalize_obs=False))
    assert isinstance(encoder, MLP)
    plain.load_state_dict(encoder.state_dict(), strict=False)
    normalization_of(encoder).update(torch.from_numpy(samples))
    expected = normalized(obs, samples.astype(np.float64))
    assert (np.abs(expected) == 10).any()
    with torch.no_grad():
        features = encoder(torch.from_numpy(obs))
        expected_features = plain(torch.from_numpy(expected.astype(np.float32)))
    assert features.dtype == torch.float32
    assert features.numpy() == pytest.approx(expected_features.numpy(), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("training", [True, False])
def test_forward_changes_no_statistics(training: bool):
    encoder = build_encoder(VECTOR, ON).train(training)
    encoder(torch.ones(4, 2, 3))
    assert float(normalization_of(encoder).count) == 0


def test_a_network_without_the_setting_has_no_statistics():
    network = DQN(DQNConfig(hidden=4), VECTOR, seed=1, device=CPU).network
    assert find_normalization(network) is None
    assert not list(network.buffers())


@pytest.mark.parametrize(
    ("cls", "config"),
    [
        (DQN, DQNConfig(normalize_obs=True)),
        (DRQN, DRQNConfig(normalize_obs=True)),
        (Reinforce, ReinforceConfig(normalize_obs=True)),
        (Reinforce, ReinforceConfig(normalize_obs=True, convolutions=False, frame_stack=2)),
    ],
)
def test_images_cannot_be_normalised(cls: Any, config: Any):
    with pytest.raises(ConfigError, match="normalize_obs is true; only vector observations can be normalised"):
        cls(config, IMAGE, seed=1, device=CPU)


@pytest.mark.parametrize(("cls", "config"), VALUE_AGENTS)
def test_value_agent_counts_every_row_once(cls: Any, config: Any):
    """The target network has the statistics of its last copy, or with Polyak averaging those of the last update."""
    agent, loop = toy_loop(config, 3, cls=cls)
    rows = record_observations(agent)
    copied_rows = 0
    for _ in range(60):
        updates = agent.updates
        loop.step()
        samples = np.concatenate(rows).astype(np.float64) if rows else None
        if samples is None:
            continue
        assert_statistics(agent.online_network, samples)
        copy_every = 1 if config.target_tau else config.target_every
        if agent.updates // copy_every > updates // copy_every:
            copied_rows = len(samples)
        if copied_rows:
            assert_statistics(agent.target_network, samples[:copied_rows])
    assert copied_rows > 0


@pytest.mark.parametrize(("cls", "config"), AGENTS)
def test_a_viewer_normalises_by_the_statistics_of_training(cls: Any, config: Any):
    env = NumberedSteps if cls.abilities.discrete_actions else ContinuousSteps
    agent, loop = toy_loop(config, 3, env, cls=cls)
    for _ in range(60):
        loop.step()
    viewer, _ = toy_loop(config, 1, env, cls=cls, seed=2)
    viewer.start_from(agent.network.state_dict())
    assert float(normalization_of(viewer.network).count) > 0
    obs, is_first = torch.tensor([[3.0, 8.0, 2.0]]), torch.tensor([True])
    with torch.no_grad():
        expected, _ = agent.policy_output(obs, is_first, agent.initial_carry(1))
        output, _ = viewer.policy_output(obs, is_first, viewer.initial_carry(1))
        normalization_of(viewer.network).mean.zero_()
        changed, _ = viewer.policy_output(obs, is_first, viewer.initial_carry(1))
    assert torch.equal(output.scores, expected.scores)
    assert not torch.equal(changed.scores, expected.scores)


def test_policy_gradient_learns_a_batch_with_the_statistics_that_played_it(monkeypatch: pytest.MonkeyPatch):
    """In the first update of a batch, the ratio is 1 in all rows but those played before the last update."""
    agent, loop = toy_loop(REINFORCE, 3, cls=Reinforce)
    learn, update = agent.learn, agent.update
    batches: list[RolloutBatch] = []
    ratios: list[NDArray[np.float32]] = []  # of each batch, in its first update

    def recording_learn(batch: RolloutBatch) -> Any:
        batches.append(batch)
        return learn(batch)

    def recording_update(minibatch: RolloutBatch) -> Any:
        if len(ratios) < len(batches):
            batch = batches[-1]
            with torch.no_grad():
                log_pi, _ = agent.network(batch.obs)
            log_ratio = log_pi.gather(1, batch.action[:, None]).squeeze(1) - batch.log_prob
            ratios.append(log_ratio.exp().numpy())
        return update(minibatch)

    monkeypatch.setattr(agent, "learn", recording_learn)
    monkeypatch.setattr(agent, "update", recording_update)
    while len(ratios) < 6:
        loop.step()
        if batches:
            obs = np.concatenate([batch.obs[:, -1].double().numpy() for batch in batches])
            assert_statistics(agent.network, obs)
    assert ratios[0] == pytest.approx(np.ones(len(ratios[0])), abs=1e-6)
    for ratio in ratios[1:]:
        # Two rows were played before the last update: the newest row of the last batch, and the row after it, because
        # the environments step while the agent learns. Their at most 6 agent steps come first.
        assert ratio[6:] == pytest.approx(np.ones(len(ratio) - 6), abs=1e-6)
        assert not np.allclose(ratio[:6], 1, atol=1e-6)


@pytest.mark.parametrize(("cls", "config"), AGENTS)
def test_resumed_agent_equals_an_uninterrupted_one(cls: Any, config: Any):
    """Two loops over deterministic environments, one of whose agents is replaced by a restored one in the middle."""
    config = dataclasses.replace(config, normalize_reward=True, reward_scale=0.5)
    env = NumberedSteps if cls.abilities.discrete_actions else ContinuousSteps
    agent, loop = toy_loop(config, 3, env, cls=cls)
    for _ in range(41):
        loop.step()
    state = copy.deepcopy(agent.state_dict())
    restored, other_loop = toy_loop(config, 3, env, cls=cls, seed=7)
    restored.load_state_dict(state)
    other_loop.restore(copy.deepcopy(loop.state_dict()), 1)
    for _ in range(40):
        loop.step()
        other_loop.step()
    expected = tensors_of(agent.state_dict())
    assert any(name.endswith("encoder.normalization.mean") for name in expected)
    assert "reward_scaling/discounted_return" in expected
    assert_equal_tensors(expected, tensors_of(restored.state_dict()))


def tensors_of(state: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Return the tensors and numbers of nested state, and the fields of its ring buffers, by name."""
    tensors: dict[str, torch.Tensor] = {}
    for name, value in checkpoint.flatten(state).items():
        if isinstance(value, Ring):
            tensors |= {f"{name}/{field}": rows for field, rows in value.fields.items()}
        else:
            tensors[name] = torch.as_tensor(value)
    return tensors
