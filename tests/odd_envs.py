"""Environments that do something wrong or unusual, one kind each. Importing this module registers all of them.

`ODD_RESULTS`, `ODD_ERRORS` and the other mappings name the environments by kind, with what the lab says about each.
"""

from __future__ import annotations

import os
import random
import sys
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiBinary, Text

EPISODE = 5  # steps
FAULTY_STEP = 60  # step of an environment's life at which `Later` environments go wrong: after the trial before a run


class Plain(gymnasium.Env):
    """Two numbers and two actions. The reward is the action."""

    observation_space: gymnasium.Space[Any] = Box(-1, 1, (2,), np.float32)
    action_space: gymnasium.Space[Any] = Discrete(2)

    def __init__(self) -> None:
        self.step_in_episode = 0
        self.steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Start an episode."""
        super().reset(seed=seed)
        self.step_in_episode = 0
        return self.obs(), {}

    def step(self, action: Any) -> Any:
        """Return the action as the reward. The episode ends after `EPISODE` steps."""
        self.step_in_episode += 1
        self.steps += 1
        return self.obs(), self.reward(action), self.step_in_episode == EPISODE, False, {}

    def obs(self) -> Any:
        """Return zeros of the observation space."""
        return np.zeros(self.observation_space.shape or (), self.observation_space.dtype)

    def reward(self, action: Any) -> Any:
        """Return the action."""
        return float(action)

    def goes_wrong(self) -> bool:
        """Return True from step `FAULTY_STEP` on."""
        return self.steps >= FAULTY_STEP


def _register(**classes: type[gymnasium.Env]) -> dict[str, str]:
    """Register classes as Name-v0 and return the ids: name -> id with the module."""
    for name, cls in classes.items():
        gymnasium.register(f"{name}-v0", cls)
    return {name: f"odd_envs:{name}-v0" for name in classes}


# --- What `reset` and `step` return -----------------------------------------------------------------------------------


def _with_obs(obs: Any, space: gymnasium.Space[Any] = Plain.observation_space) -> type[Plain]:
    """Return a class whose observation is always `obs`."""

    class WithObs(Plain):
        observation_space = space

        def obs(self) -> Any:
            return obs

    return WithObs


def _with_reward(value: Any) -> type[Plain]:
    """Return a class whose reward is always `value`."""

    class WithReward(Plain):
        def reward(self, action: Any) -> Any:
            return value

    return WithReward


def _with_step(**changes: Any) -> type[Plain]:
    """Return a class whose step returns other values for `terminated`, `truncated` or `info`."""

    class WithStep(Plain):
        def step(self, action: Any) -> Any:
            obs, reward, terminated, truncated, info = super().step(action)
            values = {"terminated": terminated, "truncated": truncated, "info": info} | changes
            return obs, reward, values["terminated"], values["truncated"], values["info"]

    return WithStep


class _FourValues(Plain):
    def step(self, action: Any) -> Any:
        obs, reward, terminated, _, info = super().step(action)
        return obs, reward, terminated, info


class _OnlyObservation(Plain):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        return super().reset(seed=seed)[0]


class _NoInfo(Plain):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        return super().reset(seed=seed)[0], None


ODD_RESULTS = {
    "LongObservation": (_with_obs(np.zeros(3, np.float32)), r"reset returned an observation of shape \(3,\)"),
    "ScalarObservation": (_with_obs(1.0), r"reset returned an observation of shape \(\)"),
    "RaggedObservation": (_with_obs([1.0, [2.0]]), "it must be an array"),
    "TextObservation": (_with_obs("left"), r"shape \(\)"),
    "NoObservation": (_with_obs(None), r"shape \(\)"),
    "ObjectObservation": (_with_obs(np.array([None, None])), "observation of type object"),
    "WrappedCode": (_with_obs(np.array([300, 0]), Box(0, 255, (2,), np.uint8)), "uint8, its space's type, cannot hold"),
    "NegativeCode": (_with_obs(np.array([-1, 0]), Box(0, 255, (2,), np.uint8)), "uint8, its space's type, cannot hold"),
    "HalfCode": (_with_obs(np.array([0.5, 0]), Box(0, 255, (2,), np.uint8)), "uint8, its space's type, cannot hold"),
    "NegativeState": (_with_obs(-1, Discrete(4)), r"the observation -1, which is not in Discrete\(4\)"),
    "LateState": (_with_obs(4, Discrete(4)), "the observation 4, which is not in Discrete"),
    "RewardArray": (_with_reward(np.ones(1)), r"step returned the reward array\(\[1.0\]\); it must be a number"),
    "RewardNone": (_with_reward(None), "the reward None; it must be a number"),
    "RewardText": (_with_reward("1"), "the reward '1'; it must be a number"),
    "RewardRagged": (_with_reward([1, [2]]), r"the reward \[1, \[2\]\]; it must be a number"),
    "RewardComplex": (_with_reward(1j), "it must be a number"),
    "TerminatedNone": (_with_step(terminated=None), "terminated = None; it must be True or False"),
    "TruncatedText": (_with_step(truncated="no"), "truncated = 'no'; it must be True or False"),
    "TerminatedArray": (_with_step(terminated=np.zeros(1, bool)), "terminated = .*; it must be True or False"),
    "InfoNone": (_with_step(info=None), "step returned the info None; it must be a dict"),
    "FourValues": (
        _FourValues,
        "step returned a tuple of 4 values; it must return an observation, a reward, terminated",
    ),
    "OnlyObservation": (_OnlyObservation, "reset returned array.*; it must return an observation and an info"),
    "ResetInfoNone": (_NoInfo, "reset returned the info None"),
}
"""Name -> class and what the message says."""


# --- What raises ------------------------------------------------------------------------------------------------------


class _NoFile(Plain):
    def __init__(self) -> None:
        raise FileNotFoundError("no such level: maze.txt")


class _NeedsArguments(Plain):
    def __init__(self, size: int, level: str) -> None:
        super().__init__()


class _OldReset(Plain):
    def reset(self) -> Any:  # type: ignore[override]
        return self.obs()


class _ResetRaises(Plain):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        raise KeyError("level")


class _NoMessage(Exception):
    def __str__(self) -> str:
        raise AttributeError("no message")


class _StepRaisesWithoutMessage(Plain):
    def step(self, action: Any) -> Any:
        raise _NoMessage


class _NoSpaces(gymnasium.Env):
    pass


class _SpaceRaises(Plain):
    @property
    def observation_space(self) -> Any:  # type: ignore[override]
        raise RuntimeError("call reset first")


class _StepRaises(Plain):
    def step(self, action: Any) -> Any:
        raise ZeroDivisionError("division\nby zero")


class _ConstructorExits(Plain):
    def __init__(self) -> None:
        sys.exit(0)


class _StepExits(Plain):
    def step(self, action: Any) -> Any:
        raise SystemExit(0)


ODD_ERRORS = {
    "NoFile": (_NoFile, r"NoFile-v0 cannot be made: FileNotFoundError: no such level: maze.txt \(.*odd_envs.py:\d+\)"),
    "NeedsArguments": (_NeedsArguments, "missing 2 required.*--env-arg size=VALUE --env-arg level=VALUE"),
    "OldReset": (_OldReset, "fails in reset: TypeError: .*unexpected keyword argument 'seed'"),
    "ResetRaises": (_ResetRaises, r"fails in reset: KeyError: 'level' \(.*odd_envs.py:\d+\)"),
    "StepRaises": (_StepRaises, r"fails in step: ZeroDivisionError: division by zero \(.*odd_envs.py:\d+\)"),
    "StepRaisesWithoutMessage": (_StepRaisesWithoutMessage, r"fails in step: _NoMessage \(.*odd_envs.py:\d+\)"),
    "NoSpaces": (_NoSpaces, "NoSpaces-v0 has no observation_space: AttributeError"),
    "SpaceRaises": (
        _SpaceRaises,
        r"SpaceRaises-v0 has no observation_space: RuntimeError: call reset first \(.*odd_envs.py:\d+\)",
    ),
    "ConstructorExits": (_ConstructorExits, r"cannot be made: it called sys.exit\(0\) \(.*odd_envs.py:\d+\)"),
    "StepExits": (_StepExits, r"fails in step: it called sys.exit\(0\) \(.*odd_envs.py:\d+\)"),
}
"""Name -> class and what the message says."""


# --- What goes wrong later, during a run ------------------------------------------------------------------------------


class _RaisesLater(Plain):
    def step(self, action: Any) -> Any:
        if self.goes_wrong():
            raise RuntimeError("the simulator crashed")
        return super().step(action)


class _ExitsLater(Plain):
    def step(self, action: Any) -> Any:
        if self.goes_wrong():
            sys.exit(0)
        return super().step(action)


class _DiesLater(Plain):
    def step(self, action: Any) -> Any:
        if self.goes_wrong():
            os._exit(0)
        return super().step(action)


class _DiesInReset(Plain):
    """Ends its process in the second reset with a seed."""

    seeded_resets = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.seeded_resets += seed is not None
        if self.seeded_resets == 2:
            os._exit(3)
        return super().reset(seed=seed)


class _NaNLater(Plain):
    def obs(self) -> Any:
        return np.array([np.nan if self.goes_wrong() else 0.0, 1.0], np.float32)


class _HugeNumberLater(Plain):
    observation_space = Box(-np.inf, np.inf, (2,), np.float64)

    def obs(self) -> Any:
        return np.array([1e39 if self.goes_wrong() else 0.0, 1.0])


class _InfiniteRewardLater(Plain):
    def reward(self, action: Any) -> Any:
        return -np.inf if self.goes_wrong() else 1.0


class _HugeRewardLater(Plain):
    def reward(self, action: Any) -> Any:
        return 1e39 if self.goes_wrong() else 1.0


LATER = {
    "RaisesLater": (_RaisesLater, r"RaisesLater-v0 fails in step: RuntimeError: the simulator crashed \(.*odd_envs.py"),
    "ExitsLater": (_ExitsLater, r"fails in step: it called sys.exit\(0\)"),
    "NaNLater": (_NaNLater, r"sent an observation that holds nan \(environment 0, row 71\)"),
    "HugeNumberLater": (
        _HugeNumberLater,
        r"sent an observation that holds inf, or a number that is too large for float32 \(environment 0, row 71\)",
    ),
    "InfiniteRewardLater": (_InfiniteRewardLater, r"sent a reward that is -inf \(environment 0, row 71\)"),
    "HugeRewardLater": (_HugeRewardLater, r"sent a reward of 1e\+39, which is too large for float32"),
}
"""Name -> class and what the message says. Step 60 is in row 71, because 11 rows before it are resets."""


# --- Randomness beside the seed ---------------------------------------------------------------------------------------


class _PythonRandom(Plain):
    def obs(self) -> Any:
        return np.array([random.random(), random.uniform(-1, 1)], np.float32)


class _NumpyRandom(Plain):
    def obs(self) -> Any:
        return np.random.uniform(-1, 1, 2).astype(np.float32)  # noqa: NPY002  # the global generator is meant


class _RandomLayout(Plain):
    """Draws once, in the constructor."""

    def __init__(self) -> None:
        super().__init__()
        self.layout = np.random.uniform(-1, 1, 2).astype(np.float32)  # noqa: NPY002

    def obs(self) -> Any:
        return self.layout


class _OwnGenerator(Plain):
    """Draws from a generator that no seed reaches."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = np.random.default_rng()

    def obs(self) -> Any:
        return self.generator.uniform(-1, 1, 2).astype(np.float32)


