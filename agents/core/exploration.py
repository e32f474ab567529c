"""Exploration by random actions: epsilon-greedy, and repeated random actions.

Repeated random actions are those of Dabney et al. 2021, "Temporally-extended epsilon-greedy exploration". A single
random action changes little where the effects of actions add up, as in MountainCar. A random action that is repeated
for n steps reaches states far away. With n drawn from a zeta distribution, most repetitions are short, and a few are
long.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from agents.core.action_masks import is_legal

MAX_STEPS = 1000
"""Largest number of repetitions n."""


def random_actions(q: Tensor, generator: torch.Generator, *, has_masks: bool) -> Tensor:
    """Return uniformly random legal actions i64[N].

    Args:
        q: Q(s, .) f32[N, A], which shows the legal actions.
        generator: Generator of the random numbers.
        has_masks: True if some actions may be illegal.
    """
    if has_masks:
        return torch.multinomial(is_legal(q).float(), 1, generator=generator).squeeze(1)
    return torch.randint(q.shape[1], (len(q),), generator=generator, device=q.device)


def epsilon_greedy(q: Tensor, epsilon: float, generator: torch.Generator, *, has_masks: bool) -> Tensor:
    """Return the greedy actions i64[N], each replaced by a uniformly random legal one with probability epsilon.

    Args:
        q: Q(s, .) f32[N, A].
        epsilon: Probability of a random action.
        generator: Generator of the random numbers.
        has_masks: True if some actions may be illegal.
    """
    is_random = torch.rand(len(q), generator=generator, device=q.device) < epsilon
    return torch.where(is_random, random_actions(q, generator, has_masks=has_masks), q.argmax(1))


class RepeatedActions:
    """The choice between greedy, random and repeated actions. Its state is part of the carry.

    Args:
        exponent: Exponent mu of the zeta distribution: P(n) is proportional to n^-mu, for n from 1 to `MAX_STEPS`.
        generator: Generator of the random numbers.
    """

    def __init__(self, exponent: float, generator: torch.Generator) -> None:
        self.generator = generator
        steps = torch.arange(1, MAX_STEPS + 1, dtype=torch.float64)
        shares = steps**-exponent
        self.cumulative = (shares.cumsum(0) / shares.sum()).float().to(generator.device)  # P(n <= 1), P(n <= 2), ...

    def initial_carry(self, n: int) -> tuple[Tensor, Tensor]:
        """Return the state of n environments: the repetitions that are left i64[n], and the repeated actions i64[n]."""
        zeros = torch.zeros(n, dtype=torch.int64, device=self.generator.device)
        return zeros, zeros.clone()

    def __call__(
        self,
        greedy: Tensor,
        random: Tensor,
        q: Tensor,
        is_first: Tensor,
        carry: Sequence[Tensor],
        epsilon: float,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Choose actions.

        An environment that repeats an action repeats it once more, unless an episode begins or the action is illegal
        now. In any other environment, a random action begins with probability epsilon; else the action is greedy.

        Args:
            greedy: The greedy actions i64[N].
            random: Random legal actions i64[N].
            q: Q(s, .) f32[N, A], which shows the legal actions.
            is_first: bool[N], True where an episode begins.
            carry: The state.
            epsilon: Probability of a random action.

        Returns:
            The actions i64[N], and the next state.
        """
        steps_left, repeated = carry
        is_repeated_legal = is_legal(q.gather(1, repeated[:, None])).squeeze(1)
        repeats = (steps_left > 0) & ~is_first & is_repeated_legal
        draw = torch.rand((2, len(greedy)), generator=self.generator, device=self.generator.device)
        begins = ~repeats & (draw[0] < epsilon)
        duration = torch.searchsorted(self.cumulative, draw[1]).clamp(max=MAX_STEPS - 1) + 1
        action = torch.where(repeats, repeated, torch.where(begins, random, greedy))
        steps_left = torch.where(repeats, steps_left - 1, torch.where(begins, duration - 1, 0))
        repeated = torch.where(begins, random, repeated)
        return action, (steps_left, repeated)
