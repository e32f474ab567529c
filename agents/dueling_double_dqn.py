"""Dueling double DQN: the network of Wang et al. 2015 with the target of van Hasselt et al. 2015.

Wang et al. report this combination of the two agents in their paper.
"""

from __future__ import annotations

from agents.double_dqn import DoubleDQN
from agents.dueling_dqn import DuelingDQN


class DuelingDoubleDQN(DuelingDQN, DoubleDQN):
    """DQN with `build_network` of `DuelingDQN` and `next_state_value` of `DoubleDQN`."""
