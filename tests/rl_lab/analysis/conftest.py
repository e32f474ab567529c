"""Fixtures of the analysis tests: the agent that is part of the package, and agents around small networks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from agents.core.types import Carry, PolicyOutput
from rl_lab import api
from rl_lab.experiment.run import Run
from rl_lab.watch.player import Player
from rl_lab.watch.rendered_env import RenderedEnv


@pytest.fixture(scope="session")
def demo() -> Run:
    """Return the run of the agent that is part of the package."""
    return Run.find("demo")


@pytest.fixture
def demo_player(demo: Run) -> Iterator[Player]:
    """Return a player of Pong."""
    player = Player(api.load_agent(demo), demo.config, RenderedEnv(demo.env_spec), epsilon=0.001, seed=1)
    yield player
    player.env.close()


class NetworkAgent:
    """An agent with Q(s, .) = network(stacked frames) for a given network. Frames have 20 x 20 pixels."""

    def __init__(self, network: nn.Module, stack: int = 1) -> None:
        self.network = network
        self.stack = stack

    def initial_carry(self, n: int) -> Carry:
        return (torch.zeros(n, self.stack - 1, 20, 20, dtype=torch.uint8),)

    def policy_output(self, obs: Tensor, is_first: Tensor, carry: Carry) -> tuple[PolicyOutput, Carry]:
        stack = torch.cat([carry[0], obs[:, None]], 1)
        q = self.network(stack.float())
        return PolicyOutput(q.argmax(1), q, q.amax(1)), (stack[:, 1:],)


class ContinuousNetworkAgent(NetworkAgent):
    """An agent whose network returns the two entries of an action, and V(s)."""

    def policy_output(self, obs: Tensor, is_first: Tensor, carry: Carry) -> tuple[PolicyOutput, Carry]:
        output, carry = super().policy_output(obs, is_first, carry)
        action, value = output.scores[:, :2], output.scores[:, 2]
        return PolicyOutput(action, action, value, is_policy=True), carry


class PartsNetworkAgent(NetworkAgent):
    """An agent with a policy over actions of two parts, with 2 and 3 actions. The network returns the logits."""

    def policy_output(self, obs: Tensor, is_first: Tensor, carry: Carry) -> tuple[PolicyOutput, Carry]:
        output, carry = super().policy_output(obs, is_first, carry)
        parts = [logits.softmax(1) for logits in output.scores.split((2, 3), 1)]
        action = parts[0].argmax(1) * 3 + parts[1].argmax(1)
        return PolicyOutput(action, torch.cat(parts, 1), output.value, is_policy=True), carry


@pytest.fixture
def parts_network_agent() -> Any:
    """Return the class PartsNetworkAgent. Its type is Any, because it implements only a part of the protocol."""
    return PartsNetworkAgent


@pytest.fixture
def continuous_network_agent() -> Any:
    """Return the class ContinuousNetworkAgent. Its type is Any, because it implements only a part of the protocol."""
    return ContinuousNetworkAgent


@pytest.fixture
def network_agent() -> Any:
    """Return the class NetworkAgent. Its type is Any, because it implements only a part of the Agent protocol."""
    return NetworkAgent
