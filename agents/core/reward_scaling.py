"""The rewards that an agent learns from: scaled, normalised and clipped (`--reward-scale`, `--normalize-reward`)."""

from __future__ import annotations

import math
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from agents.configs.shared import RewardConfig
from agents.core.running_moments import RunningMoments
from agents.core.types import StepResult, ValueScaling

NORMALIZED_LIMIT = 10.0
"""Normalised rewards are clipped to [-NORMALIZED_LIMIT, NORMALIZED_LIMIT]."""

EPSILON = 1e-8
"""Added to the variance of the returns, against division by zero."""

MOMENTS_NAME = "return_moments"
"""Name of the moments of the returns among the submodules of a network."""

NetworkT = TypeVar("NetworkT", bound=nn.Module)


class RewardScaling:
    """Turns the rewards of rows into the rewards that an agent learns from.

        learned reward = clip(reward * factor)
        factor = reward_scale, or with normalize_reward, reward_scale / sqrt(variance + EPSILON)

    The variance is that of R over all agent steps of all environments so far. R is the discounted sum of the rewards
    of the episode up to the present one: R <- gamma R + reward (Engstrom et al. 2020, "Implementation matters in deep
    policy gradients", section 3; VecNormalize of OpenAI Baselines). Rewards are not shifted by a mean, because this
    would change which policy is best.

    Args:
        config: Settings.
        gamma: Discount per agent step.
        num_envs: Number of environments.
        network: The network that learns. With normalize_reward, `add_return_moments` has added its moments.
    """

    def __init__(self, config: RewardConfig, *, gamma: float, num_envs: int, network: nn.Module) -> None:
        self.scale = config.reward_scale
        self.gamma = gamma
        self.limit = config.reward_clip
        self.moments: RunningMoments | None = None
        if config.normalize_reward:
            self.limit = min(config.reward_clip or math.inf, NORMALIZED_LIMIT)
            moments = network.get_submodule(MOMENTS_NAME)
            assert isinstance(moments, RunningMoments)
            self.moments = moments
            # R of each environment, [N], in the dtype of the moments.
            self.discounted_return = moments.mean.new_zeros(num_envs)

    @torch.no_grad()
    def __call__(self, step: StepResult) -> StepResult:
        """Return a row with the rewards that the agent learns from. Call this method once for each row, in order."""
        reward = step.reward
        if self.moments is not None:
            self._update_moments(step, self.moments)
            reward = reward * (self.scale / _standard_deviation(self.moments)).float()
        elif self.scale != 1:
            reward = reward * self.scale
        if self.limit:
            reward = reward.clamp(-self.limit, self.limit)
        return step._replace(reward=reward)

    def value_scaling(self) -> ValueScaling:
        """Return discount, clip and present factor of the rewards. This waits for a GPU."""
        scale = self.scale
        if self.moments is not None:
            scale /= float(_standard_deviation(self.moments))
        return ValueScaling(self.gamma, self.limit, scale)

    def state_dict(self) -> dict[str, Any]:
        """Return the discounted returns of the running episodes. The moments are part of the network's state."""
        if self.moments is None:
            return {}
        return {"discounted_return": self.discounted_return}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that `state_dict` returned. An empty state changes nothing."""
        if self.moments is not None and state:
            self.discounted_return.copy_(state["discounted_return"])

    def _update_moments(self, step: StepResult, moments: RunningMoments) -> None:
        """Add the rewards of a row to the discounted returns, and the discounted returns to the moments."""
        self.discounted_return *= self.gamma
        self.discounted_return.masked_fill_(step.is_first, 0)
        self.discounted_return += step.reward
        moments.update(self.discounted_return, counted=~step.is_last)  # a last row is no agent step


def add_return_moments(network: NetworkT, config: RewardConfig) -> NetworkT:
    """Add the moments of the discounted returns to a network if `normalize_reward` is true, and return the network.

    The values that a network learns are in units of the standard deviation of the returns. So the moments belong to
    the network: a viewer or a run that receives the weights needs the unit of the values, too.
    """
    if config.normalize_reward:
        network.add_module(MOMENTS_NAME, RunningMoments(()))
    return network


def _standard_deviation(moments: RunningMoments) -> Tensor:
    """Return the standard deviation of the discounted returns, a tensor without dimensions."""
    return (moments.variance + EPSILON).sqrt()
