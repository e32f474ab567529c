"""Tests of SAC, and of what SAC and TD3 share: targets, losses, gradients, target networks, resuming."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from continuous_toy import CPU, ContinuousToy, continuous_spaces
from torch import Tensor, nn

from agents.core.settings import ConfigError
from agents.core.types import EnvSpaces
from agents.memory.replay import TransitionBatch
from agents.sac import SAC
from agents.td3 import TD3

SMALL: dict[str, Any] = {"hidden": 16, "learning_starts": 40, "batch_size": 16, "replay_ratio": 16, "replay_size": 2000}
BOTH = pytest.mark.parametrize("cls", [SAC, TD3])
IMAGES = EnvSpaces((36, 36), torch.uint8, 0, 1, action_dim=2)


def make_agent(cls: type[Any] = SAC, spaces: EnvSpaces | None = None, seed: int = 0, **settings: Any) -> Any:
    """Return an untrained agent, by default for observations of 3 and actions of 2 entries."""
    config = cls.config_class(**SMALL | settings)
    return cls(config, spaces or continuous_spaces(), seed=seed, device=CPU)


def random_batch(spaces: EnvSpaces | None = None, batch_size: int = 12) -> TransitionBatch:
    """Return random transitions, of which every third has a terminal next state."""
    spaces = spaces or continuous_spaces()
    generator = torch.Generator().manual_seed(3)
    shape = (2, batch_size, 1, *spaces.obs_shape)
    if spaces.dtype == torch.uint8:
        obs, next_obs = torch.randint(256, shape, generator=generator).to(torch.uint8)
    else:
        obs, next_obs = torch.randn(shape, generator=generator)
    return TransitionBatch(
        obs=obs,
        action=2 * torch.rand((batch_size, spaces.action_dim), generator=generator) - 1,
        ret=torch.randn(batch_size, generator=generator),
        discount=torch.tensor([0.9, 0.0, 0.81] * (batch_size // 3)),
        next_obs=next_obs,
        weight=torch.rand(batch_size, generator=generator),
        cell=torch.arange(batch_size),
    )


def normal(batch_size: int = 12, action_dim: int = 2) -> Tensor:
    """Return samples of the standard normal distribution."""
    return torch.randn((batch_size, action_dim), generator=torch.Generator().manual_seed(4))


def weights(*modules: nn.Module) -> Tensor:
    """Return all parameters of modules as one vector."""
    return torch.cat([param.detach().flatten() for module in modules for param in module.parameters()])


def perturb(*modules: nn.Module) -> None:
    """Add noise to all parameters, so that target networks differ from online networks."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for module in modules:
            for param in module.parameters():
                param.add_(0.1 * torch.randn(param.shape, generator=generator))


def mlp_output(layers: list[nn.Linear], inputs: list[float]) -> list[float]:
    """Return the output of linear layers with ReLU between them, for one input, computed with numpy."""
    x = np.array(inputs, np.float64)
    for layer in layers[:-1]:
        x = np.maximum(layer.weight.detach().double().numpy() @ x + layer.bias.detach().double().numpy(), 0)
    return list(layers[-1].weight.detach().double().numpy() @ x + layers[-1].bias.detach().double().numpy())


def linear_layers(*modules: nn.Module) -> list[nn.Linear]:
    """Return the linear layers of modules, in order."""
    return [layer for module in modules for layer in module.modules() if isinstance(layer, nn.Linear)]


def naive_min_q(critics: Any, obs: list[float], action: list[float]) -> float:
    """Return the smaller one of the values of both critics for one state and action."""
    return min(mlp_output(linear_layers(critic), obs + action)[0] for critic in critics.critics)


def naive_sac_value(agent: SAC, obs: list[float], noise: list[float]) -> float:
    """Return min_i Q^_i(s, a) - alpha log pi(a | s) of one state, in plain Python."""
    actor: Any = agent.actor
    means = mlp_output(linear_layers(actor.hidden, actor.mean), obs)
    raw_log_stds = mlp_output(linear_layers(actor.hidden, actor.log_std), obs)
    action = []
    log_prob = 0.0
    for mean, raw, z in zip(means, raw_log_stds, noise, strict=True):
        log_std = 2 - math.log1p(math.exp(2 - raw))
        log_std = -20 + math.log1p(math.exp(log_std + 20))
        u = mean + math.exp(log_std) * z
        action.append(math.tanh(u))
        log_prob += -0.5 * z * z - log_std - 0.5 * math.log(2 * math.pi) - math.log(1 - math.tanh(u) ** 2)
    temperature = math.exp(agent.log_temperature.item())
    return naive_min_q(agent.target_critics, obs, action) - temperature * log_prob


