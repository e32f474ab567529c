"""The data that agents exchange with the training loop: rows, outputs, carries and metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

Carry = tuple[Tensor, ...]
"""State from one call of `act` to the next: tensors [N, ...] that the caller keeps. It may be empty."""

Metrics = dict[str, Tensor]
"""Named scalars on the agent's device. They are not copied to the host before they are logged."""


class StepResult(NamedTuple):
    """Row t of N environments, as tensors on the agent's device (docs/architecture.md, "The row")."""

    obs: Tensor  # [N, *obs_shape]: one observation per environment, without frame stacking
    is_first: Tensor  # bool[N]: obs is the first of an episode
    is_last: Tensor  # bool[N]: obs is the last of an episode; the action of this row has no effect
    action: Tensor  # i64[N]
    reward: Tensor  # f32[N]: reward for the action of this row, not clipped
    terminated: Tensor  # bool[N]: do not bootstrap after this row (also after a lost life, if the protocol says so)
    truncated: Tensor  # bool[N]: the episode ends after this row, but bootstrap from its last observation
    num_active: int  # number of environments whose row is not `is_last`; this is the number of agent steps in the row


class PolicyOutput(NamedTuple):
    """The greedy action of N environments and the numbers behind it."""

    action: Tensor  # i64[N]: the greedy action
    scores: Tensor  # f32[N, A]: Q(s, .), or the probabilities pi(. | s) if `is_policy`
    value: Tensor  # f32[N]: the discounted return that the agent expects
    distribution: Tensor | None = None  # f32[N, A, atoms]: probabilities of returns, from distributional agents
    state_norm: Tensor | None = None  # f32[N]: norm of the recurrent state, from recurrent agents
    is_policy: bool = False  # True if `scores` are probabilities


class ValueScaling(NamedTuple):
    """Discount, clip and scale of the rewards behind an agent's value estimates.

    The values are discounted sums of clip(reward * reward_scale). With `normalize_reward` the scale changes during
    training. `reward_scale` is the scale of the newest reward, and the agent may have learned from older ones.
    """

    gamma: float = 1.0  # discount per agent step
    reward_clip: float = 0.0  # scaled rewards are clipped to [-reward_clip, reward_clip]; 0 means no clipping
    reward_scale: float = 1.0  # factor on the rewards before they are clipped


@dataclass(frozen=True)
class EnvSpaces:
    """Shapes and types of observations and actions: all that an agent is told about its environment."""

    obs_shape: tuple[int, ...]  # shape of one observation: (84, 84) for an Atari frame, (4,) for CartPole
    dtype: torch.dtype  # torch.uint8 for images, torch.float32 for vectors
    num_actions: int
    num_envs: int
    one_hot: bool = False  # the observation is a discrete state, encoded as a one-hot vector
    bounds: tuple[tuple[float, float], ...] | None = None  # (low, high) of each entry of a bounded vector

    @property
    def is_image(self) -> bool:
        """Return True if an observation is an image [H, W]."""
        return len(self.obs_shape) == 2 and self.dtype == torch.uint8


def mean_metrics(per_update: list[Metrics]) -> Metrics | None:
    """Return the mean of each metric over several updates, or None if there were no updates."""
    if not per_update:
        return None
    if len(per_update) == 1:
        return per_update[0]
    return {name: torch.stack([metrics[name] for metrics in per_update]).mean() for name in per_update[0]}
