"""Dueling Double DQN: the network of Wang et al. 2015 with the target of van Hasselt et al. 2015, as their paper combines them."""

from __future__ import annotations

from agents.double_dqn import DoubleDQN
from agents.dueling_dqn import DuelingDQN


class DuelingDoubleDQN(DuelingDQN, DoubleDQN):
    """`build` is DuelingDQN's, `bootstrap` is DoubleDQN's."""
