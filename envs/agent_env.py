"""The environment as agents see it: observations as one array; actions as one number, or as floats in [-1, 1]."""

from __future__ import annotations

import math
from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete
from numpy.typing import NDArray

from envs.errors import EnvError, EnvFault
from envs.guard import env_fault
from envs.observation_layout import ObservationLayout

MaskSource = Literal["", "info", "method", "observation"]
"""Where an environment has its action masks: in `info["action_mask"]`, in the result of a method `action_masks()`, or
in the entry "action_mask" of a Dict observation. Empty: it has none, or they are not used."""

MASK_KEY = "action_mask"
MASK_METHOD = "action_masks"

MAX_ACTIONS = 100_000
"""Most actions, summed over the parts of an action: each has a name in the spec and an output of the network."""

MAX_COMBINATIONS = 2**62
"""Most combinations of a MultiDiscrete action: an action is one number of type int64."""


class AgentEnv(gymnasium.Wrapper):
    """Converts observations by an `ObservationLayout`, and the actions of agents into those of the environment.

    - A MultiDiscrete or MultiBinary action is the number of a combination, which counts the last part fastest, as in
      `numpy.ravel_multi_index`.
    - A continuous action is a vector float32[D]. Its entries are clipped to [-1, 1], and this range is mapped linearly
      to the bounds of the environment's Box. So agents need not know the bounds.
    - Infos stay here, because agents use the action mask only. Gymnasium's vector environments could not join the infos
      of several environments in all cases, nor send all of them between processes.
    """

    def __init__(self, env: gymnasium.Env, name: str, layout: ObservationLayout, mask_source: MaskSource) -> None:
        """Wrap an environment.

        Args:
            env: The environment (`GuardedEnv`).
            name: Its name, for messages.
            layout: How observations are converted.
            mask_source: Where the environment has its action masks.
        """
        super().__init__(env)
        self._name = name
        self._layout = layout
        self._mask_source: MaskSource = mask_source
        self._parts = action_parts(env.action_space)
        self.action_mask: NDArray[np.bool_] | None = None  # of the present state; None without action masks
        dtype = np.dtype(layout.dtype).type
        low, high = (0, 255) if layout.dtype == "uint8" else (-np.inf, np.inf)
        self.observation_space = Box(low, high, layout.frame, dtype)
        if self._parts:
            self.action_space = Discrete(int(np.prod(self._parts, dtype=np.int64)))
        self._box = env.action_space if isinstance(env.action_space, Box) else None
        if self._box is not None:
            self.action_space = Box(-1.0, 1.0, (int(np.prod(self._box.shape)),), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset the environment, and convert the observation. The info is empty. Raises EnvFault."""
        obs, info = self.env.reset(seed=seed, options=options)
        return self._convert(obs, info, is_last=False), {}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take an action, and convert the observation. The info is empty. Raises EnvFault."""
        if self._parts:
            action = to_combination(self.env.action_space, int(action))
        elif self._box is not None:
            action = to_box(self._box, action)
        obs, reward, terminated, truncated, info = self.env.step(action)
        return self._convert(obs, info, is_last=bool(terminated or truncated)), reward, terminated, truncated, {}

    def _convert(self, obs: Any, info: dict[str, Any], *, is_last: bool) -> NDArray[Any]:
        """Return the observation as agents receive it."""
        mask = None
        if self._mask_source:
            mask = self._mask(obs, info, is_last=is_last)
            if not mask.any() and not is_last:
                raise EnvFault(f"{self._name} has no legal action in its action mask, although the episode goes on")
        self.action_mask = mask
        return self._layout.convert(obs, mask)

    def _mask(self, obs: Any, info: dict[str, Any], *, is_last: bool) -> NDArray[np.bool_]:
        """Return the action mask bool[A] of the present state. Raises EnvFault if it is missing or invalid.

        At the end of an episode the mask may be missing, because the next action has no effect. The result is then a
        mask without legal actions.
        """
        num_actions = self._layout.num_masked
        try:
            mask = find_mask(self.env, self._mask_source, obs, info)
        except (Exception, SystemExit) as error:  # the method is the user's
            raise env_fault(f"{self._name} fails in {MASK_METHOD}", error, self.env) from None
        if mask is None and is_last:
            return np.zeros(num_actions, np.bool_)
        array = None
        form = "no mask"
        if mask is not None:
            try:
                array = np.asarray(mask)
                form = f"a mask of shape {array.shape} and type {array.dtype}"
            except ValueError:  # lists of different lengths
                form = "a mask that is no array"
        if array is None or array.shape != (num_actions,) or array.dtype.kind not in "buif":
            raise EnvFault(
                f"{self._name} sent {form}; action masks must hold one number for each of {num_actions} actions"
            )
        return array.astype(np.bool_)


def find_mask(env: gymnasium.Env, source: MaskSource, obs: Any, info: dict[str, Any]) -> Any:
    """Return the action mask of the present state, as the environment gives it, or None if it is missing."""
    if source == "info":
        return info.get(MASK_KEY)
    if source == "observation":
        return obs.get(MASK_KEY) if isinstance(obs, dict) else None
    return env.get_wrapper_attr(MASK_METHOD)()


def mask_source(env: gymnasium.Env, info: dict[str, Any]) -> MaskSource:
    """Return where an environment has its action masks, from the info of its reset."""
    space = env.observation_space
    if MASK_KEY in info:
        return "info"
    if isinstance(space, Dict) and MASK_KEY in space.spaces:
        return "observation"
    if env.has_wrapper_attr(MASK_METHOD) and callable(env.get_wrapper_attr(MASK_METHOD)):
        return "method"
    return ""


def action_parts(space: gymnasium.Space[Any]) -> tuple[int, ...]:
    """Return the number of actions of each part of a MultiDiscrete or MultiBinary space, and () for other spaces."""
    if isinstance(space, MultiDiscrete):
        return tuple(int(n) for n in space.nvec.flat)
    if isinstance(space, MultiBinary):
        return (2,) * int(np.prod(space.shape))
    return ()


def to_combination(space: gymnasium.Space[Any], number: int) -> NDArray[Any]:
    """Return the action of a MultiDiscrete or MultiBinary space from the number of the combination."""
    parts = []
    for size in reversed(action_parts(space)):  # numpy.unravel_index has a limit of 64 parts
        number, part = divmod(number, size)
        parts.append(part)
    values = np.array(parts[::-1], space.dtype).reshape(space.shape or ())
    if isinstance(space, MultiDiscrete):
        values = values + np.asarray(space.start, space.dtype)
    return values


def to_box(space: Box, action: NDArray[np.float32]) -> NDArray[Any]:
    """Return the action of a bounded Box from an agent's action float32[D]. Entries beyond [-1, 1] are clipped."""
    low = space.low.astype(np.float64)
    high = space.high.astype(np.float64)
    share = (np.clip(action.astype(np.float64), -1.0, 1.0).reshape(space.shape) + 1) / 2
    mixed = low * (1 - share) + high * share  # high - low may be larger than the largest float64
    return np.clip(mixed, low, high).astype(space.dtype)


def action_bounds(space: gymnasium.Space[Any]) -> tuple[tuple[float, float], ...]:
    """Return (low, high) of each entry of a Box, and () for other spaces."""
    if not isinstance(space, Box):
        return ()
    return tuple(zip(space.low.ravel().astype(float).tolist(), space.high.ravel().astype(float).tolist(), strict=True))


def check_actions(name: str, space: gymnasium.Space[Any]) -> None:
    """Raise EnvError if agents do not support an action space."""
    if isinstance(space, Box):
        _check_box(name, space)
        return
    parts = (int(space.n),) if isinstance(space, Discrete) else action_parts(space)
    if not parts:
        raise EnvError(
            f"{name} has the action space {space}; agents need a Discrete, MultiDiscrete, MultiBinary or Box one"
        )
    if sum(parts) > MAX_ACTIONS:
        raise EnvError(f"{name} has {sum(parts):,} actions; agents take at most {MAX_ACTIONS:,}")
    combinations = math.prod(parts)
    if combinations > MAX_COMBINATIONS:
        raise EnvError(f"{name} has {combinations:.0e} combinations of actions; agents take at most 2^62")


def _check_box(name: str, space: Box) -> None:
    """Raise EnvError if agents do not support a Box of actions."""
    size = int(np.prod(space.shape))
    if not 1 <= size <= MAX_ACTIONS:
        raise EnvError(f"{name} has actions with {size:,} entries; agents take from 1 to {MAX_ACTIONS:,}")
    if np.dtype(space.dtype).kind != "f":
        raise EnvError(f"{name} has a Box of actions of type {space.dtype}; it must be float32 or float64")
    for i, (low, high) in enumerate(action_bounds(space)):
        if not (np.isfinite(low) and np.isfinite(high) and low < high):
            raise EnvError(
                f"{name}: entry {i} of an action is in [{low:g}, {high:g}]; agents need finite bounds, the lower one"
                " first (a wrapper can set them: --wrapper MODULE:CLASS)"
            )
