"""Any Gymnasium vector environment as a stream of rows, in which every observation appears exactly once.

The environments autoreset in NEXT_STEP mode: when an episode ends, its last observation arrives as an ordinary row, the
dead row; the action given there is ignored, and the row after it is the next episode's first.

Emulators cannot be copied to disk, so their state is kept as the way to it: each environment's last seeded reset and the
actions since. Where an episode depends on nothing that was done in those before it, the way skips them: the seeded reset, as
many resets without a seed, and the actions of the running episode. Now and then an episode begins with a seeded reset, so
that the way stays short.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, VectorEnv
from numpy.typing import NDArray

RESEED_AFTER = 10_000  # steps of the way; a seeded reset of an emulator takes as long as 200 to 300
RESET_STEPS = 25  # as many steps of the way count for a reset without a seed, of which no two happen at once


class Row(NamedTuple):
    """What arrives together: the observations of row t, and what the actions of row t-1 earned."""

    obs: NDArray[Any]  # [N, *frame]
    is_first: NDArray[np.bool_]  # [N]: obs is an episode's first
    is_last: NDArray[np.bool_]  # [N]: obs is an episode's last
    reward: NDArray[np.float32]  # [N]: raw; of row t-1, like the two below
    terminated: NDArray[np.bool_]  # [N]: bootstrapping stops (a life lost too, where the protocol says so)
    truncated: NDArray[np.bool_]  # [N]: the episode ended without terminating


class Episode(NamedTuple):
    """A whole game: the environment it ran in, the sum of its raw rewards, and its length in agent steps."""

    env: int
    score: float
    length: int


def spread_seeds(seed: int | Sequence[int], n: int) -> NDArray[np.int64]:
    """n seeds below 2**31 that belong to `seed`: those of two runs have nothing in common, as s, s+1, ... would."""
    return (np.random.SeedSequence(seed).generate_state(n) >> 1).astype(np.int64)


class Stream:
    """N environments in lockstep: `reset` once, then `send` actions and `recv` rows in turn.

    Environments that can (ALE's threads, AsyncVectorEnv) work between `send` and `recv`; the others step in `recv`.
    """

    def __init__(
        self,
        env: VectorEnv,
        *,
        life_loss: bool = False,
        flicker: float = 0.0,
        masked: tuple[int, ...] = (),
        view: Callable[[NDArray[Any]], NDArray[Any]] | None = None,
        action_numbers: tuple[int, ...] = (),
        independent_episodes: bool = False,
        reseed_after: int = RESEED_AFTER,
    ) -> None:
        """`life_loss`: report a drop of info["lives"] as terminated.

        `flicker`: the probability that an observation is blank. `masked`: entries of a vector that are always 0.
        `view`: what makes frames [N, *frame] of the environments' own. `action_numbers`: the environments' numbers of the
        actions that can be sent, counted from 0; all where it is empty. `independent_episodes`: an episode follows from the
        last seeded reset, the number of episodes since, and its own actions. `reseed_after`: the longest way at which an
        episode begins without a seeded reset; see `state`.
        """
        space = env.single_action_space
        if not isinstance(space, gymnasium.spaces.Discrete):
            raise TypeError(f"the stream needs discrete actions, not {space}")
        mode = env.metadata.get("autoreset_mode")
        if mode is not AutoresetMode.NEXT_STEP:
            raise ValueError(f"the stream needs environments that autoreset in NEXT_STEP mode, not {mode}")
        env.metadata = dict(env.metadata)  # a class attribute otherwise: a second env would change it under us
        self.env, self.num_envs, self.life_loss = env, env.num_envs, life_loss
        self.flicker, self.masked = flicker, list(masked)
        numbers = np.array(action_numbers or range(int(space.n)), np.int64)
        self.num_actions, self._numbers = len(numbers), numbers + int(space.start)
        shape = env.single_observation_space.shape
        assert shape is not None
        self._shape = shape[1:] if len(shape) == 3 and shape[0] == 1 else shape  # ALE sends stacks of one
        self.dtype = (
            np.uint8 if env.single_observation_space.dtype == np.uint8 and len(self._shape) == 2 else np.float32
        )
        self.view = view
        self.obs_shape = view(np.zeros((1, *self._shape), self.dtype)).shape[1:] if view else self._shape
        self._actions: NDArray[np.int64] | None = None
        self._seed, self.independent_episodes, self.reseed_after = 0, independent_episodes, reseed_after
        self._seeds = np.zeros(self.num_envs, np.int64)  # of each environment's last seeded reset
        self._skipped = np.zeros(self.num_envs, np.int64)  # the resets without a seed since, that the way goes
        self._since = np.zeros(self.num_envs, np.int64)  # the row of the way's last reset; its actions follow
        self._row = 0  # rows since `reset`
        self._log: deque[NDArray[np.int64]] = deque()  # the actions of the last rows, as far back as any way needs
        self._is_last = self._nobody()
        self._lives = np.zeros(self.num_envs, np.int64)
        self._score = np.zeros(self.num_envs)
        self._length = np.zeros(self.num_envs, np.int64)
        self._episodes: list[Episode] = []

    def _nobody(self) -> NDArray[np.bool_]:
        return np.zeros(self.num_envs, np.bool_)

    def _frames(self, obs: Any) -> NDArray[Any]:
        frames = np.asarray(obs, self.dtype).reshape(self.num_envs, *self._shape)
        if self.view:
            frames = self.view(frames)
        if self.masked:
            frames = frames.copy()
            frames[:, self.masked] = 0
        return self._blank(frames)

    def _blank(self, frames: NDArray[Any]) -> NDArray[Any]:
        """The frames of the present row, some of them blank: which ones follows from the seed and the row alone."""
        if not self.flicker:
            return frames
        blank = np.random.default_rng([self._seed, self._row]).random(self.num_envs) < self.flicker
        return np.where(blank.reshape(-1, *[1] * len(self.obs_shape)), np.zeros_like(frames), frames)

    def reset(self, seed: int) -> Row:
        """Begin all episodes anew, on seeds drawn from `seed`; the row has no rewards."""
        self._seed, self._row = seed, 0
        self._log.clear()
        obs = self._reset(~self._nobody(), spread_seeds(seed, self.num_envs))
        self._is_last = self._nobody()
        self._score[:], self._length[:] = 0, 0
        self._episodes.clear()
        nothing = np.zeros(self.num_envs, np.float32)
        return Row(self._frames(obs), ~self._nobody(), self._nobody(), nothing, self._nobody(), self._nobody())

    def _reset(self, who: NDArray[np.bool_], seeds: NDArray[np.int64] | None) -> Any:
        """Begin an episode in some environments, with seeds or without; the observations of all."""
        options = None if who.all() else {"reset_mask": who.copy()}
        if seeds is None:
            obs, info = self.env.reset(options=options)
        elif hasattr(self.env, "ale"):
            obs, info = self.env.reset(seed=seeds[who], options=options)  # type: ignore[arg-type]
        else:
            obs, info = self.env.reset(seed=[int(s) for s in seeds], options=options)  # type: ignore[arg-type]
        if "lives" in info:
            self._lives = np.where(who, info["lives"], self._lives)
        self._add_reset(who, seeds)
        return obs

    def _add_reset(self, who: NDArray[np.bool_], seeds: NDArray[np.int64] | None) -> None:
        """Add a reset of some environments to their ways: one with seeds begins a way, one without is skipped to."""
        if seeds is None:
            self._skipped = self._skipped + who
        else:
            self._seeds, self._skipped = np.where(who, seeds, self._seeds), np.where(who, 0, self._skipped)
        self._since = np.where(who, self._row, self._since)

    def send(self, actions: NDArray[np.int64]) -> None:
        """Give each environment its action, i64[N]. Raises ValueError where one is out of range: ALE would hang."""
        if actions.shape != (self.num_envs,) or actions.min() < 0 or actions.max() >= self.num_actions:
            raise ValueError(
                f"actions are {actions}; needed are {self.num_envs} numbers from 0 to {self.num_actions - 1}"
            )
        self._log.append(actions.astype(np.int64))
        self._actions = actions = self.to_env_actions(actions)
        if hasattr(self.env, "ale"):
            self.env.send(actions)  # type: ignore[attr-defined]
        elif isinstance(self.env, AsyncVectorEnv):
            self.env.step_async(actions)

    def to_env_actions(self, actions: NDArray[np.int64]) -> NDArray[np.int64]:
        """The environment's own numbers of actions."""
        return self._numbers[actions]

    def recv(self) -> Row:
        """The row that answers the last `send`."""
        if self._actions is None:
            raise RuntimeError("recv without a send before it")
        if hasattr(self.env, "ale"):
            obs, reward, terminated, truncated, info = self.env.recv()  # type: ignore[attr-defined]
        elif isinstance(self.env, AsyncVectorEnv):
            try:
                obs, reward, terminated, truncated, info = self.env.step_wait()
            except (EOFError, ConnectionError) as error:
                raise RuntimeError("the process of an environment died") from error
        else:
            obs, reward, terminated, truncated, info = self.env.step(self._actions)
        self._actions, self._row = None, self._row + 1
        reward = np.asarray(reward, np.float32)
        is_first, self._is_last = self._is_last, terminated | truncated
        self._count(reward, is_first)
        if self.life_loss:
            lives = np.asarray(info["lives"], np.int64)
            terminated = terminated | ((lives < self._lives) & ~is_first & ~self._is_last)
            self._lives = lives
        if is_first.any():
            obs = self._begin(is_first, obs)
        return Row(self._frames(obs), is_first, self._is_last, reward, terminated, truncated & ~terminated)

    def _begin(self, who: NDArray[np.bool_], obs: Any) -> Any:
        """Shorten the way of environments whose episodes begin, if need be with a seeded reset; the observations of all."""
        if self.independent_episodes:
            self._add_reset(who, None)
        due = who & (self._row - self._since + RESET_STEPS * self._skipped >= self.reseed_after)
        if due.any():
            entropy = [[self._seed, self._row, i] for i in range(self.num_envs)]
            obs = self._reset(due, np.array([spread_seeds(e, 1)[0] for e in entropy]))
        for _ in range(len(self._log) - (self._row - int(self._since.min()))):
            self._log.popleft()
        return obs

    def _count(self, reward: NDArray[np.float32], is_first: NDArray[np.bool_]) -> None:
        """Keep each game's score and length; a first row counts nothing, for its action and reward were nobody's."""
        self._score += reward
        self._length += 1
        if is_first.any():
            self._score[is_first], self._length[is_first] = 0, 0
        for i in np.flatnonzero(self._is_last):
            self._episodes.append(Episode(int(i), float(self._score[i]), int(self._length[i])))

    def state(self) -> dict[str, NDArray[np.int64]]:
        """The way to the present row, from which `restore` finds it again; nothing may be in flight.

        `seeds` i64[N] of the last seeded resets, `skipped` i64[N] resets without a seed after them, `age` i64[N] rows since, and
        `log` i64[T, N], whose last `age` actions the environment then took; `row` is the number of the present row.
        """
        log = np.array(self._log, np.int64).reshape(len(self._log), self.num_envs)
        age, row = self._row - self._since, np.array(self._row)
        return {"seeds": self._seeds, "skipped": self._skipped, "age": age, "log": log, "row": row}

    def restore(self, seed: int, state: dict[str, NDArray[np.int64]]) -> Row:
        """Go the way again: the row that was present when `state` of a stream reset with `seed` was taken.

        Exact where an environment does the same after the same seeded reset and actions. The row's rewards are not known
        any more and come as zeros.
        """
        skipped = state.get("skipped", np.zeros_like(state["age"]))  # old states skip nothing
        log, begin = state["log"], len(state["log"]) - state["age"]
        flicker, self.flicker = self.flicker, 0.0  # the rows of the way have other numbers than they had
        row = self.reset(seed)
        reseed_after, self.reseed_after = self.reseed_after, np.iinfo(np.int64).max
        for t in range(len(log) + 1):
            begins = begin == t
            if begins.any():
                obs = self._reset(begins, state["seeds"])
                for n in range(skipped[begins].max()):
                    obs = self._reset(begins & (skipped > n), None)
                self._is_last = self._is_last & ~begins
                self._score, self._length = np.where(begins, 0.0, self._score), np.where(begins, 0, self._length)
                row = row._replace(obs=self._frames(obs), is_first=row.is_first | begins, is_last=row.is_last & ~begins)
            if t < len(log):
                self.send(log[t])
                row = self.recv()
        shift = int(state["row"]) - self._row
        self._row, self._since, self.reseed_after = int(state["row"]), self._since + shift, reseed_after
        self._episodes.clear()
        self.flicker = flicker
        return row._replace(obs=self._blank(row.obs))

    def pop_episodes(self) -> list[Episode]:
        """The games that ended since the last call."""
        games, self._episodes = self._episodes, []
        return games

    def close(self) -> None:
        """End the environments and their threads or processes."""
        if self._actions is not None and isinstance(self.env, AsyncVectorEnv):
            for process in self.env.processes:  # its own close would wait for an answer that may never come
                process.terminate()
                process.join()
            self.env.closed = True
            return
        if self._actions is not None and hasattr(self.env, "ale"):
            self.recv()  # ALE's threads must not be left in mid-step
        self.env.close()
