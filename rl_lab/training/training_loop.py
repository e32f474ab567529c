"""The interface between the trainer and the loop that steps an agent through its environments.

Three loops exist: `OverlappedLoop` (rl_lab.training.overlapped_loop) for agents that follow the `Agent` protocol,
`CollectorLoop` (rl_lab.distributed) for environments in other processes, and `SB3Loop` (rl_lab.baselines), in which
Stable-Baselines3 learns. A plug-in whose algorithm has a training loop of its own can add another one: its agent class
defines `make_loop` (see `BringsOwnLoop`), which returns an object with the methods of `TrainingLoop`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from agents.core.stopwatch import Stopwatch
from agents.core.types import Metrics
from envs.stream import Episode, Stream


class LoopStep(NamedTuple):
    """The outcome of one row, that is of one step of every environment."""

    num_active: int  # agent steps in the row: the environments whose row is not the last of an episode
    metrics: Metrics | None  # means over the updates that were made during the row; None if there were none
    episodes: list[Episode]  # the episodes that ended with the row


class TrainingLoop(Protocol):
    """Steps the environments and lets the agent learn.

    Nothing may be in flight when the loop calls `after`: the trainer evaluates the agent and saves checkpoints there.
    """

    seconds: Stopwatch
    """Host seconds spent in "acting" and "emulation"."""

    def run(self, after: Callable[[LoopStep], bool], *, steps: int) -> None:
        """Train until `after` returns False.

        Args:
            after: Must be called after every row, between two rows.
            steps: Agent steps at which training will end, counted from the start of the run. Learning-rate schedules
                may depend on this number; `after` alone decides when the loop stops.
        """
        ...

    def gauges(self) -> dict[str, float]:
        """Return numbers to log beside those of the agent."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the state that `restore` needs, as nested dicts and lists of tensors and plain values."""
        ...

    def restore(self, state: dict[str, Any], seed: int) -> bool:
        """Restore the state that `state_dict` returned.

        Args:
            state: The saved state.
            seed: The seed with which the environments were first reset.

        Returns:
            True if every environment has its saved state again. False if the environments are not reproducible and new
            episodes were started.
        """
        ...

    def export(self, run_folder: Path) -> None:
        """Write files for other programs into a run folder. Called after every checkpoint."""
        ...

    def close(self) -> None:
        """Close the environments."""
        ...


@runtime_checkable
class BringsOwnLoop(Protocol):
    """An agent whose algorithm learns in a training loop of its own."""

    def make_loop(self, streams: Sequence[Stream], seed: int) -> TrainingLoop:
        """Return the loop.

        Args:
            streams: One stream of one environment for each of the run's `num_envs` environments.
            seed: The seed of the run.
        """
        ...
