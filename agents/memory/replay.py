"""The replay memory: a ring of single observations that builds stacks and n-step returns when it is sampled.

Experience replay (Lin 1993) stores the experience of an agent and draws samples from it for updates. This memory stores
rows (`StepResult`) of N environments, each observation once. When the memory is full, a new row overwrites the oldest
one. A cell is one row of one environment:

    cell = (row % num_rows) * N + environment

Rows are counted from the first row ever written. Three rules make every sample exact:

- A stack of k observations is the cells of rows t-k+1 .. t of one environment. Rows before the episode's first row
  are replaced by a frame of zeros, which is stored behind the last cell.
- An n-step return stops at the first row that terminates or truncates (agents/core/targets.py). The state to
  bootstrap from is always the next row in the ring. After a truncation that is the row with the episode's last
  observation.
- A transition starts at an active cell, whose row is not the last of an episode. The cell can be sampled while the ring
  holds the whole stack and the `lookahead` rows after it (agents/memory/active_cells.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from agents.core.settings import ConfigError
from agents.core.targets import n_step_return
from agents.core.types import EnvSpaces, StepResult
from agents.memory.active_cells import ActiveCells
from agents.memory.allocation import allocate_zeros
from agents.memory.priorities import Priorities
from agents.memory.ring import Ring
from agents.memory.sum_tree import SumTree

ExtraFields = Mapping[str, tuple[int, ...]]
"""Names and shapes of float32 tensors that a replay memory stores for each cell beside the fields of the row."""


class TransitionBatch(NamedTuple):
    """B transitions. The target of each is `ret + discount * V(next_obs)`."""

    obs: Tensor  # [B, k, *obs_shape], dtype of the observations
    action: Tensor  # i64[B]
    ret: Tensor  # f32[B]: m-step return, 1 <= m <= n_step
    discount: Tensor  # f32[B]: gamma^m, or 0 after a termination
    next_obs: Tensor  # [B, k, *obs_shape], dtype of the observations
    weight: Tensor  # f32[B]: importance-sampling weights; ones if sampling is uniform
    cell: Tensor  # i64[B]: cells of the replay memory at which the transitions start


class Replay:
    """Replay memory with uniform or prioritised sampling.

    The memory is allocated at the first `add`, because an agent that only plays needs none.

    Args:
        spaces: Shapes and types of the observations and actions.
        capacity: Capacity in cells, rounded down to whole rows.
        stack: Observations of a stack, k.
        n_step: Steps of the n-step return.
        gamma: Discount per step.
        device: Device of the memory.
        generator: Generator of the samples, on the same device.
        priority_alpha: Exponent of prioritised sampling (Schaul et al. 2016). 0 samples uniformly.
        lookahead: Rows that must follow a row before its cells can be sampled. None means `n_step`.
        extra_fields: Names and shapes of further float32 tensors to store for each cell.

    Raises:
        ConfigError: The capacity is too small for one transition, or the device does not support priorities.
    """

    def __init__(
        self,
        spaces: EnvSpaces,
        capacity: int,
        *,
        stack: int,
        n_step: int,
        gamma: float,
        device: torch.device,
        generator: torch.Generator,
        priority_alpha: float = 0.0,
        lookahead: int | None = None,
        extra_fields: ExtraFields | None = None,
    ) -> None:
        self.spaces = spaces
        self.stack = stack
        self.n_step = n_step
        self.gamma = gamma
        self.device = device
        self.generator = generator
        self.lookahead = n_step if lookahead is None else lookahead
        self.extra_fields = extra_fields or {}
        self.num_envs = spaces.num_envs
        self.num_rows = capacity // spaces.num_envs
        self.num_cells = self.num_rows * self.num_envs
        if self.num_rows < stack + n_step:
            minimum = (stack + n_step) * self.num_envs
            raise ConfigError(
                f"replay_size is {capacity}; with {self.num_envs} environments it must be at least {minimum}"
                " (frame_stack + n_step rows)"
            )
        if priority_alpha and device.type == "mps":
            raise ConfigError(f"priority_alpha is {priority_alpha}; mps has no float64, so it must be 0, or device cpu")
        self.total_rows = 0  # rows ever written; the next row goes to ring position total_rows % num_rows
        self.storage: dict[str, Tensor] = {}  # by field: [num_cells, ...], for "frame" [num_cells + 1, ...]
        self.active = ActiveCells(self.num_rows, self.num_envs, device)
        self.priorities: Priorities | None = None
        if priority_alpha:
            self.priorities = Priorities(self.num_cells, priority_alpha, device)

    @staticmethod
    def bytes_needed(
        spaces: EnvSpaces, capacity: int, *, priority_alpha: float = 0.0, extra_fields: ExtraFields | None = None
    ) -> int:
        """Return the bytes that a replay memory with these arguments allocates."""
        num_rows = capacity // spaces.num_envs
        num_cells = num_rows * spaces.num_envs
        total = ActiveCells.bytes_needed(num_rows, spaces.num_envs)
        for shape, dtype in _field_types(num_cells, spaces, extra_fields or {}).values():
            total += math.prod(shape) * dtype.itemsize
        if priority_alpha:
            total += SumTree.bytes_needed(num_cells)
        return total

    @property
    def nbytes(self) -> int:
        """Return the bytes allocated now."""
        total = self.active.nbytes
        for field in self.storage.values():
            total += field.nbytes
        if self.priorities:
            total += self.priorities.tree.nbytes
        return total

    @property
    def size(self) -> int:
        """Return the number of cells that hold a row."""
        return min(self.total_rows, self.num_rows) * self.num_envs

    @property
    def num_starts(self) -> int:
        """Return the number of cells that can be sampled."""
        return self.active.count(self._start_rows())

    @property
    def first_whole_row(self) -> int:
        """Return the oldest row whose stack lies completely in the ring."""
        oldest = max(0, self.total_rows - self.num_rows)
        if oldest == 0:
            return 0
        return oldest + self.stack - 1

    def add(self, step: StepResult, extra: Mapping[str, Tensor] | None = None) -> None:
        """Write a row over the oldest one.

        Args:
            step: The row. Its reward is stored as given, so clip it before.
            extra: The tensors [N, ...] of `extra_fields`.
        """
        if not self.storage:
            self._allocate()
        cells = self._cells_of(self.total_rows)
        self.storage["age"][cells] = self._age(step.is_first)
        self.storage["frame"][cells] = step.obs
        self.storage["action"][cells] = step.action
        self.storage["reward"][cells] = step.reward
        self.storage["terminated"][cells] = step.terminated
        self.storage["truncated"][cells] = step.truncated
        self.storage["is_last"][cells] = step.is_last
        for name, tensor in (extra or {}).items():
            self.storage[name][cells] = tensor
        self.active.append(self.total_rows, step.is_last, step.num_active)
        before = self._start_rows()
        self.total_rows += 1
        if self.priorities:
            self._move_priorities(self.priorities, before, self._start_rows())

    def sample(self, batch_size: int, *, beta: float = 1.0) -> TransitionBatch:
        """Draw transitions with replacement.

        Args:
            batch_size: Number of transitions, B.
            beta: Exponent of the importance-sampling weights; see `Priorities.draw`. Uniform sampling does not use it.

        Raises:
            ValueError: No transition is complete yet.
        """
        if self.num_starts == 0:
            raise ValueError(f"nothing to sample yet: the replay holds {self.total_rows} rows of {self.num_envs}")
        if self.priorities:
            cell, weight = self.draw_by_priority(batch_size, beta=beta)
            return self.transitions(cell)._replace(weight=weight)
        cell = self.active.draw(self._start_rows(), batch_size, self.generator)
        return self.transitions(cell)

    def draw_by_priority(self, batch_size: int, *, beta: float) -> tuple[Tensor, Tensor]:
        """Draw B cells in proportion to their priorities. Returns the cells i64[B] and their weights f32[B]."""
        assert self.priorities is not None
        return self.priorities.draw(batch_size, num_starts=self.num_starts, beta=beta, generator=self.generator)

    def set_priorities(self, cell: Tensor, td_error: Tensor) -> None:
        """Set the priorities of sampled cells i64[B] from their new TD errors f32[B], if sampling is prioritised."""
        if self.priorities:
            self.priorities.update(cell, td_error)

    def transitions(self, cell: Tensor) -> TransitionBatch:
        """Return the transitions that start at these cells, i64[B]."""
        batch_size = len(cell)
        offset = torch.arange(self.n_step, device=self.device) * self.num_envs
        path = (cell[:, None] + offset) % self.num_cells  # [B, n_step]: rows t .. t+n-1 of one environment
        ret, discount, num_steps = n_step_return(
            self.storage["reward"].take(path),
            self.storage["terminated"].take(path),
            self.storage["truncated"].take(path),
            self.gamma,
        )
        next_cell = (cell + num_steps * self.num_envs) % self.num_cells
        stacks = self.stacks(torch.cat([cell, next_cell]))  # one gather for both
        return TransitionBatch(
            obs=stacks[:batch_size],
            action=self.storage["action"].take(cell).long(),
            ret=ret,
            discount=discount,
            next_obs=stacks[batch_size:],
            weight=torch.ones_like(ret),
            cell=cell,
        )

    def stacks(self, cell: Tensor) -> Tensor:
        """Return the stacks [B, k, *obs_shape] that end at cells i64[B], with zeros before the episode's first row."""
        rows_back = torch.arange(self.stack - 1, -1, -1, device=self.device)
        in_episode = self.storage["age"].take(cell)[:, None] >= rows_back
        zero_frame = self.num_cells
        frame = torch.where(in_episode, (cell[:, None] - rows_back * self.num_envs) % self.num_cells, zero_frame)
        frames = self.storage["frame"].index_select(0, frame.flatten())
        return frames.view(len(cell), self.stack, *self.spaces.obs_shape)

    def state_dict(self) -> dict[str, Any]:
        """Return the full state: the rows as a `Ring`, the number of active cells ever added, and the priorities."""
        state: dict[str, Any] = {"total_active": self.active.total}
        if self.storage:
            state["rows"] = Ring(self._fields_by_row(), self.total_rows)
        if self.priorities:
            state["priorities"] = self.priorities.values
            state["largest"] = self.priorities.largest
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that `state_dict` returned. Raises ValueError if the shapes differ."""
        self.total_rows = 0
        self.active.total = int(state["total_active"])
        if "rows" not in state:
            return
        self._allocate()
        state["rows"].copy_into(self._fields_by_row())
        self.total_rows = int(state["rows"].total)
        if self.total_rows < 0 or self.active.total < 0:
            raise ValueError(f"the replay has counts below 0: {self.total_rows} rows, {self.active.total} active cells")
        if self.priorities:
            self.priorities.load(state["priorities"], state["largest"])
        self.active.rebuild(self._fields_by_row()["is_last"], self.total_rows, self.active.total)

    def _allocate(self) -> None:
        """Allocate all fields and the list of active cells."""
        for name, (shape, dtype) in _field_types(self.num_cells, self.spaces, self.extra_fields).items():
            self.storage[name] = allocate_zeros(shape, dtype, self.device)
        self.active.allocate()

    def _cells_of(self, row: int) -> slice:
        """Return the cells of a row."""
        first = row % self.num_rows * self.num_envs
        return slice(first, first + self.num_envs)

    def _age(self, is_first: Tensor) -> Tensor:
        """Return the age of the next row's cells, i32[N]: rows since the first row of the episode."""
        if self.total_rows == 0:
            return torch.zeros(self.num_envs, dtype=torch.int32, device=self.device)
        previous = self.storage["age"][self._cells_of(self.total_rows - 1)]
        return torch.where(is_first, 0, previous + 1)

    def _start_rows(self) -> range:
        """Return the interval of rows whose active cells can be sampled."""
        first = self.first_whole_row
        return range(first, max(first, self.total_rows - self.lookahead))

    def _move_priorities(self, priorities: Priorities, before: range, after: range) -> None:
        """Adapt the priorities to a new row: `before` and `after` are the intervals of rows that can be sampled."""
        for row in range(before.start, after.start):
            priorities.remove(self._cell_numbers(row))
        for row in range(max(before.stop, after.start), after.stop):
            cell = self._cell_numbers(row)
            is_last = self.storage["is_last"].take(cell)
            priorities.insert(cell, ~is_last)

    def _cell_numbers(self, row: int) -> Tensor:
        """Return the cells of a row, i64[N]."""
        return torch.arange(self.num_envs, device=self.device) + row % self.num_rows * self.num_envs

    def _fields_by_row(self) -> dict[str, Tensor]:
        """Return views of all fields as [num_rows, num_envs, ...], without the frame of zeros."""
        shape = (self.num_rows, self.num_envs)
        fields = {}
        for name, field in self.storage.items():
            fields[name] = field[: self.num_cells].view(*shape, *field.shape[1:])
        return fields


def _field_types(
    num_cells: int, spaces: EnvSpaces, extra_fields: ExtraFields
) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    """Return the shape and dtype of each field of a replay memory."""
    action_dtype = torch.uint8 if spaces.num_actions <= 256 else torch.int32
    fields: dict[str, tuple[tuple[int, ...], torch.dtype]] = {
        "frame": ((num_cells + 1, *spaces.obs_shape), spaces.dtype),  # the last one stays zero
        "age": ((num_cells,), torch.int32),  # rows since the first row of the episode
        "action": ((num_cells,), action_dtype),
        "reward": ((num_cells,), torch.float32),
        "terminated": ((num_cells,), torch.bool),
        "truncated": ((num_cells,), torch.bool),
        "is_last": ((num_cells,), torch.bool),
    }
    for name, shape in extra_fields.items():
        fields[name] = ((num_cells, *shape), torch.float32)
    return fields
