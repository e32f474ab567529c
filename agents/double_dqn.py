"""Double DQN: van Hasselt, Guez and Silver 2015, "Deep reinforcement learning with double Q-learning".

The maximum over noisy values is too high on average; here the online network chooses the action and the target network
values it, so that the error that chose is not the error that counts.
"""

from __future__ import annotations

from torch import Tensor

from agents.core.targets import double_value
from agents.dqn import DQN


class DoubleDQN(DQN):
    """DQN with another value of the next state; the settings are DQN's."""

    def bootstrap(self, next_obs: Tensor) -> Tensor:
        """Q-(s', argmax_a Q(s', a)), f32[B]."""
        seen = self.online.preprocess(next_obs)  # type: ignore[operator]
        return double_value(self.online.eval()(seen), self.target(seen))
