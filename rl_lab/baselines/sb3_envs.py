"""Streams as vector environments of Stable-Baselines3.

In shapes, N is the number of environments, k the number of observations in a stack, and D the number of entries of a
vector or of a continuous action.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from agents.core.frame_stack import stack_frames
from agents.core.stopwatch import Stopwatch
from agents.nn.normalization import ObservationNormalization
from envs.options import MIN_IMAGE_SIDE
from envs.stream import Episode, Row, Stream, spread_seeds
from rl_lab.training.training_loop import LoopStep


def observation_space(obs_shape: tuple[int, ...], is_image: bool, frame_stack: int) -> gymnasium.spaces.Box:
    """Return the space of stacked observations.

    A stack of k images has the shape [k * C, H, W], with C = 1 for grey images. A stack of k vectors, of planes, or of
    images that are too small for the Nature CNN, is flattened to [k * D].
    """
    if is_image and min(obs_shape[-2:]) >= MIN_IMAGE_SIDE:
        channels = obs_shape[0] if len(obs_shape) == 3 else 1
        return gymnasium.spaces.Box(0, 255, (frame_stack * channels, *obs_shape[-2:]), np.uint8)
    entries = frame_stack * int(np.prod(obs_shape))
    return gymnasium.spaces.Box(-np.inf, np.inf, (entries,), np.float32)


def action_space(num_actions: int, action_dim: int) -> gymnasium.spaces.Discrete | gymnasium.spaces.Box:
    """Return the space of actions.

    Args:
        num_actions: Number of discrete actions.
        action_dim: Entries of a continuous action, each from -1 to 1. 0 means discrete actions.
    """
    if action_dim:
        return gymnasium.spaces.Box(-1.0, 1.0, (action_dim,), np.float32)
    return gymnasium.spaces.Discrete(num_actions)


class _PlainVecEnv(VecEnv):
    """A vector environment whose single environments have no attributes, methods and wrappers."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return, for each environment, the attribute of the vector environment, or None if the attribute is missing.

        The constructor of `VecEnv` reads `render_mode`.
        """
        return [getattr(self, attr_name, None) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> NoReturn:
        """Raise AttributeError: single environments have no attributes."""
        raise AttributeError(f"the environments have no attribute {attr_name} that can be set")

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> NoReturn:
        """Raise AttributeError: single environments have no methods."""
        raise AttributeError(f"the environments have no method {method_name}")

    def env_is_wrapped(self, wrapper_class: type[gymnasium.Wrapper], indices: Any = None) -> list[bool]:
        """Return False for each environment."""
        return [False for _ in self._get_indices(indices)]


class StreamVecEnv(_PlainVecEnv):
    """Streams of one environment each, as a vector environment that starts a new episode within the same step.

    A stream returns the last observation of an episode in one row, and the first observation of the next episode in the
    row after it. Stable-Baselines3 expects both in the same step: the last observation in
    `info["terminal_observation"]`, and the first observation as the observation of the step. So at the last row of an
    episode, the stream is stepped once more, with an action that has no effect.
    """

    def __init__(
        self,
        streams: Sequence[Stream],
        frame_stack: int,
        reward_clip: float,
        seed: int = 0,
        *,
        is_image: bool = False,
        ends_at_lost_life: bool = True,
    ) -> None:
        """Wrap the streams.

        Args:
            streams: Streams of one environment each.
            frame_stack: Observations in a stack, k.
            reward_clip: Rewards are clipped to [-reward_clip, reward_clip]; 0 disables clipping.
            seed: Seed from which the seeds of the environments are derived.
            is_image: The observations are images [H, W] or [C, H, W].
            ends_at_lost_life: Return "done" after a lost life too, if the environment's protocol says so.
        """
        first = streams[0]
        super().__init__(
            len(streams),
            observation_space(first.obs_shape, is_image, frame_stack),
            action_space(first.num_actions, first.action_dim),
        )
        self.streams = streams
        self.steps: list[LoopStep] = []  # results of steps that `SB3Loop` has not removed yet, without metrics
        self.seconds = Stopwatch()
        self._frame_stack = frame_stack
        self._reward_limit = reward_clip or np.inf
        self._seed = seed
        # The action of the last row of an episode.
        self._no_effect = np.zeros((1, first.action_dim), np.float32) if first.action_dim else np.zeros(1, np.int64)
        self._ends_at_lost_life = ends_at_lost_life
        self._histories: list[NDArray[Any]] = []  # the last k-1 observations of each environment, [1, k-1, *obs_shape]

    def reset(self) -> NDArray[Any]:
        """Reset all environments and return their stacked observations [N, k, H, W] or [N, k * D]."""
        shape = (1, self._frame_stack - 1, *self.streams[0].obs_shape)
        self._histories = [np.zeros(shape, self.streams[0].dtype) for _ in self.streams]
        seeds = spread_seeds(self._seed, self.num_envs)
        stacks = []
        for i, stream in enumerate(self.streams):
            row = stream.reset(int(seeds[i]))
            stacks.append(self._stack(i, row))
        return np.stack(stacks)

    def step_async(self, actions: NDArray[Any]) -> None:
        """Start a step with actions [N], or continuous actions [N, D]."""
        for stream, action in zip(self.streams, actions.astype(self._no_effect.dtype), strict=True):
            stream.send(action[None])

    def step_wait(self) -> tuple[NDArray[Any], NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        """Wait for the end of the step.

        Returns:
            Stacked observations [N, k, H, W] or [N, k * D]; clipped rewards [N]; flags "done" [N], True after the last
            step of an episode and, with `ends_at_lost_life`, after a lost life; and N infos.
        """
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
                if not self._ends_at_lost_life:
                    is_done = bool(row.is_last[0])
                info: dict[str, Any] = {"TimeLimit.truncated": bool(row.truncated[0])}
                if is_done:
                    info["terminal_observation"] = stack
                if row.is_last[0]:  # False after a lost life, because the episode continues
                    # The stream numbers its only environment 0.
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
        """Step environment i from the last row of an episode to the first row of the next one. Return its stack."""
        stream.send(self._no_effect)
        return self._stack(i, stream.recv())

    def _stack(self, i: int, row: Row) -> NDArray[Any]:
        """Return the stack [k, H, W] or [k * D] whose newest observation is that of this row of environment i."""
        history = torch.from_numpy(self._histories[i])
        stack, history = stack_frames(torch.from_numpy(row.obs), torch.from_numpy(row.is_first), history)
        self._histories[i] = history.numpy()
        shape = self.observation_space.shape
        assert shape is not None
        return stack[0].numpy().reshape(shape)


class NormalizedVecEnv(VecNormalize):
    """`VecNormalize`, unchanged, whose observation statistics are copied into a layer of the network after each step.

    The layer is saved with the network. Its statistics are those with which `VecNormalize` starts.
    """

    def __init__(self, env: VecEnv, gamma: float, layer: ObservationNormalization) -> None:
        super().__init__(env, gamma=gamma)
        assert isinstance(self.obs_rms, RunningMeanStd)
        self._statistics = self.obs_rms
        self._layer = layer
        if float(layer.count):
            self._statistics.mean = layer.mean.cpu().numpy().copy()
            self._statistics.var = layer.variance.cpu().numpy().copy()
            self._statistics.count = float(layer.count)

    def reset(self) -> Any:
        """Reset all environments and return their normalised observations."""
        obs = super().reset()
        self._copy_statistics()
        return obs

    def step_wait(self) -> tuple[Any, NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        """Wait for the end of the step. Return normalised observations and rewards, the flags "done", and infos."""
        result = super().step_wait()
        self._copy_statistics()
        return result

    def _copy_statistics(self) -> None:
        """Copy mean, variance and count into the layer."""
        self._layer.mean.copy_(torch.as_tensor(self._statistics.mean))
        self._layer.variance.copy_(torch.as_tensor(self._statistics.var))
        self._layer.count.fill_(self._statistics.count)


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
