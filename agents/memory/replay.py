"""The one replay memory: a ring of single frames, `[T, N]`, that builds stacks and n-step returns when it samples.

Rows are written as they come, T rows of N environments in a ring, each frame once. A cell is one (row, environment); cell
number = ring position * N + environment. Three rules make every sample exact, by arithmetic:

- A stack is the cells t-k+1 .. t of one environment; those older than the episode are the zero frame, which has a cell of
  its own after the ring.
- A return stops at the first row that terminates or truncates (agents/targets.py). The bootstrap row t+m is then simply the
  next row of the ring: after a truncation that is the dead row with the episode's last observation.
- Dead rows are never a start. `live` lists the cells of the others in order of arrival, so the valid starts are one interval
  of it: after the rows whose stack has been overwritten, before the rows whose n-step return is not complete.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from agents.core.settings import ConfigError
from agents.core.targets import n_step_return
from agents.core.types import EnvSpaces, StepResult
from agents.memory.ring import Ring
from agents.memory.sum_tree import SumTree


class TransitionBatch(NamedTuple):
    """B transitions; the target of each is ret + discount * V(next_obs)."""

    obs: Tensor  # [B, k, *frame], as stored
    action: Tensor  # i64[B]
    ret: Tensor  # f32[B]: the m-step return, m <= n
    discount: Tensor  # f32[B]: gamma^m, 0 after a termination
    next_obs: Tensor  # [B, k, *frame]
    weight: Tensor  # f32[B]: importance weights; ones where sampling is uniform
    cell: Tensor  # i64[B]: where in the replay the transitions start


class SequenceBatch(NamedTuple):
    """L successive rows of B environments, whatever episodes they belong to."""

    obs: Tensor  # [L, B, k, *frame], as stored
    is_first: Tensor  # bool[L, B]
    is_last: Tensor  # bool[L, B]
    action: Tensor  # i64[L, B]
    reward: Tensor  # f32[L, B]
    terminated: Tensor  # bool[L, B]
    truncated: Tensor  # bool[L, B]
    kept: dict[str, Tensor]  # what else was kept of each row, f32[L, B, ...]
    weight: Tensor  # f32[B]: as of a Batch
    cell: Tensor  # i64[B]: where in the replay the sequences start


SMALLEST_ERROR = 1e-6  # is added to every error, so that no transition is never drawn again


class Replay:
    """Replay (Lin 1993) of the last `capacity` cells, rounded down to whole rows of `rows.num_envs`.

    Uniform, or with `priority_alpha` > 0 prioritised: transition i is drawn with probability p_i^alpha / sum_k p_k^alpha, where
    p_i is the size of its last error and for a new one the largest so far (Schaul et al. 2016, proportional variant).

    The memory is allocated at the first `add`; `Replay.bytes_needed` says how much that is. Raises ConfigError where the
    capacity cannot hold one n-step transition with its stack.
    """

    def __init__(
        self,
        rows: EnvSpaces,
        capacity: int,
        *,
        stack: int,
        n_step: int,
        gamma: float,
        device: torch.device,
        generator: torch.Generator,
        priority_alpha: float = 0.0,
    ) -> None:
        self.rows, self.stack, self.n_step, self.gamma = rows, stack, n_step, gamma
        self.device, self.generator = device, generator
        self.num_rows, self.num_envs = capacity // rows.num_envs, rows.num_envs
        if self.num_rows < stack + n_step:
            least = (stack + n_step) * rows.num_envs
            raise ConfigError(
                f"replay_size is {capacity}; with {rows.num_envs} environments it must be at least {least}"
                " (frame_stack + n_step rows)"
            )
        self.ahead = n_step  # rows after a cell that must be there before it can be drawn by priority, or alone
        self.total_rows = 0  # rows ever written; the next goes to ring position total_rows % num_rows
        self.total_active = 0  # live cells ever written
        self.active_before = np.zeros(
            self.num_rows, np.int64
        )  # live cells written before the row at this ring position
        self.storage: dict[str, Tensor] = {}
        self.more: dict[str, tuple[int, ...]] = {}
        self.priority_alpha = priority_alpha
        self.priorities: SumTree | None = None
        if priority_alpha:
            if device.type == "mps":
                raise ConfigError(
                    f"priority_alpha is {priority_alpha}; mps has no float64, so it must be 0, or device cpu"
                )
            self.priorities = SumTree(self.num_rows * rows.num_envs, device)
            self.largest = torch.ones((), dtype=torch.float64, device=device)  # priority so far

    def keep(self, more: dict[str, tuple[int, ...]]) -> None:
        """Before anything is added: keep float32 tensors of these names and shapes beside each cell."""
        self.more = more

    @staticmethod
    def bytes_needed(rows: EnvSpaces, capacity: int, priority_alpha: float = 0.0) -> int:
        """Bytes that a replay of `capacity` cells allocates."""
        num_rows = capacity // rows.num_envs
        itemsize = torch.empty(0, dtype=rows.dtype).element_size()
        cells = num_rows * rows.num_envs
        tree = SumTree.bytes_needed(cells) if priority_alpha else 0
        return (
            (cells + 1) * (math.prod(rows.obs_shape) * itemsize + 4)
            + cells * (4 + 1 + 4 + 1 + 1 + 1)
            + num_rows * 8
            + tree
        )

    def _allocate(self) -> None:
        cells = self.num_rows * self.num_envs

        def zeros(n: int, dtype: torch.dtype, *shape: int) -> Tensor:
            if self.device.type != "cpu":
                return torch.zeros((n, *shape), dtype=dtype, device=self.device)
            # numpy asks the system for zeroed pages, which cost nothing until they are written; torch would write them all
            return torch.from_numpy(np.zeros((n, *shape), torch.empty(0, dtype=dtype).numpy().dtype))

        self.storage = {
            "frame": zeros(cells + 1, self.rows.dtype, *self.rows.obs_shape),  # the last is the zero frame
            "age": zeros(cells, torch.int32),  # rows since the episode's first
            "action": zeros(cells, torch.uint8 if self.rows.num_actions <= 256 else torch.int32),
            "reward": zeros(cells, torch.float32),
            "terminated": zeros(cells, torch.bool),
            "truncated": zeros(cells, torch.bool),
            "is_last": zeros(cells, torch.bool),
            "active": zeros(cells + 1, torch.int32),  # ring of live cells; the last entry takes the writes of dead ones
            **{name: zeros(cells, torch.float32, *shape) for name, shape in self.more.items()},
        }

    @property
    def nbytes(self) -> int:
        """Bytes allocated."""
        tree = sum(level.nbytes for level in self.priorities.levels) if self.priorities else 0
        return sum(x.nbytes for x in self.storage.values()) + self.active_before.nbytes + tree

    @property
    def num_starts(self) -> int:
        """How many cells can be sampled now."""
        low, high = self._starts()
        return high - low

    @property
    def size(self) -> int:
        """How many cells hold a row."""
        return min(self.total_rows, self.num_rows) * self.num_envs

    def add(self, step: StepResult, more: dict[str, Tensor] | None = None) -> None:
        """Write one row over the oldest one, with what else is to be kept. The reward is stored as given: clip it before."""
        if not self.storage:
            self._allocate()
        s, n = self.storage, self.num_envs
        row = self.total_rows % self.num_rows
        here = slice(row * n, (row + 1) * n)
        if self.total_rows:
            before = ((self.total_rows - 1) % self.num_rows) * n
            age = torch.where(step.is_first, 0, s["age"][before : before + n] + 1)
        else:
            age = torch.zeros(n, dtype=torch.int32, device=self.device)
        s["age"][here] = age
        s["frame"][here] = step.obs
        s["action"][here] = step.action
        s["reward"][here] = step.reward
        s["terminated"][here] = step.terminated
        s["truncated"][here] = step.truncated
        s["is_last"][here] = step.is_last
        for name, tensor in (more or {}).items():
            s[name][here] = tensor

        # Append this row's live cells to the list; dead ones go to the spare entry, so that no size depends on data.
        alive = ~step.is_last
        rank = self.total_active + torch.cumsum(alive, 0) - 1
        slot = torch.where(alive, rank % (self.num_rows * n), self.num_rows * n)
        s["active"][slot] = torch.arange(row * n, (row + 1) * n, dtype=torch.int32, device=self.device)
        self.active_before[row] = self.total_active
        self.total_active += step.num_active
        before = self._start_rows()
        self.total_rows += 1
        if self.priorities:
            after = self._start_rows()
            for gone in range(before[0], after[0]):
                self.priorities.set(self._cells_of(gone), torch.zeros(n, device=self.device))
            for come in range(max(before[1], after[0]), after[1]):
                cells = self._cells_of(come)
                self.priorities.set(cells, self.largest * ~s["is_last"].take(cells))

    def _cells_of(self, row: int) -> Tensor:
        """The cells of a row, i64[N]."""
        return torch.arange(self.num_envs, device=self.device) + row % self.num_rows * self.num_envs

    def _start_rows(self) -> tuple[int, int]:
        """The interval of rows (counted from the first ever) whose cells are valid starts where they are not dead."""
        oldest = max(0, self.total_rows - self.num_rows)
        first = oldest + self.stack - 1 if oldest else 0  # the row before lost part of its stack to the ring
        return first, max(first, self.total_rows - self.ahead)  # the last row's bootstrap row t+n is not written yet

    def _starts(self) -> tuple[int, int]:
        """The interval of `live` (counted from the first row ever) whose cells are valid starts."""
        first, last = self._start_rows()
        if first == last:
            return 0, 0
        return int(self.active_before[first % self.num_rows]), int(self.active_before[last % self.num_rows])

    def sample(self, batch_size: int, *, beta: float = 1.0) -> TransitionBatch:
        """B transitions, drawn with replacement. Raises ValueError while there is nothing to sample.

        Uniform draws have the weight 1; prioritised ones (N P(i))^-beta over the batch's largest, which for beta = 1 makes up
        for what their probabilities P(i) changed (N: the transitions there are).
        """
        low, high = self._starts()
        if high <= low:
            raise ValueError(f"nothing to sample yet: the replay holds {self.total_rows} rows of {self.num_envs}")
        if self.priorities:
            cell, weight = self._draw(self.priorities, batch_size, beta)
            return self.transitions(cell)._replace(weight=weight)
        draw = torch.randint(low, high, (batch_size,), generator=self.generator, device=self.device)
        cell = self.storage["active"].take(draw % (self.num_rows * self.num_envs)).long()
        return self.transitions(cell)

    def _draw(self, priorities: SumTree, batch_size: int, beta: float) -> tuple[Tensor, Tensor]:
        """Cells drawn by priority, i64[B], and their weights, f32[B]."""
        cell = priorities.draw(batch_size, self.generator)
        probability = priorities.values[cell] / priorities.total
        weight = (self.num_starts * probability) ** -beta
        return cell, (weight / weight.max()).float()

    def set_priorities(self, cell: Tensor, error: Tensor) -> None:
        """Remember the errors f32[B] of what was just sampled; without priorities nothing happens."""
        if self.priorities:
            priority = (error.double().abs() + SMALLEST_ERROR) ** self.priority_alpha
            self.priorities.set(cell, priority)
            self.largest = torch.maximum(self.largest, priority.max())

    def transitions(self, cell: Tensor) -> TransitionBatch:
        """The transitions that start in these cells, i64[B]."""
        s, cells = self.storage, self.num_rows * self.num_envs
        ahead = torch.arange(self.n_step, device=self.device) * self.num_envs
        path = (cell[:, None] + ahead) % cells  # [B, n]: rows t .. t+n-1 of the same environment
        ret, discount, m = n_step_return(
            s["reward"].take(path), s["terminated"].take(path), s["truncated"].take(path), self.gamma
        )
        next_cell = (cell + m * self.num_envs) % cells
        both = self.stacks(torch.cat([cell, next_cell]))
        return TransitionBatch(
            obs=both[: len(cell)],
            action=s["action"].take(cell).long(),
            ret=ret,
            discount=discount,
            next_obs=both[len(cell) :],
            weight=torch.ones_like(ret),
            cell=cell,
        )

    def num_sequences(self, length: int) -> int:
        """How many sequences of `length` rows there are."""
        whole = min(self.total_rows, self.num_rows) - (self.stack - 1 if self.total_rows > self.num_rows else 0)
        return max(0, whole - length + 1) * self.num_envs

    def sample_sequences(self, batch_size: int, length: int, *, beta: float = 1.0) -> SequenceBatch:
        """B sequences of `length` rows, drawn with replacement; by priority as in `sample`, where `ahead` is length - 1.

        Uniform draws may begin with a dead row, which learns nothing. Raises ValueError while there is none to draw.
        """
        n, count = self.num_envs, self.num_sequences(length)
        if not count or (self.priorities and not self.num_starts):
            raise ValueError(f"no sequence of {length} rows yet: the replay holds {self.total_rows} rows of {n}")
        if self.priorities:
            cell, weight = self._draw(self.priorities, batch_size, beta)
            return self.sequences(cell, length)._replace(weight=weight)
        draw = torch.randint(count, (batch_size,), generator=self.generator, device=self.device)
        begin = draw + (self.total_rows - length + 1) * n - count  # (row, environment), counted from the first ever
        return self.sequences(begin, length)

    def latest(self, length: int) -> SequenceBatch:
        """The last `length` rows of every environment. Raises ValueError where they, or their stacks, are not there."""
        if self.num_sequences(length) <= 0:
            raise ValueError(f"no {length} rows yet: the replay holds {self.total_rows} rows of {self.num_envs}")
        begin = (self.total_rows - length) * self.num_envs
        return self.sequences(begin + torch.arange(self.num_envs, device=self.device), length)

    def active_cells(self, begin: int, end: int) -> Tensor:
        """Which cells of the rows [begin, end), counted from the first ever, are live: i64, as numbers of those rows flattened.

        How many there are is known without asking the device. The memory must still hold row `begin`, and already row `end`.
        """
        cells = self.num_rows * self.num_envs
        low, high = (int(self.active_before[row % self.num_rows]) for row in (begin, end))
        listed = torch.arange(low, high, device=self.device) % cells
        return (self.storage["active"].take(listed).long() - begin * self.num_envs) % cells

    def sequences(self, begin: Tensor, length: int) -> SequenceBatch:
        """The sequences of `length` rows that start in these cells, i64[B], counted from the first one ever or in the ring."""
        s, n = self.storage, self.num_envs
        cell = (begin + torch.arange(length, device=self.device)[:, None] * n) % (self.num_rows * n)
        return SequenceBatch(
            obs=self.stacks(cell.flatten()).unflatten(0, cell.shape),
            is_first=s["age"].take(cell) == 0,
            is_last=s["is_last"].take(cell),
            action=s["action"].take(cell).long(),
            reward=s["reward"].take(cell),
            terminated=s["terminated"].take(cell),
            truncated=s["truncated"].take(cell),
            kept={name: s[name][cell] for name in self.more},
            weight=torch.ones(len(begin), device=self.device),
            cell=cell[0],
        )

    def stacks(self, cell: Tensor) -> Tensor:
        """The stack that ends in each of these cells: i64[B] -> [B, k, *frame], zeros before the episode's first frame."""
        s, cells = self.storage, self.num_rows * self.num_envs
        back = torch.arange(self.stack - 1, -1, -1, device=self.device)
        frame = torch.where(s["age"].take(cell)[:, None] >= back, (cell[:, None] - back * self.num_envs) % cells, cells)
        return s["frame"].index_select(0, frame.flatten()).view(len(cell), self.stack, *self.rows.obs_shape)

    def state_dict(self) -> dict[str, Any]:
        """The whole memory: its rows as a Ring, how many were live, and the priorities. `live` follows from `dead`."""
        rows = {"rows": Ring(self._by_row(), self.total_rows)} if self.storage else {}
        priorities = {"priorities": self.priorities.values, "largest": self.largest} if self.priorities else {}
        return {"total_active": self.total_active, **rows, **priorities}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a memory of the same shape. Raises ValueError where the shapes differ."""
        self.total_rows, self.total_active = 0, int(state["total_active"])
        if "rows" not in state:
            return
        self._allocate()
        state["rows"].copy_into(self._by_row())
        self.total_rows = int(state["rows"].total)
        if self.total_rows < 0 or self.total_active < 0:
            raise ValueError(f"the replay's counts are {self.total_rows} rows and {self.total_active} live cells")
        if self.priorities:
            self.priorities.set_all(state["priorities"])
            self.largest = state["largest"].to(self.device)
        self._relist()

    def _by_row(self) -> dict[str, Tensor]:
        """The fields as [rows, environments, ...], without the zero frame and without `live`."""
        cells, shape = self.num_rows * self.num_envs, (self.num_rows, self.num_envs)
        return {name: x[:cells].view(*shape, *x.shape[1:]) for name, x in self.storage.items() if name != "active"}

    def _relist(self) -> None:
        """Make `live` and `live_before` anew from `dead`, counting back from the newest row."""
        held = np.arange(max(0, self.total_rows - self.num_rows), self.total_rows) % self.num_rows  # oldest row first
        alive = ~self._by_row()["is_last"].cpu().numpy()[held]
        counts = alive.sum(1)
        self.active_before[held] = self.total_active - counts.sum() + np.cumsum(counts) - counts
        cell = (held[:, None] * self.num_envs + np.arange(self.num_envs))[alive]
        slot = np.arange(self.total_active - len(cell), self.total_active) % (self.num_rows * self.num_envs)
        self.storage["active"][torch.from_numpy(slot)] = torch.from_numpy(cell).int().to(self.device)
