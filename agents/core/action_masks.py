"""The value of illegal actions, and means that leave them out.

A network with action masks gives illegal actions the value `ILLEGAL`. So the greedy action is legal, and max_a Q(s, a)
and every sum over the policy's probabilities hold legal actions only.
"""

from __future__ import annotations

import torch
from torch import Tensor

ILLEGAL = torch.finfo(torch.float32).min / 4
"""Value Q(s, a), or logarithm of the probability, of an illegal action. It is finite: infinity times 0 is not 0."""


def is_legal(values: Tensor) -> Tensor:
    """Return bool of the same shape: False where values Q(s, a), or log pi(a | s), belong to illegal actions."""
    return values > ILLEGAL / 2


def mean_of_legal(values: Tensor) -> Tensor:
    """Return mean_a Q(s, a) over the legal actions, f32[B], of Q(s, .) f32[B, A]."""
    legal = is_legal(values)
    return torch.where(legal, values, 0.0).sum(1) / legal.sum(1)
