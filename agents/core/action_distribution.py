"""Distribution of actions with one or several parts, as a policy gradient needs it.

An action with several parts (MultiDiscrete, MultiBinary) is one number, which counts all combinations, the last part
fastest. The parts are independent given the state (Tavakoli et al. 2018, "Action branching architectures"):

    log pi(a | s) = sum_d log pi_d(a_d | s)
    H(pi) = sum_d H(pi_d)

In shapes, B is the number of states. `outputs` is the number of actions or, with several parts, the sum of the numbers
of actions of all parts.
"""

from __future__ import annotations

import torch
from torch import Tensor


class ActionDistribution:
    """The arithmetic of pi(. | s). It holds no tensors.

    Args:
        num_actions: Number of actions, or of all combinations.
        parts: Number of actions of each part. () means one part.
    """

    def __init__(self, num_actions: int, parts: tuple[int, ...] = ()) -> None:
        self.parts = parts or (num_actions,)
        self.num_outputs = sum(self.parts)

    def log_softmax(self, logits: Tensor) -> Tensor:
        """Return log pi_d(. | s) of all parts, one after the other, of logits float32[B, outputs]."""
        if len(self.parts) == 1:
            return logits.log_softmax(1)
        return torch.cat([part.log_softmax(1) for part in logits.split(self.parts, 1)], 1)

    def sample(self, log_pi: Tensor, generator: torch.Generator) -> Tensor:
        """Return actions i64[B], drawn from pi."""
        draws = [
            torch.multinomial(part.exp(), 1, generator=generator).squeeze(1) for part in log_pi.split(self.parts, 1)
        ]
        return self._number(draws)

    def mode(self, log_pi: Tensor) -> Tensor:
        """Return the most probable actions i64[B]."""
        return self._number([part.argmax(1) for part in log_pi.split(self.parts, 1)])

    def log_prob(self, log_pi: Tensor, action: Tensor) -> Tensor:
        """Return log pi(a | s) float32[B] of actions i64[B]."""
        log_probs = []
        for part_log_pi, part_action in zip(log_pi.split(self.parts, 1), self._split(action), strict=True):
            log_probs.append(part_log_pi.gather(1, part_action[:, None]).squeeze(1))
        return log_probs[0] if len(log_probs) == 1 else torch.stack(log_probs).sum(0)

    def entropy(self, log_pi: Tensor) -> Tensor:
        """Return H(pi) float32[B] in nats."""
        return -(log_pi.exp() * log_pi).sum(1)

    def _number(self, parts: list[Tensor]) -> Tensor:
        """Return the numbers i64[B] of combinations, from the actions i64[B] of each part."""
        number = parts[0]
        for size, action in zip(self.parts[1:], parts[1:], strict=True):
            number = number * size + action
        return number

    def _split(self, number: Tensor) -> list[Tensor]:
        """Return the actions i64[B] of each part, from the numbers i64[B] of combinations."""
        actions = []
        for size in reversed(self.parts[1:]):
            actions.append(number % size)
            number = number // size
        return [number, *reversed(actions)]