def naive_td3_value(agent: TD3, obs: list[float], noise: list[float]) -> float:
    """Return min_i Q^_i(s, a) of the smoothed action a of the target actor, in plain Python."""
    config = agent.config
    action = []
    for raw, z in zip(mlp_output(linear_layers(agent.target_actor), obs), noise, strict=True):
        clipped = max(-config.target_noise_clip, min(config.target_noise_clip, config.target_noise * z))
        action.append(max(-1.0, min(1.0, math.tanh(raw) + clipped)))
    return naive_min_q(agent.target_critics, obs, action)


def naive_value(agent: Any, obs: list[float], noise: list[float]) -> float:
    """Return the value of a next state as the agent's paper defines it."""
    return naive_sac_value(agent, obs, noise) if isinstance(agent, SAC) else naive_td3_value(agent, obs, noise)


def perturbed_agent(cls: type[Any], **settings: Any) -> Any:
    """Return an agent whose target networks differ from its online networks."""
    agent = make_agent(cls, **settings)
    perturb(agent.target_critics)
    if cls is TD3:
        perturb(agent.target_actor)
    return agent


# --- Acting -----------------------------------------------------------------------------------------------------------


@BOTH
def test_first_actions_are_uniformly_random(cls):
    agent = make_agent(cls)
    obs = torch.zeros(20_000, 3)
    is_first = torch.ones(20_000, dtype=torch.bool)
    carry = agent.initial_carry(20_000)
    action, _ = agent.act(obs, is_first, carry, explore=True)
    assert action.shape == (20_000, 2)
    for d in range(2):
        counts = torch.histc(action[:, d], bins=10, min=-1, max=1)
        assert float(counts.sum()) == 20_000
        assert float(counts.min()) > 1_800
    agent.steps = 39
    assert not torch.equal(agent.act(obs, is_first, carry, explore=True)[0], action)
    agent.steps = 40
    action, _ = agent.act(obs, is_first, carry, explore=True)
    assert float(torch.histc(action[:, 0], bins=10, min=-1, max=1).min()) < 1_700


def test_sac_explores_by_samples_of_its_policy_and_plays_its_median():
    agent = make_agent(learning_starts=0)
    obs = torch.ones(50_000, 3)
    is_first = torch.ones(50_000, dtype=torch.bool)
    carry = agent.initial_carry(50_000)
    sampled, _ = agent.act(obs, is_first, carry, explore=True)
    greedy, _ = agent.act(obs, is_first, carry, explore=False)
    assert len(greedy.unique(dim=0)) == 1
    assert torch.allclose(sampled.median(0).values, greedy[0], atol=0.02)
    mean, log_std = agent.acting_policy(torch.ones(1, 1, 3))
    u = torch.atanh(sampled.clamp(-0.99999, 0.99999))
    assert torch.allclose(u.std(0), log_std[0].exp(), rtol=0.02)
    assert torch.allclose(u.mean(0), mean[0], atol=0.02)


@BOTH
def test_policy_output_is_differentiable_and_values_the_greedy_action(cls):
    agent = perturbed_agent(cls)
    obs = torch.randn(4, 3, requires_grad=True)
    is_first = torch.ones(4, dtype=torch.bool)
    output, _ = agent.policy_output(obs, is_first, agent.initial_carry(4))
    greedy, _ = agent.act(obs.detach(), is_first, agent.initial_carry(4), explore=False)
    assert torch.equal(output.action.detach(), greedy)
    assert torch.equal(output.scores, output.action)
    assert output.is_policy
    for i in range(4):
        expected = naive_min_q(agent.critics, obs[i].tolist(), greedy[i].tolist())
        assert output.value[i].item() == pytest.approx(expected, abs=1e-5)
    if cls is SAC:
        mean, log_std = agent.acting_policy(obs.detach()[:, None])
        assert torch.allclose(output.action_std, log_std.exp() / torch.cosh(mean) ** 2, rtol=1e-4)
    else:
        assert output.action_std is None
    output.scores.sum().backward()
    assert obs.grad is not None
    assert float(obs.grad.abs().min()) > 0


