"""The rollout of a policy gradient: the rows played since the last batch, and the batches made from them."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from agents.core.targets import generalized_advantage
from agents.core.types import EnvSpaces, StepResult
from agents.memory.replay import ExtraFields, Replay
from agents.memory.sequences import SequenceBatch, SequenceSampler

EXTRA_FIELDS: ExtraFields = {"log_prob": (), "value": ()}
"""Fields that the replay memory of a rollout stores for each cell: log pi(a | s) of the action, and V(s)."""


class RolloutBatch(NamedTuple):
    """B rows to learn from, none of them the last of an episode."""

    obs: Tensor  # [B, k, *obs_shape], dtype of the observations
    action: Tensor  # i64[B]
    log_prob: Tensor  # f32[B]: log pi(a | s) of the policy that played the action
    advantage: Tensor  # f32[B]
    ret: Tensor  # f32[B]: return, the regression target of the baseline


class Rollout:
    """Memory of a policy gradient, which uses every row in one batch only.

    With a baseline, a batch is all rows before the newest one, and the value of the newest row stands for the rewards
    to come. Without a baseline, a batch is all rows whose return is complete. The other rows wait for the next batch,
    because leaving them out would favour short returns. A return that takes longer than a whole batch loses its first
    rows.

    Args:
        spaces: Shapes and types of the observations and actions.
        batch_size: Agent steps of a batch, in all environments together.
        batch_games: Complete a batch after this many finished episodes, if that is earlier. 0 counts agent steps only.
        stack: Observations of a stack, k.
        gamma: Discount per step.
        trace_decay: lambda of the generalised advantage. Without a baseline, lambda is always 1.
        baseline: True if rows come with a learned value V(s).
        points_end_returns: End a return at every reward that is not 0.
        generator: Generator for the replay memory; a rollout draws no random numbers.
        device: Device of the memory.
    """

    def __init__(
        self,
        spaces: EnvSpaces,
        *,
        batch_size: int,
        batch_games: int,
        stack: int,
        gamma: float,
        trace_decay: float,
        baseline: bool,
        points_end_returns: bool,
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        self.num_envs = spaces.num_envs
        self.batch_rows = batch_size // spaces.num_envs
        self.batch_games = batch_games
        self.gamma = gamma
        self.trace_decay = trace_decay if baseline else 1.0
        self.baseline = baseline
        self.points_end_returns = points_end_returns
        self.device = device
        self.memory = Replay(
            spaces,
            self.capacity(spaces, batch_size, stack),
            stack=stack,
            n_step=1,
            gamma=gamma,
            device=device,
            generator=generator,
            extra_fields=EXTRA_FIELDS,
        )
        self.batch_end = 0  # number of the newest row when the last batch was taken
        self.finished_games = 0  # episodes that ended since the last batch
        # Without a baseline: the first row of each environment that may belong to a later batch, i64[N].
        self.first_unused = torch.zeros(spaces.num_envs, dtype=torch.int64, device=device)

    @staticmethod
    def capacity(spaces: EnvSpaces, batch_size: int, stack: int) -> int:
        """Return the cells of the memory: two batches, the newest row, and the rest of the oldest stack."""
        return (2 * (batch_size // spaces.num_envs) + 1 + stack) * spaces.num_envs

    @staticmethod
    def bytes_needed(spaces: EnvSpaces, batch_size: int, stack: int) -> int:
        """Return the bytes that the memory allocates."""
        capacity = Rollout.capacity(spaces, batch_size, stack)
        return Replay.bytes_needed(spaces, capacity, extra_fields=EXTRA_FIELDS)

    def add(self, step: StepResult, log_prob: Tensor, value: Tensor) -> None:
        """Store a row with log pi(a | s) of its actions and its values V(s), both f32[N]."""
        self.memory.add(step, {"log_prob": log_prob, "value": value})
        self.finished_games += self.num_envs - step.num_active

    @property
    def complete(self) -> bool:
        """Return True if enough rows or episodes have arrived for a batch."""
        num_rows = (
            self.memory.total_rows - 1 - self.batch_end
        )  # without the newest row, whose successor is not known yet
        if num_rows < 1:
            return False
        enough_games = 0 < self.batch_games <= self.finished_games
        return enough_games or num_rows >= self.batch_rows

    @torch.no_grad()
    def take(self) -> RolloutBatch:
        """Return the next batch and mark its rows as used. The batch is empty if no return is complete."""
        newest = self.memory.total_rows - 1
        begin = self.batch_end
        if not self.baseline:
            begin = int(self.first_unused.min())  # this waits for a GPU
        begin = max(begin, self.memory.first_whole_row)
        rows = SequenceSampler(self.memory, newest + 1 - begin).latest()
        reward = rows.reward[:-1]
        truncated = rows.truncated[:-1]
        terminated = rows.terminated[:-1]
        if self.points_end_returns:
            terminated = terminated | (reward != 0)
        value = rows.extra["value"]
        advantage = generalized_advantage(reward, terminated, truncated, value, self.gamma, self.trace_decay)
        if self.baseline:
            used = self.memory.active.indices_within(range(begin, newest))
        else:
            used = self._use_complete_returns(rows, terminated | truncated, begin)
        self.finished_games = 0
        self.batch_end = newest
        return RolloutBatch(
            obs=rows.obs.flatten(0, 1)[used],
            action=rows.action.flatten()[used],
            log_prob=rows.extra["log_prob"].flatten()[used],
            advantage=advantage.flatten()[used],
            ret=(advantage + value[:-1]).flatten()[used],
        )

    def _use_complete_returns(self, rows: SequenceBatch, ends_return: Tensor, begin: int) -> Tensor:
        """Mark the rows of complete returns as used, and return their indices i64[B] in the flattened rows.

        Args:
            rows: The rows from `begin` to the newest one.
            ends_return: bool[T, N], True for the last row of a return. T excludes the newest row.
            begin: Number of the first row.
        """
        number = torch.arange(begin, begin + len(ends_return), device=self.device)[:, None].expand_as(ends_return)
        last_complete = torch.where(ends_return, number, begin - 1).amax(0)  # i64[N]: end of the newest complete return
        is_used = ~rows.is_last[:-1] & (number >= self.first_unused) & (number <= last_complete)
        self.first_unused = torch.maximum(self.first_unused, last_complete + 1)
        return is_used.flatten().nonzero().squeeze(1)  # this waits for a GPU, which alone knows how many rows are used

    def state_dict(self) -> dict[str, Any]:
        """Return the stored rows, and which of them are used."""
        return {
            "memory": self.memory.state_dict(),
            "open": self.first_unused,
            "batch_ended": self.batch_end,
            "games": self.finished_games,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that `state_dict` returned. Raises ValueError if shapes do not fit."""
        self.memory.load_state_dict(state["memory"])
        self.first_unused.copy_(state["open"])
        self.batch_end = int(state["batch_ended"])
        self.finished_games = int(state["games"])
