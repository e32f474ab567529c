"""The data that agents exchange with the training loop: rows, outputs, carries and metrics."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

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
    action: Tensor  # i64[N], or f32[N, D] with continuous actions
    reward: Tensor  # f32[N]: reward for the action of this row, not clipped
    terminated: Tensor  # bool[N]: do not bootstrap after this row (also after a lost life, if the protocol says so)
    truncated: Tensor  # bool[N]: the episode ends after this row, but bootstrap from its last observation
    num_active: int  # number of environments whose row is not `is_last`; this is the number of agent steps in the row


class PolicyOutput(NamedTuple):
    """The greedy action of N environments and the numbers behind it."""

    action: Tensor  # i64[N], or f32[N, D] with continuous actions: the greedy action
    scores: Tensor
    """The numbers from which the greedy action follows, differentiable:

    - values Q(s, .) f32[N, A];
    - if `is_policy`, probabilities pi(. | s) f32[N, A]. Those of an action with several parts stand one part after the
      other;
    - with continuous actions, the greedy action f32[N, D].

    `agents.core.action_masks` says which scores illegal actions have."""
    value: Tensor  # f32[N]: the discounted return that the agent expects
    distribution: Tensor | None = None  # f32[N, A, atoms]: probabilities of returns, from distributional agents
    state_norm: Tensor | None = None  # f32[N]: norm of the recurrent state, from recurrent agents
    is_policy: bool = False  # True if `scores` are probabilities, or means of continuous actions
    action_std: Tensor | None = None  # f32[N, D]: standard deviations of continuous actions, from stochastic policies

    @property
    def is_continuous(self) -> bool:
        """Return True if the actions are vectors of real numbers."""
        return self.action.is_floating_point()


class ValueScaling(NamedTuple):
    """Discount, clip and scale of the rewards behind an agent's value estimates.

    The values are discounted sums of clip(reward * reward_scale). With `normalize_reward` the scale changes during
    training. `reward_scale` is the scale of the newest reward, and the agent may have learned from older ones.
    """

    gamma: float = 1.0  # discount per agent step
    reward_clip: float = 0.0  # scaled rewards are clipped to [-reward_clip, reward_clip]; 0 means no clipping
    reward_scale: float = 1.0  # factor on the rewards before they are clipped


ObsKind = Literal["image", "planes", "vector", "packed"]
"""Meaning of observations: images uint8[H, W] or uint8[C, H, W]; planes, which are maps over a grid, uint8[C, H, W] or
f32[C, H, W]; vectors float32; or several of these in one row of bytes, see `PackedLayout`."""


class PackedLayout(NamedTuple):
    """Where the parts of a packed observation lie in its bytes.

    The bytes are, in this order: the entries of the vectors as float32, the image or planes, the action mask with one
    bit for each action (the first action in the lowest bit), and zeros up to a multiple of four bytes.
    """

    vector: int = 0  # entries of the vectors
    spatial: tuple[int, ...] = ()  # shape [C, H, W] of the image or planes; () if there are none
    spatial_kind: Literal["image", "planes"] = "planes"
    spatial_dtype: torch.dtype = torch.uint8  # or torch.float32, for planes
    num_masked: int = 0  # actions in the mask; 0 without a mask

    @property
    def num_spatial(self) -> int:
        """Return the number of entries of the image or planes."""
        return math.prod(self.spatial) if self.spatial else 0


@dataclass(frozen=True)
class EnvSpaces:
    """Shapes and types of observations and actions: all that an agent is told about its environment."""

    obs_shape: tuple[int, ...]  # shape of one observation: (84, 84) for an Atari frame, (4,) for CartPole
    dtype: torch.dtype  # torch.uint8 for images, planes of codes and packed observations; torch.float32 for others
    num_actions: int  # with `action_parts`, the number of all combinations; 0 with continuous actions
    num_envs: int
    one_hot: bool = False  # the observation consists of discrete states, encoded as one-hot vectors
    bounds: tuple[tuple[float, float], ...] | None = None  # (low, high) of each entry of a bounded vector
    kind: ObsKind | None = None  # None: image for uint8[H, W], vector for all others
    packed: PackedLayout | None = None  # where the parts of packed observations lie
    state_sizes: tuple[int, ...] = ()  # sizes of the one-hot groups; () stands for one group, if `one_hot`
    action_parts: tuple[int, ...] = ()  # number of actions of each part of an action; () if it has one part only
    action_dim: int = 0  # entries D of a continuous action, each in [-1, 1]; 0 with discrete actions

    @property
    def obs_kind(self) -> ObsKind:
        """Return the meaning of observations."""
        if self.kind is not None:
            return self.kind
        return "image" if len(self.obs_shape) == 2 and self.dtype == torch.uint8 else "vector"

    @property
    def is_image(self) -> bool:
        """Return True if an observation is an image [H, W] or [C, H, W]."""
        return self.obs_kind == "image"

    @property
    def is_continuous(self) -> bool:
        """Return True if actions are vectors of real numbers."""
        return self.action_dim > 0

    @property
    def action_shape(self) -> tuple[int, ...]:
        """Return the shape of one action: (D,) for a continuous action, () for the number of a discrete one."""
        return (self.action_dim,) if self.is_continuous else ()

    @property
    def has_action_masks(self) -> bool:
        """Return True if observations hold action masks."""
        return self.packed is not None and self.packed.num_masked > 0

    def part(self, kind: ObsKind) -> EnvSpaces | None:
        """Return the spaces of the image, planes or vector inside a packed observation, or None if there is none."""
        packed = self.packed
        assert packed is not None
        if kind == "vector":
            if not packed.vector:
                return None
            return replace(self, kind="vector", obs_shape=(packed.vector,), dtype=torch.float32, packed=None)
        if not packed.spatial or kind != packed.spatial_kind:
            return None
        return replace(self, kind=kind, obs_shape=packed.spatial, dtype=packed.spatial_dtype, packed=None)


def mean_metrics(per_update: list[Metrics]) -> Metrics | None:
    """Return the mean of each metric over several updates, or None if there were no updates."""
    if not per_update:
        return None
    if len(per_update) == 1:
        return per_update[0]
    return {name: torch.stack([metrics[name] for metrics in per_update]).mean() for name in per_update[0]}
