"""Double DQN: van Hasselt, Guez and Silver 2015, "Deep reinforcement learning with double Q-learning".

DQN overestimates values, because max_a Q^(s', a) selects and evaluates an action with the same noisy estimates.
Double DQN selects the action with the online network and evaluates the selected action with the target network.
"""

from __future__ import annotations

from torch import Tensor

from agents.core.targets import double_value
from agents.dqn import DQN
from agents.nn.networks import QNetwork


class DoubleDQN(DQN):
    """DQN with the target of double Q-learning. The settings are those of DQN."""

    online_network: QNetwork

    def next_state_value(self, next_obs: Tensor) -> Tensor:
        """Return Q^(s', argmax_a Q(s', a)), f32[B]."""
        preprocessed = self.online_network.preprocess(next_obs)  # once for both networks
        next_q = self.online_network.eval()(preprocessed)
        next_target_q = self.target_network(preprocessed)
        return double_value(next_q, next_target_q)
