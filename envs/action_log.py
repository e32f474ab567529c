"""The action log: what has to be repeated to rebuild the state of N emulators.

The state of an emulator cannot be saved to disk. But the same seeded reset, followed by the same actions, leads to the
same state. This includes sticky actions, whose random numbers follow from the seed. So the action log of an environment
consists of

    1. the seed of its last seeded reset,
    2. the number of resets without a seed since then that have to be repeated,
    3. the actions since the last of these resets.

If episodes are independent of each other, then the actions of finished episodes are not needed. The reset without a
seed that started the running episode replaces them (`add_unseeded_reset`).
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

RESET_STEPS = 25  # environment steps that take as long as a reset without a seed


class ActionLog:
    """Seeds, resets and actions of N environments since the last reset that has to be repeated."""

    def __init__(self, num_envs: int) -> None:
        self.row = 0  # rows since `clear`
        self._num_envs = num_envs
        self._seeds = np.zeros(num_envs, np.int64)  # seed of the last seeded reset
        self._unseeded_resets = np.zeros(num_envs, np.int64)  # resets without a seed after the seeded reset
        self._reset_row = np.zeros(num_envs, np.int64)  # row of the last logged reset
        self._actions: deque[NDArray[np.int64]] = deque()  # one i64[N] per row, as far back as any environment needs

    def clear(self) -> None:
        """Start again at row 0. Call `add_seeded_reset` for all environments afterwards."""
        self.row = 0
        self._actions.clear()

    def add_seeded_reset(self, mask: NDArray[np.bool_], seeds: NDArray[np.int64]) -> None:
        """Log that the environments under `mask` were reset with `seeds`, i64[N]. Earlier entries become obsolete."""
        self._seeds = np.where(mask, seeds, self._seeds)
        self._unseeded_resets = np.where(mask, 0, self._unseeded_resets)
        self._reset_row = np.where(mask, self.row, self._reset_row)

    def add_unseeded_reset(self, mask: NDArray[np.bool_]) -> None:
        """Log that the environments under `mask` were reset without a seed. Earlier actions become obsolete."""
        self._unseeded_resets = self._unseeded_resets + mask
        self._reset_row = np.where(mask, self.row, self._reset_row)

    def add_actions(self, actions: NDArray[np.int64]) -> None:
        """Log the actions i64[N] that led to the next row."""
        self._actions.append(actions)
        self.row += 1

    def replay_steps(self) -> NDArray[np.int64]:
        """Return the time that rebuilding each environment would take, in environment steps: i64[N]."""
        return self.row - self._reset_row + RESET_STEPS * self._unseeded_resets

    def drop_obsolete_actions(self) -> None:
        """Drop actions that are not needed to rebuild the state of any environment."""
        needed = self.row - int(self._reset_row.min())
        while len(self._actions) > needed:
            self._actions.popleft()

    def renumber(self, row: int) -> None:
        """Set the number of the present row. All other row numbers move with it."""
        self._reset_row = self._reset_row + row - self.row
        self.row = row

    def state(self) -> dict[str, NDArray[np.int64]]:
        """Return the log as arrays.

        Returns:
            seeds: i64[N], seeds of the last seeded resets.
            skipped: i64[N], numbers of resets without a seed after them.
            age: i64[N], rows since the last logged reset.
            log: i64[T, N], actions of the last T rows. Environment n uses the last `age[n]` of them.
            row: number of the present row.
        """
        return {
            "seeds": self._seeds,
            "skipped": self._unseeded_resets,
            "age": self.row - self._reset_row,
            "log": np.array(self._actions, np.int64).reshape(len(self._actions), self._num_envs),
            "row": np.array(self.row),
        }


class SavedActionLog(NamedTuple):
    """A saved action log, in the form that a replay needs."""

    seeds: NDArray[np.int64]  # [N]: seed of the reset with which the replay of an environment starts
    unseeded_resets: NDArray[np.int64]  # [N]: number of resets without a seed that follow
    start: NDArray[np.int64]  # [N]: index into `actions` of the first action after these resets
    actions: NDArray[np.int64]  # [T, N]
    row: int  # number of the row after the replay

    @classmethod
    def from_state(cls, state: dict[str, NDArray[np.int64]]) -> SavedActionLog:
        """Return the log that `ActionLog.state` returned. States of old checkpoints have no entry "skipped"."""
        age = state["age"]
        actions = state["log"]
        return cls(
            seeds=state["seeds"],
            unseeded_resets=state.get("skipped", np.zeros_like(age)),
            start=len(actions) - age,
            actions=actions,
            row=int(state["row"]),
        )
