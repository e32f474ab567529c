"""Our streams as Stable-Baselines3's vector environments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from agents.core.frame_stack import stack_frames
from agents.core.stopwatch import Stopwatch
from envs.stream import Row, Stream, spread_seeds
from rl_lab.training.loop import LoopStep


class StreamVecEnv(VecEnv):
    """Streams of one environment each as SB3's vector env, which begins the next episode in the step that ends one.

    SB3 wants the last observation of an episode in the info and the first of the next one in its place: a stream that shows its
    dead row is sent one more action, which nobody hears.
    """

    def __init__(self, streams: Sequence[Stream], frame_stack: int, reward_clip: float) -> None:
        self.streams, self.frame_stack, self.clip = streams, frame_stack, reward_clip or np.inf
        one = streams[0]
        super().__init__(len(streams), *spaces(one.obs_shape, one.dtype, one.num_actions, frame_stack))
        self.seed_of_all = 0
        self.actions = np.zeros(self.num_envs, np.int64)
        self.histories = [np.zeros(0)] * self.num_envs
        self.ticks: list[LoopStep] = []
        self.seconds = Stopwatch()

    def _see(self, i: int, row: Row) -> NDArray[Any]:
        """The stack that ends with this row of environment i."""
        obs, is_first = torch.from_numpy(row.obs), torch.from_numpy(row.is_first)
        stack, history = stack_frames(obs, is_first, torch.from_numpy(self.histories[i]))
        self.histories[i] = history.numpy()
        return stack[0].numpy().reshape(self.observation_space.shape)  # type: ignore[arg-type]

    def reset(self) -> NDArray[Any]:
        shape = (1, self.frame_stack - 1, *self.streams[0].obs_shape)
        self.histories = [np.zeros(shape, self.streams[0].dtype) for _ in self.streams]
        seeds = spread_seeds(self.seed_of_all, self.num_envs)
        rows = [stream.reset(int(seed)) for stream, seed in zip(self.streams, seeds, strict=True)]
        return np.stack([self._see(i, row) for i, row in enumerate(rows)])

    def step_async(self, actions: NDArray[Any]) -> None:
        self.actions = actions.astype(np.int64)
        for stream, action in zip(self.streams, self.actions, strict=True):
            stream.send(action[None])

    def step_wait(self) -> tuple[NDArray[Any], NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        obs, rewards, dones, infos, episodes = [], [], [], [], []
        with self.seconds("emulation"):
            for i, stream in enumerate(self.streams):
                row = stream.recv()
                info: dict[str, Any] = {"TimeLimit.truncated": bool(row.truncated[0])}
                seen = self._see(i, row)
                dones.append(bool(row.terminated[0] | row.truncated[0]))
                rewards.append(float(row.reward[0].clip(-self.clip, self.clip)))
                if dones[-1]:
                    info["terminal_observation"] = seen
                if row.is_last[0]:
                    episodes += [game._replace(env=i) for game in stream.pop_episodes()]
                    stream.send(np.zeros(1, np.int64))
                    seen = self._see(i, stream.recv())
                obs.append(seen)
                infos.append(info)
        self.ticks.append(LoopStep(self.num_envs, None, episodes))
        return np.stack(obs), np.array(rewards, np.float32), np.array(dones), infos

    def close(self) -> None:
        for stream in self.streams:
            stream.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [getattr(self, attr_name, None) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise AttributeError(f"a stream has no attribute {attr_name} to set")

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        raise AttributeError(f"a stream has no method {method_name}")

    def env_is_wrapped(self, wrapper_class: type[gymnasium.Wrapper], indices: Any = None) -> list[bool]:
        return [False for _ in self._get_indices(indices)]


def spaces(
    frame: tuple[int, ...], dtype: Any, num_actions: int, stack: int
) -> tuple[gymnasium.spaces.Box, gymnasium.spaces.Discrete]:
    """What SB3 is told of observations and actions: images [k, H, W], vectors [k * D]."""
    if len(frame) == 2 and dtype == np.uint8:
        box = gymnasium.spaces.Box(0, 255, (stack, *frame), np.uint8)
    else:
        box = gymnasium.spaces.Box(-np.inf, np.inf, (stack * int(np.prod(frame)),), np.float32)
    return box, gymnasium.spaces.Discrete(num_actions)


class SpacesOnly(VecEnv):
    """Stands for environments until there are some: SB3 builds its networks from spaces."""

    def _none(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("there are no environments here")

    reset = step_async = step_wait = set_attr = env_method = _none

    def close(self) -> None:
        pass

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [None for _ in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type[gymnasium.Wrapper], indices: Any = None) -> list[bool]:
        return [False for _ in self._get_indices(indices)]
