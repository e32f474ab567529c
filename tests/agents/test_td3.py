"""Tests of TD3: what it changes in SAC. tests/agents/test_sac.py tests what both share, the targets included."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from continuous_toy import CPU, ContinuousToy, continuous_spaces
from torch import Tensor, nn

from agents.configs.td3 import TD3Config
from agents.td3 import TD3

SMALL: dict[str, Any] = {"hidden": 16, "learning_starts": 20, "batch_size": 16, "replay_ratio": 16, "replay_size": 2000}


def make_agent(**settings: Any) -> Any:
    """Return an untrained agent for observations of 3 and actions of 2 entries."""
    config = TD3Config(**SMALL | settings)
    return TD3(config, continuous_spaces(), seed=0, device=CPU)


def weights(*modules: nn.Module) -> Tensor:
    """Return all parameters of modules as one vector."""
    return torch.cat([param.detach().flatten() for module in modules for param in module.parameters()])


@pytest.mark.parametrize("actor_every", [1, 2, 3])
def test_actor_and_target_networks_change_in_every_nth_update_only(actor_every: int):
    agent = make_agent(actor_every=actor_every, target_tau=0.1)
    ContinuousToy(agent).play(30)
    batch = agent.replay.sample(16)
    for _ in range(7):
        actor = weights(agent.actor)
        critics = weights(agent.critics)
        targets = weights(agent.target_critics, agent.target_actor)
        loss = agent.policy_loss
        metrics = agent.update(batch)
        assert not torch.equal(weights(agent.critics), critics)
        is_due = agent.updates % actor_every == 0
        assert torch.equal(weights(agent.actor), actor) != is_due
        expected = targets
        if is_due:
            expected = 0.9 * targets + 0.1 * weights(agent.critics, agent.actor)
        else:
            assert metrics["policy_loss"] is loss
        assert torch.allclose(weights(agent.target_critics, agent.target_actor), expected, atol=1e-6)


def test_actor_climbs_the_value_of_the_first_critic():
    """The gradient of the loss is -dQ_1/da, by finite differences of the actions."""
    agent = make_agent(lr=1e-6)
    obs = torch.randn(1, 1, 3)
    action = agent.acting_policy(obs)
    first = agent.critics.critics[0]

    def value(shift: Tensor) -> float:
        return float(first(torch.cat([obs[:, 0], action + shift], 1)).detach())

    shifts = 1e-3 * torch.eye(2)
    slope = torch.tensor([(value(shift) - value(-shift)) / 2e-3 for shift in shifts])
    loss = agent.actor_step(obs)
    assert float(loss) == pytest.approx(-value(torch.zeros(2)), abs=1e-6)
    gradient = agent.actor.action.bias.grad
    assert torch.allclose(gradient, -slope * (1 - action[0] ** 2), rtol=0.05, atol=1e-4)


def test_exploration_noise_is_gaussian_and_actions_are_clipped():
    agent = make_agent(exploration_noise=0.3, learning_starts=0)
    n = 50_000
    greedy = agent.acting_policy(torch.ones(1, 1, 3))
    action, _ = agent.act(torch.ones(n, 3), torch.ones(n, dtype=torch.bool), agent.initial_carry(n), explore=True)
    assert torch.allclose(action.mean(0), greedy[0], atol=0.01)
    assert torch.allclose(action.std(0), torch.full((2,), 0.3), atol=0.01)
    with torch.no_grad():
        agent.actor.action.bias.fill_(2.0)
    action, _ = agent.act(torch.ones(n, 3), torch.ones(n, dtype=torch.bool), agent.initial_carry(n), explore=True)
    assert float(action.max()) == 1
    assert 0.3 < float((action == 1).float().mean()) < 0.6


def test_noise_of_the_target_actor_is_clipped():
    """With critics that return the action, min(a', clip) shows the largest noise."""
    agent = make_agent(target_noise=0.2, target_noise_clip=0.3)
    for module in (agent.target_actor.action, *agent.target_critics.critics):
        for param in module.parameters():
            nn.init.zeros_(param)

    class FirstEntry(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return inputs[:, 3]

    agent.target_critics.critics = nn.ModuleList([FirstEntry(), FirstEntry()])
    noise = torch.tensor([[-9.0, 0.0], [-1.0, 0.0], [0.5, 0.0], [9.0, 0.0]])
    value = agent.next_value(torch.zeros(4, 1, 3), noise)
    assert torch.allclose(value, torch.tensor([-0.3, -0.2, 0.1, 0.3]))