class _OwnBuffer(_OwnGenerator):
    """Writes all observations into one array. The last observation of the trial before a run is not random."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer = np.zeros(2, np.float32)

    def obs(self) -> Any:
        self.buffer[:] = super().obs() if self.step_in_episode else 0.0
        return self.buffer

    def step(self, action: Any) -> Any:
        obs, reward, _, _, info = super().step(action)
        return obs, reward, self.step_in_episode == 49, False, info  # so the last of 50 rows is a reset


GLOBAL_RANDOM = {"PythonRandom": _PythonRandom, "NumpyRandom": _NumpyRandom}
RANDOM_LAYOUT = {"RandomLayout": _RandomLayout}
NOT_REPRODUCIBLE = {"OwnGenerator": _OwnGenerator, "OwnBuffer": _OwnBuffer}


# --- Unusual spaces ---------------------------------------------------------------------------------------------------


def _with_space(space: gymnasium.Space[Any], num_actions: int = 2) -> type[Plain]:
    """Return a class with this observation space."""

    class WithSpace(Plain):
        observation_space = space
        action_space = Discrete(num_actions)

        def obs(self) -> Any:
            return self.observation_space.sample()

    return WithSpace


CUT = "episodes cut after 1,000 steps"

SUPPORTED_SPACES = {
    "Plane": (_with_space(Box(-1, 1, (1, 5, 5), np.float32)), "float32", (1, 5, 5), ("planes: 1 of 5 x 5",)),
    "Board": (_with_space(Box(0, 2, (6, 7), np.uint8)), "uint8", (1, 6, 7), ("planes: 1 of 6 x 7",)),
    "Codes": (_with_space(Box(0, 255, (7, 7, 3), np.uint8)), "uint8", (3, 7, 7), ("planes: 3 of 7 x 7",)),
    "Flat": (_with_space(Box(0, 255, (128,), np.uint8)), "float32", (128,), ("uint8 as float32",)),
    "Doubles": (_with_space(Box(-1, 1, (3,), np.float64)), "float32", (3,), ("float64 as float32",)),
    "States": (_with_space(Discrete(4, start=3)), "float32", (4,), ("one-hot of 4 states", CUT)),
    "Grey": (_with_space(Box(0, 255, (84, 84), np.uint8)), "uint8", (84, 84), ()),
    "OneChannel": (_with_space(Box(0, 255, (40, 60, 1), np.uint8)), "uint8", (84, 84), ("resized from 40 x 60",)),
    "FourChannels": (
        _with_space(Box(0, 255, (40, 40, 4), np.uint8)),
        "uint8",
        (4, 84, 84),
        ("4 channels", "resized from 40 x 40"),
    ),
    "Bits": (_with_space(MultiBinary(4)), "float32", (8,), ("one-hot of 8 states in 4 groups", CUT)),
    "Colour": (
        _with_space(Box(0, 255, (210, 160, 3), np.uint8)),
        "uint8",
        (84, 84),
        ("grey from RGB", "resized from 210 x 160"),
    ),
}
"""Name -> class, and type, shape and transformations of what agents receive."""

REFUSED_SPACES = {
    "ManyStates": (_with_space(Discrete(10**9)), "has 1,000,000,000 states; .* one-hot vectors, of at most 1,000,000"),
    "ManyActions": (
        _with_space(Plain.observation_space, 10**9),
        "has 1,000,000,000 actions; agents take at most 100,000",
    ),
    "NoEntries": (_with_space(Box(-1, 1, (0,), np.float32)), r"observations of shape \(0,\), without entries"),
    "Words": (_with_space(Text(4)), r"observation space Text\(.*\); agents need a Box, Discrete"),
}
"""Name -> class and what the message says."""


class LargeScores(Plain):
    """Each episode has three steps, with the reward 16,777,217 (2**24 + 1, which float32 cannot hold) each."""

    def step(self, action: Any) -> Any:
        obs, _, _, _, info = super().step(action)
        return obs, 16_777_217.0, self.step_in_episode == 3, False, info


_register(
    Plain=Plain,
    LargeScores=LargeScores,
    DiesLater=_DiesLater,
    DiesInReset=_DiesInReset,
    **{name: entry[0] for name, entry in (ODD_RESULTS | ODD_ERRORS | LATER | REFUSED_SPACES).items()},
    **{name: entry[0] for name, entry in SUPPORTED_SPACES.items()},
    **GLOBAL_RANDOM,
    **RANDOM_LAYOUT,
    **NOT_REPRODUCIBLE,
)
