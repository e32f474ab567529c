"""The protocols that agents follow. `Agent` is required; the other protocols describe optional abilities.

An agent class from another package (entry point `rl_lab.agents`) follows `Agent` and has an attribute `config_class`,
the dataclass of its settings. Its constructor is called as `cls(config, spaces, seed=..., device=..., dtype=...)`. The
class does not have to inherit from `Agent`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from agents.core.stopwatch import Stopwatch
from agents.core.types import Carry, EnvSpaces, Metrics, PolicyOutput, StepResult, ValueScaling


class Abilities(NamedTuple):
    """Abilities of an agent class.

    A class that lacks one of them has a class attribute, for example `abilities = Abilities(bfloat16=False)`.
    """

    resumable: bool = True  # the state_dict is complete, so that a resumed run equals an uninterrupted one
    bfloat16: bool = True  # the image encoder can compute in bfloat16
    packed_observations: bool = False  # several kinds of observations at once, and action masks (`EnvSpaces.packed`)
    discrete_actions: bool = True
    continuous_actions: bool = False  # vectors of real numbers (`EnvSpaces.action_dim`)
    collectors: bool = False  # other processes may play its rows, with slightly older weights (`CollectedAgent`)


class Agent(Protocol):
    """The interface between an algorithm and the trainer, the evaluator and the viewer."""

    seconds: Stopwatch
    """Host seconds spent in "sampling" and "updating"."""

    @property
    def network(self) -> nn.Module:
        """Return the network that plays. Its weights alone reproduce the greedy policy."""
        ...

    @staticmethod
    def bytes_needed(config: Any, spaces: EnvSpaces) -> int:
        """Return the bytes that the agent's memory allocates on its device."""
        ...

    @property
    def value_scaling(self) -> ValueScaling:
        """Return the discount, the reward clip and the reward scale behind the agent's value estimates.

        This may wait for a GPU. Training does not call it, only evaluations and viewers do.
        """
        ...

    def initial_carry(self, n: int) -> Carry:
        """Return the carry of n environments before their first row."""
        ...

    def act(self, obs: Tensor, is_first: Tensor, carry: Carry, *, explore: bool) -> tuple[Tensor, Carry]:
        """Choose actions.

        Args:
            obs: Observations [N, *obs_shape], without frame stacking.
            is_first: bool[N], True where an episode begins.
            carry: The carry that the previous call returned, or `initial_carry(N)`.
            explore: Explore as in training. False means greedy actions.

        Returns:
            Actions i64[N], or f32[N, D] with continuous actions, and the carry for the next call. Entries of continuous
            actions outside of [-1, 1] are clipped before an environment receives them; the rows keep them.
        """
        ...

    def policy_output(self, obs: Tensor, is_first: Tensor, carry: Carry) -> tuple[PolicyOutput, Carry]:
        """Return the greedy actions with their values, and the carry for the next call.

        The arguments are those of `act`; `obs` may also be float32. The result is differentiable; wrap the call in
        `torch.no_grad()` for inference.
        """
        ...

    def observe(self, step: StepResult) -> Metrics | None:
        """Store the row, and learn if an update is due.

        Every row for which `act` was called with `explore=True` arrives here, in order, one row later.

        Returns:
            The metrics, averaged over the updates that were made, or None if there were none.
        """
        ...

    def start_from(self, weights: dict[str, Tensor]) -> None:
        """Initialise the networks with these weights of `network`. Raises RuntimeError if they do not fit."""
        ...

    def gauges(self) -> dict[str, float]:
        """Return numbers that are known on the host at any time, such as epsilon, updates and replay size."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the full state as nested dicts and lists of tensors, numbers, strings and `Ring`s."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that `state_dict` returned. Raises ValueError or RuntimeError if shapes do not fit."""
        ...


@runtime_checkable
class CollectedAgent(Agent, Protocol):
    """An agent whose rows other processes can play (`--collectors`). Its updates allow for rows of older weights."""

    steps: int
    """Agent steps observed so far; exploration depends on them."""
    generator: torch.Generator
    """Generator of the exploration noise."""


@runtime_checkable
class MeasurableUpdates(Protocol):
    """An agent class whose updates can be timed before a training begins, to choose threads and precision."""

    @classmethod
    def example_update(
        cls, config: Any, spaces: EnvSpaces, *, device: torch.device, dtype: torch.dtype
    ) -> Callable[[], object]:
        """Return a function that makes one update of a new agent on random data.

        Args:
            config: Settings of the agent, which decide the size of the network and of a batch.
            spaces: Shapes and types of observations and actions.
            device: Device of the agent.
            dtype: Dtype in which an image encoder computes.
        """
        ...


@runtime_checkable
class SeparateCritics(Protocol):
    """An agent whose critics have an encoder of their own. Its feature maps are those of the critics."""

    @property
    def critic_network(self) -> nn.Module:
        """Return the critics with their encoder, a part of `Agent.network`."""
        ...


@runtime_checkable
class RecordsActing(Protocol):
    """An agent whose `act` records tensors for the `observe` of the same row: log-probabilities or recurrent states."""

    acting_records: deque[tuple[Tensor, ...]]
    """Records of the rows for which `act` has explored and which `observe` has not yet received, oldest first."""
