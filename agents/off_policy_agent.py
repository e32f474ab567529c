"""The base class of agents that learn from a replay memory: DQN with its variants, SAC and TD3.

It stores the rows, decides how many updates are due, and draws their batches. A subclass says how it acts (`act`) and
what an update is (`update`).

In shapes, N is the number of environments, B the number of transitions in a batch, and k the number of observations in
a stack.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from agents.core.agent import Abilities
from agents.core.example_updates import random_rows
from agents.core.frame_stack import empty_history
from agents.core.memory_needs import (
    MemoryNeed,
    NetworkSize,
    agent_network_size,
    batch_needs,
    learning_needs,
    row_needs,
)
from agents.core.reward_scaling import RewardScaling, add_return_moments
from agents.core.schedules import linear_schedule
from agents.core.settings import ConfigError
from agents.core.stopwatch import Stopwatch
from agents.core.types import Carry, EnvSpaces, Metrics, PolicyOutput, StepResult, ValueScaling, mean_metrics
from agents.memory.replay import ExtraFields, Replay, TransitionBatch
from agents.nn.augmentation import build_augmentation
from agents.nn.normalization import ObservationNormalization
from agents.nn.packed import observed_vectors


class OffPolicyAgent(ABC):
    """Base class of the agents that learn from a replay memory.

    Args:
        config: Settings.
        spaces: Shapes and types of observations and actions.
        seed: Seed of the initial weights, the exploration and the sampling.
        device: Device of the networks and the replay memory.
        dtype: Dtype in which an image encoder computes, torch.float32 or torch.bfloat16. The weights are float32.

    Raises:
        ConfigError: The replay memory is smaller than a batch, or the settings augment observations, which are no
            images.
    """

    abilities = Abilities(packed_observations=True, collectors=True)
    size_settings = "hidden, filters or frame_stack"
    """The settings that decide the size of the network, for messages."""

    normalization: ObservationNormalization | None
    """The layer that normalises observations, or None. The constructor of a subclass sets it."""
    reward_scaling: RewardScaling
    """The rewards to learn from. The constructor of a subclass sets it."""

    def __init__(
        self,
        config: Any,
        spaces: EnvSpaces,
        *,
        seed: int,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if config.replay_size < config.batch_size:
            raise ConfigError(
                f"replay_size is {config.replay_size}; it must be at least batch_size, {config.batch_size}"
            )
        self.config = config
        self.spaces = spaces
        self.device = device
        self.dtype = dtype
        self.generator = torch.Generator(device).manual_seed(seed)
        self.steps = 0  # agent steps observed
        self.updates: int = 0
        self.seconds = Stopwatch()
        self.uses_cuda_graphs = config.cuda_graphs and device.type == "cuda"
        self.augmentation = build_augmentation(config, spaces, self.generator)
        self.replay = self.build_replay()

    def build_replay(self) -> Replay:
        """Return an empty replay memory."""
        config = self.config
        return Replay(
            self.spaces,
            config.replay_size,
            stack=config.frame_stack,
            n_step=self.largest_n_step(config),
            gamma=config.gamma,
            device=self.device,
            generator=self.generator,
            priority_alpha=config.priority_alpha,
            lookahead=self.replay_lookahead(),
            extra_fields=self.replay_fields(),
        )

    @staticmethod
    def largest_n_step(config: Any) -> int:
        """Return the largest number of steps that an n-step return may have during training."""
        return config.n_step

    def replay_lookahead(self) -> int | None:
        """Return the rows that must follow a row before it can be sampled. None means those of its n-step return."""
        return None

    def replay_fields(self) -> ExtraFields:
        """Return names and shapes of further fields that the replay memory stores for each cell."""
        return {}

    @abstractmethod
    def build_network(self) -> nn.Module:
        """Return a new network."""

    def build_learning_network(self) -> nn.Module:
        """Return a new network of `build_network`, with the statistics that `normalize_reward` needs."""
        return add_return_moments(self.build_network(), self.config)

    # --- Acting -------------------------------------------------------------------------------------------------------

    def initial_carry(self, n: int) -> Carry:
        """Return the carry of n environments before their first row: a history of zeros [n, k-1, *obs_shape]."""
        return (empty_history(n, self.config.frame_stack - 1, self.spaces, self.device),)

    @abstractmethod
    def act(self, obs: Tensor, is_first: Tensor, carry: Carry, *, explore: bool) -> tuple[Tensor, Carry]:
        """Choose actions, as `agents.core.agent.Agent` describes."""

    @abstractmethod
    def policy_output(self, obs: Tensor, is_first: Tensor, carry: Carry) -> tuple[PolicyOutput, Carry]:
        """Return the greedy actions with their values, as `agents.core.agent.Agent` describes."""

    # --- Learning -----------------------------------------------------------------------------------------------------

    def observe(self, step: StepResult) -> Metrics | None:
        """Store the row, then make the updates that are due: `replay_ratio / samples_per_update` per agent step.

        Returns:
            The metrics, averaged over the updates that were made, or None if no update was due.
        """
        with self.seconds("sampling"):
            if self.normalization is not None:
                self.normalization.update(observed_vectors(step.obs, self.spaces))
            self.store(self.reward_scaling(step))
        self.steps += step.num_active

        metrics_per_update = []
        while self.updates < self.updates_due():
            with self.seconds("sampling"):
                batch = self.sample()
            with self.seconds("updating"):
                metrics_per_update.append(self.update(batch))
        return mean_metrics(metrics_per_update)

    @classmethod
    def example_update(
        cls, config: Any, spaces: EnvSpaces, *, device: torch.device, dtype: torch.dtype
    ) -> Callable[[], object]:
        """Return a function that makes one update of a new agent on random data (`MeasurableUpdates`)."""
        num_rows = cls.rows_for_example_update(config)
        small = replace(config, replay_size=max(config.batch_size, 2 * num_rows * spaces.num_envs))
        agent = cls(small, spaces, seed=0, device=device, dtype=dtype)
        for row in random_rows(agent, spaces, num_rows, device):
            agent.store(row)
        return partial(agent.update, agent.sample())

    @classmethod
    def rows_for_example_update(cls, config: Any) -> int:
        """Return a number of rows from which a batch can be sampled."""
        return 2 * (cls.largest_n_step(config) + config.frame_stack) + 8

    def store(self, step: StepResult) -> None:
        """Add a row to the replay memory."""
        self.replay.add(step)

    def sample(self) -> TransitionBatch:
        """Return the batch of the next update, with augmented observations if the settings say so.

        The observations and the next observations have random numbers of their own (Kostrikov et al. 2020).
        """
        batch = self.replay.sample(self.config.batch_size, beta=self.beta)
        if self.augmentation is None:
            return batch
        return batch._replace(obs=self.augmentation(batch.obs), next_obs=self.augmentation(batch.next_obs))

    @abstractmethod
    def update(self, batch: TransitionBatch) -> Metrics:
        """Make one update: gradient steps, new priorities of the sampled cells, and the step of target networks.

        Returns:
            Metrics f32[]. Their names are the same in every update.
        """

    # --- Schedules ----------------------------------------------------------------------------------------------------

    @property
    def lr(self) -> float:
        """Return the learning rate after the agent steps observed so far."""
        return self.config.learning_rate(self.steps)

    @property
    def beta(self) -> float:
        """Return the exponent beta of the importance-sampling weights after the agent steps observed so far."""
        return linear_schedule(self.config.priority_beta, 1.0, self.config.priority_beta_steps, self.steps)

    @property
    def samples_per_update(self) -> int:
        """Return the number of transitions in the batch of an update."""
        return self.config.batch_size

    def updates_due(self) -> int:
        """Return the number of updates, since the beginning, that are due after the agent steps observed so far.

        Updates begin after `learning_starts` agent steps, or after `batch_size` agent steps if that is later. From then
        on, their number is proportional to the agent steps, for any number of environments. While the replay memory has
        nothing to sample, no update is due. The missed updates become due afterwards.
        """
        config = self.config
        learning_steps = self.steps - max(config.learning_starts, config.batch_size)
        if learning_steps < 0 or self.replay.num_starts == 0:
            return 0
        return int(learning_steps * config.replay_ratio / self.samples_per_update)

    # --- State and other methods of the `Agent` protocol --------------------------------------------------------------

    @property
    @abstractmethod
    def network(self) -> nn.Module:
        """Return the network that plays. Its weights alone reproduce the greedy policy."""

    @property
    def value_scaling(self) -> ValueScaling:
        """Return the discount, and the clip and the present scale of the rewards, behind the values."""
        return self.reward_scaling.value_scaling()

    @staticmethod
    def bytes_needed(config: Any, spaces: EnvSpaces) -> int:
        """Return the bytes that the replay memory allocates."""
        return Replay.bytes_needed(spaces, config.replay_size, priority_alpha=config.priority_alpha)

    @classmethod
    def network_size(cls, config: Any, spaces: EnvSpaces) -> NetworkSize:
        """Return the size of a network of these settings, without allocating the network."""
        return agent_network_size(cls, config, spaces)

    @classmethod
    def memory_needs(cls, config: Any, spaces: EnvSpaces) -> list[MemoryNeed]:
        """Return the bytes that each part of the agent needs, before anything is allocated."""
        size = cls.network_size(config, spaces)
        replay_bytes = cls.bytes_needed(config, spaces)
        samples, batch_settings = cls.batch_rows(config)
        return [
            MemoryNeed("the replay", replay_bytes, "lower replay_size", replay_bytes),
            learning_needs(size, copies=2, optimizer=config.optimizer, advice=f"lower {cls.size_settings}"),
            batch_needs(
                spaces,
                size,
                samples=samples,
                stack=config.frame_stack,
                filters=config.filters,
                stacks=2,
                advice=f"lower {batch_settings}",
            ),
            row_needs(spaces, size, stack=config.frame_stack),
        ]

    @staticmethod
    def batch_rows(config: Any) -> tuple[int, str]:
        """Return the number of rows in a batch, and the settings that decide this number."""
        return config.batch_size, "batch_size"

    @abstractmethod
    def start_from(self, weights: dict[str, Tensor]) -> None:
        """Load these weights of `network` into the networks. Raises RuntimeError if they do not fit."""

    def gauges(self) -> dict[str, float]:
        """Return the learning rate, the number of updates, and the number of filled cells of the replay memory."""
        return {"lr": self.lr, "updates": self.updates, "replay/size": self.replay.size}

    def state_dict(self) -> dict[str, Any]:
        """Return the replay memory, the random generator and the counters. Subclasses add networks and optimisers."""
        state: dict[str, Any] = {
            "replay": self.replay.state_dict(),
            "generator": self.generator.get_state(),
            "steps": self.steps,
            "updates": self.updates,
        }
        if self.config.normalize_reward:
            state["reward_scaling"] = self.reward_scaling.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that `state_dict` returned. Raises ValueError or RuntimeError if shapes do not fit."""
        self.replay.load_state_dict(state["replay"])
        self.generator.set_state(state["generator"].cpu())
        self.reward_scaling.load_state_dict(state.get("reward_scaling", {}))  # absent without normalize_reward
        self.steps = int(state["steps"])
        self.updates = int(state["updates"])