# --- Targets and losses -----------------------------------------------------------------------------------------------


@BOTH
def test_targets_equal_their_definition(cls):
    agent = perturbed_agent(cls, **({"temperature": 0.3} if cls is SAC else {"target_noise": 0.6}))
    batch = random_batch()
    noise = normal()
    y = agent.targets(batch, noise)
    for i in range(12):
        value = naive_value(agent, batch.next_obs[i, 0].tolist(), noise[i].tolist())
        expected = float(batch.ret[i]) + float(batch.discount[i]) * value
        assert float(y[i]) == pytest.approx(expected, abs=1e-5)


@BOTH
@pytest.mark.parametrize("n_step", [1, 3])
def test_targets_of_stored_transitions_equal_those_of_the_episodes(cls, n_step):
    """Terminations have no value of a next state, truncations that of the last observation of the episode."""
    agent = perturbed_agent(cls, n_step=n_step, learning_starts=10**6, gamma=0.9)
    toy = ContinuousToy(agent)
    toy.play(60)
    batch = agent.replay.sample(200)
    noise = normal(200)
    y = agent.targets(batch, noise)
    num_terminal = 0
    num_truncated = 0
    for i in range(200):
        env, episode_number, step = (round(10 * x) for x in batch.obs[i, 0].tolist())
        episode = toy.episodes[env, episode_number]
        ret, discount, t = episode.n_step(step - 1, n_step, 0.9)
        num_terminal += discount == 0
        num_truncated += episode.truncated[t - 1]
        value = naive_value(agent, episode.obs[t].tolist(), noise[i].tolist()) if discount else 0.0
        assert float(y[i]) == pytest.approx(ret + discount * value, abs=1e-5)
    assert min(num_terminal, num_truncated) > 10


@BOTH
def test_critic_loss_is_the_weighted_mean_of_half_the_squared_errors(cls):
    agent = perturbed_agent(cls)
    batch = random_batch()
    noise = normal()
    q = agent.critics(batch.obs, batch.action).tolist()
    y = agent.targets(batch, noise).tolist()
    weight = batch.weight.tolist()
    metrics, td_error = agent.critic_step(batch, noise)
    loss = 0.0
    for i in range(12):
        errors = [abs(y[i] - q[critic][i]) for critic in range(2)]
        loss += weight[i] * (errors[0] ** 2 + errors[1] ** 2) / 2 / 12
        assert float(td_error[i]) == pytest.approx(sum(errors) / 2, abs=1e-5)
    assert float(metrics["loss"]) == pytest.approx(loss, rel=1e-5)


def test_new_priorities_follow_from_td_errors():
    agent = make_agent(priority_alpha=0.5)
    ContinuousToy(agent).play(30)
    batch = agent.replay.sample(16)
    noise_state = agent.generator.get_state()
    expected = copy.deepcopy(agent).critic_step(batch, agent.noise(16))[1]
    agent.generator.set_state(noise_state)
    agent.update(batch)
    priorities = agent.replay.priorities.values[batch.cell]
    assert torch.allclose(priorities, (expected.double() + 1e-6) ** 0.5, rtol=1e-4)


def test_actor_loss_of_sac_equals_its_definition():
    agent = perturbed_agent(SAC, temperature=0.3)
    agent.target_critics = agent.critics  # the naive value then is that of the online critics
    batch = random_batch()
    noise = normal()
    expected = np.mean([-naive_sac_value(agent, batch.obs[i, 0].tolist(), noise[i].tolist()) for i in range(12)])
    metrics = agent.actor_step(batch.obs, noise)
    assert float(metrics["policy_loss"]) == pytest.approx(expected, rel=1e-5)
    assert float(metrics["temperature"]) == pytest.approx(0.3)


