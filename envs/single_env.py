"""Observations and actions of an environment outside of a stream: what a person's own loop receives and sends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Tuple
from gymnasium.vector.utils import batch_space, iterate
from numpy.typing import NDArray

from envs.agent_env import MASK_KEY, action_parts, to_box, to_combination
from envs.errors import EnvError
from envs.gymnasium_envs import recipe_of
from envs.observation_layout import ObservationLayout
from envs.packing import pack_masks
from envs.spec import EnvSpec


class Observations(NamedTuple):
    """Observations of one environment or of several, in the form that agents receive."""

    obs: NDArray[Any]  # [N, *obs_shape]
    is_batch: bool  # False if a single observation was given; N is then 1


class SingleEnv:
    """Converts between the forms of an environment and those of agents.

    An observation is that of the environment itself, as `gymnasium.make` and the wrappers of the spec return it, or one
    that is already converted (`EnvSpec.frame`). An action is one that `step` of the environment takes.

    Args:
        env_spec: Specification of the environment.

    Raises:
        EnvError: The environment cannot be made.
    """

    def __init__(self, env_spec: EnvSpec) -> None:
        self.env_spec = env_spec
        self._space: gymnasium.Space[Any] | None = None  # of observations; None for emulators of ALE
        self._action_space: gymnasium.Space[Any] | None = None
        self._layout: ObservationLayout | None = None
        if env_spec.backend == "gymnasium":
            recipe = recipe_of(env_spec)
            env = recipe.make_guarded()
            self._space = env.observation_space
            self._action_space = env.action_space
            self._layout = recipe.layout(env)
            env.close()

    def to_observations(self, obs: Any, action_masks: Any = None) -> Observations:
        """Return observations in the form that agents receive.

        Args:
            obs: One observation, or N observations: arrays with a first axis of length N, in the structure of one
                observation (Dict, Tuple).
            action_masks: bool[A] or bool[N, A], True for legal actions, of an environment that gives them beside its
                observations. None: all actions are legal.

        Raises:
            EnvError: The observations have another shape than those of the environment.
        """
        found = self._from_environment(obs) or self._already_converted(obs)
        if found is None:
            raise EnvError(self._wrong_shape(obs))
        if action_masks is not None:
            found = found._replace(obs=self._with_masks(found.obs, action_masks))
        if self.env_spec.masked:
            found = found._replace(obs=found.obs.copy())
            found.obs[:, list(self.env_spec.masked)] = 0
        return found

    def to_actions(self, actions: NDArray[Any]) -> NDArray[Any]:
        """Return actions that `step` of the environment takes.

        Args:
            actions: Actions of an agent, i64[N] or f32[N, D].

        Returns:
            The actions [N, ...] of the environment's action space, within its bounds.
        """
        spec = self.env_spec
        space = self._action_space
        if isinstance(space, Box):
            return np.stack([to_box(space, action) for action in actions])
        if space is not None and action_parts(space):
            return np.stack([to_combination(space, int(number)) for number in actions])
        if spec.action_numbers:
            actions = np.array(spec.action_numbers)[actions]
        return actions + int(getattr(space, "start", 0))

    def _from_environment(self, obs: Any) -> Observations | None:
        """Return the converted observations of the environment itself, or None if their shape is another one."""
        if self._space is None:
            return None
        count = _count(obs, self._space)
        if count is None:
            return Observations(self._convert(obs)[None], is_batch=False)
        if count < 1:
            return None
        rows = iterate(batch_space(self._space, count), obs)
        return Observations(np.stack([self._convert(row) for row in rows]), is_batch=True)

    def _already_converted(self, obs: Any) -> Observations | None:
        """Return observations that are already in the form of agents, or None for others."""
        frame = self.env_spec.frame
        if isinstance(obs, dict | tuple) or np.shape(obs)[-len(frame) :] != frame:
            return None
        array = np.asarray(obs, self.env_spec.dtype)
        if array.ndim > len(frame) + 1 or not array.size:
            return None
        return Observations(array.reshape(-1, *frame), is_batch=array.ndim == len(frame) + 1)

    def _wrong_shape(self, obs: Any) -> str:
        """Return the message about observations that have another shape than those of the environment."""
        spec = self.env_spec
        if self._space is None:
            expected = f"preprocessed images {spec.dtype}{list(spec.frame)}"
        else:
            expected = f"{_shapes_of(self._space)}"
        return (
            f"an observation has the shape {_shapes(obs)}; the agent was trained on {spec.name} and needs {expected},"
            " or several with a further first axis"
        )

    def _convert(self, obs: Any) -> NDArray[Any]:
        """Return one observation in the form of agents. All actions are legal unless the observation holds a mask."""
        assert self._layout is not None
        mask = None
        if self._layout.num_masked:
            mask = np.ones(self._layout.num_masked, np.bool_)
            if self.env_spec.mask_source == "observation":
                mask = np.asarray(obs[MASK_KEY]).astype(np.bool_)
        return np.asarray(self._layout.convert(obs, mask), self.env_spec.dtype)

    def _with_masks(self, obs: NDArray[Any], action_masks: Any) -> NDArray[Any]:
        """Return packed observations uint8[N, bytes] with other action masks. Raise EnvError if they do not fit."""
        packed = self.env_spec.packed
        if packed is None or not packed.num_masked:
            raise EnvError(f"{self.env_spec.name} was trained without action masks; leave out action_masks")
        masks = np.asarray(action_masks).reshape(-1, np.shape(action_masks)[-1]).astype(np.bool_)
        if masks.shape != (len(obs), packed.num_masked):
            raise EnvError(
                f"action_masks has the shape {list(np.shape(action_masks))}; expected [{len(obs)}, {packed.num_masked}]"
            )
        return pack_masks(packed, obs, masks)


def _leaves(obs: Any, space: gymnasium.Space[Any]) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Yield the shape of each array in an observation, with the shape of its space. A missing part has the shape -1."""
    if isinstance(space, Dict):
        for key, child in space.spaces.items():
            yield from _leaves(obs.get(key) if isinstance(obs, dict) else None, child)
    elif isinstance(space, Tuple):
        parts = obs if isinstance(obs, tuple | list) and len(obs) == len(space.spaces) else [None] * len(space.spaces)
        for part, child in zip(parts, space.spaces, strict=True):
            yield from _leaves(part, child)
    else:
        yield (-1,) if obs is None else np.shape(obs), space.shape or ()


def _count(obs: Any, space: gymnasium.Space[Any]) -> int | None:
    """Return the number of observations, None for a single one, and -1 if the shapes do not fit the space."""
    leaves = list(_leaves(obs, space))
    if all(shape == expected for shape, expected in leaves):
        return None
    counts = {shape[0] if shape[1:] == expected and shape else -1 for shape, expected in leaves}
    return counts.pop() if len(counts) == 1 else -1


def _shapes(obs: Any) -> str:
    """Return the shapes of the arrays in an observation as text."""
    if isinstance(obs, dict):
        return ", ".join(f"{key} {_shapes(part)}" for key, part in obs.items())
    if isinstance(obs, tuple):
        return ", ".join(map(_shapes, obs))
    return str(list(np.shape(obs)))


def _shapes_of(space: gymnasium.Space[Any]) -> str:
    """Return the shapes of the arrays of a space as text."""
    if isinstance(space, Dict):
        return ", ".join(f"{key} {_shapes_of(child)}" for key, child in space.spaces.items())
    if isinstance(space, Tuple):
        return ", ".join(map(_shapes_of, space.spaces))
    return str(list(space.shape or ()))
