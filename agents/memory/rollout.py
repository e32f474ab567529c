"""The rows that a policy gradient has played since its last batch, and which of them the next batch is made of."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from agents.core.targets import generalized_advantage
from agents.core.types import EnvSpaces, StepResult
from agents.memory.replay import Replay


class RolloutBatch(NamedTuple):
    """B rows to learn from."""

    obs: Tensor  # [B, k, *frame]
    action: Tensor  # i64[B]
    log_prob: Tensor  # f32[B]: log pi of the action when it was played
    advantage: Tensor  # f32[B]
    ret: Tensor  # f32[B]: what the baseline should have said


class Rollout:
    """The memory of a policy gradient, whose rows are used once: as a batch of `batch_size` agent steps, or of `batch_games` games.

    With a baseline a batch is all rows but the newest, whose value stands for what comes after. Without one it is those whose
    return is complete; the others wait for the next batch, so that long returns are not left out in favour of short ones (one
    that takes longer than a whole batch loses its beginning). Dead rows are never among them.
    """

    def __init__(
        self,
        rows: EnvSpaces,
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
        self.num_envs, self.batch_rows, self.batch_games = rows.num_envs, batch_size // rows.num_envs, batch_games
        self.gamma, self.decay, self.baseline = gamma, trace_decay if baseline else 1.0, baseline
        self.points_end_returns, self.device = points_end_returns, device
        capacity = self.capacity(rows, batch_size, stack)
        self.memory = Replay(rows, capacity, stack=stack, n_step=1, gamma=gamma, device=device, generator=generator)
        self.memory.keep({"log_prob": (), "value": ()})
        self.batch_ended = 0  # the newest row when the last batch was taken
        self.games = 0  # that have ended since then
        # without a baseline, the first row of each environment that may still be in a batch
        self.open = torch.zeros(rows.num_envs, dtype=torch.int64, device=device)

    @staticmethod
    def capacity(rows: EnvSpaces, batch_size: int, stack: int) -> int:
        """Cells of the memory: two batches, the newest row, and the frames of the oldest one's stack."""
        return (2 * (batch_size // rows.num_envs) + 1 + stack) * rows.num_envs

    @staticmethod
    def bytes_needed(rows: EnvSpaces, batch_size: int, stack: int) -> int:
        """Bytes that the memory allocates."""
        capacity = Rollout.capacity(rows, batch_size, stack)
        return Replay.bytes_needed(rows, capacity) + 8 * capacity

    def add(self, step: StepResult, log_prob: Tensor, value: Tensor) -> None:
        """Remember a row, log pi of its action, and its value, both f32[N]."""
        self.memory.add(step, {"log_prob": log_prob, "value": value})
        self.games += self.num_envs - step.num_active

    @property
    def complete(self) -> bool:
        """Whether it is time for a batch."""
        rows = self.memory.total_rows - 1 - self.batch_ended  # the newest row's successor is not known yet
        return rows >= 1 and (rows >= self.batch_rows or 0 < self.batch_games <= self.games)

    @torch.no_grad()
    def take(self) -> RolloutBatch:
        """The rows that are used now, once and for all, with generalised advantages (agents/targets.py); maybe none."""
        newest = self.memory.total_rows - 1
        oldest = max(0, self.memory.total_rows - self.memory.num_sequences(1) // self.num_envs)
        begin = max(oldest, self.batch_ended if self.baseline else int(self.open.min()))  # int waits for a GPU
        rows = self.memory.latest(newest + 1 - begin)
        reward, terminated, truncated = rows.reward[:-1], rows.terminated[:-1], rows.truncated[:-1]
        log_prob, value = rows.kept["log_prob"], rows.kept["value"]
        if self.points_end_returns:
            terminated = terminated | (reward != 0)
        advantage = generalized_advantage(reward, terminated, truncated, value, self.gamma, self.decay)
        if self.baseline:
            used = self.memory.active_cells(begin, newest)
        else:
            number = torch.arange(begin, newest, device=self.device)[:, None].expand_as(reward)
            last = torch.where(terminated | truncated, number, begin - 1).amax(0)  # the last complete return's last row
            over = ~rows.is_last[:-1] & (number >= self.open) & (number <= last)
            self.open = torch.maximum(self.open, last + 1)
            used = over.flatten().nonzero().squeeze(1)  # and so does nonzero: only a GPU knows how many these are
        self.games, self.batch_ended = 0, newest
        return RolloutBatch(
            *(x.flatten(0, 1)[used] for x in (rows.obs, rows.action, log_prob, advantage, advantage + value[:-1]))
        )

    def state_dict(self) -> dict[str, Any]:
        """The rows that wait, and which are used."""
        return {
            "memory": self.memory.state_dict(),
            "open": self.open,
            "batch_ended": self.batch_ended,
            "games": self.games,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned. Raises ValueError where shapes do not fit."""
        self.memory.load_state_dict(state["memory"])
        self.open.copy_(state["open"])
        self.batch_ended, self.games = int(state["batch_ended"]), int(state["games"])
