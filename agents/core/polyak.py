"""Polyak averaging of target networks (Polyak and Juditsky 1992; Lillicrap et al. 2016, algorithm 1)."""

from __future__ import annotations

import torch
from torch import nn


class PolyakAverage:
    """A target network whose weights are a running average of those of the online network.

    The tensors of both networks are listed once, because listing them takes longer than averaging a small network.

    Args:
        target: The network to change. Its tensors may change in place only.
        online: A network with the same layers. Its tensors may change in place only.
    """

    def __init__(self, target: nn.Module, online: nn.Module) -> None:
        self._target_params = tuple(target.parameters())
        self._online_params = tuple(online.parameters())
        self._target_buffers = tuple(target.buffers())
        self._online_buffers = tuple(online.buffers())

    @torch.no_grad()
    def step(self, tau: float) -> None:
        """Set w^ <- w^ + tau (w - w^) for the parameters w^ of the target network and w of the online network.

        Buffers are copied: they are running statistics already.

        Args:
            tau: Step size, from 0 to 1.
        """
        if self._target_params:
            torch._foreach_lerp_(self._target_params, self._online_params, tau)
        if self._target_buffers:
            torch._foreach_copy_(self._target_buffers, self._online_buffers)
