"""The base class of agents that learn from rollouts, without a replay memory: policy gradients and PQN.

A rollout holds the rows since the last batch. When it is complete, the agent learns from the batch and then discards
it. A subclass says how it acts (`act`), how it divides a batch into gradient steps (`learn`), and what the loss is
(`loss`). The numbered comments refer to the steps of PPO, A2C, REINFORCE and PQN, whose files begin with the algorithm.

In shapes, N is the number of environments, B the number of agent steps in a batch or minibatch, and k the number of
observations in a stack.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from agents.core.agent import Abilities
from agents.core.cuda_graphs import CudaGraphFunction, Wrapper, capture_methods
from agents.core.example_updates import random_observations, zero_actions
from agents.core.frame_stack import empty_history
from agents.core.memory_needs import (
    MemoryNeed,
    NetworkSize,
    agent_network_size,
    batch_needs,
    learning_needs,
    row_needs,
)
from agents.core.optimizers import build_optimizer, clipped_gradient_step, load_optimizer_state, set_learning_rate
from agents.core.reward_scaling import RewardScaling, add_return_moments
from agents.core.settings import ConfigError
from agents.core.stopwatch import Stopwatch
from agents.core.types import Carry, EnvSpaces, Metrics, StepResult, ValueScaling
from agents.memory.replay import ExtraFields
from agents.memory.rollout import Rollout, RolloutBatch
from agents.nn.init import build_seeded
from agents.nn.normalization import ObservationNormalization, find_normalization
from agents.nn.packed import observed_vectors

MAX_EXAMPLE_SIZE = 1_024
"""Most agent steps in a minibatch whose time is measured. The time of a larger one is in proportion to its size."""


class RolloutAgent(ABC):
    """Base class of the agents that learn from rollouts.

    Args:
        config: Settings.
        spaces: Shapes and types of observations and actions.
        seed: Seed of the initial weights, the actions and the order of minibatches.
        device: Device of the network and the rollout.
        dtype: Dtype in which an image encoder computes, torch.float32 or torch.bfloat16. The weights are float32.

    Raises:
        ConfigError: The settings contradict each other.
    """

    abilities = Abilities(packed_observations=True)
    batch_settings = "batch_size"
    """The settings that decide the memory of a batch, for messages."""
    captured_methods = ("gradient_step",)
    """Methods that `cuda_graphs` captures."""

    def __init__(
        self,
        config: Any,
        spaces: EnvSpaces,
        *,
        seed: int,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.config = config
        self.spaces = spaces
        self.check_settings()
        self.device = device
        self.dtype = dtype
        self.generator = torch.Generator(device).manual_seed(seed)
        self.steps = 0  # agent steps observed
        self.updates = 0
        self.seconds = Stopwatch()
        self.rollout = self.build_rollout()
        self.acting_records: deque[tuple[Tensor, ...]] = deque()
        """Tensors that `act` has recorded for `observe`, one entry a row, oldest first: log pi(a | s) (0 for PQN) and
        V(s), f32[N] each. Recurrent agents add the recurrent state before the row."""

        self.network: Any = build_seeded(self.build_learning_network, seed=seed, device=device)
        self.normalization = find_normalization(self.network)
        self.reward_scaling = RewardScaling(config, gamma=config.gamma, num_envs=spaces.num_envs, network=self.network)
        self.uses_cuda_graphs = config.cuda_graphs and device.type == "cuda"
        self.optimizer = build_optimizer(config, self.network.parameters(), capturable=self.uses_cuda_graphs)
        if self.uses_cuda_graphs:
            self.capture_graphs()

    def check_settings(self) -> None:
        """Raise ConfigError if settings contradict each other or the environment."""
        config = self.config
        if config.batch_size < self.spaces.num_envs:
            raise ConfigError(
                f"batch_size is {config.batch_size}; it must be at least num_envs, {self.spaces.num_envs}, because a"
                " row is one agent step in each environment"
            )
        # Batch normalisation and dropout compute differently in acting and in learning. The first update of a batch
        # would learn from values and probabilities that are not those of the network.
        if config.norm == "batch":
            raise ConfigError("norm is batch; without a replay memory it must be none, layer or layers")
        if config.dropout:
            raise ConfigError(f"dropout is {config.dropout}; without a replay memory it must be 0")

    def build_rollout(self) -> Rollout:
        """Return an empty rollout."""
        config = self.config
        return Rollout(
            self.spaces,
            batch_size=config.batch_size,
            stack=config.frame_stack,
            gamma=config.gamma,
            trace_decay=config.trace_decay,
            generator=self.generator,
            device=self.device,
            state_fields=self.state_fields(),
        )

    def state_fields(self) -> ExtraFields:
        """Return names and shapes of the recurrent states that the rollout stores for each cell."""
        return {}

    @abstractmethod
    def build_network(self) -> nn.Module:
        """Return a new network."""

    def build_learning_network(self) -> nn.Module:
        """Return a new network of `build_network`, with the statistics that `normalize_reward` needs."""
        return add_return_moments(self.build_network(), self.config)

    def initial_carry(self, n: int) -> Carry:
        """Return the carry of n environments before their first row: a history of zeros [n, k-1, *obs_shape]."""
        return (empty_history(n, self.config.frame_stack - 1, self.spaces, self.device),)

    # --- Learning -----------------------------------------------------------------------------------------------------

    def observe(self, step: StepResult) -> Metrics | None:
        """Store the row. If the rollout then holds a batch, learn from the batch.

        With `normalize_obs`, the observations of the batch are added to their running mean and variance after the
        updates. Before the updates, this would change the policy, so that the first probability ratios would not be 1.

        Returns:
            The metrics, averaged over the updates that were made, or None if no update was made.
        """
        # Step 2 of the algorithms: Store the row in the rollout.
        log_prob, value, *state = self.acting_records.popleft()
        with self.seconds("sampling"):
            self.rollout.add(self.reward_scaling(step), log_prob, value, state)
        self.steps += step.num_active
        if not self.rollout.complete:
            return None
        # Step 3: Take the batch from the rollout, with advantages and returns.
        with self.seconds("sampling"):
            batch = self.take_batch()
        if len(batch.action) == 0:  # without a baseline, if no return is complete
            return None
        # The further steps: Learn from the batch.
        with self.seconds("updating"):
            metrics = self.learn(batch)
            if self.normalization is not None:
                self.update_normalization(self.normalization, batch)
        return metrics

    def take_batch(self) -> RolloutBatch:
        """Return the batch of a complete rollout, and begin the next one."""
        return self.rollout.take()

    def update_normalization(self, normalization: ObservationNormalization, batch: RolloutBatch) -> None:
        """Add the observations of a batch to their running mean and variance."""
        normalization.update(observed_vectors(batch.obs[:, -1], self.spaces))

    @abstractmethod
    def learn(self, batch: RolloutBatch) -> Metrics | None:
        """Make the updates of a batch, and return their mean metrics."""

    def update(self, minibatch: RolloutBatch) -> Metrics:
        """Make one update: a gradient step with the current learning rate."""
        set_learning_rate(self.optimizer, self.lr)
        metrics = self.gradient_step(minibatch)
        self.updates += 1
        return metrics

    def gradient_step(self, minibatch: RolloutBatch) -> Metrics:
        """Take a gradient step on the loss, and return the metrics."""
        loss, metrics = self.loss(minibatch)
        metrics["loss"] = loss
        metrics["grad_norm"] = clipped_gradient_step(self.optimizer, loss, grad_clip=self.config.grad_clip)
        return {name: value.detach() for name, value in metrics.items()}

    @abstractmethod
    def loss(self, batch: RolloutBatch) -> tuple[Tensor, Metrics]:
        """Return the loss of a batch f32[], differentiable, and metrics f32[]."""

    def shuffled_minibatches(self, batch: RolloutBatch, size: int) -> Iterator[RolloutBatch]:
        """Yield minibatches of about `size` agent steps, in a random order. Together they are the batch.

        Their sizes differ by at most 1.
        """
        num_steps = len(batch.action)
        num_minibatches = max(1, round(num_steps / size))
        order = torch.randperm(num_steps, generator=self.generator, device=self.device)
        for index in order.tensor_split(num_minibatches):
            yield batch.select(index)

    @staticmethod
    def update_size(config: Any) -> int:
        """Return the number of agent steps of an update."""
        return config.batch_size

    @classmethod
    def example_update(
        cls, config: Any, spaces: EnvSpaces, *, device: torch.device, dtype: torch.dtype
    ) -> Callable[[], object]:
        """Return a function that makes one update of a new agent on random data (`MeasurableUpdates`)."""
        agent = cls(config, spaces, seed=0, device=device, dtype=dtype)
        size = min(cls.update_size(config), MAX_EXAMPLE_SIZE)
        return partial(agent.update, agent.example_minibatch(size))

    def example_minibatch(self, size: int) -> RolloutBatch:
        """Return a minibatch of `size` agent steps, with random observations. All actions are 0, all returns 1."""
        zeros = torch.zeros(size, device=self.device)
        ones = torch.ones(size, device=self.device)
        return RolloutBatch(
            obs=random_observations(self.spaces, (size, self.config.frame_stack), self.device),
            action=zero_actions(self.spaces, size, self.device),
            log_prob=zeros,
            value=zeros,
            advantage=ones,
            ret=ones,
        )

    @property
    def lr(self) -> float:
        """Return the learning rate after the agent steps observed so far."""
        return self.config.learning_rate(self.steps)

    # --- State and other methods of the `Agent` protocol --------------------------------------------------------------

    @property
    def value_scaling(self) -> ValueScaling:
        """Return the discount, and the clip and the present scale of the rewards, behind V(s)."""
        return self.reward_scaling.value_scaling()

    @staticmethod
    def bytes_needed(config: Any, spaces: EnvSpaces) -> int:
        """Return the bytes that the rollout allocates."""
        return Rollout.bytes_needed(spaces, config.batch_size, config.frame_stack)

    @classmethod
    def network_size(cls, config: Any, spaces: EnvSpaces) -> NetworkSize:
        """Return the size of a network of these settings, without allocating the network."""
        return agent_network_size(cls, config, spaces)

    @classmethod
    def memory_needs(cls, config: Any, spaces: EnvSpaces) -> list[MemoryNeed]:
        """Return the bytes that each part of the agent needs, before anything is allocated."""
        size = cls.network_size(config, spaces)
        rollout_bytes = cls.bytes_needed(config, spaces)
        obs_bytes = math.prod(spaces.obs_shape) * spaces.dtype.itemsize
        stack_bytes = config.batch_size * config.frame_stack * obs_bytes
        return [
            MemoryNeed("the rollout", rollout_bytes, "lower batch_size", rollout_bytes),
            # Two copies: the stacks of all rows, and those of the active cells.
            MemoryNeed("the stacks of a batch", 2 * stack_bytes, "lower batch_size"),
            learning_needs(size, copies=1, optimizer=config.optimizer, advice="lower hidden, filters or frame_stack"),
            batch_needs(
                spaces,
                size,
                samples=cls.update_size(config),
                stack=config.frame_stack,
                filters=config.filters,
                stacks=1,
                advice=f"lower {cls.batch_settings}",
            ),
            row_needs(spaces, size, stack=config.frame_stack),
        ]

    def gauges(self) -> dict[str, float]:
        """Return the learning rate and the number of updates."""
        return {"lr": self.lr, "updates": self.updates}

    def start_from(self, weights: dict[str, Tensor]) -> None:
        """Load these weights into the network. Raises RuntimeError if they do not fit."""
        self.network.load_state_dict(weights)

    def state_dict(self) -> dict[str, Any]:
        """Return the full state: network, optimiser, rollout, acting records, random generator and counters."""
        state = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict()["state"],
            "generator": self.generator.get_state(),
            **self.rollout.state_dict(),
            "steps": self.steps,
            "updates": self.updates,
            "acting_records": [list(record) for record in self.acting_records],
        }
        if self.config.normalize_reward:
            state["reward_scaling"] = self.reward_scaling.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that `state_dict` returned. Raises ValueError or RuntimeError if shapes do not fit."""
        self.network.load_state_dict(state["network"])
        load_optimizer_state(self.optimizer, state.get("optimizer", {}))  # absent before the first update
        self.rollout.load_state_dict(state)
        self.generator.set_state(state["generator"].cpu())
        self.reward_scaling.load_state_dict(state.get("reward_scaling", {}))  # absent without normalize_reward
        self.steps = int(state["steps"])
        self.updates = int(state["updates"])
        self.acting_records = deque(tuple(record) for record in state["acting_records"])
        if self.uses_cuda_graphs:
            self.capture_graphs()  # graphs read memory by address, and the optimiser has new tensors

    def capture_graphs(self, wrapper: Wrapper = CudaGraphFunction) -> None:
        """Replace acting and the gradient step by versions that run as CUDA graphs.

        Args:
            wrapper: Returns the captured version of a method. Tests on a CPU pass a substitute.
        """
        capture_methods(self, *self.captured_methods, wrapper=wrapper)
