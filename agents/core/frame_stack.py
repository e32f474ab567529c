"""Frame stacking: the latest k observations of an episode as one input of the network."""

from __future__ import annotations

import torch
from torch import Tensor

from agents.core.types import EnvSpaces


def empty_history(n: int, count: int, spaces: EnvSpaces, device: torch.device) -> Tensor:
    """Return the history of n environments before their first row: zeros [n, count, *obs_shape].

    Args:
        n: Number of environments.
        count: Number of earlier observations in a stack, k-1.
        spaces: Shape and dtype of an observation.
        device: Device of the history.
    """
    return torch.zeros((n, count, *spaces.obs_shape), dtype=spaces.dtype, device=device)


def stack_frames(obs: Tensor, is_first: Tensor, history: Tensor) -> tuple[Tensor, Tensor]:
    """Stack each observation with the k-1 previous observations of its episode.

    Zeros stand for the observations before the first of an episode, as in the replay memory.

    Args:
        obs: Observations [N, *obs_shape].
        is_first: bool[N], True where an episode begins.
        history: The previous observations [N, k-1, *obs_shape], oldest first.

    Returns:
        The stacks [N, k, *obs_shape], oldest observation first, and the history for the next row.
    """
    continues = ~is_first.view(-1, *[1] * (history.dim() - 1))
    stack = torch.cat([history * continues, obs[:, None]], 1)
    return stack, stack[:, 1:]
