"""REINFORCE: the policy gradient of Williams 1992, as in Karpathy 2016, "Deep reinforcement learning: Pong from pixels"

    grad J = E[ sum_t grad log pi(a_t | s_t) A_t ]

J is the expected return of the policy pi. The advantage A_t is the discounted return or, with a learned baseline V(s),
the generalised advantage of Schulman et al. 2016. The algorithm, in which a row is one time step of N environments:

    In every row:
    1. Draw the action a_t from pi(. | s_t) in each environment. Record log pi(a_t | s_t) and V(s_t).
    2. Store the row in the rollout.
    When the rollout holds a batch:
    3. Take the batch from the rollout, with advantages A_t and returns R_t = A_t + V(s_t).
    4. Standardise the advantages.
    5. In every epoch, divide the batch into minibatches in a new random order.
    6. Take a gradient step on the loss of each minibatch.
    7. With `normalize_obs`, add the observations of the batch to their running mean and variance.

The policy loss is written with the probability ratio of Schulman et al. 2017 (PPO). The constant c is `ratio_clip`:

    r_t = pi(a_t | s_t) / pi_old(a_t | s_t)
    L = -mean_t min(r_t A_t, clip(r_t, 1 - c, 1 + c) A_t)

pi_old is the policy that drew the action. At r_t = 1, the gradient of -L is the mean of grad log pi(a_t | s_t) A_t, an
estimate of the policy gradient. The ratio corrects for actions that were drawn before the last update. So a batch can
be used for several epochs.

In shapes, N is the number of environments, A the number of actions, B the number of agent steps in a batch or
minibatch, and k the number of observations in a stack.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from agents.configs.reinforce import ReinforceConfig
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
    mean_metrics,
)
from agents.memory.rollout import Rollout, RolloutBatch
from agents.nn.encoders import FrameDifferenceEncoder, build_encoder
from agents.nn.init import build_seeded, initialize_weights
from agents.nn.networks import ActorCritic
from agents.nn.normalization import find_normalization
from agents.nn.packed import observed_vectors

MAX_EXAMPLE_SIZE = 1_024
"""Most agent steps in a minibatch whose time is measured. The time of a larger one is in proportion to its size."""


class Reinforce:
    """REINFORCE agent.

    The numbered comments refer to the steps of the algorithm in the module docstring.

    Args:
        config: Settings.
        spaces: Shapes and types of observations and actions.
        seed: Seed of the initial weights, the actions and the order of minibatches.
        device: Device of the network and the rollout.
        dtype: Dtype in which an image encoder computes, torch.float32 or torch.bfloat16. The weights are float32.

    Raises:
        ConfigError: The settings contradict each other.
    """

    config_class = ReinforceConfig
    abilities = Abilities(packed_observations=True)

    def __init__(
        self,
        config: ReinforceConfig,
        spaces: EnvSpaces,
        *,
        seed: int,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        _check_settings(config, spaces)
        self.config = config
        self.spaces = spaces
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

    def build_rollout(self) -> Rollout:
        """Return an empty rollout."""
        config = self.config
        return Rollout(
            self.spaces,
            batch_size=config.batch_size,
            batch_games=config.batch_games,
            stack=config.frame_stack,
            gamma=config.gamma,
            trace_decay=config.trace_decay,
            baseline=config.baseline,
            points_end_returns=config.points_end_returns,
            generator=self.generator,
            device=self.device,
        )

    def build_network(self) -> ActorCritic:
        """Return a new network: an encoder with linear heads for pi(. | s) and V(s)."""
        config = self.config
        if config.convolutions:
            encoder = build_encoder(self.spaces, config, dtype=self.dtype)
        else:
            encoder = FrameDifferenceEncoder(math.prod(self.spaces.obs_shape), config.hidden, self.dtype)
        network = ActorCritic(encoder, self.policy, baseline=config.baseline)
        initialize_weights(network, config.init)
        with torch.no_grad():
            network.policy.weight *= config.policy_scale
        return network

    def build_learning_network(self) -> ActorCritic:
        """Return a new network of `build_network`, with the statistics that `normalize_reward` needs."""
        return add_return_moments(self.build_network(), self.config)

    @property
    def policy(self) -> ActionDistribution:
        """Return the distribution of the actions, which may have several parts."""
        return ActionDistribution(self.spaces.num_actions, self.spaces.action_parts)

    # --- Step 1: act --------------------------------------------------------------------------------------------------

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
            explore: Draw the actions from pi(. | s), and record them for `observe`. False means the most probable
                actions.

        Returns:
            Actions i64[N], and the carry for the next call.
        """
        log_pi, value, carry = self.acting_policy_and_value(obs, is_first, carry)
        if not explore:
            return self.policy.mode(log_pi), carry
        # Step 1: Draw the action. Record log pi(a | s) and V(s).
        action = self.policy.sample(log_pi, self.generator)
        self.acting_records.append((self.policy.log_prob(log_pi, action), value))
        return action, carry

    def policy_output(self, obs: Tensor, is_first: Tensor, carry: Carry) -> tuple[PolicyOutput, Carry]:
        """Return the most probable actions, pi(. | s), V(s), and the next carry. The arguments are those of `act`.

        V(s) is 0 without a baseline.
        """
        log_pi, value, carry = self.policy_and_value(obs, is_first, carry)
        return PolicyOutput(self.policy.mode(log_pi), log_pi.exp(), value, is_policy=True), carry

    # --- Steps 2 to 7: learn from the rollout -------------------------------------------------------------------------

    def observe(self, step: StepResult) -> Metrics | None:
        """Store the row. If the rollout then holds a batch, learn from the batch.

        Returns:
            The metrics, averaged over the updates that were made, or None if no update was made.
        """
        # Step 2: Store the row.
        log_prob, value = self.acting_records.popleft()
        with self.seconds("sampling"):
            self.rollout.add(self.reward_scaling(step), log_prob, value)
        self.steps += step.num_active
        if not self.rollout.complete:
            return None
        # Step 3: Take the batch.
        with self.seconds("sampling"):
            batch = self.rollout.take()
        with self.seconds("updating"):
            return self.learn(batch)

    def learn(self, batch: RolloutBatch) -> Metrics | None:
        """Make `epochs` passes over the batch, one update for each minibatch.

        Returns:
            The metrics, averaged over the updates, or None if the batch has fewer than two agent steps.
        """
        config = self.config
        size = len(batch.action)
        # Without a baseline, a batch may be empty. The standard deviation of a single advantage is undefined.
        if size < 2:
            return None
        # Step 4: Standardise the advantages.
        if config.standardize:
            batch = batch._replace(advantage=_standardize(batch.advantage))
        num_minibatches = 1
        if config.minibatch_size:
            num_minibatches = max(1, round(size / config.minibatch_size))
        metrics = []
        for _ in range(config.epochs):
            # Step 5: Divide the batch into minibatches.
            order = torch.randperm(size, generator=self.generator, device=self.device)
            for index in order.chunk(num_minibatches):
                minibatch = batch.select(index)
                metrics.append(self.update(minibatch))
        # Step 7: Update the statistics of the observations. Before the updates, this would change the policy, and the
        # probability ratio of the first minibatch would differ from 1.
        if self.normalization is not None:
            self.normalization.update(observed_vectors(batch.obs[:, -1], self.spaces))
        return mean_metrics(metrics)

    def update(self, minibatch: RolloutBatch) -> Metrics:
        """Make one update: a gradient step with the current learning rate."""
        set_learning_rate(self.optimizer, self.lr)
        # Step 6: Take a gradient step.
        metrics = self.gradient_step(minibatch)
        self.updates += 1
        return metrics

    @classmethod
    def example_update(
        cls, config: ReinforceConfig, spaces: EnvSpaces, *, device: torch.device, dtype: torch.dtype
    ) -> Callable[[], object]:
        """Return a function that makes one update of a new agent on a random minibatch (`MeasurableUpdates`)."""
        agent = cls(config, spaces, seed=0, device=device, dtype=dtype)
        size = min(config.minibatch_size or config.batch_size, MAX_EXAMPLE_SIZE)
        obs = random_observations(spaces, (size, config.frame_stack), device)
        with torch.no_grad():
            log_pi, value = agent.network(obs)
        action = agent.policy.sample(log_pi, agent.generator)
        log_prob = agent.policy.log_prob(log_pi, action)
        return partial(agent.update, RolloutBatch(obs, action, log_prob, torch.ones_like(value), value))

    def gradient_step(self, minibatch: RolloutBatch) -> Metrics:
        """Take a gradient step on the loss, and return the metrics."""
        loss, metrics = self.loss(minibatch)
        metrics["loss"] = loss
        metrics["grad_norm"] = clipped_gradient_step(self.optimizer, loss, grad_clip=self.config.grad_clip)
        return {name: value.detach() for name, value in metrics.items()}

    def loss(self, batch: RolloutBatch) -> tuple[Tensor, Metrics]:
        """Compute the loss of a batch.

            L - entropy_weight H(pi) + value_weight mean_t (V(s_t) - R_t)^2

        L is the policy loss of the module docstring. H(pi) is the entropy -sum_a pi(a | s_t) log pi(a | s_t), averaged
        over the batch (Williams and Peng 1991). Without a baseline, the last term is left out.

        Returns:
            The loss f32[], differentiable, and the metrics f32[]: the three parts of the loss before they are
            weighted, the mean of V(s), and the KL divergence between the policy that drew the actions and the current
            policy.
        """
        config = self.config
        log_pi, value = self.network.train()(batch.obs)
        log_ratio = self.policy.log_prob(log_pi, batch.action) - batch.log_prob
        ratio = log_ratio.exp()
        policy_loss = _policy_loss(ratio, batch.advantage, config.ratio_clip)
        entropy = self.policy.entropy(log_pi).mean()
        value_loss = torch.zeros_like(entropy)
        if config.baseline:
            value_loss = F.mse_loss(value, batch.ret)
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
    def bytes_needed(config: ReinforceConfig, spaces: EnvSpaces) -> int:
        """Return the bytes that the rollout allocates."""
        return Rollout.bytes_needed(spaces, config.batch_size, config.frame_stack)

    @classmethod
    def network_size(cls, config: ReinforceConfig, spaces: EnvSpaces) -> NetworkSize:
        """Return the size of a network of these settings, without allocating the network."""
        return agent_network_size(cls, config, spaces)

    @classmethod
    def memory_needs(cls, config: ReinforceConfig, spaces: EnvSpaces) -> list[MemoryNeed]:
        """Return what the parts of the agent take of the memory."""
        size = cls.network_size(config, spaces)
        rollout_bytes = cls.bytes_needed(config, spaces)
        samples = min(config.minibatch_size or config.batch_size, config.batch_size)
        return [
            MemoryNeed("the rollout", rollout_bytes, "lower batch_size", rollout_bytes),
            learning_needs(size, copies=1, optimizer=config.optimizer, advice="lower hidden, filters or frame_stack"),
            batch_needs(
                spaces,
                size,
                samples=samples,
                stack=config.frame_stack,
                filters=config.filters,
                stacks=1,
                advice="lower minibatch_size or batch_size",
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


def _check_settings(config: ReinforceConfig, spaces: EnvSpaces) -> None:
    """Raise ConfigError if settings contradict each other or the environment."""
    if config.batch_size < spaces.num_envs:
        raise ConfigError(
            f"batch_size is {config.batch_size}; it must be at least num_envs, {spaces.num_envs}, because a row is one"
            " agent step in each environment"
        )
    if not config.convolutions and (not spaces.is_image or config.frame_stack != 2):
        raise ConfigError("convolutions is false; this needs images and a frame_stack of 2")
    if not config.convolutions and config.norm != "none":
        raise ConfigError(f"norm is {config.norm}; without convolutions it must be none")
    if not config.convolutions and config.normalize_obs:
        raise ConfigError("normalize_obs is true; only vector observations can be normalised, not images")
    # Batch normalisation and dropout compute differently in acting and in learning. The probability ratio would differ
    # from 1 although the policy has not changed.
    if config.norm == "batch":
        raise ConfigError("norm is batch; with reinforce it must be none or layer")
    if config.dropout:
        raise ConfigError(f"dropout is {config.dropout}; with reinforce it must be 0")


def _standardize(advantage: Tensor) -> Tensor:
    """Return the advantages f32[B] shifted and scaled to mean 0 and standard deviation 1."""
    return (advantage - advantage.mean()) / (advantage.std() + 1e-8)


def _policy_loss(ratio: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """Return the policy loss L f32[]: the clipped objective of Schulman et al. 2017, equation 7, times -1.

    Args:
        ratio: pi(a | s) / pi_old(a | s), f32[B].
        advantage: A, f32[B].
        clip: Clip the ratio to [1 - clip, 1 + clip]. 0 disables clipping.
    """
    gain = ratio * advantage
    if clip:
        gain = torch.minimum(gain, ratio.clamp(1 - clip, 1 + clip) * advantage)
    return -gain.mean()
