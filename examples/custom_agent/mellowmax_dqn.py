"""An agent of your own: DQN with the mellowmax operator (Asadi and Littman 2017) in place of the maximum.

    mm_omega(Q(s, .)) = log( mean_a exp(omega Q(s, a)) ) / omega

Install the package of this folder, and the agent is there under its name:

    pip install -e examples/custom_agent
    python -m rl_lab train mellowmax_dqn --env CartPole-v1 --omega 10
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from agents.configs.dqn import DQNConfig
from agents.core.settings import Positive
from agents.dqn import DQN


@dataclass(frozen=True)
class MellowmaxDQNConfig(DQNConfig):
    """The settings of DQN, and the temperature of mellowmax. Each field becomes a flag with its range and this help."""

    omega: Positive = 10.0
    """Mellowmax approaches the maximum for large omega and the mean for small omega."""


class MellowmaxDQN(DQN):
    """Asadi and Littman 2017, An alternative softmax operator for reinforcement learning"""

    config_class = MellowmaxDQNConfig
    config: MellowmaxDQNConfig
    presets_file = Path(__file__).with_name("mellowmax_dqn.yaml")

    def next_state_value(self, next_obs: Tensor) -> Tensor:
        """Return mm_omega(Q_target(s', .)). `next_obs` [B, k, *obs_shape] -> f32[B]."""
        q = self.target_network(next_obs)
        omega = self.config.omega
        return (torch.logsumexp(omega * q, 1) - math.log(q.shape[1])) / omega
