"""Deep Q-network (DQN): Mnih et al. 2015, "Human-level control through deep reinforcement learning".

The algorithm (algorithm 1 of the paper). Q is the online network, Q^ the target network, gamma the discount. A row is
one time step of N environments.

    1. Initialise the replay memory.
    2. Initialise Q with random weights.
    3. Initialise Q^ with the same weights.
    In every row:
    4. Choose argmax_a Q(s, a), or with probability epsilon a random action, in each environment.
    5. Store the row in the replay memory.
    In every update:
    6. Sample a random batch of transitions (s, a, r, s') from the replay memory.
    7. Compute the targets y = r + gamma max_a' Q^(s', a'), or y = r if s' is terminal.
    8. Take a gradient step on the Huber loss of y - Q(s, a).
    9. Every `target_every` updates, copy the weights of Q to Q^.

Options extend the algorithm: n-step returns, prioritised sampling, Polyak averaging of the target network, and the
targets of advantage learning and of Munchausen DQN (agents/core/targets.py). The defaults are not those of the paper;
`--preset paper` selects the settings of the paper.

In shapes, N is the number of environments, A the number of actions, B the number of transitions in a batch, and k the
number of observations in a stack.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agents.configs.dqn import DQNConfig
from agents.core.action_combinations import check_combinations
from agents.core.action_masks import mean_of_legal
from agents.core.agent import Abilities
from agents.core.cuda_graphs import CudaGraphFunction, Wrapper, capture_methods
from agents.core.example_updates import random_rows
from agents.core.exploration import RepeatedActions, epsilon_greedy, random_actions
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
from agents.core.schedules import linear_schedule
from agents.core.settings import ConfigError
from agents.core.stopwatch import Stopwatch
from agents.core.targets import action_gap, max_value, munchausen_bonus, soft_value, td_target
from agents.core.types import (
    Carry,
    EnvSpaces,
    Metrics,
    PolicyOutput,
    StepResult,
    ValueScaling,
    mean_metrics,
)
from agents.memory.replay import Replay, TransitionBatch
from agents.nn.encoders import build_encoder
from agents.nn.init import build_seeded, initialize_weights
from agents.nn.networks import QNetwork
from agents.nn.normalization import find_normalization
from agents.nn.packed import observed_vectors

MUNCHAUSEN_LOW = -1.0
"""Lower bound of tau log pi in the target of Munchausen DQN (Vieillard et al. 2020, l_0)."""


class DQN:
    """Deep Q-network agent.

    The numbered comments refer to the steps of the algorithm in the module docstring. Variants override
    `build_network` (another network), `next_state_value` (another target) or `td_loss` (another loss).

    Args:
        config: Settings.
        spaces: Shapes and types of observations and actions.
        seed: Seed of the initial weights, the random actions and the sampling.
        device: Device of the networks and the replay memory.
        dtype: Dtype in which an image encoder computes, torch.float32 or torch.bfloat16. The weights are float32.

    Raises:
        ConfigError: The settings contradict each other.
    """

    config_class = DQNConfig
    abilities = Abilities(packed_observations=True, collectors=True)
    size_settings = "hidden, filters or frame_stack"
    """The settings that decide the size of the network, for messages."""

    def __init__(
        self,
        config: DQNConfig,
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
        check_combinations(spaces)
        check_targets(config)
        self.config = config
        self.spaces = spaces
        self.device = device
        self.dtype = dtype
        self.generator = torch.Generator(device).manual_seed(seed)
        self.steps = 0  # agent steps observed
        self.updates = 0
        self.seconds = Stopwatch()

        self.repeated_actions: RepeatedActions | None = None
        if config.epsilon_zeta:
            self.repeated_actions = RepeatedActions(config.epsilon_zeta, self.generator)

        # Step 1: Initialise the replay memory.
        self.replay = self.build_replay()

        # Step 2: Initialise the online network with random weights.
        self.online_network = build_seeded(self.build_learning_network, seed=seed, device=device)
        self.normalization = find_normalization(self.online_network)
        self.reward_scaling = RewardScaling(
            config, gamma=config.gamma, num_envs=spaces.num_envs, network=self.online_network
        )

        # Step 3: Initialise the target network with the same weights.
        self.target_network = copy.deepcopy(self.online_network).eval()

        # The online network acts. With Polyak averaging, the target network acts instead. Its parameters then require
        # gradients, because saliency maps differentiate through the acting network.
        self.target_network.requires_grad_(config.target_tau > 0)
        self.policy_network = self.target_network if config.target_tau else self.online_network

        self.uses_cuda_graphs = config.cuda_graphs and device.type == "cuda"
        self.optimizer = build_optimizer(config, self.online_network.parameters(), capturable=self.uses_cuda_graphs)
        if self.uses_cuda_graphs:
            self.capture_graphs()

    def build_replay(self) -> Replay:
        """Return an empty replay memory."""
        config = self.config
        return Replay(
            self.spaces,
            config.replay_size,
            stack=config.frame_stack,
            n_step=config.n_step,
            gamma=config.gamma,
            device=self.device,
            generator=self.generator,
            priority_alpha=config.priority_alpha,
        )

    def build_network(self) -> nn.Module:
        """Return a new Q-network: an encoder and a linear layer with one output for each action."""
        encoder = build_encoder(self.spaces, self.config, dtype=self.dtype)
        head = nn.Linear(encoder.features, self.spaces.num_actions)
        return initialize_weights(QNetwork(encoder, head), self.config.init)

    def build_learning_network(self) -> nn.Module:
        """Return a new network of `build_network`, with the statistics that `normalize_reward` needs."""
        return add_return_moments(self.build_network(), self.config)

    # --- Step 4: act with an epsilon-greedy policy -------------------------------------------------------------------

    def initial_carry(self, n: int) -> Carry:
        """Return the carry of n environments before their first row: a history of zeros [n, k-1, *obs_shape].

        With `epsilon_zeta`, the repeated actions follow (`RepeatedActions`).
        """
        history = empty_history(n, self.config.frame_stack - 1, self.spaces, self.device)
        if self.repeated_actions is None:
            return (history,)
        return (history, *self.repeated_actions.initial_carry(n))

    def q_values(self, obs: Tensor, is_first: Tensor, carry: Carry) -> tuple[Tensor, Carry]:
        """Return Q(s, .) f32[N, A] of the acting network, and the next carry. The arguments are those of `act`."""
        history, *repeated = carry
        stack, history = stack_frames(obs, is_first, history)
        return self.policy_network.eval()(stack), (history, *repeated)

    @torch.no_grad()
    def acting_q_values(self, obs: Tensor, is_first: Tensor, carry: Carry) -> tuple[Tensor, Carry]:
        """Return the results of `q_values`, without gradients. `capture_graphs` may replace this method."""
        return self.q_values(obs, is_first, carry)

    @torch.no_grad()
    def act(self, obs: Tensor, is_first: Tensor, carry: Carry, *, explore: bool) -> tuple[Tensor, Carry]:
        """Choose argmax_a Q(s, a), or with probability epsilon a random action, independently in each environment.

        With action masks, both are legal actions.

        Args:
            obs: Observations [N, *obs_shape], without frame stacking.
            is_first: bool[N], True where an episode begins.
            carry: The carry that the previous call returned, or `initial_carry(N)`.
            explore: Choose random actions with probability epsilon. False means greedy actions only.

        Returns:
            Actions i64[N], and the carry for the next call.
        """
        q, carry = self.acting_q_values(obs, is_first, carry)
        if not explore:
            return q.argmax(1), carry
        has_masks = self.spaces.has_action_masks
        if self.repeated_actions is None:
            return epsilon_greedy(q, self.epsilon, self.generator, has_masks=has_masks), carry
        history, *repeated = carry
        random = random_actions(q, self.generator, has_masks=has_masks)
        action, repeated = self.repeated_actions(q.argmax(1), random, q, is_first, repeated, self.epsilon)
        return action, (history, *repeated)

    def policy_output(self, obs: Tensor, is_first: Tensor, carry: Carry) -> tuple[PolicyOutput, Carry]:
        """Return the greedy actions, Q(s, .), max_a Q(s, a), and the next carry. The arguments are those of `act`."""
        q, carry = self.q_values(obs, is_first, carry)
        return PolicyOutput(q.argmax(1), q, q.amax(1)), carry

    # --- Steps 5 to 9: learn from the replay memory ------------------------------------------------------------------

    def observe(self, step: StepResult) -> Metrics | None:
        """Store the row, then make the updates that are due: `replay_ratio / samples_per_update` per agent step.

        Returns:
            The metrics, averaged over the updates that were made, or None if no update was due.
        """
        # Step 5: Store the row in the replay memory.
        with self.seconds("sampling"):
            if self.normalization is not None:
                self.normalization.update(observed_vectors(step.obs, self.spaces))
            self.store(self.reward_scaling(step))
        self.steps += step.num_active

        metrics_per_update = []
        while self.updates < self.updates_due():
            # Step 6: Sample a random batch of transitions.
            with self.seconds("sampling"):
                batch = self.sample()
            with self.seconds("updating"):
                metrics_per_update.append(self.update(batch))
        return mean_metrics(metrics_per_update)

    @classmethod
    def example_update(
        cls, config: DQNConfig, spaces: EnvSpaces, *, device: torch.device, dtype: torch.dtype
    ) -> Callable[[], object]:
        """Return a function that makes one update of a new agent on random data (`MeasurableUpdates`)."""
        num_rows = cls.rows_for_example_update(config)
        small = replace(config, replay_size=max(config.batch_size, 2 * num_rows * spaces.num_envs))
        agent = cls(small, spaces, seed=0, device=device, dtype=dtype)
        for row in random_rows(agent, spaces, num_rows, device):
            agent.store(row)
        return partial(agent.update, agent.sample())

    @staticmethod
    def rows_for_example_update(config: DQNConfig) -> int:
        """Return a number of rows from which a batch can be sampled."""
        return 2 * (config.n_step + config.frame_stack) + 8

    def store(self, step: StepResult) -> None:
        """Add a row to the replay memory."""
        self.replay.add(step)

    def sample(self) -> TransitionBatch:
        """Return the batch of the next update."""
        return self.replay.sample(self.config.batch_size, beta=self.beta)

    def update(self, batch: TransitionBatch) -> Metrics:
        """Make one update: a gradient step, new priorities of the sampled cells, and the step of the target network."""
        set_learning_rate(self.optimizer, self.lr)
        metrics, td_error = self.gradient_step(batch)
        self.replay.set_priorities(batch.cell, td_error)
        self.updates += 1
        self.update_target()
        return metrics

    def gradient_step(self, batch: TransitionBatch) -> tuple[Metrics, Tensor]:
        """Take a gradient step on the mean of the weighted losses.

        Returns:
            The metrics f32[], and the TD errors f32[B], from which the new priorities follow.
        """
        losses, td_error, q = self.td_loss(batch)
        loss = (self.loss_weights(batch) * losses).mean()
        # Step 8: Take a gradient step.
        grad_norm = clipped_gradient_step(self.optimizer, loss, grad_clip=self.config.grad_clip)
        metrics = {
            "loss": loss.detach(),
            "td_error": td_error.abs().mean(),
            "q_mean": mean_of_legal(q).mean() if self.spaces.has_action_masks else q.mean(),
            "q_max": q.amax(1).mean(),
            "grad_norm": grad_norm,
        }
        return metrics, td_error

    def td_loss(self, batch: TransitionBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the Huber loss of the TD error y - Q(s, a).

        Returns:
            The loss of each transition f32[B], differentiable; the TD errors f32[B]; and Q(s, .) f32[B, A].
        """
        # Step 7: Compute the targets.
        y = self.targets(batch)
        q = self.online_network.train()(batch.obs)
        q_of_action = q.gather(1, batch.action[:, None]).squeeze(1)
        losses = F.smooth_l1_loss(q_of_action, y, reduction="none")
        td_error = (y - q_of_action).detach()
        return losses, td_error, q.detach()

    @torch.no_grad()
    def targets(self, batch: TransitionBatch) -> Tensor:
        """Return the target y of each transition, f32[B]: that of DQN, of advantage learning, or of Munchausen DQN."""
        config = self.config
        if config.munchausen_alpha:
            next_value = soft_value(self.target_network(batch.next_obs), config.munchausen_tau)
            bonus = munchausen_bonus(
                self.target_network(batch.obs),
                batch.action,
                alpha=config.munchausen_alpha,
                temperature=config.munchausen_tau,
                low=MUNCHAUSEN_LOW,
            )
            return td_target(batch.ret + bonus, batch.discount, next_value)
        y = td_target(batch.ret, batch.discount, self.next_state_value(batch.next_obs))
        if not config.advantage_alpha:
            return y
        gap = action_gap(self.target_network(batch.obs), batch.action)
        if config.advantage_persistent:
            next_gap = action_gap(self.target_network(batch.next_obs), batch.action)
            gap = torch.maximum(gap, torch.where(batch.discount > 0, next_gap, 0.0))
        return y + config.advantage_alpha * gap

    def next_state_value(self, next_obs: Tensor) -> Tensor:
        """Return the value of the next state that the target y contains, f32[B]: max_a' Q^(s', a').

        Args:
            next_obs: Stacks of the next states s', [B, k, *obs_shape].
        """
        return max_value(self.target_network(next_obs))

    def loss_weights(self, batch: TransitionBatch) -> Tensor:
        """Return the importance-sampling weight of each loss, f32[B]."""
        return batch.weight

    @torch.no_grad()
    def update_target(self) -> None:
        """Move the target network after an update: by a Polyak step, or by a copy every `target_every` updates."""
        if self.config.target_tau:
            self._polyak_step()
        elif self.updates % self.config.target_every == 0:
            # Step 9: Copy the weights of the online network to the target network.
            self.target_network.load_state_dict(self.online_network.state_dict())

    def _polyak_step(self) -> None:
        """Set w^ <- w^ + tau (w - w^) for the parameters w^ of Q^ and w of Q, in place of step 9."""
        target_params = tuple(self.target_network.parameters())
        online_params = tuple(self.online_network.parameters())
        torch._foreach_lerp_(target_params, online_params, self.config.target_tau)
        # Buffers are copied: they are running statistics already.
        for target, online in zip(self.target_network.buffers(), self.online_network.buffers(), strict=True):
            target.copy_(online)

    # --- Schedules ----------------------------------------------------------------------------------------------------

    @property
    def epsilon(self) -> float:
        """Return the probability of a random action after the agent steps observed so far."""
        config = self.config
        return linear_schedule(
            config.epsilon_start, config.epsilon_end, config.epsilon_steps, self.steps, hold=config.epsilon_hold
        )

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
    def network(self) -> nn.Module:
        """Return the network that acts."""
        return self.policy_network

    @property
    def value_scaling(self) -> ValueScaling:
        """Return the discount, and the clip and the present scale of the rewards, behind the Q-values."""
        return self.reward_scaling.value_scaling()

    @staticmethod
    def bytes_needed(config: DQNConfig, spaces: EnvSpaces) -> int:
        """Return the bytes that the replay memory allocates."""
        return Replay.bytes_needed(spaces, config.replay_size, priority_alpha=config.priority_alpha)

    @classmethod
    def network_size(cls, config: DQNConfig, spaces: EnvSpaces) -> NetworkSize:
        """Return the size of a network of these settings, without allocating the network."""
        return agent_network_size(cls, config, spaces)

    @classmethod
    def memory_needs(cls, config: DQNConfig, spaces: EnvSpaces) -> list[MemoryNeed]:
        """Return what the parts of the agent take of the memory."""
        check_combinations(spaces)
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

    def gauges(self) -> dict[str, float]:
        """Return epsilon, the learning rate, the number of updates, and the number of filled cells of the replay."""
        return {"epsilon": self.epsilon, "lr": self.lr, "updates": self.updates, "replay/size": self.replay.size}

    def start_from(self, weights: dict[str, Tensor]) -> None:
        """Load these weights into both networks. Raises RuntimeError if they do not fit."""
        self.online_network.load_state_dict(weights)
        self.target_network.load_state_dict(weights)

    def state_dict(self) -> dict[str, Any]:
        """Return the full state: networks, optimiser, replay memory, random generator and counters."""
        other_name, other_network = self._other_network()
        state = {
            "network": self.policy_network.state_dict(),
            other_name: other_network.state_dict(),
            "optimizer": self.optimizer.state_dict()["state"],
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
        other_name, other_network = self._other_network()
        self.policy_network.load_state_dict(state["network"])
        other_network.load_state_dict(state[other_name])
        load_optimizer_state(self.optimizer, state.get("optimizer", {}))  # absent before the first update
        self.replay.load_state_dict(state["replay"])
        self.generator.set_state(state["generator"].cpu())
        self.reward_scaling.load_state_dict(state.get("reward_scaling", {}))  # absent without normalize_reward
        self.steps = int(state["steps"])
        self.updates = int(state["updates"])
        if self.uses_cuda_graphs:
            self.capture_graphs()  # graphs read memory by address, and the optimiser and the replay have new tensors

    def _other_network(self) -> tuple[str, nn.Module]:
        """Return the network that does not act, and its name in the state dict."""
        if self.config.target_tau:
            return "online", self.online_network
        return "target", self.target_network

    def capture_graphs(self, wrapper: Wrapper = CudaGraphFunction) -> None:
        """Replace acting, the gathering of a batch and the gradient step by versions that run as CUDA graphs.

        Args:
            wrapper: Returns the captured version of a method. Tests on a CPU pass a substitute.
        """
        capture_methods(self, "acting_q_values", "gradient_step", wrapper=wrapper)
        capture_methods(self.replay, "transitions", wrapper=wrapper)


def check_targets(config: DQNConfig, *, agent: str = "dqn", has_own_targets: bool = False) -> None:
    """Raise ConfigError if the settings of the target contradict each other, or if the agent's targets are others.

    Args:
        config: Settings.
        agent: Name of the agent, for the message.
        has_own_targets: The agent does not compute the targets of `DQN.targets`.
    """
    settings = {"advantage_alpha": config.advantage_alpha, "munchausen_alpha": config.munchausen_alpha}
    chosen = {name: alpha for name, alpha in settings.items() if alpha}
    if config.advantage_persistent and not config.advantage_alpha:
        raise ConfigError("advantage_persistent is true; it needs an advantage_alpha above 0")
    if len(chosen) > 1:
        raise ConfigError("advantage_alpha and munchausen_alpha are both above 0; set one of them to 0")
    if has_own_targets and chosen:
        name, alpha = chosen.popitem()
        raise ConfigError(f"{name} is {alpha:g}; with {agent} it must be 0, because {agent} has other targets")
