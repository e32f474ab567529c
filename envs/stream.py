"""N environments in lockstep, as a stream of rows in which every observation appears exactly once.

A row is one time step of all N environments. Row t holds the observations of time t. Its rewards and ends (`reward`,
`terminated`, `truncated`) are the consequences of the actions that were chosen for row t-1. (In
`agents.core.types.StepResult`, a row holds the consequences of its own actions. The training loop converts.)

The environments reset themselves in Gymnasium's NEXT_STEP mode. When the episode of an environment ends, its last
observation arrives in an ordinary row, with `is_last`. The action for this observation has no effect. The next row
holds the first observation of the next episode, with `is_first`.

The state of the environments is saved as an action log, and restored by replaying the log (envs/action_log.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray

from envs.action_log import ActionLog, SavedActionLog
from envs.backends import VectorStep, make_backend
from envs.errors import EnvFault
from envs.observations import ObservationConverter, ViewFunction
from envs.packing import unpack_masks
from envs.spec import PackedObservation

RESEED_AFTER = 10_000
"""Default of `reseed_after`, in environment steps. A seeded reset of an Atari environment takes as long as 200 to 300
steps. Much more frequent seeded resets would slow down training."""


class Row(NamedTuple):
    """Observations of row t, and the consequences of the actions that were chosen for row t-1.

    Do not change the arrays. The stream and other rows may share them.
    """

    obs: NDArray[Any]  # [N, *obs_shape]
    is_first: NDArray[np.bool_]  # [N]: obs is the first of an episode
    is_last: NDArray[np.bool_]  # [N]: obs is the last of an episode
    reward: NDArray[np.float32]  # [N]: reward for the actions of row t-1, not clipped; 0 where `is_first`
    terminated: NDArray[np.bool_]  # [N]: do not bootstrap after row t-1 (also after a lost life with `life_loss`)
    truncated: NDArray[np.bool_]  # [N]: the episode was cut after row t-1; bootstrap from its last observation, obs


class Episode(NamedTuple):
    """A finished episode."""

    env: int  # index of the environment
    score: float  # undiscounted sum of the rewards, not clipped
    length: int  # agent steps
    is_cut: bool = False  # it was cut at `max_steps` of the stream


def spread_seeds(seed: int | Sequence[int], n: int) -> NDArray[np.int64]:
    """Return n seeds in [0, 2**31) that are derived from `seed`.

    Seeds derived from different values of `seed` are unrelated. The numbers `seed`, ..., `seed + n - 1` would not be:
    with n = 4, the runs with seeds 1 and 2 would have the environments 2, 3 and 4 in common.
    """
    return (np.random.SeedSequence(seed).generate_state(n) >> 1).astype(np.int64)


class Stream:
    """N environments in lockstep: call `reset` once, then `send` and `recv` in turn.

    ALE's vector environment and AsyncVectorEnv step in the background between `send` and `recv`. Other vector
    environments step in `recv`.
    """

    def __init__(
        self,
        env: VectorEnv,
        *,
        name: str = "the environment",
        life_loss: bool = False,
        flicker: float = 0.0,
        masked: tuple[int, ...] = (),
        view: ViewFunction | None = None,
        action_numbers: tuple[int, ...] = (),
        packed: PackedObservation | None = None,
        independent_episodes: bool = False,
        reseed_after: int = RESEED_AFTER,
        max_steps: int | None = None,
    ) -> None:
        """Wrap a vector environment.

        Args:
            env: Vector environment with autoreset mode NEXT_STEP, and with actions that are Discrete or a Box [D].
            name: Name of the environment, for messages.
            life_loss: Report a lost life (a decrease of `info["lives"]`) as `terminated`, although the episode goes on.
                A step that ends the episode is reported unchanged, so that a truncation stays a truncation.
            flicker: Probability that an observation is blank, for each environment in each row.
            masked: Indices of vector entries that are set to 0.
            view: Function from observations [N, ...] to observations [N, *obs_shape], or None. It may change shape and
                content.
            action_numbers: The allowed actions, as offsets from the first action of the environment's action space.
                Action i of the agent is the environment's action `start + action_numbers[i]`. Empty means all actions.
            packed: Where the parts of packed observations lie, or None if observations are not packed.
            independent_episodes: True if an episode depends only on the last seeded reset, on the number of episodes
                since then, and on its own actions. The action log then omits finished episodes.
            reseed_after: An episode starts with a seeded reset if the replay of the action log would take at least this
                many environment steps (`ActionLog.replay_steps`).
            max_steps: Agent steps after which an episode is truncated, beside the limits of the environment. None means
                no further limit. The action log does not hold these ends, so `restore` needs a stream without them.

        Raises:
            TypeError: The actions are neither Discrete nor a Box with one axis.
            ValueError: The environments reset themselves in another mode.
        """
        space = env.single_action_space
        if not isinstance(space, Discrete) and not (isinstance(space, Box) and space.low.ndim == 1):
            raise TypeError(f"a stream needs actions that are Discrete or a Box with one axis, not {space}")
        mode = env.metadata.get("autoreset_mode")
        if mode is not AutoresetMode.NEXT_STEP:
            raise ValueError(f"a stream needs environments with autoreset mode NEXT_STEP, not {mode}")
        # `metadata` is a class attribute: without a copy, a second vector environment would change the first one's.
        env.metadata = dict(env.metadata)
        self.env = env
        self.name = name
        self.num_envs = env.num_envs
        self.life_loss = life_loss
        self.independent_episodes = independent_episodes
        self.reseed_after = reseed_after
        self.max_steps = max_steps
        self._backend = make_backend(env, name)

        self._observations = ObservationConverter(
            self._backend.observation_space, view=view, masked=masked, flicker=flicker, packed=packed
        )
        self._packed = packed if packed is not None and packed.num_masked else None
        self.obs_shape = self._observations.obs_shape
        self.dtype = self._observations.dtype

        self.action_dim = 0  # entries D of a continuous action; 0 with discrete actions
        self.num_actions = 0  # 0 with continuous actions
        self._first_action = 0
        if isinstance(space, Discrete):
            self.num_actions = len(action_numbers) or int(space.n)
            self._first_action = int(space.start)
        else:
            self.action_dim = len(space.low)
        self._action_numbers = np.array(action_numbers, np.int64)  # [num_actions], or empty if all are allowed

        self._seed = 0
        self._log = ActionLog(self.num_envs, self.action_dim)
        self._sent: NDArray[Any] | None = None  # actions of the step in progress, or None
        self._is_last = np.zeros(self.num_envs, np.bool_)  # `is_last` of the present row
        self._is_cut = np.zeros(self.num_envs, np.bool_)  # True where the present row ends an episode at `max_steps`
        self._lives = np.zeros(self.num_envs, np.int64)
        self._score = np.zeros(self.num_envs)  # sums of the rewards of the running episodes
        self._length = np.zeros(self.num_envs, np.int64)  # agent steps of the running episodes
        self._episodes: list[Episode] = []  # finished episodes that `pop_episodes` has not returned yet

    def reset(self, seed: int) -> Row:
        """Reset all environments with seeds derived from `seed`. The rewards of the returned row are 0.

        Raises:
            EnvFault: As `recv`.
        """
        return self._with_flicker(self._reset_all(seed))

    def send(self, actions: NDArray[Any]) -> None:
        """Start a step.

        Args:
            actions: i64[N], each from 0 to num_actions - 1, or continuous actions f32[N, D].

        Raises:
            ValueError: The shape is wrong, an action is out of range (ALE's vector environment would hang), or a
                continuous action is not finite.
        """
        self._check_actions(actions)
        self._sent = actions.astype(np.float32 if self.action_dim else np.int64)
        self._backend.send(self.to_env_actions(self._sent))

    def recv(self) -> Row:
        """Wait for the end of the step that `send` started, and return the next row.

        Raises:
            RuntimeError: `send` was not called before.
            EnvFault: An environment raised, ended its process, or sent an observation or a reward that is not finite.
        """
        return self._with_flicker(self._receive(allow_reseed=True))

    def pop_episodes(self) -> list[Episode]:
        """Return the episodes that ended since the last call."""
        episodes = self._episodes
        self._episodes = []
        return episodes

    def running_episode(self, env: int) -> Episode:
        """Return the episode of environment `env` up to the present row. At its last row it is the finished episode."""
        return Episode(env, float(self._score[env]), int(self._length[env]))

    def to_env_actions(self, actions: NDArray[Any]) -> NDArray[Any]:
        """Return the actions of the environments' action space that belong to the agent's actions, in their shape."""
        if self.action_dim:
            return actions
        if len(self._action_numbers):
            actions = self._action_numbers[actions]
        return actions + self._first_action

    def legal_actions(self, row: Row) -> NDArray[np.bool_] | None:
        """Return the action masks of a row, bool[N, num_actions], or None if the environment has no action masks.

        In the last row of an episode, in which no action has an effect, all actions are legal. A row that ends an
        episode at `max_steps` keeps its masks, because the environment still takes a step with the action of this row.
        """
        if self._packed is None:
            return None
        return unpack_masks(self._packed, row.obs) | (row.is_last & ~self._is_cut)[:, None]

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the action log up to the present row, from which `restore` rebuilds the state.

        Call this method after `reset` or `recv`, not between `send` and `recv`.
        """
        return self._log.state()

    def restore(self, seed: int, state: dict[str, NDArray[Any]]) -> Row:
        """Rebuild the state of a stream by replaying its action log.

        The result is exact if seeds and actions determine what the environments do.

        Args:
            seed: The argument of the saved stream's `reset`.
            state: What the saved stream's `state` returned.

        Returns:
            The row at which the state was saved. Only `obs`, `is_first` and `is_last` are restored.
        """
        saved = SavedActionLog.from_state(state)
        # All environments step together through the saved actions. Environment n repeats its resets directly before
        # action `saved.start[n]`. The resets discard the steps that the environment has taken up to there.
        row = self._reset_all(seed)
        for t in range(len(saved.actions) + 1):
            starts = saved.start == t  # bool[N]
            if starts.any():
                row = self._replay_resets(row, starts, saved)
            if t < len(saved.actions):
                self.send(saved.actions[t])
                row = self._receive(allow_reseed=False)
        self._log.renumber(saved.row)
        self._episodes.clear()
        return self._with_flicker(row)

    def close(self) -> None:
        """Close the environments and end their threads or processes."""
        self._backend.close(in_step=self._sent is not None)

    def _check_actions(self, actions: NDArray[Any]) -> None:
        """Raise ValueError if `send` cannot take these actions."""
        if self.action_dim:
            if actions.shape != (self.num_envs, self.action_dim) or not np.isfinite(actions).all():
                raise ValueError(
                    f"actions are {actions}; expected finite numbers of shape [{self.num_envs}, {self.action_dim}]"
                )
        elif actions.shape != (self.num_envs,) or actions.min() < 0 or actions.max() >= self.num_actions:
            last = self.num_actions - 1
            raise ValueError(f"actions are {actions}; expected {self.num_envs} numbers from 0 to {last}")

    def _reset_all(self, seed: int) -> Row:
        """Reset all environments with seeds derived from `seed`. Return the first row, without flicker."""
        all_true = np.ones(self.num_envs, np.bool_)
        all_false = np.zeros(self.num_envs, np.bool_)
        self._seed = seed
        self._log.clear()
        obs = self._reset_seeded(all_true, spread_seeds(seed, self.num_envs))
        self._is_last = all_false
        self._is_cut = all_false.copy()
        self._score[:] = 0
        self._length[:] = 0
        self._episodes.clear()
        obs = self._observations.convert(obs)
        self._check_observations(obs)
        return Row(
            obs=obs,
            is_first=all_true,
            is_last=all_false.copy(),
            reward=np.zeros(self.num_envs, np.float32),
            terminated=all_false.copy(),
            truncated=all_false.copy(),
        )

    def _reset_seeded(self, mask: NDArray[np.bool_], seeds: NDArray[np.int64]) -> Any:
        """Reset the environments under `mask` with their entries of `seeds` i64[N], and log the reset.

        Return the observations of all environments.
        """
        obs, info = self._backend.reset(mask, seeds)
        self._update_lives(mask, info)
        self._log.add_seeded_reset(mask, seeds)
        return obs

    def _reset_unseeded(self, mask: NDArray[np.bool_]) -> Any:
        """Reset the environments under `mask` without seeds, and log the reset.

        Return the observations of all environments.
        """
        obs, info = self._backend.reset(mask, None)
        self._update_lives(mask, info)
        self._log.add_unseeded_reset(mask)
        return obs

    def _update_lives(self, mask: NDArray[np.bool_], info: dict[str, Any]) -> None:
        """Read the lives of the environments under `mask` after a reset. Some environments do not report lives."""
        if "lives" in info:
            self._lives = np.where(mask, info["lives"], self._lives)

    def _receive(self, *, allow_reseed: bool) -> Row:
        """Wait for the end of the step, and return the next row, without flicker.

        Args:
            allow_reseed: Let episodes start with a seeded reset if the action log is long. False while a log is
                replayed, because a replay has to repeat the saved resets only.
        """
        if self._sent is None:
            raise RuntimeError("recv was called without a send before it")
        step = self._backend.recv()
        self._log.add_actions(self._sent)
        self._sent = None
        if self._is_cut.any():
            step = self._replace_steps_after_cut(step)
        reward = self._finite_rewards(step.reward)
        is_first = self._is_last  # an episode begins after the last row of the previous one
        self._is_last = step.terminated | step.truncated
        self._add_rewards(step.reward, is_first)
        self._cut_long_episodes()
        self._record_episodes()
        terminated = step.terminated
        if self.life_loss:
            terminated = terminated | self._lost_life(step.info, is_first)
        obs = step.obs
        if is_first.any():
            obs = self._start_episodes(is_first, obs, allow_reseed)
        obs = self._observations.convert(obs)
        self._check_observations(obs)
        return Row(
            obs=obs,
            is_first=is_first,
            is_last=self._is_last,
            reward=reward,
            terminated=terminated,
            truncated=(step.truncated | self._is_cut) & ~terminated,
        )

    def _with_flicker(self, row: Row) -> Row:
        """Return the present row, in which the observations of randomly chosen environments are blank."""
        return row._replace(obs=self._observations.apply_flicker(row.obs, self._seed, self._log.row))

    def _check_observations(self, obs: NDArray[Any]) -> None:
        """Raise EnvFault if an observation [N, *obs_shape] is not finite."""
        wrong = self._observations.wrong_number(obs)
        if wrong is not None:
            i, number = wrong
            size = ", or a number that is too large for float32" if np.isinf(number) else ""
            raise EnvFault(f"{self.name} sent an observation that holds {number}{size} ({self._position(i)})")

    def _finite_rewards(self, reward: NDArray[Any]) -> NDArray[np.float32]:
        """Return the rewards as float32. Raises EnvFault if one is not finite, or too large for float32."""
        with np.errstate(over="ignore"):
            converted = np.asarray(reward, np.float32)
        if np.isfinite(converted).all():
            return converted
        i = int(np.flatnonzero(~np.isfinite(converted))[0])
        problem = f"that is {reward[i]}"
        if np.isfinite(reward[i]):
            problem = f"of {reward[i]:g}, which is too large for float32"
        raise EnvFault(f"{self.name} sent a reward {problem} ({self._position(i)})")

    def _position(self, i: int) -> str:
        """Return where environment i is now, for messages."""
        if self.num_envs == 1:
            return f"row {self._log.row}"
        return f"environment {i}, row {self._log.row}"

    def _add_rewards(self, reward: NDArray[Any], is_first: NDArray[np.bool_]) -> None:
        """Update the scores and lengths of the running episodes.

        Scores are summed in float64: in float32, 16,777,216 + 1 is 16,777,216.

        Where `is_first` is True, the reward belongs to the last row of the previous episode. The action of that row had
        no effect, so neither the reward nor the step counts.
        """
        self._score += reward
        self._length += 1
        if is_first.any():
            self._score[is_first] = 0
            self._length[is_first] = 0

    def _cut_long_episodes(self) -> None:
        """End the episodes that have reached `max_steps` with the present row."""
        if self.max_steps is None:
            return
        self._is_cut = (self._length >= self.max_steps) & ~self._is_last
        self._is_last = self._is_last | self._is_cut

    def _replace_steps_after_cut(self, step: VectorStep) -> VectorStep:
        """Reset the environments whose episode was cut, in place of the steps that they have taken since."""
        obs, reset_info = self._backend.reset(self._is_cut, None)
        self._update_lives(self._is_cut, reset_info)
        info = dict(step.info)
        if "lives" in info:
            info["lives"] = np.where(self._is_cut, self._lives, info["lives"])
        return step._replace(
            obs=obs,
            reward=np.where(self._is_cut, 0.0, step.reward),
            terminated=step.terminated & ~self._is_cut,
            truncated=step.truncated & ~self._is_cut,
            info=info,
        )

    def _record_episodes(self) -> None:
        """Record the episodes that end with the present row."""
        for i in np.flatnonzero(self._is_last):
            episode = Episode(int(i), float(self._score[i]), int(self._length[i]), bool(self._is_cut[i]))
            self._episodes.append(episode)

    def _lost_life(self, info: dict[str, Any], is_first: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return bool[N], True where a life was lost and the episode goes on. Update the numbers of lives."""
        lives = np.asarray(info["lives"], np.int64)
        lost = (lives < self._lives) & ~is_first & ~self._is_last
        self._lives = lives
        return lost

    def _start_episodes(self, mask: NDArray[np.bool_], obs: Any, allow_reseed: bool) -> Any:
        """Handle the automatic resets of the environments under `mask`.

        If episodes are independent, an automatic reset counts as a reset without a seed and is logged. Otherwise it is
        not logged, because in a replay it happens by itself. If the replay of an environment would then take
        `reseed_after` environment steps or more, the environment is reset once more, with a seed.

        Args:
            mask: bool[N], True for environments whose episode begins with the present row.
            obs: The observations of all environments.
            allow_reseed: Allow seeded resets; see `_receive`.

        Returns:
            The observations of all environments, after the seeded resets.
        """
        if self.independent_episodes:
            self._log.add_unseeded_reset(mask)
        if allow_reseed:
            reseed = mask & (self._log.replay_steps() >= self.reseed_after)
            if reseed.any():
                obs = self._reset_seeded(reseed, self._episode_seeds())
        self._log.drop_obsolete_actions()
        return obs

    def _episode_seeds(self) -> NDArray[np.int64]:
        """Return seeds i64[N] for episodes that start at the present row."""
        seeds = [spread_seeds([self._seed, self._log.row, i], 1)[0] for i in range(self.num_envs)]
        return np.array(seeds)

    def _replay_resets(self, row: Row, mask: NDArray[np.bool_], saved: SavedActionLog) -> Row:
        """Repeat the saved resets of the environments under `mask`.

        Returns:
            The present row. In the environments under `mask` it is now the first row of an episode.
        """
        obs = self._reset_seeded(mask, saved.seeds)
        for n in range(saved.unseeded_resets[mask].max()):
            obs = self._reset_unseeded(mask & (saved.unseeded_resets > n))
        self._is_last = self._is_last & ~mask
        self._score = np.where(mask, 0.0, self._score)
        self._length = np.where(mask, 0, self._length)
        return row._replace(
            obs=self._observations.convert(obs),
            is_first=row.is_first | mask,
            is_last=row.is_last & ~mask,
        )
