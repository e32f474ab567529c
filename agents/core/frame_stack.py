"""Frame stacking: the last k observations of an episode as one input."""

from __future__ import annotations

import torch
from torch import Tensor

from agents.core.types import EnvSpaces


def empty_history(n: int, count: int, rows: EnvSpaces, device: torch.device) -> Tensor:
    """The history of n environments before their first row: `count` frames of zeros, [n, count, *frame]."""
    return torch.zeros((n, count, *rows.obs_shape), dtype=rows.dtype, device=device)


def stack_frames(obs: Tensor, is_first: Tensor, history: Tensor) -> tuple[Tensor, Tensor]:
    """The last k frames of each episode [N, k, *frame], from the newest one `obs` and the k-1 before it; the next history.

    Zeros stand before an episode's first frame, as in the replay.
    """
    history = history * ~is_first.view(-1, *[1] * (history.dim() - 1))
    stack = torch.cat([history, obs[:, None]], 1)
    return stack, stack[:, 1:]
