"""The one loop that trains everything: it acts, lets the agent learn while the emulators run, and says what happened."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from agents.base import Agent, Carry, Metrics, Step, Stopwatch
from envs.stream import Episode, Row, Stream


class Tick(NamedTuple):
    """What one row brought."""

    live: int  # agent steps taken in it
    metrics: Metrics | None  # of the last update, if one was made
    episodes: list[Episode]  # the games that ended


class Loop:
    """An agent and a stream of environments, one row at a time, deterministically overlapped.

    While the environments work on row t the agent observes row t-1, so an update knows the rows up to the one before.
    Between two calls of `step` nothing is in flight.
    """

    def __init__(self, agent: Agent, stream: Stream, device: torch.device, seed: int) -> None:
        self.agent, self.stream, self.device = agent, stream, device
        self.row: Row = stream.reset(seed)
        self.carry: Carry = agent.initial_carry(stream.num_envs)
        self.pending: Step | None = None  # the row before, complete but not yet observed
        self.seconds = Stopwatch()

    def _tensor(self, array: object) -> Tensor:
        return torch.as_tensor(array, device=self.device)

    def step(self) -> Tick:
        """Take one action in each environment."""
        obs, first = self._tensor(self.row.obs), self._tensor(self.row.first)
        with self.seconds("acting"):
            action, self.carry = self.agent.act(obs, first, self.carry, explore=True)
            self.stream.send(action.cpu().numpy())
        metrics = self.agent.observe(self.pending) if self.pending else None
        with self.seconds("emulation"):  # what is left of it after learning
            row = self.stream.recv()
        live = self.stream.num_envs - int(self.row.dead.sum())
        self.pending = Step(
            obs,
            first,
            self._tensor(self.row.dead),
            action,
            self._tensor(row.reward),
            self._tensor(row.terminated),
            self._tensor(row.truncated),
            live,
        )
        self.row = row
        return Tick(live, metrics, self.stream.finished())

    def state_dict(self) -> dict[str, Any]:
        """The row that waits to be observed and the one that has not been acted on, as tensors."""
        pending = {f"pending/{k}": v for k, v in self.pending._asdict().items()} if self.pending else {}
        row = {"obs": self.row.obs, "first": self.row.first, "dead": self.row.dead}
        return pending | {f"row/{name}": torch.tensor(array) for name, array in row.items()}

    def restart(self, state: dict[str, Any], seed: int) -> None:
        """Go on from `state` with new episodes: the agent sees those that were cut as truncated at their last row."""
        self.row = self.stream.reset(seed)
        if "pending" not in state:
            return
        last, pending = state["row"], Step(**state["pending"])
        running = ~pending.dead & ~pending.terminated
        self.agent.observe(pending._replace(truncated=pending.truncated | running & ~last["dead"]))
        nothing = torch.zeros_like(pending.terminated)
        self.agent.observe(
            Step(
                last["obs"],
                last["first"],
                torch.ones_like(nothing),
                torch.zeros_like(pending.action),
                torch.zeros_like(pending.reward),
                nothing,
                nothing,
                0,
            )
        )
