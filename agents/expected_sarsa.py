"""Deep expected SARSA: the target of van Seijen et al. 2009, "A theoretical and empirical analysis of Expected Sarsa".

The next state is worth what the behaviour will make of it, exploration included, and not what the best action would. With
n > 1 the first n - 1 actions of a return are those of an older behaviour: nothing corrects for that. With epsilon 0 it is DQN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from agents.core.settings import ConfigError
from agents.core.targets import epsilon_greedy_value
from agents.dqn import DQN


class ExpectedSarsa(DQN):
    """DQN with another value of the next state; the settings are DQN's."""

    def bootstrap(self, next_obs: Tensor) -> Tensor:
        """sum_a pi(a | s') Q-(s', a) under the epsilon-greedy behaviour of now, f32[B]."""
        return epsilon_greedy_value(self.target(next_obs), self.epsilon)

    def record(self, recorded: Callable[[Any], Any]) -> None:
        raise ConfigError("cuda_graphs is true; the targets of expected SARSA follow epsilon, so it must be false")
