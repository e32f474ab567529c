"""Deep expected Sarsa: the target of van Seijen et al. 2009, "A theoretical and empirical analysis of Expected Sarsa".

The target of DQN uses the value of the best action in the next state. Expected Sarsa uses the expected value under the
epsilon-greedy policy. With epsilon 0, both targets are equal. The rewards of an n-step return come from an older policy
if n > 1; this is not corrected.
"""

from __future__ import annotations

import torch
from torch import Tensor

from agents.configs.dqn import DQNConfig
from agents.core.cuda_graphs import CudaGraphFunction, Wrapper
from agents.core.settings import ConfigError
from agents.core.targets import epsilon_greedy_value
from agents.core.types import EnvSpaces
from agents.dqn import DQN


class ExpectedSarsa(DQN):
    """DQN with the target of expected Sarsa. The settings are those of DQN."""

    def __init__(
        self,
        config: DQNConfig,
        spaces: EnvSpaces,
        *,
        seed: int,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if config.epsilon_zeta:
            raise ConfigError(
                f"epsilon_zeta is {config.epsilon_zeta:g}; with expected_sarsa it must be 0, because its targets are"
                " values of the epsilon-greedy policy"
            )
        if config.munchausen_alpha:
            raise ConfigError(
                f"munchausen_alpha is {config.munchausen_alpha:g}; with expected_sarsa it must be 0, because its"
                " targets are values of the epsilon-greedy policy"
            )
        super().__init__(config, spaces, seed=seed, device=device, dtype=dtype)

    def next_state_value(self, next_obs: Tensor) -> Tensor:
        """Return sum_a pi(a | s') Q^(s', a) for the epsilon-greedy policy with the current epsilon, f32[B]."""
        next_q = self.target_network(next_obs)
        return epsilon_greedy_value(next_q, self.epsilon, has_masks=self.spaces.has_action_masks)

    def capture_graphs(self, wrapper: Wrapper = CudaGraphFunction) -> None:
        """Raise ConfigError, because a graph would keep the epsilon of its capture."""
        raise ConfigError("cuda_graphs is true; the targets of expected SARSA follow epsilon, so it must be false")
