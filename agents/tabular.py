"""The ancestors, in numpy: SARSA, expected SARSA, Q-learning and SARSA(lambda), on tables and on tile coding.

    SARSA           Rummery and Niranjan 1994           r + gamma Q(s', a')
    expected SARSA  van Seijen et al. 2009              r + gamma sum_a pi(a | s') Q(s', a)
    Q-learning      Watkins 1989                        r + gamma max_a Q(s', a)
    SARSA(lambda)   Singh and Sutton 1996               SARSA's error, shared out along traces

Q(s, a) is the sum of the weights of the features that are active in s: one for a state that comes as a number, one a tiling for
a vector. An update moves Q(s, a) by alpha times its error. It is made on arriving in s', right after the next action has been
chosen, for all of them alike: SARSA has no choice, and the figures of van Seijen et al. are met so. With several environments
each has its own traces, and the table is one for all, or one for each (`independent`: many runs at once).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.core.schedules import linear_schedule
from agents.core.settings import ConfigError, Count, CountOrZero, Fraction, Range
from agents.core.stopwatch import Stopwatch
from agents.core.types import Carry, EnvSpaces, Metrics, PolicyOutput, StepResult


@dataclass(frozen=True)
class TabularConfig:
    """The settings of the tabular agents. An agent step is one decision in one environment."""

    alpha: Annotated[float, Range(0, 1, open_low=True)] = 0.5
    """Step size: the share of its error that Q(s, a) is moved by."""
    gamma: Fraction = 1.0
    """Discount per agent step."""
    epsilon_start: Fraction = 0.1
    """Share of random actions at the first agent step."""
    epsilon_end: Fraction = 0.1
    """Share of random actions from epsilon_steps on."""
    epsilon_steps: CountOrZero = 0
    """Agent steps over which epsilon goes linearly from start to end."""
    initial: float = 0.0
    """Q of every state and action before anything is learned; high ones make it try everything."""
    tilings: Count = 8
    """Tilings laid over a vector observation, each shifted against the others (no use for a state that is a number)."""
    tiles: Count = 8
    """Tiles of a tiling along each entry of a vector."""
    independent: bool = False
    """Whether each environment has a table of its own, as if it were a run of its own: for studies."""


class TileCoding:
    """Vectors as active tiles: [N, D] -> i64[N, tilings] (Sutton and Barto 2018, section 9.5.4).

    Tiling k is shifted by k (1, 3, 5, ...) / tilings of a tile's width along the entries, as they recommend.
    """

    def __init__(self, bounds: tuple[tuple[float, float], ...], tilings: int, tiles: int) -> None:
        self.low, high = np.array(bounds, np.float64).T
        self.width = (high - self.low) / tiles
        shift = np.arange(tilings)[:, None] * (2 * np.arange(len(bounds)) + 1)
        self.shift = shift % tilings / tilings  # [tilings, D], in tiles
        self.across = tiles + 1  # the shifted tilings need one more
        self.count = self.features(len(bounds), tilings, tiles)
        self.base = np.arange(tilings) * (self.count // tilings)

    @staticmethod
    def features(entries: int, tilings: int, tiles: int) -> int:
        """How many tiles there are over vectors of so many entries."""
        return tilings * (tiles + 1) ** entries

    def __call__(self, obs: NDArray[Any]) -> NDArray[np.int64]:
        place = (obs - self.low) / self.width
        tile = np.floor(place[:, None] + self.shift).astype(np.int64).clip(0, self.across - 1)
        return self.base + tile @ self.across ** np.arange(tile.shape[2])


class Table(nn.Module):
    """The weights [tables, actions, features], where checkpoints and evaluations look for them; the agent uses them in numpy."""

    def __init__(self, tables: int, actions: int, features: int, value: float) -> None:
        super().__init__()
        self.register_buffer("weights", torch.full((tables, actions, features), value, dtype=torch.float64))


class Tabular(ABC):
    """What the tabular agents share: features, epsilon-greedy acting, and when an update is made. A variant says its `target`."""

    config_class = TabularConfig
    mixed_precision = False

    def __init__(
        self,
        config: TabularConfig,
        rows: EnvSpaces,
        *,
        seed: int,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if rows.is_image or not (rows.one_hot or rows.bounds):
            raise ConfigError("tabular agents need states that are numbers, or vectors whose entries are all bounded")
        if device.type != "cpu":
            raise ConfigError(f"device is {device.type}; tabular agents work in numpy, so it must be cpu")
        self.config, self.rows = config, rows
        self.tile = TileCoding(rows.bounds, config.tilings, config.tiles) if rows.bounds else None
        features = self.tile.count if self.tile else rows.obs_shape[0]
        self.active = config.tilings if self.tile else 1  # features at a time
        tables = rows.num_envs if config.independent else 1
        self.network = Table(tables, rows.num_actions, features, config.initial / self.active)
        self.rng = np.random.default_rng(seed)
        self.arrived: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None  # the newest row's features, actions
        self.steps = 0  # agent steps observed
        self.seconds = Stopwatch()

    @staticmethod
    def bytes_needed(config: TabularConfig, rows: EnvSpaces) -> int:
        """Bytes of the tables."""
        features = rows.obs_shape[0]
        if rows.bounds:
            features = TileCoding.features(len(rows.bounds), config.tilings, config.tiles)
        return 8 * rows.num_actions * features * (rows.num_envs if config.independent else 1)

    @property
    def weights(self) -> NDArray[np.float64]:
        """The tables [tables, actions, features], to be changed in place."""
        return self.network.weights.numpy()  # type: ignore[operator]

    def features(self, obs: Tensor) -> NDArray[np.int64]:
        """The active features of each observation, i64[N, active]."""
        array = obs.numpy()
        return self.tile(array) if self.tile else array.argmax(1)[:, None]

    def values(self, features: NDArray[np.int64], env: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """Q(s, .) [N, A] of these environments (the first N), each in its table."""
        table = self.table(np.arange(len(features)) if env is None else env)
        actions = np.arange(self.rows.num_actions)
        return self.weights[table[:, None, None], actions[:, None], features[:, None]].sum(2)

    def table(self, env: NDArray[np.int64]) -> NDArray[np.int64]:
        """The numbers of the tables that belong to these environments."""
        return env % len(self.weights)

    # --- acting ---------------------------------------------------------------------------------------------------

    def initial_carry(self, n: int) -> Carry:
        """Nothing: the state is all that counts."""
        return ()

    def act(self, obs: Tensor, is_first: Tensor, carry: Carry, *, explore: bool) -> tuple[Tensor, Carry]:
        """The greedy action, or while it explores what `choose` says; that and the row are kept for `observe`."""
        here = self.features(obs)
        q = self.values(here)
        if not explore:
            return torch.from_numpy(q.argmax(1)), carry
        action = self.choose(q)
        self.arrived = here, action
        return torch.from_numpy(action), carry

    def choose(self, q: NDArray[np.float64]) -> NDArray[np.int64]:
        """The best action of each row of q [N, A], ties broken at random; with probability epsilon a uniformly random one."""
        n = len(q)
        best = np.where(q == q.max(1, keepdims=True), self.rng.random(q.shape), -1.0).argmax(1)
        other = self.rng.integers(0, self.rows.num_actions, n)
        return np.where(self.rng.random(n) < self.epsilon, other, best)

    def policy_output(self, obs: Tensor, is_first: Tensor, carry: Carry) -> tuple[PolicyOutput, Carry]:
        """The greedy action, Q(s, .) and its maximum."""
        q = torch.from_numpy(self.values(self.features(obs))).float()
        return PolicyOutput(q.argmax(1), q, q.amax(1)), carry

    @property
    def epsilon(self) -> float:
        """The probability of a random action after the agent steps observed so far."""
        c = self.config
        return linear_schedule(c.epsilon_start, c.epsilon_end, c.epsilon_steps, self.steps)

    # --- learning -------------------------------------------------------------------------------------------------

    @abstractmethod
    def target(self, next_q: NDArray[np.float64], next_action: NDArray[np.int64]) -> NDArray[np.float64]:
        """The values of the next states [N], from Q(s', .) [N, A] and the actions taken there [N]."""

    def observe(self, step: StepResult) -> Metrics | None:
        """Learn from the row's transitions, all at once: they end in the row in which `act` has just chosen."""
        self.steps += step.num_active
        if self.arrived is None or not step.num_active:
            return None
        there, next_action = self.arrived
        with self.seconds("updating"):
            env = np.flatnonzero(~step.is_last.numpy())
            action, reward = step.action.numpy()[env], step.reward.numpy()[env].astype(np.float64)
            terminated, truncated = step.terminated.numpy()[env], step.truncated.numpy()[env]
            here = self.features(step.obs)[env]
            q, next_q = self.values(here, env), self.values(there[env], env)
            future = self.target(next_q, next_action[env])
            error = reward + self.config.gamma * ~terminated * future - q[np.arange(len(env)), action]
            self.correct(env, here, action, error, over=terminated | truncated)
        values = {"td_error": np.abs(error).mean(), "loss": np.square(error).mean() / 2}
        values |= {"q_mean": q.mean(), "q_max": q.max(1).mean()}
        return {name: torch.tensor(value) for name, value in values.items()}

    def correct(
        self,
        env: NDArray[np.int64],
        features: NDArray[np.int64],
        action: NDArray[np.int64],
        error: NDArray[np.float64],
        *,
        over: NDArray[np.bool_],
    ) -> None:
        """Move each Q(s, a) by alpha times its error; `over` where the episode ends with this transition."""
        where = (self.table(env)[:, None], action[:, None], features)
        np.add.at(self.weights, where, self.config.alpha / self.active * error[:, None])

    def start_from(self, weights: dict[str, Tensor]) -> None:
        """Begin with this table."""
        self.network.load_state_dict(weights)

    # --- state ----------------------------------------------------------------------------------------------------

    def gauges(self) -> dict[str, float]:
        """epsilon."""
        return {"epsilon": self.epsilon}

    def state_dict(self) -> dict[str, Any]:
        """The table, counters and the random generator; the newest row is seen again by the next `act`."""
        generator = self.rng.bit_generator.state
        words = [generator["state"]["state"], generator["state"]["inc"]]
        return {
            "network": self.network.state_dict(),
            "steps": self.steps,
            "generator": {"words": [f"{w:x}" for w in words], "rest": [generator["has_uint32"], generator["uinteger"]]},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned. Raises ValueError or RuntimeError where shapes do not fit."""
        self.network.load_state_dict(state["network"])
        self.steps = int(state["steps"])
        word, inc = (int(w, 16) for w in state["generator"]["words"])
        has, uinteger = state["generator"]["rest"]
        self.rng.bit_generator.state = {
            "bit_generator": "PCG64",
            "state": {"state": word, "inc": inc},
            "has_uint32": has,
            "uinteger": uinteger,
        }


class TabularSarsa(Tabular):
    """On-policy: the next action counts."""

    def target(self, next_q: NDArray[np.float64], next_action: NDArray[np.int64]) -> NDArray[np.float64]:
        """Q(s', a')."""
        return next_q[np.arange(len(next_q)), next_action]


class TabularExpectedSarsa(Tabular):
    """On-policy: what the next action is on average."""

    def target(self, next_q: NDArray[np.float64], next_action: NDArray[np.int64]) -> NDArray[np.float64]:
        """sum_a pi(a | s') Q(s', a)."""
        return (1 - self.epsilon) * next_q.max(1) + self.epsilon * next_q.mean(1)


class TabularQLearning(Tabular):
    """Off-policy: the best next action."""

    def target(self, next_q: NDArray[np.float64], next_action: NDArray[np.int64]) -> NDArray[np.float64]:
        """max_a Q(s', a)."""
        return next_q.max(1)


@dataclass(frozen=True)
class SarsaLambdaConfig(TabularConfig):
    """The settings of the tabular agents, and those of the traces."""

    trace_decay: Fraction = 0.9
    """lambda: the share of its trace that a feature keeps from one step to the next (times gamma)."""
    traces: Literal["replacing", "accumulating"] = "replacing"
    """Whether a feature that is active again gets the trace 1, the state's other actions 0, or 1 more than it has."""


class TabularSarsaLambda(TabularSarsa):
    """SARSA whose error reaches back along traces."""

    config_class = SarsaLambdaConfig
    config: SarsaLambdaConfig

    def __init__(
        self,
        config: SarsaLambdaConfig,
        rows: EnvSpaces,
        *,
        seed: int,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(config, rows, seed=seed, device=device, dtype=dtype)
        self.trace = np.zeros((rows.num_envs, *self.weights.shape[1:]))

    @staticmethod
    def bytes_needed(config: TabularConfig, rows: EnvSpaces) -> int:
        """Bytes of the tables, of a trace for each environment, and of what moves them."""
        tables = Tabular.bytes_needed(config, rows)
        return tables + 2 * rows.num_envs * tables // (rows.num_envs if config.independent else 1)

    def correct(
        self,
        env: NDArray[np.int64],
        features: NDArray[np.int64],
        action: NDArray[np.int64],
        error: NDArray[np.float64],
        *,
        over: NDArray[np.bool_],
    ) -> None:
        """Move every Q(s, a) by alpha times the error times its trace (Singh and Sutton 1996, equations 4 to 6)."""
        c, trace = self.config, self.trace
        if c.traces == "replacing":
            trace[env[:, None], :, features] = 0.0
            trace[env[:, None], action[:, None], features] = 1.0
        else:
            trace[env[:, None], action[:, None], features] += 1.0
        change = (c.alpha / self.active * error)[:, None, None] * trace[env]
        np.add.at(self.weights, self.table(env), change)
        trace[env] *= (c.gamma * c.trace_decay * ~over)[:, None, None]

    def state_dict(self) -> dict[str, Any]:
        """The same, and the traces."""
        return {**super().state_dict(), "trace": torch.from_numpy(self.trace)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        super().load_state_dict(state)
        self.trace[:] = state["trace"].numpy()
