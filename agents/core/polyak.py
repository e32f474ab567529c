"""Polyak averaging of target networks (Polyak and Juditsky 1992; Lillicrap et al. 2016, algorithm 1)."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def polyak_step(target: nn.Module, online: nn.Module, tau: float) -> None:
    """Set w^ <- w^ + tau (w - w^) for the parameters w^ of a target network and w of its online network.

    Buffers are copied: they are running statistics already.

    Args:
        target: The network to change.
        online: A network with the same layers.
        tau: Step size, from 0 to 1.
    """
    target_params = tuple(target.parameters())
    online_params = tuple(online.parameters())
    if target_params:
        torch._foreach_lerp_(target_params, online_params, tau)
    for target_buffer, buffer in zip(target.buffers(), online.buffers(), strict=True):
        target_buffer.copy_(buffer)
