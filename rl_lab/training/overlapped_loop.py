"""The one loop that trains everything: it acts, lets the agent learn while the emulators run, and says what happened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.core.agent import Agent
from agents.core.stopwatch import Stopwatch
from agents.core.types import Carry, StepResult
from envs.stream import Row, Stream
from rl_lab.system.device import on_device
from rl_lab.training.training_loop import LoopStep


class OverlappedLoop:
    """An agent and a stream of environments, one row at a time, deterministically overlapped.

    While the environments work on row t the agent observes row t-1, so an update knows the rows up to the one before.
    Between two calls of `step` nothing is in flight.
    """

    def __init__(self, agent: Agent, stream: Stream, device: torch.device, seed: int) -> None:
        self.agent, self.stream, self.device = agent, stream, device
        self.row: Row = stream.reset(seed)
        self.carry: Carry = agent.initial_carry(stream.num_envs)
        self.pending: StepResult | None = None  # the row before, complete but not yet observed
        self.seconds = Stopwatch()

    def _tensor(self, array: object) -> Tensor:
        return on_device(array, self.device)

    def step(self) -> LoopStep:
        """Take one action in each environment."""
        obs, is_first = self._tensor(self.row.obs), self._tensor(self.row.is_first)
        with self.seconds("acting"):
            action, self.carry = self.agent.act(obs, is_first, self.carry, explore=True)
            chosen = action.cpu().numpy()
        with self.seconds("emulation"):  # the emulators may wake up on this very core
            self.stream.send(chosen)
        metrics = self.agent.observe(self.pending) if self.pending else None
        with self.seconds("emulation"):  # what is left of it after learning
            row = self.stream.recv()
        num_active = self.stream.num_envs - int(self.row.is_last.sum())
        self.pending = StepResult(
            obs,
            is_first,
            self._tensor(self.row.is_last),
            action,
            self._tensor(row.reward),
            self._tensor(row.terminated),
            self._tensor(row.truncated),
            num_active,
        )
        self.row = row
        return LoopStep(num_active, metrics, self.stream.pop_episodes())

    def run(self, after: Callable[[LoopStep], bool], *, steps: int) -> None:
        """Row after row until `after`, which is called between two, says no; `steps` agent steps are planned in all."""
        while after(self.step()):
            pass

    def gauges(self) -> dict[str, float]:
        """Numbers to log beside the agent's: none."""
        return {}

    def close(self) -> None:
        """End the environments."""
        self.stream.close()

    def export(self, run: Path) -> None:
        """What other programs want to find beside a checkpoint: nothing."""

    def state_dict(self) -> dict[str, Any]:
        """All that `restore` needs, as tensors: the present row and the way to it, the row to be observed, the carry."""
        row = {"obs": self.row.obs, "is_first": self.row.is_first, "is_last": self.row.is_last}
        return {
            "row": {name: torch.tensor(array) for name, array in row.items()},
            "stream": {name: torch.from_numpy(array) for name, array in self.stream.state().items()},
            "carry": {str(i): tensor for i, tensor in enumerate(self.carry)},
            **({"pending": self.pending._asdict()} if self.pending else {}),
        }

    def restore(self, state: dict[str, Any], seed: int) -> bool:
        """Go on from `state` of a loop with this seed; whether the environments came back exactly as they were.

        Where they did not, new episodes begin, and the agent sees those that were cut as truncated at their last row.
        """
        row = self.stream.restore(seed, {name: tensor.cpu().numpy() for name, tensor in state["stream"].items()})
        saved = {name: tensor.cpu().numpy() for name, tensor in state["row"].items()}
        self.pending = StepResult(**state["pending"]) if "pending" in state else None
        saved_carry = state.get("carry", {})  # an agent may have none
        carry = tuple(saved_carry[str(i)] for i in range(len(saved_carry)))
        if all(np.array_equal(getattr(row, name), array) for name, array in saved.items()):
            self.row, self.carry = row, carry
            return True
        self._cut(state["row"], carry)
        self.row = self.stream.reset(seed + self.stream.num_envs)
        return False

    def _cut(self, last: dict[str, Tensor], carry: Carry) -> None:
        """End every running episode as truncated, with `last` as its dead row, which the agent sees like any other."""
        if self.pending is None:
            return
        pending, self.pending = self.pending, None
        action, _ = self.agent.act(last["obs"], last["is_first"], carry, explore=True)
        running = ~pending.is_last & ~pending.terminated & ~last["is_last"]
        self.agent.observe(pending._replace(truncated=pending.truncated | running))
        nothing = torch.zeros_like(running)
        self.agent.observe(
            StepResult(
                obs=last["obs"],
                is_first=last["is_first"],
                is_last=~nothing,
                action=action,
                reward=torch.zeros_like(pending.reward),
                terminated=nothing,
                truncated=nothing,
                num_active=0,
            )
        )
