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

Steps 5 and 6 are those of every agent with a replay memory (agents/off_policy_agent.py).

Options extend the algorithm: n-step returns, prioritised sampling, Polyak averaging of the target network, the targets
of advantage learning and of Munchausen DQN (agents/core/targets.py), augmented images (agents/nn/augmentation.py),
and resets of the networks (agents/nn/resets.py), after which n and the discount are annealed. The defaults are not
those of the paper; `--preset paper` selects the settings of the paper.

In shapes, N is the number of environments, A the number of actions, B the number of transitions in a batch, and k the
number of observations in a stack.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agents.configs.dqn import DQNConfig
from agents.core.action_combinations import check_combinations
from agents.core.action_masks import mean_of_legal
from agents.core.cuda_graphs import CudaGraphFunction, Wrapper, capture_methods
from agents.core.exploration import RepeatedActions, epsilon_greedy, random_actions
from agents.core.frame_stack import stack_frames
from agents.core.memory_needs import MemoryNeed
from agents.core.optimizers import (
    build_optimizer,
    clipped_gradient_step,
    load_optimizer_state,
    reset_optimizer_state,
    set_learning_rate,
)
from agents.core.polyak import PolyakAverage
from agents.core.reward_scaling import RewardScaling
from agents.core.schedules import exponential_schedule
from agents.core.settings import ConfigError
from agents.core.targets import action_gap, max_value, munchausen_bonus, soft_value, td_target
from agents.core.types import Carry, EnvSpaces, Metrics, PolicyOutput, ValueScaling
from agents.memory.replay import TransitionBatch
from agents.nn.encoders import build_encoder
from agents.nn.init import build_seeded, initialize_weights
from agents.nn.networks import QNetwork
from agents.nn.normalization import find_normalization
from agents.nn.resets import reset_weights
from agents.off_policy_agent import OffPolicyAgent

MUNCHAUSEN_LOW = -1.0
"""Lower bound of tau log pi in the target of Munchausen DQN (Vieillard et al. 2020, l_0)."""


