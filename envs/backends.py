"""Adapters that give Gymnasium's vector environments one interface: `reset`, `send`, `recv` and `close`.

The classes differ in how a step is split into sending actions and receiving results, in the format of seeds, and in how
they are closed during a step.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import gymnasium
import numpy as np
from ale_py import AtariVectorEnv
from gymnasium.spaces import Box
from gymnasium.vector import AsyncVectorEnv, VectorEnv
from numpy.typing import NDArray

from envs.errors import EnvFault


class VectorStep(NamedTuple):
    """The result of one step of N environments, as Gymnasium's `VectorEnv.step` returns it."""

    obs: Any  # [N, ...]
    reward: NDArray[Any]  # [N]
    terminated: NDArray[np.bool_]  # [N]
    truncated: NDArray[np.bool_]  # [N]
    info: dict[str, Any]


class Backend(Protocol):
    """The interface of a vector environment that `Stream` uses."""

    @property
    def observation_space(self) -> gymnasium.Space[Any]:
        """Return the space of the observations of one environment, as `reset` and `recv` return them."""
        ...

    def reset(self, mask: NDArray[np.bool_], seeds: NDArray[np.int64] | None) -> tuple[Any, dict[str, Any]]:
        """Start new episodes in some environments.

        Args:
            mask: bool[N], True for the environments to reset.
            seeds: i64[N], of which the entries under `mask` are used, or None to continue the random generators.

        Returns:
            Observations [N, ...] and info of all environments. Environments that are not reset keep theirs.
        """
        ...

    def send(self, actions: NDArray[Any]) -> None:
        """Start a step with actions i64[N], or continuous actions f32[N, D]."""
        ...

    def recv(self) -> VectorStep:
        """Wait for the end of the step and return its results."""
        ...

    def close(self, *, in_step: bool) -> None:
        """Close the environments and end their threads or processes. `in_step`: `send` was called, `recv` was not."""
        ...


def make_backend(env: VectorEnv, name: str) -> Backend:
    """Return the adapter for the class of `env`. `name` is the name of the environment, for messages."""
    if isinstance(env, AtariVectorEnv):
        return AtariBackend(env)
    if isinstance(env, AsyncVectorEnv):
        return AsyncBackend(env, name)
    return SyncBackend(env)


class AtariBackend:
    """ALE's vector environment. The emulators run in C++ threads between `send` and `recv`."""

    def __init__(self, env: AtariVectorEnv) -> None:
        space = env.single_observation_space
        assert isinstance(space, Box)
        self._env = env
        self.observation_space = Box(0, 255, space.shape[1:], np.uint8)

    def reset(self, mask: NDArray[np.bool_], seeds: NDArray[np.int64] | None) -> tuple[Any, dict[str, Any]]:
        """Start new episodes. ALE expects only the seeds of the environments to reset."""
        masked_seeds = None if seeds is None else seeds[mask]
        obs, info = self._env.reset(seed=masked_seeds, options=_reset_options(mask))
        return obs[:, 0], info  # ALE returns stacks of one frame

    def send(self, actions: NDArray[np.int64]) -> None:
        """Start a step with actions i64[N]."""
        self._env.send(actions)

    def recv(self) -> VectorStep:
        """Wait for the emulators and return the results of the step."""
        step = VectorStep(*self._env.recv())
        return step._replace(obs=step.obs[:, 0])  # ALE returns stacks of one frame

    def close(self, *, in_step: bool) -> None:
        """Close the environments. A running step is completed first, because the threads cannot stop within a step."""
        if in_step:
            self._env.recv()
        self._env.close()


class AsyncBackend:
    """Gymnasium's AsyncVectorEnv. Each environment runs in a process of its own between `send` and `recv`."""

    def __init__(self, env: AsyncVectorEnv, name: str) -> None:
        self._env = env
        self._name = name
        self._has_lost_process = False
        self.observation_space = env.single_observation_space

    def reset(self, mask: NDArray[np.bool_], seeds: NDArray[np.int64] | None) -> tuple[Any, dict[str, Any]]:
        """Start new episodes. Gymnasium expects a list with one seed per environment. Raises EnvFault as `recv`."""
        with self._faults():
            return self._env.reset(seed=_seed_list(seeds), options=_reset_options(mask))

    def send(self, actions: NDArray[Any]) -> None:
        """Start a step. Raises EnvFault if a process has ended."""
        with self._faults():
            self._env.step_async(actions)

    def recv(self) -> VectorStep:
        """Wait for the processes and return the results of the step.

        Raises:
            EnvFault: An environment raised, or a process ended.
        """
        with self._faults():
            return VectorStep(*self._env.step_wait())

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """Convert the end of a process to EnvFault, and silence Gymnasium, which prints the traceback of a worker."""
        level = gymnasium.logger.min_level
        gymnasium.logger.min_level = gymnasium.logger.ERROR + 1
        try:
            yield
        except (EOFError, ConnectionError) as error:
            self._has_lost_process = True
            raise EnvFault(f"{self._name}: {self._ended_processes()}") from error
        finally:
            gymnasium.logger.min_level = level

    def _ended_processes(self) -> str:
        """Describe the processes that have ended."""
        for i, process in enumerate(self._env.processes):
            process.join(0.5 if i == 0 else 0)  # the pipe closes a moment before the process ends
            if process.exitcode is not None:
                return f"the process of environment {i} ended with exit code {process.exitcode}"
        return "the process of an environment closed its connection"

    def close(self, *, in_step: bool) -> None:
        """End the processes.

        During a step, and after the end of a process, they are terminated: `AsyncVectorEnv.close` would wait for their
        replies.
        """
        if not in_step and not self._has_lost_process:
            self._env.close()
            return
        for process in self._env.processes:
            process.terminate()
            process.join()
        self._env.closed = True


class SyncBackend:
    """Any other vector environment, such as SyncVectorEnv. `recv` computes the whole step."""

    def __init__(self, env: VectorEnv) -> None:
        self._env = env
        self.observation_space = env.single_observation_space
        self._actions: NDArray[Any] | None = None

    def reset(self, mask: NDArray[np.bool_], seeds: NDArray[np.int64] | None) -> tuple[Any, dict[str, Any]]:
        """Start new episodes. Gymnasium expects a list with one seed per environment."""
        # The annotation of VectorEnv.reset allows one integer only; its subclasses accept a list.
        reset: Any = self._env.reset
        return reset(seed=_seed_list(seeds), options=_reset_options(mask))

    def send(self, actions: NDArray[Any]) -> None:
        """Keep the actions for `recv`."""
        self._actions = actions

    def recv(self) -> VectorStep:
        """Step the environments and return the results."""
        return VectorStep(*self._env.step(self._actions))

    def close(self, *, in_step: bool) -> None:
        """Close the environments."""
        self._env.close()


def _reset_options(mask: NDArray[np.bool_]) -> dict[str, Any] | None:
    """Return the options of `reset` that select the environments under `mask`."""
    if mask.all():
        return None
    return {"reset_mask": mask.copy()}


def _seed_list(seeds: NDArray[np.int64] | None) -> list[int | None] | None:
    """Return the seeds in the format of Gymnasium's vector environments."""
    if seeds is None:
        return None
    return [int(seed) for seed in seeds]
