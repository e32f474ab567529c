"""Deep expected Sarsa: the target of van Seijen et al. 2009, "A theoretical and empirical analysis of Expected Sarsa".

The target uses the expected value of the next state under the epsilon-greedy policy, where DQN uses the value of the best
action. With epsilon 0, the two agents are the same. With n-step returns, the first n - 1 actions of a return come from an older policy;
this is not corrected.
"""

from __future__ import annotations

from torch import Tensor

from agents.core.cuda_graphs import CudaGraphFunction, Wrapper
from agents.core.settings import ConfigError
from agents.core.targets import epsilon_greedy_value
from agents.dqn import DQN


class ExpectedSarsa(DQN):
    """DQN with the target of expected Sarsa. The settings are those of DQN."""

    def next_state_value(self, next_obs: Tensor) -> Tensor:
        """Return sum_a pi(a | s') Q^(s', a) for the epsilon-greedy policy with the current epsilon, f32[B]."""
        return epsilon_greedy_value(self.target_network(next_obs), self.epsilon)

    def capture_graphs(self, wrapper: Wrapper = CudaGraphFunction) -> None:
        """Raise ConfigError, because a graph would keep the epsilon of its capture."""
        raise ConfigError("cuda_graphs is true; the targets of expected SARSA follow epsilon, so it must be false")