class DQN(OffPolicyAgent):
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

    def __init__(
        self,
        config: DQNConfig,
        spaces: EnvSpaces,
        *,
        seed: int,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        check_combinations(spaces)
        check_targets(config)
        check_annealing(config)
        # Step 1: Initialise the replay memory.
        super().__init__(config, spaces, seed=seed, device=device, dtype=dtype)

        self.repeated_actions: RepeatedActions | None = None
        if config.epsilon_zeta:
            self.repeated_actions = RepeatedActions(config.epsilon_zeta, self.generator)

        # Step 2: Initialise the online network with random weights.
        self.online_network = build_seeded(self.build_learning_network, seed=seed, device=device)
        self.normalization = find_normalization(self.online_network)
        self.reward_scaling = RewardScaling(
            config, gamma=config.gamma, num_envs=spaces.num_envs, network=self.online_network
        )

        # Step 3: Initialise the target network with the same weights.
        self.target_network = copy.deepcopy(self.online_network).eval()
        self.target_average = PolyakAverage(self.target_network, self.online_network)

        # The online network acts. With Polyak averaging, the target network acts instead. Its parameters then require
        # gradients, because saliency maps differentiate through the acting network.
        self.target_network.requires_grad_(config.target_tau > 0)
        self.policy_network = self.target_network if config.target_tau else self.online_network

        self.optimizer = build_optimizer(config, self.online_network.parameters(), capturable=self.uses_cuda_graphs)
        if self.uses_cuda_graphs:
            self.capture_graphs()

    def build_network(self) -> nn.Module:
        """Return a new Q-network: an encoder and a linear layer with one output for each action."""
        encoder = build_encoder(self.spaces, self.config, dtype=self.dtype)
        head = nn.Linear(encoder.features, self.spaces.num_actions)
        return initialize_weights(QNetwork(encoder, head), self.config.init)

    # --- Step 4: act with an epsilon-greedy policy -------------------------------------------------------------------

    def initial_carry(self, n: int) -> Carry:
        """Return the carry of n environments before their first row: a history of zeros [n, k-1, *obs_shape].

        With `epsilon_zeta`, the repeated actions follow (`RepeatedActions`).
        """
        carry = super().initial_carry(n)
        if self.repeated_actions is None:
            return carry
        return (*carry, *self.repeated_actions.initial_carry(n))

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

    # --- Steps 7 to 9: learn from a batch ----------------------------------------------------------------------------

    def sample(self) -> TransitionBatch:
        """Return the batch of the next update, with returns of the present n and discount."""
        if self.config.anneal_updates:
            self.replay.set_return(self.n_step, self.gamma)
        return super().sample()

    def update(self, batch: TransitionBatch) -> Metrics:
        """Make one update: a gradient step, new priorities of the sampled cells, and the step of the target network.

        After every `reset_every`-th update, the networks are reset.
        """
        set_learning_rate(self.optimizer, self.lr)
        metrics, td_error = self.gradient_step(batch)
        self.replay.set_priorities(batch.cell, td_error)
        self.updates += 1
        self.update_target()
        if self.config.reset_every and self.updates % self.config.reset_every == 0:
            self.reset_networks()
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
        """Return the target y of each transition, f32[B]: that of DQN, of advantage learning, or of Munchausen DQN.

        With n-step returns, advantage learning and Munchausen DQN change the target of the first step only. The rewards
        of the further steps have no bonus.
        """
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
            # In place of step 9: move the weights of Q^ by a share of their distance to those of Q.
            self.target_average.step(self.config.target_tau)
        elif self.updates % self.config.target_every == 0:
            # Step 9: Copy the weights of the online network to the target network.
            self.target_network.load_state_dict(self.online_network.state_dict())

    def reset_networks(self) -> None:
        """Reset the online and the target network with the same new weights (`reset_weights`).

        The optimiser forgets its moments of the weights that were replaced. Replay memory, priorities and the moments
        of the convolutions stay. The new weights follow from the agent's random generator. In the code of Schwarzer et
        al. 2023, the new weights of the two networks differ; with equal ones, the first targets are those of the
        network that learns them.
        """
        seed = int(torch.randint(2**31, (), generator=self.generator, device=self.device))
        fresh = build_seeded(self.build_learning_network, seed=seed, device=self.device)
        replaced = reset_weights(self.online_network, fresh, self.config.reset_share)
        reset_weights(self.target_network, fresh, self.config.reset_share)
        reset_optimizer_state(self.optimizer, replaced)

    # --- Schedules ----------------------------------------------------------------------------------------------------

    @property
    def updates_since_reset(self) -> int:
        """Return the number of updates since the newest reset, or since the beginning."""
        if not self.config.reset_every:
            return self.updates
        return self.updates % self.config.reset_every

    @property
    def n_step(self) -> int:
        """Return the steps n of the returns in the next update: those of the schedule, rounded."""
        config = self.config
        if not config.anneal_updates or not config.n_step_start:
            return config.n_step
        n = exponential_schedule(config.n_step_start, config.n_step, config.anneal_updates, self.updates_since_reset)
        return round(n)

    @property
    def gamma(self) -> float:
        """Return the discount of the next update. It is 1 - gamma that changes exponentially."""
        config = self.config
        if not config.anneal_updates or not config.gamma_start:
            return config.gamma
        start = 1 - config.gamma_start
        return 1 - exponential_schedule(start, 1 - config.gamma, config.anneal_updates, self.updates_since_reset)

    @property
    def epsilon(self) -> float:
        """Return the probability of a random action after the agent steps observed so far."""
        return self.config.epsilon(self.steps)

    # --- State and other methods of the `Agent` protocol --------------------------------------------------------------

    @staticmethod
    def largest_n_step(config: DQNConfig) -> int:
        """Return the largest number of steps that an n-step return may have during training."""
        return max(config.n_step, config.n_step_start if config.anneal_updates else 0)

    @property
    def value_scaling(self) -> ValueScaling:
        """Return the present discount, and the clip and the present scale of the rewards, behind the values.

        An agent that made no updates, such as that of a viewer, has the discount at the end of annealing.
        """
        scaling = super().value_scaling
        return scaling._replace(gamma=self.gamma) if self.updates else scaling

    @property
    def network(self) -> nn.Module:
        """Return the network that acts."""
        return self.policy_network

    @classmethod
    def memory_needs(cls, config: DQNConfig, spaces: EnvSpaces) -> list[MemoryNeed]:
        """Return the bytes that each part of the agent needs, before anything is allocated."""
        check_combinations(spaces)
        return super().memory_needs(config, spaces)

    def gauges(self) -> dict[str, float]:
        """Return epsilon, the learning rate, the number of updates, and the number of filled cells of the replay.

        With `anneal_updates`, also the present n and discount.
        """
        gauges = {"epsilon": self.epsilon, **super().gauges()}
        if self.config.anneal_updates:
            gauges |= {"n_step": self.n_step, "gamma": self.gamma}
        return gauges

    def start_from(self, weights: dict[str, Tensor]) -> None:
        """Load these weights into both networks. Raises RuntimeError if they do not fit."""
        self.online_network.load_state_dict(weights)
        self.target_network.load_state_dict(weights)

    def state_dict(self) -> dict[str, Any]:
        """Return the full state: networks, optimiser, replay memory, random generator and counters."""
        other_name, other_network = self._other_network()
        return {
            "network": self.policy_network.state_dict(),
            other_name: other_network.state_dict(),
            "optimizer": self.optimizer.state_dict()["state"],
            **super().state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that `state_dict` returned. Raises ValueError or RuntimeError if shapes do not fit."""
        other_name, other_network = self._other_network()
        self.policy_network.load_state_dict(state["network"])
        other_network.load_state_dict(state[other_name])
        load_optimizer_state(self.optimizer, state.get("optimizer", {}))  # absent before the first update
        super().load_state_dict(state)
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

        Raises:
            ConfigError: n and the discount are annealed. A graph would keep those of its capture.
        """
        if self.config.anneal_updates:
            raise ConfigError(
                f"cuda_graphs is true and anneal_updates is {self.config.anneal_updates}, but a CUDA graph would keep n"
                " and gamma; set cuda_graphs to false or anneal_updates to 0"
            )
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


def check_annealing(config: DQNConfig) -> None:
    """Raise ConfigError if the settings of n and the discount after a reset contradict each other."""
    starts = {"n_step_start": config.n_step_start, "gamma_start": config.gamma_start}
    chosen = {name: start for name, start in starts.items() if start}
    if chosen and not config.anneal_updates:
        name, start = chosen.popitem()
        raise ConfigError(f"{name} is {start:g}; it needs anneal_updates above 0")
    if config.anneal_updates and not chosen:
        raise ConfigError(f"anneal_updates is {config.anneal_updates}; it needs n_step_start or gamma_start above 0")
    if config.gamma_start and config.gamma == 1:
        raise ConfigError(f"gamma_start is {config.gamma_start:g} and gamma is 1; gamma must be below 1")
