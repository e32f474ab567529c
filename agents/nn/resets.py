"""Resets of a network during training, against the loss of its ability to learn.

A network that learned for long from little data fits new targets badly: it overfits what it saw first (Nikishin et al.
2022, "The primacy bias in deep reinforcement learning"). Periodic resets let it learn again from the replay memory
(D'Oro et al. 2023, "Sample-efficient reinforcement learning by breaking the replay ratio barrier"; Schwarzer et al.
2023, "Bigger, better, faster").
"""

from __future__ import annotations

import torch
from torch import nn

ENCODER_MODULES = frozenset({"conv", "embedding"})
"""Names of the modules of an encoder that keep a share of their weights: convolutions, and vectors of codes."""


@torch.no_grad()
def reset_weights(network: nn.Module, fresh: nn.Module, share: float) -> list[nn.Parameter]:
    """Reset the parameters of a network in place: shrink and perturb the convolutions, replace all others.

        convolutions    w <- (1 - share) w + share w_fresh    (Ash and Adams 2020, "On warm-starting neural networks")
        all others      w <- w_fresh

    Networks for vectors have no convolutions, so all their parameters are replaced. Buffers stay as they are: they are
    running statistics of observations and returns, and constants.

    Args:
        network: The network to change.
        fresh: A network with the same layers and new random weights.
        share: Share of the new weights in the convolutions, from 0 to 1.

    Returns:
        The parameters that were replaced.
    """
    replaced = []
    fresh_params = dict(fresh.named_parameters())
    for path, param in network.named_parameters():
        if ENCODER_MODULES.isdisjoint(path.split(".")):
            param.copy_(fresh_params[path])
            replaced.append(param)
        else:
            param.lerp_(fresh_params[path], share)
    return replaced
