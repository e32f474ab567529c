"""Sequences of successive rows from a replay memory, for recurrent networks and rollouts.

A row is one time step of all N environments. A cell is the part of a row that belongs to one environment. A sequence
consists of the cells of one environment in successive rows.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from agents.memory.replay import Replay


class SequenceBatch(NamedTuple):
    """B sequences of L rows. A sequence may contain the end of one episode and the start of the next.

    The fields have the meaning of those of `StepResult`, but `obs` holds stacks of k observations.
    """

    obs: Tensor  # [L, B, k, *obs_shape], dtype of the observations
    is_first: Tensor  # bool[L, B]
    is_last: Tensor  # bool[L, B]
    action: Tensor  # i64[L, B], or f32[L, B, D] with continuous actions
    reward: Tensor  # f32[L, B]
    terminated: Tensor  # bool[L, B]
    truncated: Tensor  # bool[L, B]
    extra: dict[str, Tensor]  # the replay's `extra_fields`, f32[L, B, ...] each
    weight: Tensor  # f32[B]: importance-sampling weights; ones if sampling is uniform
    cell: Tensor  # i64[B]: cells of the replay memory at which the sequences start


class SequenceSampler:
    """Sampler of sequences of `length` rows.

    If the replay is prioritised, the priority of a sequence is that of its first cell. The replay must then have a
    `lookahead` of `length - 1` rows, so that it draws only cells whose whole sequence is stored.

    Args:
        replay: The replay memory.
        length: Rows in a sequence, L.
    """

    def __init__(self, replay: Replay, length: int) -> None:
        self.replay = replay
        self.length = length

    @property
    def count(self) -> int:
        """Return the number of complete sequences in the replay."""
        whole_rows = self.replay.total_rows - self.replay.first_whole_row
        return max(0, whole_rows - self.length + 1) * self.replay.num_envs

    def sample(self, batch_size: int, *, beta: float = 1.0) -> SequenceBatch:
        """Draw sequences with replacement.

        Uniform sampling may draw a sequence that starts with the last row of an episode. Prioritised sampling draws
        only sequences that start with an active cell.

        Args:
            batch_size: Number of sequences, B.
            beta: Exponent of the importance-sampling weights; see `Priorities.draw`. Uniform sampling ignores `beta`.

        Raises:
            ValueError: No sequence is complete yet.
        """
        replay = self.replay
        if self.count == 0 or (replay.priorities and replay.num_starts == 0):
            raise ValueError(
                f"no sequence of {self.length} rows yet: {replay.total_rows} rows of {replay.num_envs} environments"
                " have been written"
            )
        if replay.priorities:
            cell, weight = replay.draw_by_priority(batch_size, beta=beta)
            return self.at(cell)._replace(weight=weight)
        index = torch.randint(self.count, (batch_size,), generator=replay.generator, device=replay.device)
        return self.at(index + replay.first_whole_row * replay.num_envs)

    def latest(self) -> SequenceBatch:
        """Return the newest sequence of every environment (B = N). Raises ValueError if the replay has too few rows."""
        replay = self.replay
        if self.count == 0:
            raise ValueError(
                f"no sequence of {self.length} rows yet: {replay.total_rows} rows of {replay.num_envs} environments"
                " have been written"
            )
        first_row = replay.total_rows - self.length
        return self.at(first_row * replay.num_envs + torch.arange(replay.num_envs, device=replay.device))

    def at(self, start: Tensor) -> SequenceBatch:
        """Return the sequences that start at these cells.

        Args:
            start: Cells i64[B]. They may also be counted from the first row ever written (row * N + environment); the
                count is taken modulo the number of cells.
        """
        replay = self.replay
        fields = replay.storage
        offset = torch.arange(self.length, device=replay.device)[:, None] * replay.num_envs
        cell = (start + offset) % replay.num_cells  # [L, B]
        extra = {}
        for name in replay.extra_fields:
            extra[name] = fields[name][cell]
        return SequenceBatch(
            obs=replay.stacks(cell.flatten()).unflatten(0, cell.shape),
            is_first=fields["age"].take(cell) == 0,  # the age counts the rows since the first of the episode
            is_last=fields["is_last"].take(cell),
            action=replay.actions(cell.flatten()).unflatten(0, cell.shape),
            reward=fields["reward"].take(cell),
            terminated=fields["terminated"].take(cell),
            truncated=fields["truncated"].take(cell),
            extra=extra,
            weight=torch.ones(len(start), device=replay.device),
            cell=cell[0],
        )
