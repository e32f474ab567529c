"""The action log: the resets and actions that have to be repeated to rebuild the state of N environments.

The state of an environment cannot be saved to disk. But the same seeded reset, followed by the same actions, leads to
the same state. This includes sticky actions, whose random numbers follow from the seed. So the action log of an
environment consists of

    1. the seed of its last seeded reset,
    2. the number of resets without a seed that have to be repeated after the seeded one,
    3. the actions since the last of these resets.

An environment also resets itself after each episode, without a seed. By default such a reset is not logged: it happens
by itself when the actions before it are repeated.

If episodes are independent of each other, then the actions of finished episodes are not needed. In that case the caller
logs the automatic resets with `add_unseeded_reset`. To rebuild the state, they are repeated directly one after the
other, without the actions between them.

A row is one time step of all N environments.
"""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

RESET_STEPS = 25  # a reset without a seed takes as long as this many environment steps


class ActionLog:
    """The seed, resets and actions to repeat, for each of N environments."""

    def __init__(self, num_envs: int, action_dim: int = 0) -> None:
        """Make an empty log.

        Args:
            num_envs: Number of environments, N.
            action_dim: Entries D of a continuous action. 0 means that an action is one whole number.
        """
        self.row = 0  # number of the present row: rows since `clear`, unless `renumber` has changed it
        self._seeds = np.zeros(num_envs, np.int64)  # seeds of the last seeded resets
        self._unseeded_resets = np.zeros(num_envs, np.int64)  # numbers of resets logged after them
        self._reset_row = np.zeros(num_envs, np.int64)  # rows that began with the last logged resets
        # One array i64[N] per row, oldest first, or f32[N, D] with continuous actions.
        self._actions: deque[NDArray[Any]] = deque()
        self._shape = (num_envs, action_dim) if action_dim else (num_envs,)
        self._dtype = np.float32 if action_dim else np.int64

    def clear(self) -> None:
        """Start again at row 0. Call `add_seeded_reset` for all environments afterwards."""
        self.row = 0
        self._actions.clear()

    def add_seeded_reset(self, mask: NDArray[np.bool_], seeds: NDArray[np.int64]) -> None:
        """Log that the environments under `mask` were reset with their entry of `seeds`, i64[N].

        The environments no longer need their earlier resets and actions.
        """
        self._seeds = np.where(mask, seeds, self._seeds)
        self._unseeded_resets = np.where(mask, 0, self._unseeded_resets)
        self._reset_row = np.where(mask, self.row, self._reset_row)

    def add_unseeded_reset(self, mask: NDArray[np.bool_]) -> None:
        """Log that the environments under `mask` were reset without a seed, by a call or by themselves.

        The reset will be repeated. The environments no longer need their earlier actions.
        """
        self._unseeded_resets = self._unseeded_resets + mask
        self._reset_row = np.where(mask, self.row, self._reset_row)

    def add_actions(self, actions: NDArray[Any]) -> None:
        """Log the actions of the present row, i64[N] or f32[N, D]. The next row becomes the present one."""
        self._actions.append(actions)
        self.row += 1

    def replay_steps(self) -> NDArray[np.int64]:
        """Return how long it would take to rebuild the state of each environment, in environment steps: i64[N].

        An environment step is one step of one environment. A reset without a seed counts as `RESET_STEPS` of them.
        """
        return self.row - self._reset_row + RESET_STEPS * self._unseeded_resets

    def drop_obsolete_actions(self) -> None:
        """Drop actions that are not needed to rebuild the state of any environment."""
        needed = self.row - int(self._reset_row.min())
        while len(self._actions) > needed:
            self._actions.popleft()

    def renumber(self, row: int) -> None:
        """Set the number of the present row. All other row numbers change by the same amount.

        After a replay, the log counts from the beginning of the replay. The saved stream counted from its own reset.
        """
        self._reset_row = self._reset_row + row - self.row
        self.row = row

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the log as arrays. The keys "skipped", "age" and "log" are kept for old checkpoints.

        Returns:
            seeds: i64[N], seeds of the last seeded resets.
            skipped: i64[N], numbers of resets without a seed to repeat after the seeded ones.
            age: i64[N], numbers of actions to repeat: rows since the last logged reset of each environment.
            log: i64[T, N] or f32[T, N, D], actions of the T rows before the present one. Environment n needs the last
                `age[n]` of them.
            row: i64[], number of the present row.
        """
        return {
            "seeds": self._seeds,
            "skipped": self._unseeded_resets,
            "age": self.row - self._reset_row,
            "log": np.array(self._actions, self._dtype).reshape(len(self._actions), *self._shape),
            "row": np.array(self.row),
        }


class SavedActionLog(NamedTuple):
    """A saved action log, in the form that `Stream.restore` needs to replay it."""

    seeds: NDArray[np.int64]  # [N]: seed of the reset with which the replay of each environment starts
    unseeded_resets: NDArray[np.int64]  # [N]: number of resets without a seed that follow
    start: NDArray[np.int64]  # [N]: index in `actions` of the first action after these resets
    actions: NDArray[Any]  # i64[T, N], or f32[T, N, D] with continuous actions
    row: int  # number of the row that the replay ends with

    @classmethod
    def from_state(cls, state: dict[str, NDArray[Any]]) -> SavedActionLog:
        """Convert what `ActionLog.state` returned. States of old checkpoints have no key "skipped"."""
        age = state["age"]
        actions = state["log"]
        return cls(
            seeds=state["seeds"],
            unseeded_resets=state.get("skipped", np.zeros_like(age)),
            start=len(actions) - age,
            actions=actions,
            row=int(state["row"]),
        )
