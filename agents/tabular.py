"""Tabular agents in numpy: Q-learning, SARSA, SARSA(lambda) and Expected SARSA.

All of them learn Q(s, a) from the temporal-difference error delta of each transition (s, a, r, s'):

    Q(s, a) <- Q(s, a) + alpha delta
    delta = r + gamma v(s') - Q(s, a), where v(s') = 0 if s' is terminal

alpha is the step size, gamma the discount. The agents differ in the value v(s') of the next state. a' is the action
that was chosen in s', and pi is the epsilon-greedy policy:

                    v(s')                           source                       in Sutton and Barto 2018
    Q-learning      max_a Q(s', a)                  Watkins 1989                 equation 6.8
    SARSA           Q(s', a')                       Rummery and Niranjan 1994    equation 6.7
    SARSA(lambda)   Q(s', a'), with traces          Singh and Sutton 1996        chapter 12
    Expected SARSA  sum_a pi(a | s') Q(s', a)       van Seijen et al. 2009       equation 6.9

A discrete state has one active feature (a table). A vector has one active feature in each tiling (tile coding). Each
action has one weight for each feature. Q(s, a) is the sum of the weights of a for the features that are active in s. An
update changes each of these weights by alpha delta / (number of active features).

All agents learn a transition only after the action a' has been chosen: SARSA needs a', and van Seijen et al. compare
the agents in this way. Several environments share one table or, with `independent`, have one table each. Each
environment has its own traces.

In shapes, N is the number of environments, M the number of states or transitions in a call, A the number of actions,
and "active" the number of active features of a state.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.configs.tabular import SarsaLambdaConfig, TabularConfig
from agents.core.action_masks import ILLEGAL
from agents.core.agent import Abilities
from agents.core.memory_needs import MemoryNeed
from agents.core.schedules import linear_schedule
from agents.core.settings import ConfigError
from agents.core.stopwatch import Stopwatch
from agents.core.tile_coding import TileCoding
from agents.core.types import Carry, EnvSpaces, Metrics, PolicyOutput, StepResult, ValueScaling
from agents.nn.packed import legal_actions, observed_vectors

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

MAX_MAGNITUDE = 9
"""Decimal logarithm of the largest number of tiles that tile coding may have."""


class Table(nn.Module):
    """The weights as a module, so that checkpoints and evaluations treat them like the weights of a network.

    Args:
        tables: Number of tables.
        num_actions: Number of actions.
        features: Number of all features, active or not.
        value: Initial value of each weight.
    """

    weights: Tensor  # f64[tables, num_actions, features]

    def __init__(self, tables: int, num_actions: int, features: int, value: float) -> None:
        super().__init__()
        self.register_buffer("weights", torch.full((tables, num_actions, features), value, dtype=torch.float64))


class ObservedRow(NamedTuple):
    """The newest row for which `act` has explored: the next states s' of the transitions that `observe` learns."""

    features: Ints  # [N, active]: indices of the active features of s'
    action: Ints  # [N]: the actions a' that `act` chose
    legal: Bools | None  # [N, A]: the action mask of s', or None without action masks


