"""Tests of Stable-Baselines3's agents with continuous actions: their outputs compared with plain NumPy, and runs."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.wrappers import RescaleAction
from numpy.typing import NDArray
from sb3_contrib import RecurrentPPO
from stable_baselines3 import A2C, PPO, SAC, TD3
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from agents.core.settings import ConfigError
from agents.core.types import EnvSpaces
from envs.make import make_stream, resolve
from envs.stream import spread_seeds
from rl_lab import api
from rl_lab.analysis.feature_maps import receptive_field, record_feature_maps
from rl_lab.analysis.saliency import grad_cam
from rl_lab.baselines.sb3_actor_critics import SB3SAC, SB3TD3
from rl_lab.baselines.sb3_agents import SB3PPO
from rl_lab.baselines.sb3_config import SB3PPOConfig, SB3RecurrentPPOConfig, SB3SACConfig, SB3TD3Config
from rl_lab.baselines.sb3_contrib_agents import SB3RecurrentPPO
from rl_lab.baselines.sb3_envs import StreamVecEnv
from rl_lab.errors import LabError
from rl_lab.watch.player import Player
from rl_lab.watch.rendered_env import RenderedEnv

CPU = torch.device("cpu")
SPACES = EnvSpaces((3,), torch.float32, 0, 2, action_dim=2)
SHORT: dict[str, dict[str, Any]] = {
    "sb3_sac": {"learning_starts": 250, "steps": 300},
    "sb3_td3": {"learning_starts": 250, "steps": 300},
    "sb3_ppo": {"n_steps": 128, "n_epochs": 1},
    "sb3_a2c": {"normalize": False},
    "sb3_recurrent_ppo": {"n_steps": 64, "n_epochs": 1, "normalize": False},
}
ALGORITHMS: dict[str, Any] = {
    "sb3_sac": SAC,
    "sb3_td3": TD3,
    "sb3_ppo": PPO,
    "sb3_a2c": A2C,
    "sb3_recurrent_ppo": RecurrentPPO,
}

Array = NDArray[np.float64]


def weights_of(agent: Any) -> dict[str, Array]:
    """Return the weights of the network by name."""
    return {name: tensor.double().numpy() for name, tensor in agent.network.state_dict().items()}


def linear(weights: dict[str, Array], name: str, x: Array) -> Array:
    """Return the outputs of a linear layer for inputs [N, entries]."""
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def relu_layers(weights: dict[str, Array], name: str, x: Array) -> Array:
    """Return the outputs of two hidden layers with ReLU."""
    for layer in (0, 2):
        x = np.maximum(linear(weights, f"{name}.{layer}", x), 0)
    return x


def smaller_q(weights: dict[str, Array], obs: Array, action: Array) -> Array:
    """Return the smaller of the values of both critics, [N]."""
    x = np.concatenate([obs, action], 1)
    values = [linear(weights, f"critic.qf{i}.4", relu_layers(weights, f"critic.qf{i}", x))[:, 0] for i in (0, 1)]
    return np.minimum(*values)


def random_weights(agent: Any, seed: int = 0) -> None:
    """Draw the weights from a normal distribution, so that outputs differ between states."""
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for parameter in agent.network.parameters():
            parameter.copy_(torch.as_tensor(rng.normal(0, 0.6, parameter.shape)))


def outputs_of(agent: Any, obs: Array) -> tuple[Any, torch.Tensor]:
    """Return the policy output and the actions without exploration for observations [N, 3]."""
    n = len(obs)
    arguments = (torch.as_tensor(obs, dtype=torch.float32), torch.ones(n, dtype=torch.bool), agent.initial_carry(n))
    action, _ = agent.act(*arguments, explore=False)
    with torch.no_grad():
        output, _ = agent.policy_output(*arguments)
    return output, action


def explored_actions(agent: Any, n: int) -> Array:
    """Return exploring actions [n, 2] of one state, each drawn by another call for agents with gSDE."""
    obs = torch.ones(n, 3)
    is_first = torch.ones(n, dtype=torch.bool)
    action, _ = agent.act(obs, is_first, agent.initial_carry(n), explore=True)
    return action.double().numpy()


def small_sac(**settings: Any) -> SB3SAC:
    """Return an agent of SAC with random weights and layers of 5 and 4 units."""
    agent = SB3SAC(SB3SACConfig(hidden=5, second_hidden=4, buffer_size=50, **settings), SPACES, seed=0, device=CPU)
    random_weights(agent)
    return agent


def small_ppo(**settings: Any) -> SB3PPO:
    """Return an agent of PPO with random weights and layers of 5 units."""
    agent = SB3PPO(SB3PPOConfig(hidden=5, n_steps=8, batch_size=8, **settings), SPACES, seed=0, device=CPU)
    random_weights(agent)
    return agent


@pytest.mark.parametrize("use_sde", [False, True])
def test_sac_returns_squashed_means_with_their_deviations_and_the_smaller_value(use_sde):
    agent = small_sac(use_sde=use_sde)
    weights = weights_of(agent)
    obs = np.random.default_rng(1).normal(0, 1, (6, 3))
    latent = relu_layers(weights, "actor.latent_pi", obs)
    if use_sde:  # the noise is latent^T theta with theta ~ N(0, sigma^2), and mu is clipped to [-2, 2]
        mean = linear(weights, "actor.mu.0", latent).clip(-2, 2)
        std = np.sqrt(latent**2 @ np.exp(weights["actor.log_std"]) ** 2 + 1e-6)
    else:
        mean = linear(weights, "actor.mu", latent)
        std = np.exp(linear(weights, "actor.log_std", latent).clip(-20, 2))
    output, action = outputs_of(agent, obs)
    np.testing.assert_allclose(action, np.tanh(mean), atol=1e-5)
    np.testing.assert_allclose(output.action, np.tanh(mean), atol=1e-5)
    np.testing.assert_allclose(output.scores, np.tanh(mean), atol=1e-5)
    np.testing.assert_allclose(output.action_std, std / np.cosh(mean) ** 2, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(output.value, smaller_q(weights, obs, np.tanh(mean)), atol=1e-4)
    assert output.is_policy


def test_td3_returns_the_actions_of_the_actor_and_the_smaller_value():
    settings = SB3TD3Config(hidden=5, second_hidden=4, buffer_size=50, noise_std=0.2)
    agent = SB3TD3(settings, SPACES, seed=0, device=CPU)
    random_weights(agent)
    weights = weights_of(agent)
    obs = np.random.default_rng(1).normal(0, 1, (6, 3))
    expected = np.tanh(linear(weights, "actor.mu.4", relu_layers(weights, "actor.mu", obs)))
    output, action = outputs_of(agent, obs)
    np.testing.assert_allclose(action, expected, atol=1e-5)
    np.testing.assert_allclose(output.action, expected, atol=1e-5)
    np.testing.assert_allclose(output.value, smaller_q(weights, obs, expected), atol=1e-4)
    assert output.action_std is None


def test_td3_explores_with_clipped_gaussian_noise():
    agent = SB3TD3(SB3TD3Config(hidden=5, second_hidden=4, noise_std=0.2), SPACES, seed=0, device=CPU)
    with torch.no_grad():  # actions of 0
        for parameter in agent.network.parameters():
            parameter.zero_()
    actions = explored_actions(agent, 4000)
    assert actions.std(0).tolist() == pytest.approx([0.2, 0.2], rel=0.06)  # five standard errors
    assert (actions[:, 0] * actions[:, 1]).mean() == pytest.approx(0, abs=0.0032)
    model: Any = agent.model
    noise = np.stack([model.action_noise() for _ in range(4000)])
    assert noise.std(0).tolist() == pytest.approx([0.2, 0.2], rel=0.06)
    with torch.no_grad():
        agent.network.get_parameter("actor.mu.4.bias").fill_(9)  # actions of 1
    assert explored_actions(agent, 100).max() == 1


@pytest.mark.parametrize("use_sde", [False, True])
def test_ppo_returns_means_and_deviations_and_clips_its_actions(use_sde):
    agent = small_ppo(use_sde=use_sde, activation="relu")
    weights = weights_of(agent)
    obs = np.random.default_rng(1).normal(0, 1, (20, 3))
    latent = relu_layers(weights, "mlp_extractor.policy_net", obs)
    mean = linear(weights, "action_net", latent)
    sigma = np.exp(weights["log_std"])  # with gSDE, one for each weight of the noise
    std = np.sqrt(latent**2 @ sigma**2 + 1e-6) if use_sde else np.broadcast_to(sigma, mean.shape)
    value = linear(weights, "value_net", relu_layers(weights, "mlp_extractor.value_net", obs))[:, 0]
    output, action = outputs_of(agent, obs)
    assert np.abs(mean).max() > 1
    np.testing.assert_allclose(action, mean.clip(-1, 1), atol=1e-5)
    np.testing.assert_allclose(output.action, mean.clip(-1, 1), atol=1e-5)
    np.testing.assert_allclose(output.scores, mean, atol=1e-4)
    np.testing.assert_allclose(output.action_std, std, rtol=1e-3)
    np.testing.assert_allclose(output.value, value, atol=1e-4)


@pytest.mark.parametrize("use_sde", [False, True])
@pytest.mark.parametrize("kind", ["sac", "ppo", "recurrent"])
def test_exploring_actions_have_the_deviation_of_the_policy(kind, use_sde):
    """Small deviations, so that tanh is almost linear and clipping does not count."""
    settings: Any = SB3RecurrentPPOConfig(hidden=5, lstm_hidden_size=4, n_steps=8, use_sde=use_sde, log_std_init=-4.0)
    agent: Any = SB3RecurrentPPO(settings, SPACES, seed=0, device=CPU)
    if kind == "sac":
        agent = small_sac(use_sde=use_sde)
    elif kind == "ppo":
        agent = small_ppo(use_sde=use_sde)
    with torch.no_grad():
        for name, parameter in agent.network.named_parameters():
            if "log_std" in name and not name.endswith("weight"):
                parameter.fill_(-4)
            elif "log_std" in name or "action_net" in name:
                parameter.zero_()
    actions = explored_actions(agent, 4000)
    output, action = outputs_of(agent, np.ones((1, 3)))
    assert output.action_std[0].min() > 0.001
    assert actions.std(0).tolist() == pytest.approx(output.action_std[0].tolist(), rel=0.07)
    assert actions.mean(0).tolist() == pytest.approx(action[0].tolist(), abs=0.01)


def test_recurrent_ppo_clips_its_actions():
    agent = SB3RecurrentPPO(SB3RecurrentPPOConfig(hidden=5, lstm_hidden_size=4, n_steps=8), SPACES, seed=0, device=CPU)
    random_weights(agent)
    with torch.no_grad():
        agent.network.get_parameter("action_net.bias").copy_(torch.tensor([3.0, -3.0]))
        agent.network.get_parameter("action_net.weight").zero_()
    output, action = outputs_of(agent, np.ones((4, 3)))
    assert action.tolist() == output.action.tolist() == [[1, -1]] * 4
    assert output.scores.tolist() == [[3, -3]] * 4
    assert output.state_norm.shape == (4,)


def test_gsde_is_refused_for_discrete_actions():
    spaces = EnvSpaces((3,), torch.float32, 4, 2)
    with pytest.raises(ConfigError, match="use_sde is true; it needs continuous actions"):
        SB3PPO(SB3PPOConfig(use_sde=True), spaces, seed=0, device=CPU)


@pytest.mark.parametrize("learned", [True, False])
def test_weight_of_the_entropy_is_learned_or_fixed(learned):
    model: Any = small_sac(ent_coef=0.25, learn_ent_coef=learned).model
    weight = model.log_ent_coef.detach().exp() if learned else model.ent_coef_tensor
    assert float(weight) == pytest.approx(0.25)
    assert (model.ent_coef_optimizer is not None) == learned
    assert model.target_entropy == -2


def test_bytes_of_the_buffers_are_those_of_their_arrays():
    settings = SB3SACConfig(frame_stack=3, buffer_size=60)
    model: Any = SB3SAC(settings, SPACES, seed=0, device=CPU).model
    buffer = model.replay_buffer
    arrays = (buffer.observations, buffer.next_observations, buffer.actions)
    assert SB3SAC.bytes_needed(settings, SPACES) == sum(array.nbytes for array in arrays)
    ppo_settings = SB3PPOConfig(n_steps=8, batch_size=8, frame_stack=3)
    model = SB3PPO(ppo_settings, SPACES, seed=0, device=CPU).model
    model.rollout_buffer.reset()
    names = ("observations", "actions")
    assert SB3PPO.bytes_needed(ppo_settings, SPACES) == sum(
        getattr(model.rollout_buffer, name).nbytes for name in names
    )


def test_feature_maps_of_images_are_those_of_the_critics():
    """The value that Grad-CAM explains is that of the critics. The actor has an encoder of its own."""
    spaces = EnvSpaces((84, 84), torch.uint8, 0, 1, action_dim=2)
    agent = SB3SAC(SB3SACConfig(frame_stack=4, buffer_size=8), spaces, seed=0, device=CPU)
    obs = torch.zeros(1, 84, 84, dtype=torch.uint8)
    obs[:, 30:40, 50:60] = 200
    arguments = (obs, torch.zeros(1, dtype=torch.bool), (obs[:, None].expand(1, 3, 84, 84),))
    _, convolutions, maps = record_feature_maps(agent, *arguments)
    assert receptive_field(convolutions) == (36, 8, 17.5)
    assert len(maps) == 3
    assert convolutions[0] is agent.critic_network.get_submodule("features_extractor.cnn.0")
    assert grad_cam(agent, *arguments).shape == (84, 84)


@pytest.mark.parametrize("stack", [1, 3])
def test_counted_weights_are_those_of_the_layers(stack):
    settings = SB3TD3Config(hidden=7, second_hidden=5, frame_stack=stack, buffer_size=50)
    agent = SB3TD3(settings, SPACES, seed=0, device=CPU)
    named = agent.network.named_parameters()
    matrices = [p for name, p in named if name.endswith("weight") and "_target" not in name]
    assert SB3TD3.count_weights(settings, SPACES) == sum(matrix.numel() for matrix in matrices)
    huge = SB3TD3Config(second_hidden=10**9)
    largest = max(SB3TD3.memory_needs(huge, SPACES), key=lambda need: need.bytes)
    assert largest.advice == "lower hidden, second_hidden or frame_stack"


def test_environments_receive_the_actions_scaled_to_their_box():
    env = StreamVecEnv([make_stream(resolve("Pendulum-v1"), 1) for _ in range(2)], frame_stack=1, reward_clip=0, seed=3)
    obs: Any = env.reset()
    rng = np.random.default_rng(0)
    num_ends = 0
    for _ in range(405):
        action = rng.uniform(-1.5, 1.5, (2, 1)).astype(np.float32)
        angle = np.arctan2(obs[:, 1], obs[:, 0])
        torque = 2 * action[:, 0].clip(-1, 1)
        cost = angle**2 + 0.1 * obs[:, 2] ** 2 + 0.001 * torque**2  # the documentation of Pendulum-v1
        obs, reward, done, infos = env.step(action)
        np.testing.assert_allclose(reward, -cost, rtol=1e-4, atol=1e-5)
        for i in np.flatnonzero(done):
            num_ends += 1
            assert infos[i]["TimeLimit.truncated"]
            assert infos[i]["terminal_observation"].tolist() != obs[i].tolist()
    assert num_ends == 4
    env.close()


@pytest.mark.parametrize("agent", SHORT)
def test_evaluation_equals_evaluate_policy(agent, train):
    settings = {"steps": 600, "eval_every": 0, "eval_episodes": 1, "log_every": 100, "num_envs": 1, **SHORT[agent]}
    run = train(agent, env="Pendulum-v1", **settings)
    names = {name for line in run.metrics() for name in line}
    assert any(name.endswith("policy_loss") for name in names)
    ours = api.evaluate(run, episodes=2, epsilon=0.0, seed=5)
    model = ALGORITHMS[agent].load(run.path / "checkpoints" / "sb3.zip")
    model.policy.load_state_dict(api.load_agent(run).network.state_dict())
    theirs: list[Any] = []
    low, high = np.float32(-1), np.float32(1)
    for seed in spread_seeds(5, 2):
        env = DummyVecEnv([lambda: Monitor(RescaleAction(gymnasium.make("Pendulum-v1"), low, high))])
        env.seed(int(seed))
        returns, _ = evaluate_policy(model, env, n_eval_episodes=1, return_episode_rewards=True)
        assert isinstance(returns, list)
        theirs += returns
    assert ours.returns == pytest.approx(theirs, rel=1e-3)
    player_step = next(iter(Player(api.load_agent(run), run.config, RenderedEnv(run.env_spec), seed=2, epsilon=0)))
    assert player_step.is_greedy
    assert np.shape(player_step.action) == (1,)
    assert (player_step.action_std is None) == (agent == "sb3_td3")
    with pytest.raises(LabError, match="a run of Stable-Baselines3 cannot be resumed exactly"):
        api.resume(run, quiet=True)


@pytest.mark.parametrize("agent", ["sb3_sac", "sb3_td3"])
def test_discrete_actions_are_refused_with_the_agents_that_fit(agent, train):
    with pytest.raises(LabError, match=r"cannot use CartPole-v1, which has discrete actions; agents for it: dqn, .*"):
        train(agent)


@pytest.mark.parametrize("agent", ["sb3_dqn", "sb3_qrdqn"])
def test_value_agents_refuse_continuous_actions_and_name_the_baselines_that_fit(agent, train):
    with pytest.raises(LabError, match=r"sb3_ppo, sb3_a2c, sb3_recurrent_ppo, sb3_sac, sb3_td3"):
        train(agent, env="Pendulum-v1")
