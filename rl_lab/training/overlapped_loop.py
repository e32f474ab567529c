"""The training loop of every agent that follows the `Agent` protocol: the agent learns while the environments step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from agents.core.stopwatch import Stopwatch
from agents.core.types import Carry, Metrics, StepResult
from envs.stream import Row, Stream
from rl_lab.system.device import on_device
from rl_lab.training.training_loop import LoopStep


class LoopAgent(Protocol):
    """The methods of `Agent` that the loop calls."""

    def initial_carry(self, n: int) -> Carry:
        """See `Agent.initial_carry`."""
        ...

    def act(self, obs: Tensor, is_first: Tensor, carry: Carry, *, explore: bool) -> tuple[Tensor, Carry]:
        """See `Agent.act`."""
        ...

    def observe(self, step: StepResult) -> Metrics | None:
        """See `Agent.observe`."""
        ...


class OverlappedLoop:
    """Steps an agent through a stream of environments, one row at a time.

    While the environments compute row t + 1, the agent observes row t - 1. An update therefore never depends on how
    fast the environments are: it has always seen the rows up to t - 1. Between two calls of `step`, nothing is in
    flight.
    """

    def __init__(self, agent: LoopAgent, stream: Stream, device: torch.device, seed: int) -> None:
        """Reset the environments with `seed`. `device` is the device of the agent."""
        self.agent = agent
        self.stream = stream
        self.device = device
        self.row: Row = stream.reset(seed)
        self.carry: Carry = agent.initial_carry(stream.num_envs)
        self.pending: StepResult | None = None  # the previous row: complete, but not yet observed by the agent
        self.seconds = Stopwatch()

    def step(self) -> LoopStep:
        """Take one action in each environment, and let the agent observe the previous row."""
        # 1. Act on the current row.
        obs = self._tensor(self.row.obs)
        is_first = self._tensor(self.row.is_first)
        with self.seconds("acting"):
            action, self.carry = self.agent.act(obs, is_first, self.carry, explore=True)
            host_action = action.cpu().numpy()

        # 2. Send the actions. This counts as emulation: the environments' threads may start on the core of this one.
        with self.seconds("emulation"):
            self.stream.send(host_action)

        # 3. Learn from the previous row while the environments step.
        metrics = self.agent.observe(self.pending) if self.pending else None

        # 4. Wait for the environments.
        with self.seconds("emulation"):
            next_row = self.stream.recv()

        # 5. Complete the current row with the rewards and ends that its actions led to.
        num_active = self.stream.num_envs - int(self.row.is_last.sum())
        self.pending = StepResult(
            obs=obs,
            is_first=is_first,
            is_last=self._tensor(self.row.is_last),
            action=action,
            reward=self._tensor(next_row.reward),
            terminated=self._tensor(next_row.terminated),
            truncated=self._tensor(next_row.truncated),
            num_active=num_active,
        )
        self.row = next_row
        return LoopStep(num_active, metrics, self.stream.pop_episodes())

    def run(self, after: Callable[[LoopStep], bool], *, steps: int) -> None:
        """Step until `after`, called after every row, returns False. `steps` is not used."""
        while after(self.step()):
            pass

    def gauges(self) -> dict[str, float]:
        """Return no numbers: this loop has none."""
        return {}

    def export(self, run_folder: Path) -> None:
        """Write nothing: no other program needs files of this loop."""

    def close(self) -> None:
        """Close the environments."""
        self.stream.close()

    def state_dict(self) -> dict[str, Any]:
        """Return the current row, the action log of the environments, the carry, and the row not yet observed."""
        row = {"obs": self.row.obs, "is_first": self.row.is_first, "is_last": self.row.is_last}
        state: dict[str, Any] = {
            "row": {name: torch.tensor(array) for name, array in row.items()},
            "stream": {name: torch.from_numpy(array) for name, array in self.stream.state().items()},
            "carry": list(self.carry),
        }
        if self.pending:
            state["pending"] = self.pending._asdict()
        return state

    def restore(self, state: dict[str, Any], seed: int) -> bool:
        """Restore the state that `state_dict` returned; see `TrainingLoop.restore`.

        If the environments are not reproducible, new episodes are started. The agent then observes the interrupted
        episodes as truncated at the saved row.
        """
        stream_state = {name: tensor.cpu().numpy() for name, tensor in state["stream"].items()}
        row = self.stream.restore(seed, stream_state)
        self.pending = StepResult(**state["pending"]) if "pending" in state else None
        carry = tuple(state["carry"])
        saved_row = state["row"]
        if all(np.array_equal(getattr(row, name), tensor.cpu().numpy()) for name, tensor in saved_row.items()):
            self.row = row
            self.carry = carry
            return True
        self._truncate_episodes(saved_row, carry)
        self.row = self.stream.reset(seed + self.stream.num_envs)
        return False

    def _truncate_episodes(self, last_row: dict[str, Tensor], carry: Carry) -> None:
        """Let the agent observe all running episodes as truncated, with `last_row` as their last row."""
        if self.pending is None:
            return
        pending = self.pending
        self.pending = None
        action, _ = self.agent.act(last_row["obs"], last_row["is_first"], carry, explore=True)
        running = ~pending.is_last & ~pending.terminated & ~last_row["is_last"]
        self.agent.observe(pending._replace(truncated=pending.truncated | running))
        false = torch.zeros_like(running)
        self.agent.observe(
            StepResult(
                obs=last_row["obs"],
                is_first=last_row["is_first"],
                is_last=~false,
                action=action,
                reward=torch.zeros_like(pending.reward),
                terminated=false,
                truncated=false,
                num_active=0,
            )
        )

    def _tensor(self, array: object) -> Tensor:
        return on_device(array, self.device)
