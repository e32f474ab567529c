"""Streams as vector environments of Stable-Baselines3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import gymnasium
import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from stable_baselines3.common.vec_env import VecEnv

from agents.core.frame_stack import stack_frames
from agents.core.stopwatch import Stopwatch
from envs.stream import Episode, Row, Stream, spread_seeds
from rl_lab.training.training_loop import LoopStep


def sb3_spaces(
    obs_shape: tuple[int, ...], dtype: DTypeLike, num_actions: int, frame_stack: int
) -> tuple[gymnasium.spaces.Box, gymnasium.spaces.Discrete]:
    """Return the spaces of stacked observations and of actions. k images are [k, H, W], k vectors [k * D]."""
    discrete = gymnasium.spaces.Discrete(num_actions)
    if len(obs_shape) == 2 and dtype == np.uint8:
        return gymnasium.spaces.Box(0, 255, (frame_stack, *obs_shape), np.uint8), discrete
    entries = frame_stack * int(np.prod(obs_shape))
    return gymnasium.spaces.Box(-np.inf, np.inf, (entries,), np.float32), discrete


class _PlainVecEnv(VecEnv):
    """A vector environment without attributes and methods of single environments."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return the attribute of this object, or None, for each environment."""
        return [getattr(self, attr_name, None) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> NoReturn:
        """Raise AttributeError: there are no attributes to set."""
        raise AttributeError(f"the environments have no attribute {attr_name} that can be set")

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> NoReturn:
        """Raise AttributeError: there are no methods to call."""
        raise AttributeError(f"the environments have no method {method_name}")

    def env_is_wrapped(self, wrapper_class: type[gymnasium.Wrapper], indices: Any = None) -> list[bool]:
        """Return False for each environment."""
        return [False for _ in self._get_indices(indices)]


class StreamVecEnv(_PlainVecEnv):
    """Streams of one environment each as a vector environment that resets itself within a step.

    A stream returns the last observation of an episode as a row of its own, and the next first observation in the row
    after it. Stable-Baselines3 expects both in the same step: the last observation in `info["terminal_observation"]`,
    and the first one as the observation. So a stream at a last row is stepped once more, with an action that has no
    effect.
    """

    def __init__(self, streams: Sequence[Stream], frame_stack: int, reward_clip: float, seed: int = 0) -> None:
        """Wrap the streams.

        Args:
            streams: Streams of one environment each.
            frame_stack: Observations in a stack, k.
            reward_clip: Rewards are clipped to [-reward_clip, reward_clip]; 0 disables clipping.
            seed: The environments' seeds are derived from it.
        """
        first = streams[0]
        super().__init__(len(streams), *sb3_spaces(first.obs_shape, first.dtype, first.num_actions, frame_stack))
        self.streams = streams
        self.steps: list[LoopStep] = []  # outcomes of the steps that `SB3Loop` has not taken yet
        self.seconds = Stopwatch()
        self._frame_stack = frame_stack
        self._reward_limit = reward_clip or np.inf
        self._seed = seed
        self._histories: list[NDArray[Any]] = []  # of each environment, the last k-1 observations [1, k-1, *obs_shape]

    def reset(self) -> NDArray[Any]:
        """Reset all environments and return their stacked observations [N, ...]."""
        shape = (1, self._frame_stack - 1, *self.streams[0].obs_shape)
        self._histories = [np.zeros(shape, self.streams[0].dtype) for _ in self.streams]
        seeds = spread_seeds(self._seed, self.num_envs)
        stacks = []
        for i, stream in enumerate(self.streams):
            row = stream.reset(int(seeds[i]))
            stacks.append(self._stack(i, row))
        return np.stack(stacks)

    def step_async(self, actions: NDArray[Any]) -> None:
        """Start a step with actions [N]."""
        for stream, action in zip(self.streams, actions.astype(np.int64), strict=True):
            stream.send(action[None])

    def step_wait(self) -> tuple[NDArray[Any], NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        """Return stacked observations [N, ...], clipped rewards [N], ends of episodes [N] and infos of the step."""
        stacks = []
        rewards = []
        dones = []
        infos = []
        episodes: list[Episode] = []
        with self.seconds("emulation"):
            for i, stream in enumerate(self.streams):
                row = stream.recv()
                stack = self._stack(i, row)
                is_done = bool(row.terminated[0] | row.truncated[0])
                info: dict[str, Any] = {"TimeLimit.truncated": bool(row.truncated[0])}
                if is_done:
                    info["terminal_observation"] = stack
                if row.is_last[0]:  # not after a lost life: the episode continues
                    episodes += [episode._replace(env=i) for episode in stream.pop_episodes()]
                    stack = self._next_episode(i, stream)
                stacks.append(stack)
                rewards.append(float(row.reward[0].clip(-self._reward_limit, self._reward_limit)))
                dones.append(is_done)
                infos.append(info)
        self.steps.append(LoopStep(self.num_envs, None, episodes))
        return np.stack(stacks), np.array(rewards, np.float32), np.array(dones), infos

    def close(self) -> None:
        """Close all streams."""
        for stream in self.streams:
            stream.close()

    def _next_episode(self, i: int, stream: Stream) -> NDArray[Any]:
        """Step environment i from the last row of an episode to the first of the next one, and return its stack."""
        stream.send(np.zeros(1, np.int64))
        return self._stack(i, stream.recv())

    def _stack(self, i: int, row: Row) -> NDArray[Any]:
        """Return the stacked observations that end with this row of environment i."""
        history = torch.from_numpy(self._histories[i])
        stack, history = stack_frames(torch.from_numpy(row.obs), torch.from_numpy(row.is_first), history)
        self._histories[i] = history.numpy()
        shape = self.observation_space.shape
        assert shape is not None
        return stack[0].numpy().reshape(shape)


class PlaceholderVecEnv(_PlainVecEnv):
    """Spaces without environments. Stable-Baselines3 creates networks only from the spaces of a vector environment."""

    def reset(self) -> NoReturn:
        """Raise RuntimeError."""
        raise RuntimeError("a placeholder has no environments")

    def step_async(self, actions: NDArray[Any]) -> NoReturn:
        """Raise RuntimeError."""
        raise RuntimeError("a placeholder has no environments")

    def step_wait(self) -> NoReturn:
        """Raise RuntimeError."""
        raise RuntimeError("a placeholder has no environments")

    def close(self) -> None:
        """Do nothing."""
