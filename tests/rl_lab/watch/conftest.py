"""The agent that comes with the lab, ready to play."""

import pytest
import torch

from agents.core.types import PolicyOutput
from rl_lab import api
from rl_lab.experiment.run import Run
from rl_lab.watch.game import Game
from rl_lab.watch.player import Player


@pytest.fixture(scope="session")
def demo():
    return Run.find("demo")


@pytest.fixture
def demo_player(demo):
    player = Player(api.load(demo), demo.config, Game(demo.env_spec), epsilon=0.001, seed=1)
    yield player
    player.game.close()


class Planted:
    """An agent of a network of the test's own: Q(s, .) = network(frames)."""

    def __init__(self, network, stack=1):
        self.network, self.stack = network, stack

    def initial_carry(self, n):
        return (torch.zeros(n, self.stack - 1, 20, 20, dtype=torch.uint8),)

    def policy_output(self, obs, is_first, carry):
        stack = torch.cat([carry[0], obs[:, None]], 1)
        q = self.network(stack.float())
        return PolicyOutput(q.argmax(1), q, q.amax(1)), (stack[:, 1:],)


@pytest.fixture
def planted():
    return Planted
