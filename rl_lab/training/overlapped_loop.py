"""The training loop of every agent that follows the `Agent` protocol: the agent learns while the environments step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.core.stopwatch import Stopwatch
from agents.core.types import Carry, Metrics, StepResult
from envs.stream import Row, Stream
from rl_lab.errors import Fault
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
    """The `TrainingLoop` that steps an agent through a stream of environments, one row at a time.

    Step t, which is one call of `step`, does the following for t = 0, 1, 2, ...:

        1. The agent chooses the actions of row t, with weights that were learned from the rows up to t - 2.
        2. The environments begin to compute row t + 1.
        3. Meanwhile the agent observes row t - 1, and may learn from the rows up to t - 1.
        4. The loop waits for row t + 1, whose rewards and ends complete row t.

    So the rows from which an update learns do not depend on the speed of the environments. Between two calls of `step`,
    no environment computes, and row t is complete but not yet observed.
    """

    def __init__(self, agent: LoopAgent, stream: Stream, device: torch.device, seed: int) -> None:
        """Reset the environments.

        Args:
            agent: The agent.
            stream: The environments.
            device: The device of the agent.
            seed: The seed of the reset.
        """
        self.agent = agent
        self.stream = stream
        self.device = device
        self.row: Row = stream.reset(seed)
        self.carry: Carry = agent.initial_carry(stream.num_envs)
        # The previous row: complete, but not yet observed by the agent. None before the first step.
        self.pending: StepResult | None = None
        self.seconds = Stopwatch()

    def step(self) -> LoopStep:
        """Take one action in each environment, and let the agent observe the previous row.

        Returns:
            The outcome of the current row. Its metrics are from the update on the previous row.

        Raises:
            Fault: A continuous action is not finite.
        """
        # 1. Act on the current row.
        obs = self._tensor(self.row.obs)
        is_first = self._tensor(self.row.is_first)
        with self.seconds("acting"):
            action, self.carry = self.agent.act(obs, is_first, self.carry, explore=True)
            host_action = action.cpu().numpy()
        check_finite(host_action)

        # 2. Send the actions. The time counts as emulation, because the threads of the environments may begin to
        #    compute on the processor core of this thread.
        with self.seconds("emulation"):
            self.stream.send(host_action)

        # 3. Learn from the previous row while the environments step.
        metrics = None
        if self.pending is not None:
            metrics = self.agent.observe(self.pending)

        # 4. Wait for the environments.
        with self.seconds("emulation"):
            next_row = self.stream.recv()

        # 5. Complete the current row with the rewards and ends that its actions led to. The action for the last row of
        #    an episode has no effect, so this row is no agent step of its environment.
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
        """Call `step`, then `after` with its result, until `after` returns False. `steps` is not used."""
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
        """Return the current row, the action log of the environments, the carry, and the row not yet observed.

        The key "pending" is absent before the first step.
        """
        row = {"obs": self.row.obs, "is_first": self.row.is_first, "is_last": self.row.is_last}
        state: dict[str, Any] = {
            "row": {name: torch.tensor(array) for name, array in row.items()},
            "stream": {name: torch.from_numpy(array) for name, array in self.stream.state().items()},
            "carry": list(self.carry),
        }
        if self.pending is not None:
            state["pending"] = self.pending._asdict()
        return state

    def restore(self, state: dict[str, Any], seed: int) -> bool:
        """Restore the state that `state_dict` returned into a new loop.

        The stream replays its action log. If the replay ends at the saved row, the loop continues from this row.
        Otherwise the environments are not reproducible. Then the agent observes the interrupted episodes as truncated,
        with the saved row as their last row, and after that new episodes begin.

        Args:
            state: The saved state.
            seed: The seed with which the environments were first reset.

        Returns:
            True if the replay has ended at the saved row, False if new episodes begin.
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
        # The seed must differ from `seed`, which would repeat the first episodes of the run. Any other number would do.
        # `self.carry` is still the initial carry, because all environments begin an episode.
        self.row = self.stream.reset(seed + self.stream.num_envs)
        return False

    def _truncate_episodes(self, last_row: dict[str, Tensor], carry: Carry) -> None:
        """Let the agent observe all running episodes as truncated, with `last_row` as their last row.

        Args:
            last_row: The saved row, which follows the row that is not yet observed: "obs", "is_first" and "is_last".
            carry: The saved carry, from before `last_row`.
        """
        if self.pending is None:  # the run was saved before its first step: the agent has acted on no row
            return
        pending = self.pending
        self.pending = None
        # The action has no effect, but `act` must be called: an agent may record tensors in `act` for the `observe` of
        # the same row. As in `step`, the agent acts on a row before it observes the previous row.
        action, _ = self.agent.act(last_row["obs"], last_row["is_first"], carry, explore=True)
        # True where an episode continues through both rows. A terminated row needs no truncation, because its returns
        # end with this row (also after a lost life).
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
        """Return an array as a tensor on the device of the agent."""
        return on_device(array, self.device)


def check_finite(actions: NDArray[Any]) -> None:
    """Raise Fault if a continuous action is not finite: training has diverged, before the loss was logged."""
    if not np.isfinite(actions).all():
        raise Fault("the actions are not finite any more: lower lr, or set grad_clip")
