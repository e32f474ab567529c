"""The base class of SAC and TD3: two critics with target critics, and an actor, for continuous actions.

The class acts, takes the gradient step of the critics, and keeps the state. A subclass says what the actor is
(`build_actor`), how actions follow from the parameters of the policy (`greedy_action`, `exploring_action`), what the
value of a next state is (`next_value`), and how the actor and the target networks learn (`update_actor`, with the
gradient step in `actor_step`).

The parameters of the policy are the output of the actor: for SAC the means and log sigmas of a Gaussian, f32[2, N, D],
for TD3 the actions, f32[N, D].

The numbered comments refer to the steps of the algorithm in agents/sac.py. TD3 has the same numbers.

The functions that learn receive their random noise as an argument. A CUDA graph repeats its function with the same
random numbers, so noise that was drawn inside would never change.

In shapes, N is the number of environments, B the number of transitions in a batch, D the number of entries of an
action, and k the number of observations in a stack.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from agents.configs.off_policy_actor_critic import OffPolicyActorCriticConfig
from agents.core.agent import Abilities
from agents.core.cuda_graphs import CudaGraphFunction, Wrapper, capture_methods
from agents.core.frame_stack import stack_frames
from agents.core.optimizers import build_optimizer, clipped_gradient_step, load_optimizer_state, set_learning_rate
from agents.core.polyak import PolyakAverage
from agents.core.reward_scaling import RewardScaling
from agents.core.settings import ConfigError
from agents.core.targets import td_target
from agents.core.types import Carry, EnvSpaces, Metrics, PolicyOutput
from agents.memory.replay import TransitionBatch
from agents.nn.actor_critics import Actor, ActorAndCritics, Critics
from agents.nn.encoders import build_feature_encoder
from agents.nn.init import build_seeded, initialize_weights
from agents.nn.normalization import find_normalization
from agents.nn.pixel_convolutions import PreprocessedImages
from agents.off_policy_agent import OffPolicyAgent


class OffPolicyActorCritic(OffPolicyAgent):
    """Base class of SAC and TD3.

    Args:
        config: Settings.
        spaces: Shapes and types of observations and actions.
        seed: Seed of the initial weights, the actions and the sampling.
        device: Device of the networks and the replay memory.
        dtype: Dtype in which an image encoder computes, torch.float32 or torch.bfloat16. The weights are float32.

    Raises:
        ConfigError: The settings contradict each other.
    """

    abilities = Abilities(packed_observations=True, discrete_actions=False, continuous_actions=True, collectors=True)

    def __init__(
        self,
        config: OffPolicyActorCriticConfig,
        spaces: EnvSpaces,
        *,
        seed: int,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        _check_settings(config)
        # Step 3: Initialise the replay memory.
        super().__init__(config, spaces, seed=seed, device=device, dtype=dtype)

        # Step 1: Initialise the critics and the actor with random weights.
        network = build_seeded(self.build_learning_network, seed=seed, device=device)
        assert isinstance(network, ActorAndCritics)
        self.online_network = network
        self.actor = self.online_network.actor
        self.critics = self.online_network.critics

        # Step 2: Initialise the target critics with the weights of the critics.
        self.target_critics = copy.deepcopy(self.critics).requires_grad_(False)
        self.critics_average = PolyakAverage(self.target_critics, self.critics)

        self.normalization = find_normalization(self.critics)
        self.reward_scaling = RewardScaling(
            config, gamma=config.gamma, num_envs=spaces.num_envs, network=self.online_network
        )
        capturable = self.uses_cuda_graphs
        self.critic_optimizer = build_optimizer(config, self.critics.parameters(), capturable=capturable)
        self.actor_optimizer = build_optimizer(config, self.actor.parameters(), capturable=capturable)

    def build_network(self) -> ActorAndCritics:
        """Return a new network: an encoder, two critics and an actor."""
        encoder = build_feature_encoder(self.spaces, self.config, dtype=self.dtype)
        critics = Critics(encoder, self.spaces.action_dim, self.config)
        network = ActorAndCritics(critics, self.build_actor(encoder.features))
        return initialize_weights(network, self.config.init)

    @abstractmethod
    def build_actor(self, features: int) -> Actor:
        """Return a new actor over this number of features."""

    # --- Acting -------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def acting_policy(self, stack: Tensor) -> Tensor:
        """Return the parameters of the policy for stacks [N, k, *obs_shape], without gradients.

        `capture_graphs` may replace this method.
        """
        return self.actor(self.critics.features(stack))

    @abstractmethod
    def greedy_action(self, parameters: Tensor) -> Tensor:
        """Return the greedy actions f32[N, D] from the parameters of the policy."""

    @abstractmethod
    def exploring_action(self, parameters: Tensor) -> Tensor:
        """Return the actions of training f32[N, D] from the parameters of the policy."""

    def action_std(self, parameters: Tensor) -> Tensor | None:
        """Return the standard deviations of the actions f32[N, D], or None for a deterministic policy."""
        return None

    @torch.no_grad()
    def act(self, obs: Tensor, is_first: Tensor, carry: Carry, *, explore: bool) -> tuple[Tensor, Carry]:
        """Choose actions.

        Args:
            obs: Observations [N, *obs_shape], without frame stacking.
            is_first: bool[N], True where an episode begins.
            carry: The carry that the previous call returned, or `initial_carry(N)`.
            explore: Choose the actions of training: uniformly random ones during the first `learning_starts` agent
                steps, then those of `exploring_action`. False means greedy actions.

        Returns:
            Actions f32[N, D] in [-1, 1], and the carry for the next call.
        """
        (history,) = carry
        stack, history = stack_frames(obs, is_first, history)
        # Step 4: Draw an action, at first from the uniform distribution.
        if explore and self.steps < self.config.learning_starts:
            return self.random_action(len(obs)), (history,)
        parameters = self.acting_policy(stack)
        action = self.exploring_action(parameters) if explore else self.greedy_action(parameters)
        return action, (history,)

    def random_action(self, n: int) -> Tensor:
        """Return actions f32[n, D], uniformly random in [-1, 1]."""
        draw = torch.rand((n, self.spaces.action_dim), generator=self.generator, device=self.device)
        return 2 * draw - 1

    def noise(self, n: int) -> Tensor:
        """Return samples of the standard normal distribution, f32[n, D]."""
        return torch.randn((n, self.spaces.action_dim), generator=self.generator, device=self.device)

    def policy_output(self, obs: Tensor, is_first: Tensor, carry: Carry) -> tuple[PolicyOutput, Carry]:
        """Return the greedy actions, min_i Q_i(s, a) of these actions, and the next carry.

        The arguments are those of `act`.
        """
        (history,) = carry
        stack, history = stack_frames(obs, is_first, history)
        features = self.critics.features(stack)
        parameters = self.actor(features)
        action = self.greedy_action(parameters)
        value = self.critics.values(features, action).amin(0)
        output = PolicyOutput(action, action, value, is_policy=True, action_std=self.action_std(parameters))
        return output, (history,)

    # --- Learning -----------------------------------------------------------------------------------------------------

    def update(self, batch: TransitionBatch) -> Metrics:
        """Make one update: a gradient step of the critics, new priorities, and the updates of `update_actor`."""
        for optimizer in self.optimizers().values():
            set_learning_rate(optimizer, self.lr)
        metrics, td_error = self.critic_step(batch, self.noise(len(batch.action)))
        self.replay.set_priorities(batch.cell, td_error)
        self.updates += 1
        return metrics | self.update_actor(batch)

    def critic_step(self, batch: TransitionBatch, noise: Tensor) -> tuple[Metrics, Tensor]:
        """Take a gradient step on the loss of both critics, which also trains the encoder.

            J_Q = sum_i mean_b w_b (Q_i(s, a) - y)^2 / 2

        w are the importance-sampling weights.

        Args:
            batch: The transitions.
            noise: Samples of the standard normal distribution for the actions of the next states, f32[B, D].

        Returns:
            The metrics f32[], and the mean absolute TD errors of the critics f32[B], from which the new priorities
            follow.
        """
        # Step 7: Compute the targets.
        y = self.targets(batch, noise)
        # Step 8: Take a gradient step of both critics.
        q = self.critics(batch.obs, batch.action)  # [2, B]
        td_error = y - q
        loss = (batch.weight * 0.5 * td_error.square()).mean(1).sum()
        grad_norm = clipped_gradient_step(self.critic_optimizer, loss, grad_clip=self.config.grad_clip)
        absolute_error = td_error.detach().abs().mean(0)
        metrics = {
            "loss": loss.detach(),
            "td_error": absolute_error.mean(),
            "q_mean": q.detach().mean(),
            "grad_norm": grad_norm,
        }
        return metrics, absolute_error

    @torch.no_grad()
    def targets(self, batch: TransitionBatch, noise: Tensor) -> Tensor:
        """Return the target y of each transition, f32[B]. The arguments are those of `critic_step`."""
        # Preprocessing uses no weights, so one call serves both encoders.
        next_obs = self.critics.encoder.preprocess(batch.next_obs)
        return td_target(batch.ret, batch.discount, self.next_value(next_obs, noise))

    @abstractmethod
    def next_value(self, next_obs: Tensor | PreprocessedImages, noise: Tensor) -> Tensor:
        """Return the value of the next state that the target y contains, f32[B].

        Args:
            next_obs: Stacks of the next states s', [B, k, *obs_shape], or preprocessed ones.
            noise: Samples of the standard normal distribution, f32[B, D].
        """

    @abstractmethod
    def update_actor(self, batch: TransitionBatch) -> Metrics:
        """Update the actor and the target networks. Return the metrics, whose names are always the same."""

    @torch.no_grad()
    def actor_features(self, obs: Tensor) -> Tensor:
        """Return the features f32[B, features] from which the actor learns. No gradient reaches the encoder."""
        return self.critics.features(obs)

    # --- State and other methods of the `Agent` protocol --------------------------------------------------------------

    @property
    def network(self) -> ActorAndCritics:
        """Return the network that plays: encoder and actor, with the critics, which estimate the values."""
        return self.online_network

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return the optimisers by name."""
        return {"critic_optimizer": self.critic_optimizer, "actor_optimizer": self.actor_optimizer}

    def start_from(self, weights: dict[str, Tensor]) -> None:
        """Load these weights into all networks. Raises RuntimeError if they do not fit."""
        self.online_network.load_state_dict(weights)
        self.target_critics.load_state_dict(self.critics.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """Return the full state: networks, optimisers, replay memory, random generator and counters."""
        state = {
            "network": self.online_network.state_dict(),
            "target_critics": self.target_critics.state_dict(),
            **super().state_dict(),
        }
        for name, optimizer in self.optimizers().items():
            state[name] = optimizer.state_dict()["state"]
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that `state_dict` returned. Raises ValueError or RuntimeError if shapes do not fit."""
        self.online_network.load_state_dict(state["network"])
        self.target_critics.load_state_dict(state["target_critics"])
        for name, optimizer in self.optimizers().items():
            load_optimizer_state(optimizer, state.get(name, {}))  # absent before the first update
        super().load_state_dict(state)
        if self.uses_cuda_graphs:
            self.capture_graphs()  # graphs read memory by address, and the optimisers and the replay have new tensors

    def capture_graphs(self, wrapper: Wrapper = CudaGraphFunction) -> None:
        """Replace acting, the gathering of a batch and the gradient steps by versions that run as CUDA graphs.

        Args:
            wrapper: Returns the captured version of a method. Tests on a CPU pass a substitute.
        """
        capture_methods(self, "acting_policy", "critic_step", "actor_step", wrapper=wrapper)
        capture_methods(self.replay, "transitions", wrapper=wrapper)


def _check_settings(config: OffPolicyActorCriticConfig) -> None:
    """Raise ConfigError if the network would compute differently in acting and in learning."""
    if config.norm == "batch":
        raise ConfigError("norm is batch; with sac and td3 it must be none, layer or layers")
    if config.dropout:
        raise ConfigError(f"dropout is {config.dropout}; with sac and td3 it must be 0")
