"""The rollout of an agent without a replay memory: the rows since the last batch, and the batches made from them.

A row is one time step of all N environments. A cell is the part of a row that belongs to one environment.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from agents.core.targets import generalized_advantage
from agents.core.types import EnvSpaces, StepResult
from agents.memory.replay import ExtraFields, Replay
from agents.memory.sequences import SequenceBatch, SequenceSampler

EXTRA_FIELDS: ExtraFields = {"log_prob": (), "value": ()}
"""Further fields that the memory stores for each cell: log pi(a | s) of the action, and V(s). One number each."""


class RolloutBatch(NamedTuple):
    """B active cells to learn from: states in which an action was taken, with this action and its return."""

    obs: Tensor  # [B, k, *obs_shape], dtype of the observations
    action: Tensor  # i64[B], or f32[B, D] with continuous actions
    log_prob: Tensor  # f32[B]: log pi(a | s) of the policy that played the action; 0 for PQN
    value: Tensor  # f32[B]: V(s) when the action was played; max_a Q(s, a) for PQN; without a baseline 0
    advantage: Tensor  # f32[B]: generalised advantage; without a baseline the return
    ret: Tensor  # f32[B]: advantage + V(s), the regression target of the baseline

    def select(self, index: Tensor) -> RolloutBatch:
        """Return the cells with these indices i64[n], in this order.

        `index_select` copies whole observations. Indexing with brackets copies single bytes, ten times as slowly.
        """
        return RolloutBatch(*(field.index_select(0, index) for field in self))


class RolloutSequences(NamedTuple):
    """S sequences of L successive rows of one environment each, for recurrent agents.

    A sequence may contain the end of one episode and the start of the next.
    """

    obs: Tensor  # [L, S, k, *obs_shape], dtype of the observations
    is_first: Tensor  # bool[L, S]: an episode begins
    has_loss: Tensor  # bool[L, S]: False for the last rows of episodes, and for rows that another sequence learns
    action: Tensor  # i64[L, S]
    log_prob: Tensor  # f32[L, S]: log pi(a | s) of the policy that played the action
    value: Tensor  # f32[L, S]: V(s) when the action was played
    advantage: Tensor  # f32[L, S]: generalised advantage
    ret: Tensor  # f32[L, S]: advantage + V(s)
    state: tuple[Tensor, ...]  # f32[S, hidden] each: recurrent state before the first row, as it was in acting

    def select(self, index: Tensor) -> RolloutSequences:
        """Return the sequences with these indices i64[n], in this order."""
        *fields, state = self
        selected = [field.index_select(1, index) for field in fields]
        return RolloutSequences(*selected, state=tuple(part.index_select(0, index) for part in state))


class Rollout:
    """Memory that uses every cell in at most one batch.

    With a baseline, a batch holds the active cells of all rows since the last batch, except the newest row. The value
    of the newest row stands for the rewards to come.

    Without a baseline, a batch holds the active cells whose return is complete. The return of a cell begins with the
    row of the cell. It ends with the first row that terminated or truncated; with `points_end_returns`, it also ends
    with the first row whose reward is not 0. The return is complete if its last row is stored and is not the newest
    row. Cells of incomplete returns wait for a later batch, because to drop them would favour short returns. The memory
    holds the rows of two batches. So a return of more rows than a batch may lose its first rows before the return is
    complete.

    Args:
        spaces: Shapes and types of the observations and actions.
        batch_size: Agent steps of a batch, in all environments together. A batch is complete after `batch_size // N`
            rows.
        stack: Number of observations in a stack, k.
        gamma: Discount per step.
        trace_decay: lambda of the generalised advantage. Without a baseline, lambda is always 1.
        generator: Generator that the constructor of `Replay` requires. The rollout draws no random numbers from it.
        device: Device of the memory.
        batch_games: A batch is also complete after this many finished episodes, even if it has fewer rows. 0 means that
            only rows count.
        baseline: True if `add` receives learned values V(s). Otherwise the values that `add` receives must be 0.
        points_end_returns: End a return at every reward that is not 0.
        state_fields: Names and shapes of the recurrent state that `add` receives for each cell, for `take_sequences`.
    """

    def __init__(
        self,
        spaces: EnvSpaces,
        *,
        batch_size: int,
        stack: int,
        gamma: float,
        trace_decay: float,
        generator: torch.Generator,
        device: torch.device,
        batch_games: int = 0,
        baseline: bool = True,
        points_end_returns: bool = False,
        state_fields: ExtraFields | None = None,
    ) -> None:
        self.num_envs = spaces.num_envs
        self.batch_rows = batch_size // spaces.num_envs
        self.batch_games = batch_games
        self.gamma = gamma
        self.trace_decay = trace_decay if baseline else 1.0
        self.baseline = baseline
        self.points_end_returns = points_end_returns
        self.device = device
        self.state_fields = state_fields or {}
        self.memory = Replay(
            spaces,
            self.capacity(spaces, batch_size, stack),
            stack=stack,
            n_step=1,
            gamma=gamma,
            device=device,
            generator=generator,
            extra_fields={**EXTRA_FIELDS, **self.state_fields},
        )
        # The newest row when the last batch was taken. That batch excluded the row, so the next batch begins with it.
        self.batch_end = 0
        self.finished_episodes = 0  # episodes that ended since the last batch
        # Without a baseline: number of the first row of each environment that may belong to a later batch, i64[N].
        self.first_unused = torch.zeros(spaces.num_envs, dtype=torch.int64, device=device)

    @staticmethod
    def capacity(spaces: EnvSpaces, batch_size: int, stack: int) -> int:
        """Return the number of cells of the memory, `2 * batch_rows + 1 + stack` rows.

        They are the rows of the next batch, as many older rows for returns that were incomplete at the last batch, the
        newest row, and `stack` rows that complete the stack of the oldest row (`stack - 1` would be enough).
        """
        return (2 * (batch_size // spaces.num_envs) + 1 + stack) * spaces.num_envs

    @staticmethod
    def bytes_needed(spaces: EnvSpaces, batch_size: int, stack: int, state_fields: ExtraFields | None = None) -> int:
        """Return the bytes that the memory allocates."""
        capacity = Rollout.capacity(spaces, batch_size, stack)
        return Replay.bytes_needed(spaces, capacity, extra_fields={**EXTRA_FIELDS, **(state_fields or {})})

    def add(self, step: StepResult, log_prob: Tensor, value: Tensor, state: Sequence[Tensor] = ()) -> None:
        """Store a row with log pi(a | s) of its actions and its values V(s), both f32[N].

        Without a baseline, `value` must be 0. Then advantages are returns, and a truncated return gets no bootstrap.

        Args:
            step: The row.
            log_prob: log pi(a | s).
            value: V(s).
            state: The recurrent state before the row, one tensor f32[N, hidden] for each of `state_fields`.
        """
        states = dict(zip(self.state_fields, state, strict=True))
        self.memory.add(step, {"log_prob": log_prob, "value": value, **states})
        self.finished_episodes += self.num_envs - step.num_active

    @property
    def complete(self) -> bool:
        """Return True if enough rows or episodes have arrived for a batch."""
        # The newest row does not count: the row after it, from which it would bootstrap, is not known yet.
        num_rows = self.memory.total_rows - 1 - self.batch_end
        if num_rows < 1:
            return False
        enough_episodes = 0 < self.batch_games <= self.finished_episodes
        return enough_episodes or num_rows >= self.batch_rows

    @torch.no_grad()
    def take(self) -> RolloutBatch:
        """Return the next batch and mark its cells as used. Call this method when `complete` is True.

        Without a baseline, the batch is empty if no return is complete.
        """
        newest = self.memory.total_rows - 1
        begin = self.batch_end
        if not self.baseline:
            begin = int(self.first_unused.min())  # this waits for a GPU
        begin = max(begin, self.memory.first_whole_row)
        rows = SequenceSampler(self.memory, newest + 1 - begin).latest()  # rows `begin` to `newest`: [T + 1, N, ...]
        reward = rows.reward[:-1]  # [T, N]: without the newest row
        truncated = rows.truncated[:-1]  # [T, N]
        terminated = rows.terminated[:-1]  # [T, N]
        if self.points_end_returns:
            terminated = terminated | (reward != 0)
        value = rows.extra["value"]  # [T + 1, N]
        advantage = generalized_advantage(reward, terminated, truncated, value, self.gamma, self.trace_decay)
        # Indices i64[B] into the rows flattened to [T * N].
        if self.baseline:
            used_indices = self.memory.active.indices_within(range(begin, newest))
        else:
            used_indices = self._use_complete_returns(rows, terminated | truncated, begin)
        self.finished_episodes = 0
        self.batch_end = newest
        cells = RolloutBatch(
            obs=rows.obs[:-1].flatten(0, 1),
            action=rows.action[:-1].flatten(0, 1),
            log_prob=rows.extra["log_prob"][:-1].flatten(),
            value=value[:-1].flatten(),
            advantage=advantage.flatten(),
            ret=(advantage + value[:-1]).flatten(),
        )
        return cells.select(used_indices)

    @torch.no_grad()
    def take_sequences(self, max_length: int) -> RolloutSequences:
        """Return the next batch as sequences, and mark its cells as used. Call this when `complete` is True.

        The rows of each environment are cut into the smallest number of sequences of at most `max_length` rows. All
        sequences have the same length, so that they can be computed together. The last sequence may overlap the one
        before. The overlapping rows have no loss in the last sequence, so every active cell has exactly one loss. The
        last row of an episode has no loss, because its action is ignored.

        A baseline is required.
        """
        newest = self.memory.total_rows - 1
        begin = max(self.batch_end, self.memory.first_whole_row)
        self.finished_episodes = 0
        self.batch_end = newest
        rows = SequenceSampler(self.memory, newest + 1 - begin).latest()  # [T + 1, N, ...]
        value = rows.extra["value"]  # [T + 1, N]
        advantage = generalized_advantage(
            rows.reward[:-1], rows.terminated[:-1], rows.truncated[:-1], value, self.gamma, self.trace_decay
        )  # [T, N]
        num_rows = newest - begin
        num_pieces = math.ceil(num_rows / max_length)
        length = math.ceil(num_rows / num_pieces)
        first_learned = length * torch.arange(num_pieces, device=self.device)  # [C]: the first row with a loss
        first = first_learned.clamp(max=num_rows - length)  # [C]: the first row
        row = first + torch.arange(length, device=self.device)[:, None]  # [L, C]
        is_learned_row = (row >= first_learned).repeat_interleave(self.num_envs, 1)  # [L, C * N]
        return RolloutSequences(
            obs=_cut(rows.obs, row),
            is_first=_cut(rows.is_first, row),
            has_loss=is_learned_row & ~_cut(rows.is_last, row),
            action=_cut(rows.action, row),
            log_prob=_cut(rows.extra["log_prob"], row),
            value=_cut(value, row),
            advantage=_cut(advantage, row),
            ret=_cut(advantage + value[:-1], row),
            state=tuple(rows.extra[name].index_select(0, first).flatten(0, 1) for name in self.state_fields),
        )

    def _use_complete_returns(self, rows: SequenceBatch, ends_return: Tensor, begin: int) -> Tensor:
        """Select the active cells of complete returns, and mark them as used.

        Args:
            rows: Rows `begin` to the newest one, [T + 1, N].
            ends_return: bool[T, N], True where a return ends. The newest row is left out.
            begin: Number of the first row.

        Returns:
            Indices i64[B] of the selected cells in the rows flattened to [T * N].
        """
        # Number of each row, i64[T, N], and of the row in which the newest complete return of each environment ends,
        # i64[N]. The latter is begin - 1 for an environment without a complete return.
        number = torch.arange(begin, begin + len(ends_return), device=self.device)[:, None].expand_as(ends_return)
        last_complete = torch.where(ends_return, number, begin - 1).amax(0)
        is_used = ~rows.is_last[:-1] & (number >= self.first_unused) & (number <= last_complete)
        self.first_unused = torch.maximum(self.first_unused, last_complete + 1)
        return is_used.flatten().nonzero().squeeze(1)  # this waits for a GPU, because the result's size depends on data

    def state_dict(self) -> dict[str, Any]:
        """Return the stored rows, and the counters that tell which of them are used.

        The keys "open", "batch_ended" and "games" are kept for old checkpoints. Their attributes have other names now.
        """
        return {
            "memory": self.memory.state_dict(),
            "open": self.first_unused,
            "batch_ended": self.batch_end,
            "games": self.finished_episodes,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that `state_dict` returned. Raises ValueError or RuntimeError if shapes do not fit."""
        self.memory.load_state_dict(state["memory"])
        self.first_unused.copy_(state["open"])
        self.batch_end = int(state["batch_ended"])
        self.finished_episodes = int(state["games"])


def _cut(field: Tensor, row: Tensor) -> Tensor:
    """Return pieces of a field [T, N, ...] as sequences [L, C * N, ...], ordered by piece, then by environment.

    Args:
        field: The field.
        row: Row i64[L, C] of the field, for each row of each of the C pieces.
    """
    return field.index_select(0, row.flatten()).unflatten(0, row.shape).flatten(1, 2)
