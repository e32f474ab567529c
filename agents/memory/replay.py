"""The replay memory: a ring of single observations that builds stacks and n-step returns when it is sampled.

Experience replay (Lin 1993) stores the experience of an agent and draws samples from it for updates. This memory stores
rows. A row (`StepResult`) is one time step of all N environments. Row t holds the observations of time t, the actions
that were chosen for them, and the consequences of these actions: `reward`, `terminated` and `truncated`. (In
`envs.stream.Row` the consequences belong to the actions of the row before.)

Each observation is stored once. When the memory is full, a new row overwrites the oldest row. A cell is the part of a
row that belongs to one environment. Rows are counted from the first row ever written. Row t lies at ring position
t % num_rows, and its cells have the indices

    cell = (t % num_rows) * N + environment

Three rules make every sample equal to the one that would be built from whole stored episodes:

- Stacks: a stack of k observations consists of the observations of rows t-k+1 .. t of one environment, oldest first.
  Zeros replace the observations before the first row of the episode. An observation of zeros is stored at index
  `num_cells`, behind the last cell.
- Returns: an n-step return ends after n rows, or earlier at the first row that terminated or truncated
  (agents/core/targets.py). Let m be the number of its rows, 1 <= m <= n. The return of rows t .. t+m-1 bootstraps from
  row t+m, the row after the last row of the return. If row t+m-1 truncated, then row t+m holds the last observation of
  the episode. If row t+m-1 terminated, the discount is 0, and row t+m does not matter.
- Starts: a transition starts at an active cell, that is, one that does not hold the last observation of an episode. The
  cell can be sampled while the ring holds its whole stack and the `lookahead` rows after it
  (agents/memory/active_cells.py).
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
"""Names and shapes of further float32 fields. The shape is that of one cell; () is one number."""


class TransitionBatch(NamedTuple):
    """B transitions of m rows each (see the module docstring).

    The target of a transition is `ret + discount * V(next_obs)`. V is the agent's estimate of the value of a state.
    """

    obs: Tensor  # [B, k, *obs_shape], dtype of the observations
    action: Tensor  # i64[B], or f32[B, D] with continuous actions
    ret: Tensor  # f32[B]: m-step return, sum_{j<m} gamma^j r_{t+j}
    discount: Tensor  # f32[B]: gamma^m, or 0 if row t+m-1 terminated
    next_obs: Tensor  # [B, k, *obs_shape]: the stack of row t+m
    weight: Tensor  # f32[B]: importance-sampling weights; ones if sampling is uniform
    cell: Tensor  # i64[B]: cells of the replay memory at which the transitions start


class Replay:
    """Replay memory with uniform or prioritised sampling.

    The fields of the rows and the list of active cells are allocated at the first `add` or `load_state_dict`, because
    an agent that only plays does not need them. Priorities are allocated at once.

    Args:
        spaces: Shapes and types of the observations and actions.
        capacity: Capacity in cells, rounded down to a multiple of N.
        stack: Number of observations in a stack, k.
        n_step: Largest number of rows in a return, n.
        gamma: Discount per step.
        device: Device of the memory.
        generator: Generator of the samples, on the same device.
        priority_alpha: Exponent of prioritised sampling (Schaul et al. 2016). 0 samples uniformly.
        lookahead: Rows that must follow a row before its cells can be sampled. None means `n_step`.
        extra_fields: Further fields to store for each cell.

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
        self.largest_n_step = n_step
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
        # Fields by name, [num_cells, ...] each. The field "frame" has one more entry, an observation of zeros.
        self.storage: dict[str, Tensor] = {}
        self.active = ActiveCells(self.num_rows, self.num_envs, device)
        self.priorities: Priorities | None = None
        if priority_alpha:
            self.priorities = Priorities(self.num_cells, priority_alpha, device)

    @staticmethod
    def bytes_needed(
        spaces: EnvSpaces, capacity: int, *, priority_alpha: float = 0.0, extra_fields: ExtraFields | None = None
    ) -> int:
        """Return the bytes that a replay memory with these arguments allocates in total."""
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
        """Return the bytes allocated so far."""
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
        """Return the oldest row whose stack certainly lies in the ring, wherever its episode starts.

        If no row was overwritten yet, this is row 0: the stacks of the first rows begin with zeros.
        """
        oldest = max(0, self.total_rows - self.num_rows)
        if oldest == 0:
            return 0
        return oldest + self.stack - 1

    def add(self, step: StepResult, extra: Mapping[str, Tensor] | None = None) -> None:
        """Store a row. If the ring is full, the row overwrites the oldest one.

        Args:
            step: The row. Its rewards are stored as given. An agent that clips rewards does so before the call.
            extra: One tensor [N, ...] for every field of `extra_fields`. A missing field would keep the numbers of the
                overwritten row.
        """
        if not self.storage:
            self._allocate()
        cells = self._cell_slice(self.total_rows)
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
        old_start_rows = self._start_rows()
        self.total_rows += 1
        if self.priorities:
            self._update_start_priorities(self.priorities, old_start_rows, self._start_rows())

    def sample(self, batch_size: int, *, beta: float = 1.0) -> TransitionBatch:
        """Draw transitions with replacement.

        Args:
            batch_size: Number of transitions, B.
            beta: Exponent of the importance-sampling weights; see `Priorities.draw`. Uniform sampling does not use it.

        Raises:
            ValueError: No transition is complete yet.
        """
        if self.num_starts == 0:
            raise ValueError(
                f"nothing to sample yet: {self.total_rows} rows of {self.num_envs} environments have been written"
            )
        if self.priorities:
            cell, weight = self.draw_by_priority(batch_size, beta=beta)
            return self.transitions(cell)._replace(weight=weight)
        cell = self.active.draw(self._start_rows(), batch_size, self.generator)
        return self.transitions(cell)

    def set_return(self, n_step: int, gamma: float) -> None:
        """Set number of rows and discount of the returns in all later samples.

        Returns are computed when they are sampled, so the change is exact, also for rows that are stored already. The
        cells that can be sampled stay those of the largest n. A priority changes when its cell is sampled the next
        time.

        Args:
            n_step: Largest number of rows in a return, at most that of the constructor.
            gamma: Discount per row.

        Raises:
            ValueError: `n_step` is larger than that of the constructor.
        """
        if n_step > self.largest_n_step:
            raise ValueError(f"n_step is {n_step}; the memory was made for at most {self.largest_n_step}")
        self.n_step = n_step
        self.gamma = gamma

    def draw_by_priority(self, batch_size: int, *, beta: float) -> tuple[Tensor, Tensor]:
        """Draw B cells in proportion to their scaled priorities.

        Returns:
            The cells i64[B], and their importance-sampling weights f32[B].
        """
        assert self.priorities is not None
        return self.priorities.draw(batch_size, num_starts=self.num_starts, beta=beta, generator=self.generator)

    def set_priorities(self, cell: Tensor, td_error: Tensor) -> None:
        """Set the priorities of sampled cells from their new TD errors. Do nothing if sampling is uniform.

        Call this method before the next `add`. A new row may overwrite a sampled cell or part of its stack; the cell
        then must keep the priority 0.

        Args:
            cell: The cells that `sample` returned, i64[B].
            td_error: Their TD errors, f32[B].
        """
        if self.priorities:
            self.priorities.update(cell, td_error)

    def transitions(self, cell: Tensor) -> TransitionBatch:
        """Return the transitions that start at these cells, i64[B]."""
        batch_size = len(cell)
        offset = torch.arange(self.n_step, device=self.device) * self.num_envs
        path = (cell[:, None] + offset) % self.num_cells  # i64[B, n]: the cells of rows t .. t+n-1
        ret, discount, num_steps = n_step_return(
            self.storage["reward"].take(path),
            self.storage["terminated"].take(path),
            self.storage["truncated"].take(path),
            self.gamma,
        )
        next_cell = (cell + num_steps * self.num_envs) % self.num_cells  # i64[B]: the cells of rows t+m
        stacks = self.stacks(torch.cat([cell, next_cell]))  # [2B, k, *obs_shape]; one gather is faster than two
        return TransitionBatch(
            obs=stacks[:batch_size],
            action=self.actions(cell),
            ret=ret,
            discount=discount,
            next_obs=stacks[batch_size:],
            weight=torch.ones_like(ret),
            cell=cell,
        )

    def actions(self, cell: Tensor) -> Tensor:
        """Return the actions of these cells, i64[B], or f32[B, D] with continuous actions."""
        action = self.storage["action"].index_select(0, cell)
        return action if self.spaces.is_continuous else action.long()

    def stacks(self, cell: Tensor) -> Tensor:
        """Return the stacks [B, k, *obs_shape] whose newest observations are those of cells i64[B], oldest first."""
        rows_back = torch.arange(self.stack - 1, -1, -1, device=self.device)  # [k]: k-1 .. 0
        in_episode = self.storage["age"].take(cell)[:, None] >= rows_back  # bool[B, k]
        earlier_cell = (cell[:, None] - rows_back * self.num_envs) % self.num_cells  # i64[B, k]
        zero_frame_index = self.num_cells
        frame_index = torch.where(in_episode, earlier_cell, zero_frame_index)
        frames = self.storage["frame"].index_select(0, frame_index.flatten())  # [B * k, *obs_shape]
        return frames.view(len(cell), self.stack, *self.spaces.obs_shape)

    def state_dict(self) -> dict[str, Any]:
        """Return the state: the rows as a `Ring`, the number of active cells ever listed, and the priorities.

        The tensors are views of the memory, not copies, so later calls change them. The state of the generator is not
        included, because the agent owns it.
        """
        state: dict[str, Any] = {"total_active": self.active.total}
        if self.storage:
            state["rows"] = Ring(self._fields_by_row(), self.total_rows)
        if self.priorities:
            state["priorities"] = self.priorities.values
            state["largest"] = self.priorities.largest
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that `state_dict` returned.

        Raises:
            ValueError: The names, shapes or dtypes of the fields differ, the capacity differs, or a count is negative.
            KeyError: This memory is prioritised, but the saved one was not.
        """
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

    def _cell_slice(self, row: int) -> slice:
        """Return the cells of a row as a slice."""
        first = row % self.num_rows * self.num_envs
        return slice(first, first + self.num_envs)

    def _cell_indices(self, row: int) -> Tensor:
        """Return the cells of a row as indices, i64[N]."""
        return torch.arange(self.num_envs, device=self.device) + row % self.num_rows * self.num_envs

    def _age(self, is_first: Tensor) -> Tensor:
        """Return the age of each cell of the next row, i32[N]: the number of rows since the first of its episode.

        The first row ever written has age 0 in every environment, because no earlier observations are stored.
        """
        if self.total_rows == 0:
            return torch.zeros(self.num_envs, dtype=torch.int32, device=self.device)
        previous = self.storage["age"][self._cell_slice(self.total_rows - 1)]
        return torch.where(is_first, 0, previous + 1)

    def _start_rows(self) -> range:
        """Return the interval of rows whose active cells can be sampled.

        The ring holds the whole stacks of these rows, and the `lookahead` rows after each of them.
        """
        first = self.first_whole_row
        return range(first, max(first, self.total_rows - self.lookahead))

    def _update_start_priorities(self, priorities: Priorities, old_rows: range, new_rows: range) -> None:
        """Remove and insert priorities after a row was added.

        Args:
            priorities: The priorities of this memory.
            old_rows: Rows whose active cells could be sampled before the row was added.
            new_rows: Rows whose active cells can be sampled now.
        """
        # The first of these rows may have been overwritten just now, so that its cells belong to the newest row. The
        # priority 0 is right for them, too: the newest row cannot be sampled before more rows follow.
        for row in range(old_rows.start, new_rows.start):
            priorities.remove(self._cell_indices(row))
        for row in range(max(old_rows.stop, new_rows.start), new_rows.stop):
            cell = self._cell_indices(row)
            is_last = self.storage["is_last"].take(cell)
            priorities.insert(cell, ~is_last)

    def _fields_by_row(self) -> dict[str, Tensor]:
        """Return views of all fields as [num_rows, N, ...], by ring position, without the observation of zeros."""
        shape = (self.num_rows, self.num_envs)
        fields = {}
        for name, field in self.storage.items():
            fields[name] = field[: self.num_cells].view(*shape, *field.shape[1:])
        return fields


def _field_types(
    num_cells: int, spaces: EnvSpaces, extra_fields: ExtraFields
) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    """Return the shape and dtype of each field of a replay memory, by name."""
    fields: dict[str, tuple[tuple[int, ...], torch.dtype]] = {
        "frame": ((num_cells + 1, *spaces.obs_shape), spaces.dtype),  # observations; the last entry stays zero
        "age": ((num_cells,), torch.int32),  # number of rows since the first row of the episode
        "action": ((num_cells, *spaces.action_shape), _action_dtype(spaces)),
        "reward": ((num_cells,), torch.float32),
        "terminated": ((num_cells,), torch.bool),
        "truncated": ((num_cells,), torch.bool),
        "is_last": ((num_cells,), torch.bool),
    }
    for name, shape in extra_fields.items():
        fields[name] = ((num_cells, *shape), torch.float32)
    return fields


def _action_dtype(spaces: EnvSpaces) -> torch.dtype:
    """Return the smallest dtype that holds the actions exactly."""
    if spaces.is_continuous:
        return torch.float32
    if spaces.num_actions <= 256:
        return torch.uint8
    if spaces.num_actions <= 2**31:
        return torch.int32
    return torch.int64  # combinations of the parts of an action