# --- Gradients --------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("spaces", [continuous_spaces(), IMAGES], ids=["vectors", "images"])
def test_each_step_changes_its_own_networks_only(cls, spaces):
    """The step of the critics changes the encoder too, that of the actor does not."""
    agent = make_agent(cls, spaces, filters=2)
    batch = random_batch(spaces)
    actor, critics, target = weights(agent.actor), weights(agent.critics), weights(agent.target_critics)
    agent.critic_step(batch, normal())
    assert torch.equal(weights(agent.actor), actor)
    assert torch.equal(weights(agent.target_critics), target)
    assert (weights(agent.critics) != critics).float().mean() > 0.5
    if spaces is IMAGES:
        before = weights(make_agent(cls, spaces, filters=2).critics.encoder)
        assert (weights(agent.critics.encoder) != before).float().mean() > 0.5
    critics = weights(agent.critics)
    for param in agent.critics.parameters():
        param.grad = None
    agent.actor_step(batch.obs, *([normal()] if cls is SAC else []))
    assert torch.equal(weights(agent.critics), critics)
    assert torch.equal(weights(agent.target_critics), target)
    assert (weights(agent.actor) != actor).float().mean() > 0.2  # some hidden units are inactive for all states
    assert all(param.grad is None for param in agent.critics.parameters())


def test_vectors_have_no_encoder_and_images_share_theirs():
    vectors = make_agent()
    assert not list(vectors.critics.encoder.parameters())
    assert [layer.in_features for layer in linear_layers(vectors.actor)] == [3, 16, 16, 16]
    assert [layer.in_features for layer in linear_layers(vectors.critics.critics[0])] == [5, 16, 16]
    images = make_agent(SAC, IMAGES, filters=2)
    assert any(isinstance(layer, nn.Conv2d) for layer in images.critics.encoder.modules())
    assert not any(isinstance(layer, nn.Conv2d) for layer in images.actor.modules())


def test_temperature_rises_if_the_entropy_is_below_its_target():
    for target, rises in ((5.0, True), (-20.0, False)):
        agent = make_agent(target_entropy_per_entry=target)
        agent.actor_step(random_batch().obs, normal())
        assert (agent.log_temperature.item() > 0) == rises


def test_fixed_temperature_does_not_change():
    agent = make_agent(learn_temperature=False, temperature=0.2)
    ContinuousToy(agent).play(60)
    assert agent.updates > 20
    assert math.exp(agent.log_temperature.item()) == pytest.approx(0.2)


class ExactCritics(nn.Module):
    """Critics that know the values -(a - 0.3)^2 of a bandit."""

    def features(self, obs: Tensor) -> Tensor:
        return obs.flatten(1)

    def values(self, features: Tensor, action: Tensor) -> Tensor:
        value = -(action - 0.3).square().sum(1)
        return torch.stack([value, value])


def test_policy_of_a_gaussian_bandit_reaches_the_target_entropy():
    """The best policy of entropy H is nearly N(0.3, sigma^2) with H = log(2 pi e sigma^2) / 2, and alpha is 2 sigma^2.

    Among all policies of this entropy, exp(r / alpha) / Z has the largest reward r, and r is -(a - 0.3)^2.
    """
    agent = make_agent(SAC, continuous_spaces(action_dim=1), lr=1e-2, temperature=0.03)
    agent.critics = ExactCritics()
    obs = torch.zeros(64, 1, 3)
    entropies = []
    for step in range(900):
        if step == 600:
            for optimizer in agent.optimizers().values():
                optimizer.param_groups[0]["lr"] = 1e-3
        entropies.append(float(agent.actor_step(obs, agent.noise(64))["entropy"]))
    std = math.exp(-1) / math.sqrt(2 * math.pi * math.e)
    parameters = agent.acting_policy(obs[:1])
    mean, _ = parameters
    assert np.mean(entropies[-200:]) == pytest.approx(-1, abs=0.05)
    assert math.tanh(mean.item()) == pytest.approx(0.3, abs=0.03)
    assert agent.action_std(parameters).item() == pytest.approx(std, rel=0.1)
    assert math.exp(agent.log_temperature.item()) == pytest.approx(2 * std**2, rel=0.2)


# --- Training ---------------------------------------------------------------------------------------------------------


def test_target_critics_are_averaged_after_every_update():
    """After every update: target <- 0.9 target + 0.1 online."""
    agent = make_agent(target_tau=0.1)
    ContinuousToy(agent).play(30)
    batch = agent.replay.sample(16)
    expected = weights(agent.target_critics).double()
    for _ in range(10):
        agent.update(batch)
        expected = 0.9 * expected + 0.1 * weights(agent.critics).double()
        assert torch.allclose(weights(agent.target_critics).double(), expected, atol=1e-6)
    assert not torch.allclose(weights(agent.critics).double(), expected, atol=1e-4)


