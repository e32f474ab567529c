"""Stable-Baselines3's SAC and TD3 behind the `Agent` protocol, as baselines for continuous actions.

rl_lab/baselines/sb3_agents.py describes what is theirs and what is ours.

In shapes, N is the number of environments, and D the number of entries of an action.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from stable_baselines3 import SAC, TD3
from stable_baselines3.common.noise import NormalActionNoise
from torch import Tensor, nn

from agents.core.agent import Abilities
from agents.core.squashed_gaussian import squashed_std
from agents.core.types import Carry, EnvSpaces, PolicyOutput
from envs.stream import Stream
from rl_lab.baselines.sb3_agents import SB3ReplayAgent, count_weights
from rl_lab.baselines.sb3_config import SB3ActorCriticConfig, SB3SACConfig, SB3TD3Config
from rl_lab.baselines.sb3_loop import SB3Loop


class SB3ActorCriticAgent(SB3ReplayAgent):
    """An algorithm of Stable-Baselines3 with a replay buffer, an actor and two critics Q_1 and Q_2."""

    abilities = Abilities(resumable=False, bfloat16=False, discrete_actions=False, continuous_actions=True)
    size_settings = "hidden, second_hidden or frame_stack"

    def algorithm_arguments(self) -> dict[str, Any]:
        """Return the settings as arguments of the algorithm's constructor."""
        arguments = super().algorithm_arguments()
        assert isinstance(self.config, SB3ActorCriticConfig)
        if not self._has_image_obs:
            arguments["policy_kwargs"]["net_arch"] = [self.config.hidden, self.config.second_hidden]
        return arguments

    @property
    def critic_network(self) -> nn.Module:
        """Return both critics with their encoder."""
        policy: Any = self.network  # BasePolicy does not declare actor and critic
        return policy.critic

    @classmethod
    def count_weights(cls, config: Any, spaces: EnvSpaces) -> int:
        """Return the number of weights of the actor and of both critics, or of their largest layers."""
        if spaces.is_image:
            num_encoders = 2  # of the actor and of the critics
            return num_encoders * count_weights(config, spaces, outputs=spaces.action_dim)
        entries = config.frame_stack * math.prod(spaces.obs_shape)
        between = config.hidden * config.second_hidden
        actor = config.hidden * entries + between + config.second_hidden * spaces.action_dim
        critic = config.hidden * (entries + spaces.action_dim) + between + config.second_hidden
        return actor + 2 * critic

    def policy_output(self, obs: Tensor, is_first: Tensor, carry: Carry) -> tuple[PolicyOutput, Carry]:
        """Return the greedy actions, min_i Q_i(s, a) of these actions, and the next carry.

        The arguments are those of `act`.
        """
        stack, history = self._stack(obs, is_first, carry)
        policy: Any = self.network
        policy.set_training_mode(False)
        action, std = self.greedy_action(policy.actor, stack)
        value = torch.cat(policy.critic(stack, action), dim=1).amin(1)
        return PolicyOutput(action, action, value, is_policy=True, action_std=std), (history,)

    def greedy_action(self, actor: Any, stack: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the greedy actions f32[N, D], and their standard deviations f32[N, D]. Subclasses define this method.

        Args:
            actor: The actor of the policy.
            stack: Stacks of observations, [N, k, H, W] or [N, k * D].

        Returns:
            Both are differentiable. The standard deviations are None if the policy is deterministic.
        """
        raise NotImplementedError


class SB3SAC(SB3ActorCriticAgent):
    """Stable-Baselines3's SAC."""

    config_class = SB3SACConfig
    algorithm = SAC
    config: SB3SACConfig

    def algorithm_arguments(self) -> dict[str, Any]:
        """Return the settings as arguments of SAC's constructor, which knows a learned `ent_coef` as a text."""
        arguments = super().algorithm_arguments()
        if arguments.pop("learn_ent_coef"):
            arguments["ent_coef"] = f"auto_{self.config.ent_coef}"
        arguments["policy_kwargs"]["log_std_init"] = arguments.pop("log_std_init")
        return arguments

    def greedy_action(self, actor: Any, stack: Tensor) -> tuple[Tensor, Tensor]:
        """Return tanh(mu), the median of each entry of the actions, and the standard deviations to first order."""
        mean, log_std, noise_arguments = actor.get_action_dist_params(stack)
        gaussian = actor.action_dist.proba_distribution(mean, log_std, **noise_arguments).distribution
        return torch.tanh(mean), squashed_std(mean, gaussian.stddev.log())


class SB3TD3(SB3ActorCriticAgent):
    """Stable-Baselines3's TD3."""

    config_class = SB3TD3Config
    algorithm = TD3
    config: SB3TD3Config

    def algorithm_arguments(self) -> dict[str, Any]:
        """Return the settings as arguments of TD3's constructor."""
        arguments = super().algorithm_arguments()
        std = np.full(self.spaces.action_dim, arguments.pop("noise_std"), np.float32)
        arguments["action_noise"] = NormalActionNoise(np.zeros_like(std), std)
        return arguments

    def act(self, obs: Tensor, is_first: Tensor, carry: Carry, *, explore: bool) -> tuple[Tensor, Carry]:
        """Return the actions of the actor f32[N, D], with Gaussian noise if `explore` is true, and the next carry.

        The arguments are those of `SB3Agent.act`. The method `predict` of TD3 adds no noise.
        """
        action, carry = super().act(obs, is_first, carry, explore=explore)
        if explore:
            action = (action + self.config.noise_std * torch.randn_like(action)).clamp(-1, 1)
        return action, carry

    def make_loop(self, streams: Sequence[Stream], seed: int) -> SB3Loop:
        """Return the loop in which TD3 learns. The arguments are those of `SB3Agent.make_loop`.

        The metrics of all updates must have the same names. The first update of TD3 has no loss of the actor, so the
        loss begins at 0.
        """
        self.model.logger.record("train/actor_loss", 0.0)
        return super().make_loop(streams, seed)

    def greedy_action(self, actor: Any, stack: Tensor) -> tuple[Tensor, None]:
        """Return the actions of the actor. They have no standard deviation."""
        return actor(stack), None
