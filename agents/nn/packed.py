"""The parts of packed observations: vectors, images or planes, and action masks (`agents.core.types.PackedLayout`)."""

from __future__ import annotations

import torch
from torch import Tensor

from agents.core.action_masks import ILLEGAL
from agents.core.types import EnvSpaces, PackedLayout


def vector_part(obs: Tensor, layout: PackedLayout) -> Tensor:
    """Return the vectors f32[..., D] of packed observations uint8[..., bytes]."""
    return obs[..., : 4 * layout.vector].view(torch.float32)


def observed_vectors(obs: Tensor, spaces: EnvSpaces) -> Tensor:
    """Return the vectors f32[B, D] of observations [B, *obs_shape], which may be packed."""
    if spaces.packed is None:
        return obs
    return vector_part(obs, spaces.packed)


def spatial_part(obs: Tensor, layout: PackedLayout) -> Tensor:
    """Return the images or planes [..., C, H, W] of packed observations uint8[..., bytes]."""
    start = 4 * layout.vector
    end = start + layout.num_spatial * layout.spatial_dtype.itemsize
    entries = obs[..., start:end]
    if layout.spatial_dtype != torch.uint8:
        entries = entries.view(layout.spatial_dtype)
    return entries.unflatten(-1, layout.spatial)


def legal_actions(obs: Tensor, layout: PackedLayout) -> Tensor:
    """Return the action masks bool[B, A] of packed observations uint8[B, bytes].

    If a mask holds no action, all actions count as legal. Such masks belong to the last observation of an episode, and
    to the zeros that stand in a stack for the observations before an episode. Actions have no effect there.
    """
    start = 4 * layout.vector + layout.num_spatial * layout.spatial_dtype.itemsize
    num_bytes = -(-layout.num_masked // 8)
    shift = torch.arange(8, device=obs.device, dtype=torch.uint8)
    bits = (obs[:, start : start + num_bytes, None] >> shift) & 1
    legal = bits.flatten(1)[:, : layout.num_masked].bool()
    return legal | ~legal.any(1, keepdim=True)


def mask_illegal(values: Tensor, obs: Tensor, layout: PackedLayout | None) -> Tensor:
    """Return the values f32[B, A] with `ILLEGAL` for illegal actions.

    Args:
        values: Q(s, .), or the logits of pi(. | s).
        obs: Packed observations [B, k, bytes], of which the newest one is the last.
        layout: Their layout. None, or a layout without masks, leaves the values unchanged.
    """
    if layout is None or not layout.num_masked:
        return values
    return torch.where(legal_actions(obs[:, -1], layout), values, ILLEGAL)