class TabularAgent(ABC):
    """Base class of the tabular agents: features, epsilon-greedy acting and the update. Subclasses define `next_value`.

    Args:
        config: Settings.
        spaces: Shapes and types of observations and actions. Observations must be discrete states or bounded vectors.
        seed: Seed of the random actions, also of those that break ties.
        device: Must be the CPU.
        dtype: Ignored. The weights are float64.

    Raises:
        ConfigError: The observations or the device are not supported.
    """

    config_class = TabularConfig
    abilities = Abilities(bfloat16=False, packed_observations=True)

    def __init__(
        self,
        config: TabularConfig,
        spaces: EnvSpaces,
        *,
        seed: int,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if not is_tabular(spaces):
            raise ConfigError("tabular agents need discrete states, or vectors whose entries are all bounded")
        if device.type != "cpu":
            raise ConfigError(f"device is {device.type}; tabular agents compute in numpy, so it must be cpu")
        num_features = _count_features(config, spaces)
        self.config = config
        self.spaces = spaces
        self.tile_coding: TileCoding | None = None
        self.num_active_features = 1  # of a state
        if spaces.bounds:
            self.tile_coding = TileCoding(spaces.bounds, config.tilings, config.tiles)
            self.num_active_features = config.tilings
        tables = spaces.num_envs if config.independent else 1
        self.network = Table(tables, spaces.num_actions, num_features, config.initial / self.num_active_features)
        self.rng = np.random.default_rng(seed)
        self.newest_row: ObservedRow | None = None
        self.steps = 0  # agent steps observed
        self.seconds = Stopwatch()

    # --- Features and values ------------------------------------------------------------------------------------------

    @property
    def weights(self) -> Floats:
        """Return the weights [tables, A, features]. Changes of the array change the agent."""
        return self.network.weights.numpy()

    def features(self, obs: Tensor) -> Ints:
        """Return the indices of the active features, i64[N, active], of observations [N, *obs_shape]."""
        array = observed_vectors(obs, self.spaces).numpy()
        if self.tile_coding is not None:
            return self.tile_coding(array)
        return state_numbers(array, _state_sizes(self.spaces))[:, None]

    def q_values(self, features: Ints, env: Ints) -> Floats:
        """Return Q(s, .) of M states, f64[M, A].

        Args:
            features: Indices of the active features of each state, [M, active].
            env: Index of the environment of each state, [M], which selects the table.
        """
        table = self.table_index(env)[:, None, None]  # [M, 1, 1]
        actions = np.arange(self.spaces.num_actions)[:, None]  # [A, 1]
        return self.weights[table, actions, features[:, None]].sum(2)  # sum of [M, A, active]

    def legal_actions(self, obs: Tensor) -> Bools | None:
        """Return the action masks bool[N, A] of observations, or None without action masks."""
        if self.spaces.packed is None or not self.spaces.has_action_masks:
            return None
        return legal_actions(obs, self.spaces.packed).numpy()

    def table_index(self, env: Ints) -> Ints:
        """Return the index of the table of each environment, i64[M].

        With one table, the index is 0. Otherwise there is one table for each environment of the training. If there are
        more environments, for example in an evaluation, they share the tables in turn.
        """
        return env % len(self.weights)

    # --- Acting -------------------------------------------------------------------------------------------------------

    def initial_carry(self, n: int) -> Carry:
        """Return an empty carry. Tabular agents do not use earlier observations."""
        return ()

    def act(self, obs: Tensor, is_first: Tensor, carry: Carry, *, explore: bool) -> tuple[Tensor, Carry]:
        """Choose epsilon-greedy actions if `explore` is True, and greedy actions otherwise.

        Args:
            obs: Observations [N, *obs_shape].
            is_first: bool[N], not used.
            carry: The empty carry.
            explore: Choose random actions with probability epsilon, break ties between greedy actions at random, and
                keep the row for the next `observe`. False means the first of the greedy actions.

        Returns:
            Actions i64[N], and the empty carry.
        """
        features = self.features(obs)
        legal = self.legal_actions(obs)
        q = _masked(self.q_values(features, np.arange(len(features))), legal)
        if not explore:
            return torch.from_numpy(q.argmax(1)), carry
        action = self._epsilon_greedy(q, legal)
        self.newest_row = ObservedRow(features, action, legal)
        return torch.from_numpy(action), carry

    def policy_output(self, obs: Tensor, is_first: Tensor, carry: Carry) -> tuple[PolicyOutput, Carry]:
        """Return the greedy actions, Q(s, .), max_a Q(s, a), and the empty carry."""
        features = self.features(obs)
        q_values = _masked(self.q_values(features, np.arange(len(features))), self.legal_actions(obs))
        q = torch.from_numpy(q_values).float()
        return PolicyOutput(q.argmax(1), q, q.amax(1)), carry

    def _epsilon_greedy(self, q: Floats, legal: Bools | None) -> Ints:
        """Return the action of each environment, i64[N]: random with probability epsilon, otherwise greedy.

        Args:
            q: Q(s, .), [N, A], with `ILLEGAL` for illegal actions.
            legal: The legal actions, bool[N, A]; None if all are legal.
        """
        n = len(q)
        is_greedy = q == q.max(1, keepdims=True)
        greedy_action = np.where(is_greedy, self.rng.random(q.shape), -1.0).argmax(1)  # breaks ties at random
        if legal is None:
            random_action = self.rng.integers(0, self.spaces.num_actions, n)
        else:
            random_action = np.where(legal, self.rng.random(q.shape), -1.0).argmax(1)
        return np.where(self.rng.random(n) < self.epsilon, random_action, greedy_action)

    @property
    def epsilon(self) -> float:
        """Return the probability of a random action after the agent steps observed so far."""
        config = self.config
        return linear_schedule(config.epsilon_start, config.epsilon_end, config.epsilon_steps, self.steps)

    # --- Learning -----------------------------------------------------------------------------------------------------

    @abstractmethod
    def next_value(self, next_q: Floats, next_action: Ints) -> Floats:
        """Return the values v(s') of M next states, f64[M].

        Args:
            next_q: Q(s', .), [M, A], with `ILLEGAL` for illegal actions.
            next_action: The actions a' that were chosen in s', [M].
        """

    def observe(self, step: StepResult) -> Metrics | None:
        """Learn from the transitions that begin in this row. They end in the next row, which `act` has just received.

        The transitions of all environments are learned together: every error delta is computed from the weights before
        the update.

        Returns:
            The metrics, or None if the row has no transition.
        """
        self.steps += step.num_active
        if self.newest_row is None or not step.num_active:
            return None
        with self.seconds("updating"):
            env = np.flatnonzero(~step.is_last.numpy())  # [M]; no transition begins with a last observation
            features = self.features(step.obs)[env]
            action = step.action.numpy()[env]
            reward = step.reward.numpy()[env].astype(np.float64)
            terminated = step.terminated.numpy()[env]
            truncated = step.truncated.numpy()[env]
            q = self.q_values(features, env)
            next_row = self.newest_row
            next_legal = None if next_row.legal is None else next_row.legal[env]
            next_q = _masked(self.q_values(next_row.features[env], env), next_legal)
            next_value = self.next_value(next_q, next_row.action[env])
            td_error = reward + self.config.gamma * ~terminated * next_value - q[np.arange(len(env)), action]
            self.update_weights(env, features, action, td_error, episode_ends=terminated | truncated)
        legal = self.legal_actions(step.obs)
        is_counted = np.ones(q.shape, np.bool_) if legal is None else legal[env]
        values = {
            "td_error": np.abs(td_error).mean(),
            "loss": np.square(td_error).mean() / 2,
            "q_mean": q.mean(where=is_counted),
            "q_max": q.max(1, where=is_counted, initial=-np.inf).mean(),
        }
        return {name: torch.tensor(value) for name, value in values.items()}

    def update_weights(self, env: Ints, features: Ints, action: Ints, td_error: Floats, *, episode_ends: Bools) -> None:
        """Add alpha delta to each Q(s, a), in equal parts to the weights of a for the active features.

        Args:
            env: Index of the environment of each transition, [M].
            features: Indices of the active features of s, [M, active].
            action: a, [M].
            td_error: delta, [M].
            episode_ends: True if the transition terminated or truncated, [M].
        """
        index = (self.table_index(env)[:, None], action[:, None], features)
        # Transitions may share a weight. np.add.at then adds the changes of all of them, unlike `+=`.
        np.add.at(self.weights, index, self.config.alpha / self.num_active_features * td_error[:, None])

    # --- State and other methods of the `Agent` protocol --------------------------------------------------------------

    @property
    def value_scaling(self) -> ValueScaling:
        """Return the discount behind the Q-values. Rewards are not clipped."""
        return ValueScaling(self.config.gamma)

    @staticmethod
    def bytes_needed(config: TabularConfig, spaces: EnvSpaces) -> int:
        """Return the bytes of the weights."""
        tables = spaces.num_envs if config.independent else 1
        return tables * _bytes_of_table(config, spaces)

    @classmethod
    def memory_needs(cls, config: TabularConfig, spaces: EnvSpaces) -> list[MemoryNeed]:
        """Return the bytes that the table needs, before it is allocated."""
        table_bytes = cls.bytes_needed(config, spaces)
        settings = "lower num_envs, or " if table_bytes > _bytes_of_table(config, spaces) else ""
        if spaces.bounds:
            settings += "lower tiles or tilings, or "
        advice = f"{settings}choose an agent with a network, such as dqn"
        return [MemoryNeed("the table of Q(s, a)", table_bytes, advice, table_bytes)]

    def gauges(self) -> dict[str, float]:
        """Return epsilon."""
        return {"epsilon": self.epsilon}

    def start_from(self, weights: dict[str, Tensor]) -> None:
        """Load these weights. Raises RuntimeError if they do not fit."""
        self.network.load_state_dict(weights)

    def state_dict(self) -> dict[str, Any]:
        """Return the full state: weights, counter and random generator.

        `newest_row` is not part of the state, because the first `act` after loading sets it again.
        """
        generator = self.rng.bit_generator.state
        # Numbers of 128 bits, saved as hexadecimal text: many programs read JSON numbers with 64 bits only.
        words = [generator["state"]["state"], generator["state"]["inc"]]
        return {
            "network": self.network.state_dict(),
            "steps": self.steps,
            "generator": {
                "words": [f"{word:x}" for word in words],
                "rest": [generator["has_uint32"], generator["uinteger"]],
            },
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that `state_dict` returned. Raises ValueError or RuntimeError if shapes do not fit."""
        self.network.load_state_dict(state["network"])
        self.steps = int(state["steps"])
        word, increment = (int(text, 16) for text in state["generator"]["words"])
        has_uint32, uinteger = state["generator"]["rest"]
        self.rng.bit_generator.state = {
            "bit_generator": "PCG64",
            "state": {"state": word, "inc": increment},
            "has_uint32": has_uint32,
            "uinteger": uinteger,
        }


class TabularQLearning(TabularAgent):
    """Q-learning (Watkins 1989): off-policy, v(s') = max_a Q(s', a)."""

    def next_value(self, next_q: Floats, next_action: Ints) -> Floats:
        """Return max_a Q(s', a)."""
        return next_q.max(1)


class TabularSarsa(TabularAgent):
    """SARSA (Rummery and Niranjan 1994): on-policy, v(s') = Q(s', a')."""

    def next_value(self, next_q: Floats, next_action: Ints) -> Floats:
        """Return Q(s', a')."""
        return next_q[np.arange(len(next_q)), next_action]


class TabularSarsaLambda(TabularSarsa):
    """SARSA(lambda) with eligibility traces e (Singh and Sutton 1996, equations 4 to 6).

    In every transition from state s with action a, in this order:

        e(s, a) <- 1 and e(s, b) <- 0 for all other actions b, or, with accumulating traces, e(s, a) <- e(s, a) + 1
        Q(x, b) <- Q(x, b) + alpha delta e(x, b) for all states x and actions b
        e(x, b) <- gamma lambda e(x, b) for all states x and actions b, or 0 if the episode ends

    With tile coding, the features take the place of the states, and e has one entry for each weight.
    """

    config_class = SarsaLambdaConfig
    config: SarsaLambdaConfig

    def __init__(
        self,
        config: SarsaLambdaConfig,
        spaces: EnvSpaces,
        *,
        seed: int,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(config, spaces, seed=seed, device=device, dtype=dtype)
        self.trace = np.zeros((spaces.num_envs, *self.weights.shape[1:]))  # [N, A, features]

    @staticmethod
    def bytes_needed(config: TabularConfig, spaces: EnvSpaces) -> int:
        """Return the bytes of the weights and, for each environment, of the traces and of a temporary array."""
        return TabularAgent.bytes_needed(config, spaces) + 2 * spaces.num_envs * _bytes_of_table(config, spaces)

    def update_weights(self, env: Ints, features: Ints, action: Ints, td_error: Floats, *, episode_ends: Bools) -> None:
        """Add alpha delta e to all weights, in the order of the equations above.

        The arguments are those of `TabularAgent.update_weights`.
        """
        config = self.config
        if config.traces == "replacing":
            self.trace[env[:, None], :, features] = 0.0
            self.trace[env[:, None], action[:, None], features] = 1.0
        else:
            self.trace[env[:, None], action[:, None], features] += 1.0
        step = config.alpha / self.num_active_features * td_error  # [M]
        np.add.at(self.weights, self.table_index(env), step[:, None, None] * self.trace[env])
        decay = config.gamma * config.trace_decay * ~episode_ends  # [M]
        self.trace[env] *= decay[:, None, None]

    def state_dict(self) -> dict[str, Any]:
        """Return the state of `TabularAgent`, and the traces."""
        return {**super().state_dict(), "trace": torch.from_numpy(self.trace)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that `state_dict` returned."""
        super().load_state_dict(state)
        self.trace[:] = state["trace"].numpy()


class TabularExpectedSarsa(TabularAgent):
    """Expected SARSA (van Seijen et al. 2009): on-policy, v(s') = sum_a pi(a | s') Q(s', a).

    pi is the epsilon-greedy policy with the current epsilon.
    """

    def next_value(self, next_q: Floats, next_action: Ints) -> Floats:
        """Return sum_a pi(a | s') Q(s', a) = (1 - epsilon) max_a Q(s', a) + epsilon mean_a Q(s', a)."""
        mean = next_q.mean(1)
        if self.spaces.has_action_masks:
            mean = next_q.mean(1, where=next_q > ILLEGAL / 2)
        return (1 - self.epsilon) * next_q.max(1) + self.epsilon * mean


def _masked(q: Floats, legal: Bools | None) -> Floats:
    """Return Q(s, .) [M, A] with `ILLEGAL` for illegal actions. A mask of None leaves all values unchanged."""
    if legal is None:
        return q
    return np.where(legal, q, ILLEGAL)


def is_tabular(spaces: EnvSpaces) -> bool:
    """Return True if observations are discrete states, or vectors whose entries are all bounded."""
    if spaces.obs_kind not in ("vector", "packed") or (spaces.packed is not None and spaces.packed.spatial):
        return False
    return spaces.one_hot or bool(spaces.bounds)


def state_numbers(one_hot: NDArray[Any], sizes: tuple[int, ...]) -> Ints:
    """Return the numbers i64[N] of combinations of states, the last state counted fastest.

    Args:
        one_hot: The states as one-hot groups that follow one another, [N, sum(sizes)].
        sizes: Sizes of the groups.
    """
    number = np.zeros(len(one_hot), np.int64)
    start = 0
    for size in sizes:
        number = number * size + one_hot[:, start : start + size].argmax(1)
        start += size
    return number


def _state_sizes(spaces: EnvSpaces) -> tuple[int, ...]:
    """Return the sizes of the one-hot groups of an observation."""
    return spaces.state_sizes or (math.prod(spaces.obs_shape),)


def _bytes_of_table(config: TabularConfig, spaces: EnvSpaces) -> int:
    """Return the bytes of the float64 weights of one table."""
    return 8 * spaces.num_actions * _count_features(config, spaces)


def _count_features(config: TabularConfig, spaces: EnvSpaces) -> int:
    """Return the number of all features, active or not. Raises ConfigError if tile coding would need too many."""
    if not spaces.bounds:
        return math.prod(_state_sizes(spaces))
    entries = len(spaces.bounds)
    magnitude = math.log10(config.tilings) + entries * math.log10(config.tiles + 1)
    if magnitude > MAX_MAGNITUDE:
        raise ConfigError(
            f"tile coding over {entries} entries is not feasible: it needs about 10^{magnitude:.0f} tiles;"
            " lower tiles or tilings, or choose an agent with a network, such as dqn"
        )
    return TileCoding.count_tiles(entries, config.tilings, config.tiles)