@BOTH
def test_one_update_per_agent_step_follows_learning_starts(cls):
    agent = make_agent(cls)
    toy = ContinuousToy(agent)
    while agent.steps < 100:
        toy.play(1)
        assert agent.updates == max(0, agent.steps - 40)
    assert {"lr", "updates", "replay/size"} <= agent.gauges().keys()
    names = [set(metrics) for metrics in toy.metrics]
    assert all(found == names[0] for found in names)
    assert {"loss", "td_error", "q_mean", "grad_norm", "policy_loss"} <= names[0]


OPTIONS: list[dict[str, Any]] = [
    {},
    {"priority_alpha": 0.6, "n_step": 3, "frame_stack": 2, "normalize_obs": True, "normalize_reward": True},
]


@BOTH
@pytest.mark.parametrize("options", OPTIONS, ids=["plain", "options"])
def test_restored_agent_continues_bit_for_bit(cls, options):
    spaces = continuous_spaces(num_envs=1)
    agent = make_agent(cls, spaces, **options)
    toy = ContinuousToy(agent)
    while agent.updates < 15:
        toy.play(1)
    assert agent.updates % 2  # TD3: between two updates of the actor
    restored = make_agent(cls, spaces, seed=9, **options)
    restored.load_state_dict(copy.deepcopy(agent.state_dict()))
    assert_equal_states(agent.state_dict(), restored.state_dict())
    toy.play(20, restored)
    assert restored.updates == agent.updates > 25
    assert_equal_states(agent.state_dict(), restored.state_dict())


def assert_equal_states(first: Any, second: Any) -> None:
    """Assert that two state dicts are equal, except for the rows of the replay memory."""
    if isinstance(first, dict):
        assert first.keys() == second.keys()
        for name in first:
            if name != "rows":
                assert_equal_states(first[name], second[name])
    elif isinstance(first, Tensor):
        assert torch.equal(first, second)
    else:
        assert first == second


@BOTH
def test_training_is_reproducible_bit_for_bit(cls):
    def after_training(seed: int) -> Tensor:
        agent = make_agent(cls, seed=seed)
        ContinuousToy(agent).play(40)
        assert agent.updates > 10
        return weights(agent.network)

    first = after_training(1)
    assert torch.equal(after_training(1), first)
    assert not torch.equal(after_training(2), first)


@BOTH
def test_weights_of_network_start_another_agent(cls):
    agent = make_agent(cls)
    ContinuousToy(agent).play(40)
    other = make_agent(cls, seed=9)
    other.start_from(agent.network.state_dict())
    assert torch.equal(weights(other.actor, other.critics), weights(agent.actor, agent.critics))
    assert torch.equal(weights(other.target_critics), weights(agent.critics))
    if cls is TD3:
        assert torch.equal(weights(other.target_actor), weights(agent.actor))


@BOTH
def test_agent_learns_a_bandit(cls):
    """The best action is (0.5, 0.5)."""
    agent = make_agent(cls, hidden=32, batch_size=64, replay_ratio=64, lr=3e-3)
    ContinuousToy(agent, lengths=(1,), numbered=False).play(500)
    action, _ = agent.act(torch.zeros(1, 3), torch.tensor([True]), agent.initial_carry(1), explore=False)
    assert torch.allclose(action, torch.full((1, 2), 0.5), atol=0.1)


@BOTH
def test_images_are_learned_in_float32_and_bfloat16(cls):
    """For the same weights and batch, the targets differ by less than 2%."""
    batch = random_batch(IMAGES)
    targets = []
    for dtype in (torch.float32, torch.bfloat16):
        config = cls.config_class(**SMALL | {"filters": 4})
        agent = cls(config, IMAGES, seed=1, device=CPU, dtype=dtype)
        perturb(agent.target_critics)
        targets.append(agent.targets(batch, normal()) - batch.ret)
        metrics, _ = agent.critic_step(batch, normal())
        assert metrics["loss"].dtype == torch.float32
    assert 0 < (targets[1] - targets[0]).norm() < 0.02 * targets[0].norm()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"norm": "batch"}, "norm is batch; with sac and td3 it must be none, layer or layers"),
        ({"dropout": 0.1}, "dropout is 0.1; with sac and td3 it must be 0"),
        ({"replay_size": 8}, "replay_size is 8; it must be at least batch_size, 16"),
    ],
)
@BOTH
def test_settings_that_do_not_fit_are_refused(cls, settings, message):
    with pytest.raises(ConfigError, match=message):
        make_agent(cls, **settings)
