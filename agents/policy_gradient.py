"""What the policy gradients share: acting, the rollout, the loss and the state of the agent.

    grad J = E[ sum_t grad log pi(a_t | s_t) A_t ]

J is the expected return of the policy pi, and A_t is the generalised advantage of Schulman et al. 2016. The loss of a
batch is written with the probability ratio r_t between the current policy and the policy that drew the action:

    r_t = pi(a_t | s_t) / pi_old(a_t | s_t)
    L = -mean_t r_t A_t
    loss = L - entropy_weight H(pi) + value_weight mean_t (V(s_t) - R_t)^2

At r_t = 1, the gradient of -L is the mean of grad log pi(a_t | s_t) A_t, an estimate of the policy gradient. The ratio
corrects for actions that were drawn before the last update. These are at least those of the first two rows of a batch,
because the agent acts on a row before it learns from the previous row. H(pi) is the entropy
-sum_a pi(a | s_t) log pi(a | s_t), averaged over the batch (Williams and Peng 1991). R_t = A_t + V(s_t) is the return.

A policy gradient overrides `learn`: how a batch is divided into gradient steps. It may override `policy_loss` and
`value_loss`. In shapes, N is the number of environments, B the number of agent steps in a batch or minibatch, and k the
number of observations in a stack.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from agents.configs.policy_gradient import PolicyGradientConfig
from agents.core.action_distribution import ActionDistribution
from agents.core.agent import Abilities
from agents.core.cuda_graphs import CudaGraphFunction, Wrapper, capture_methods
from agents.core.example_updates import random_observations
from agents.core.frame_stack import empty_history, stack_frames
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
from agents.core.types import (
    Carry,
    EnvSpaces,
    Metrics,
    PolicyOutput,
    StepResult,
    ValueScaling,
)
from agents.memory.rollout import Rollout, RolloutBatch
from agents.nn.encoders import build_encoder
from agents.nn.init import build_seeded, initialize_weights
from agents.nn.networks import ActorCritic
from agents.nn.normalization import find_normalization
from agents.nn.packed import observed_vectors

MAX_EXAMPLE_SIZE = 1_024
"""Most agent steps in a minibatch whose time is measured. The time of a larger one is in proportion to its size."""


class PolicyGradient(ABC):
    """Base class of the agents that learn a policy from whole rollouts.

    Args:
        config: Settings.
        spaces: Shapes and types of observations and actions.
        seed: Seed of the initial weights, the actions and the order of minibatches.
        device: Device of the network and the rollout.
        dtype: Dtype in which an image encoder computes, torch.float32 or torch.bfloat16. The weights are float32.

    Raises:
        ConfigError: The settings contradict each other.
    """

    config_class = PolicyGradientConfig
    abilities = Abilities(packed_observations=True)

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
        self.acting_records: deque[tuple[Tensor, Tensor]] = deque()
        """log pi(a | s) and V(s), f32[N] each, for each row for which `act` has explored and which `observe` has not
        received yet, oldest first."""

        self.network = build_seeded(self.build_learning_network, seed=seed, device=device)
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
        # Batch normalisation and dropout compute differently in acting and in learning. The probability ratio would
        # differ from 1 although the policy has not changed.
        if config.norm == "batch":
            raise ConfigError("norm is batch; for a policy gradient it must be none or layer")
        if config.dropout:
            raise ConfigError(f"dropout is {config.dropout}; for a policy gradient it must be 0")

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
        )

    def build_network(self) -> ActorCritic:
        """Return a new network: an encoder with linear heads for pi(. | s) and V(s)."""
        encoder = build_encoder(self.spaces, self.config, dtype=self.dtype)
        return self.initialized(ActorCritic(encoder, self.policy, baseline=True))

    def initialized(self, network: ActorCritic) -> ActorCritic:
        """Return the network with the initial weights of the settings."""
        initialize_weights(network, self.config.init)
        with torch.no_grad():
            network.policy.weight *= self.config.policy_scale
        return network

    def build_learning_network(self) -> ActorCritic:
        """Return a new network of `build_network`, with the statistics that `normalize_reward` needs."""
        return add_return_moments(self.build_network(), self.config)

    @property
    def policy(self) -> ActionDistribution:
        """Return the distribution of the actions, which may have several parts."""
        return ActionDistribution(self.spaces.num_actions, self.spaces.action_parts)

    # --- Acting -------------------------------------------------------------------------------------------------------

    def initial_carry(self, n: int) -> Carry:
        """Return the carry of n environments before their first row: a history of zeros [n, k-1, *obs_shape]."""
        return (empty_history(n, self.config.frame_stack - 1, self.spaces, self.device),)

    def policy_and_value(self, obs: Tensor, is_first: Tensor, carry: Carry) -> tuple[Tensor, Tensor, Carry]:
        """Return log pi f32[N, outputs] (`ActionDistribution`), V(s) f32[N], and the next carry.

        The arguments are those of `act`.
        """
        stack, history = stack_frames(obs, is_first, *carry)
        log_pi, value = self.network.eval()(stack)
        return log_pi, value, (history,)

    @torch.no_grad()
    def acting_policy_and_value(self, obs: Tensor, is_first: Tensor, carry: Carry) -> tuple[Tensor, Tensor, Carry]:
        """Return the results of `policy_and_value`, without gradients. `capture_graphs` may replace this method."""
        return self.policy_and_value(obs, is_first, carry)

    @torch.no_grad()
    def act(self, obs: Tensor, is_first: Tensor, carry: Carry, *, explore: bool) -> tuple[Tensor, Carry]:
        """Choose actions: drawn from pi(. | s), or the most probable ones.

        Args:
            obs: Observations [N, *obs_shape], without frame stacking.
            is_first: bool[N], True where an episode begins.
            carry: The carry that the previous call returned, or `initial_carry(N)`.
            explore: Draw the actions from pi(. | s), and record log pi(a | s) and V(s) for `observe`. False means the
                most probable actions.

        Returns:
            Actions i64[N], and the carry for the next call.
        """
        log_pi, value, carry = self.acting_policy_and_value(obs, is_first, carry)
        if not explore:
            return self.policy.mode(log_pi), carry
        action = self.policy.sample(log_pi, self.generator)
        self.acting_records.append((self.policy.log_prob(log_pi, action), value))
        return action, carry

    def policy_output(self, obs: Tensor, is_first: Tensor, carry: Carry) -> tuple[PolicyOutput, Carry]:
        """Return the most probable actions, pi(. | s), V(s), and the next carry. The arguments are those of `act`.

        V(s) is 0 without a baseline.
        """
        log_pi, value, carry = self.policy_and_value(obs, is_first, carry)
        return PolicyOutput(self.policy.mode(log_pi), log_pi.exp(), value, is_policy=True), carry

    # --- Learning -----------------------------------------------------------------------------------------------------

    def observe(self, step: StepResult) -> Metrics | None:
        """Store the row. If the rollout then holds a batch, learn from the batch.

        With `normalize_obs`, the observations of the batch are added to their running mean and variance after the
        updates. Before the updates, this would change the policy, so that the first probability ratios would not be 1.

        Returns:
            The metrics, averaged over the updates that were made, or None if no update was made.
        """
        log_prob, value = self.acting_records.popleft()
        with self.seconds("sampling"):
            self.rollout.add(self.reward_scaling(step), log_prob, value)
        self.steps += step.num_active
        if not self.rollout.complete:
            return None
        with self.seconds("sampling"):
            batch = self.rollout.take()
        # Without a baseline, a batch may be empty. The standard deviation of a single advantage is undefined.
        if len(batch.action) < 2:
            return None
        with self.seconds("updating"):
            metrics = self.learn(batch)
            if self.normalization is not None:
                self.normalization.update(observed_vectors(batch.obs[:, -1], self.spaces))
        return metrics

    @abstractmethod
    def learn(self, batch: RolloutBatch) -> Metrics | None:
        """Make the updates of a batch of at least two agent steps, and return their mean metrics."""

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

    def loss(self, batch: RolloutBatch) -> tuple[Tensor, Metrics]:
        """Compute the loss of a batch, as in the module docstring.

        Returns:
            The loss f32[], differentiable, and the metrics f32[]: the three parts of the loss before they are
            weighted, the mean of V(s), and the KL divergence between the policy that drew the actions and the current
            policy.
        """
        config = self.config
        log_pi, value = self.network.train()(batch.obs)
        log_ratio = self.policy.log_prob(log_pi, batch.action) - batch.log_prob
        ratio = log_ratio.exp()
        policy_loss = self.policy_loss(ratio, batch.advantage)
        entropy = self.policy.entropy(log_pi).mean()
        value_loss = self.value_loss(value, batch)
        metrics = {
            "policy_loss": policy_loss,
            "value_loss": value_loss,
            "entropy": entropy,
            "v_mean": value.mean(),
            # KL(pi_old || pi) = E[-log r] = E[r - 1 - log r] over actions drawn from pi_old, because E[r] = 1. The mean
            # of the last form over a batch has less variance.
            "kl": (ratio - 1 - log_ratio).mean(),
        }
        return policy_loss + config.value_weight * value_loss - config.entropy_weight * entropy, metrics

    def policy_loss(self, ratio: Tensor, advantage: Tensor) -> Tensor:
        """Return L = -mean_t r_t A_t, f32[], of ratios r f32[B] and advantages A f32[B]."""
        return -(ratio * advantage).mean()

    def value_loss(self, value: Tensor, batch: RolloutBatch) -> Tensor:
        """Return mean_t (V(s_t) - R_t)^2, f32[], of the values V f32[B] of the states of a batch."""
        return F.mse_loss(value, batch.ret)

    @classmethod
    def example_update(
        cls, config: Any, spaces: EnvSpaces, *, device: torch.device, dtype: torch.dtype
    ) -> Callable[[], object]:
        """Return a function that makes one update of a new agent on a random minibatch (`MeasurableUpdates`)."""
        agent = cls(config, spaces, seed=0, device=device, dtype=dtype)
        size = min(cls.update_size(config), MAX_EXAMPLE_SIZE)
        obs = random_observations(spaces, (size, config.frame_stack), device)
        with torch.no_grad():
            log_pi, value = agent.network(obs)
        action = agent.policy.sample(log_pi, agent.generator)
        log_prob = agent.policy.log_prob(log_pi, action)
        return partial(agent.update, RolloutBatch(obs, action, log_prob, value, torch.ones_like(value), value))

    @staticmethod
    def update_size(config: Any) -> int:
        """Return the number of agent steps of an update."""
        return config.batch_size

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
        """Return what the parts of the agent take of the memory."""
        size = cls.network_size(config, spaces)
        rollout_bytes = cls.bytes_needed(config, spaces)
        return [
            MemoryNeed("the rollout", rollout_bytes, "lower batch_size", rollout_bytes),
            learning_needs(size, copies=1, optimizer=config.optimizer, advice="lower hidden, filters or frame_stack"),
            batch_needs(
                spaces,
                size,
                samples=cls.update_size(config),
                stack=config.frame_stack,
                filters=config.filters,
                stacks=1,
                advice="lower minibatch_size or batch_size"
                if hasattr(config, "minibatch_size")
                else "lower batch_size",
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
        self.acting_records = deque((log_prob, value) for log_prob, value in state["acting_records"])
        if self.uses_cuda_graphs:
            self.capture_graphs()  # graphs read memory by address, and the optimiser has new tensors

    def capture_graphs(self, wrapper: Wrapper = CudaGraphFunction) -> None:
        """Replace acting and the gradient step by versions that run as CUDA graphs.

        Args:
            wrapper: Returns the captured version of a method. Tests on a CPU pass a substitute.
        """
        capture_methods(self, "acting_policy_and_value", "gradient_step", wrapper=wrapper)


def clipped_surrogate(ratio: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """Return -mean_t min(r_t A_t, clip(r_t, 1 - c, 1 + c) A_t), f32[] (Schulman et al. 2017, equation 7, times -1).

    Args:
        ratio: r = pi(a | s) / pi_old(a | s), f32[B].
        advantage: A, f32[B].
        clip: c. 0 disables clipping.
    """
    gain = ratio * advantage
    if clip:
        gain = torch.minimum(gain, ratio.clamp(1 - clip, 1 + clip) * advantage)
    return -gain.mean()


def standardized(advantage: Tensor) -> Tensor:
    """Return the advantages f32[B] shifted and scaled to mean 0 and standard deviation 1."""
    return (advantage - advantage.mean()) / (advantage.std() + 1e-8)
