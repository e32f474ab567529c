"""A short trial of a Gymnasium environment before a run starts: errors, odd results, and randomness beside its seed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from envs.agent_env import AgentEnv
from envs.global_random import GlobalState, global_generators_seeded

STEPS = 50  # most steps of a trial
SECONDS = 0.5  # after this time the first pass ends early
SEED = 12345


class ProbeResult(NamedTuple):
    """The result of a trial of an environment."""

    reproducible: bool  # two environments did the same after the same seeds and actions
    global_random: bool  # a reset or a step drew from `random` or `numpy.random`


class _Trial(NamedTuple):
    """One pass through the environment."""

    rows: list[tuple[Any, ...]]  # what each reset and step returned, without the infos
    global_random: bool


def probe(make: Callable[[], AgentEnv]) -> ProbeResult:
    """Make an environment twice, take the same steps in both, and compare what they return.

    Args:
        make: Function that makes the environment.

    Raises:
        EnvFault: The environment raises, or returns something invalid.
        EnvError: The environment cannot be made.
    """
    first = _trial(make, STEPS, SECONDS)
    second = _trial(make, len(first.rows) - 1, float("inf"))
    return ProbeResult(_equal(first.rows, second.rows), first.global_random)


def _trial(make: Callable[[], AgentEnv], steps: int, seconds: float) -> _Trial:
    """Make the environment, reset it with a seed, take `steps` steps or fewer within the time, and close it."""
    with global_generators_seeded(SEED):
        env = make()
        try:
            obs, _ = env.reset(seed=SEED)
            rows: list[tuple[Any, ...]] = [(obs.copy(),)]  # an environment may write into the same array again
            # Read after the reset, because the guard seeds the generators there.
            before = GlobalState.read()
            env.reset()  # a reset without a seed shows whether a reset draws from the global generators
            ends = time.monotonic() + seconds
            needs_reset = False
            for t in range(steps):
                if needs_reset:
                    obs, _ = env.reset()
                    row: tuple[Any, ...] = (obs.copy(),)
                    needs_reset = False
                else:
                    obs, reward, terminated, truncated, _ = env.step(_choose_action(env, t))
                    row = (obs.copy(), reward, terminated, truncated)
                    needs_reset = bool(terminated or truncated)
                rows.append(row)
                if time.monotonic() > ends:
                    break
            return _Trial(rows, not before.equals(GlobalState.read()))
        finally:
            env.close()


def _choose_action(env: AgentEnv, t: int) -> int | NDArray[np.float32]:
    """Return the action of step t: the legal actions in turn, each for three steps, or drawn if they are continuous."""
    space = env.action_space
    if isinstance(space, Box):
        return np.random.default_rng(t // 3).uniform(-1, 1, space.shape).astype(np.float32)
    assert isinstance(space, Discrete)
    mask = env.action_mask
    if mask is not None:
        legal = np.flatnonzero(mask)
        return int(space.start) + int(legal[(t // 3) % len(legal)])
    return int(space.start) + (t // 3) % int(space.n)


def _equal(first: list[tuple[Any, ...]], second: list[tuple[Any, ...]]) -> bool:
    """Return True if two trials returned the same. NaN equals NaN here: a NaN is reported elsewhere."""
    if len(first) != len(second):
        return False
    for row, other in zip(first, second, strict=True):
        for value, other_value in zip(row, other, strict=False):
            if len(row) != len(other) or not np.array_equal(value, other_value, equal_nan=True):
                return False
    return True
