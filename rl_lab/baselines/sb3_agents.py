"""Stable-Baselines3's DQN, PPO and A2C (Raffin et al. 2021) behind the `Agent` protocol, as baselines.

The algorithms are used unchanged and learn in their own loop (rl_lab/baselines/sb3_loop.py). Environments, evaluation,
logs and run folders are those of this project. Checkpoints are safetensors files, as for all agents. The zip file of
Stable-Baselines3, and its file of statistics where observations are normalised, are written beside them for other
programs. They are never loaded here, because they may contain code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, NoReturn

import numpy as np
import torch
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.distributions import CategoricalDistribution
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.dqn.policies import DQNPolicy
from torch import Tensor, nn

from agents.core.action_combinations import check_combinations
from agents.core.agent import Abilities
from agents.core.frame_stack import empty_history, stack_frames
from agents.core.memory_needs import FLOAT_BYTES, MemoryNeed, NetworkSize, learning_needs, row_needs
from agents.core.settings import ConfigError
from agents.core.stopwatch import Stopwatch
from agents.core.types import Carry, EnvSpaces, PolicyOutput, StepResult, ValueScaling
from agents.nn.normalization import ObservationNormalization
from envs.stream import Stream
from rl_lab.baselines.sb3_config import (
    SB3A2CConfig,
    SB3Config,
    SB3DQNConfig,
    SB3OnPolicyConfig,
    SB3PPOConfig,
    SB3ReplayConfig,
)
from rl_lab.baselines.sb3_envs import PlaceholderVecEnv, action_space, observation_space
from rl_lab.baselines.sb3_loop import SB3Loop

ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU}

NOT_ARGUMENTS = frozenset({"hidden", "second_hidden", "frame_stack", "reward_clip", "linear_schedule", "normalize"})
"""Settings of `SB3Config` that are not arguments of an algorithm's constructor. Other code here uses them."""


class SB3Agent:
    """An algorithm of Stable-Baselines3. Subclasses define the class of the algorithm and the class of its settings."""

    config_class: ClassVar[type[SB3Config]] = SB3Config
    algorithm: ClassVar[type[Any]]
    """Class of the algorithm, a `BaseAlgorithm`."""
    mlp_policy: ClassVar[str] = "MlpPolicy"
    """Stable-Baselines3's name of the policy for vectors."""
    cnn_policy: ClassVar[str] = "CnnPolicy"
    """Stable-Baselines3's name of the policy for images."""
    ends_at_lost_life: ClassVar[bool] = True
    """A lost life ends an episode for the algorithm, if the environment's protocol says so."""
    abilities = Abilities(resumable=False, bfloat16=False)
    buffer_setting: ClassVar[str] = "buffer_size"
    """The setting that decides the size of the buffer, for messages."""
    size_settings: ClassVar[str] = "hidden or frame_stack"
    """The settings that decide the size of the network, for messages."""

    def __init__(
        self,
        config: SB3Config,
        spaces: EnvSpaces,
        *,
        seed: int,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Create the algorithm with its networks.

        Args:
            config: Settings.
            spaces: Shapes and types of observations and actions.
            seed: Seed of the algorithm.
            device: Device of the networks.
            dtype: Ignored. Stable-Baselines3 computes in float32.
        """
        check_combinations(spaces)  # they see each combination of parts as one action
        self.config = config
        self.spaces = spaces
        self.device = device
        stack_space = observation_space(spaces.obs_shape, spaces.is_image, config.frame_stack)
        self._has_image_obs = len(stack_space.shape) == 3
        self.model: BaseAlgorithm = self.algorithm(
            self.cnn_policy if self._has_image_obs else self.mlp_policy,
            PlaceholderVecEnv(spaces.num_envs, stack_space, action_space(spaces.num_actions, spaces.action_dim)),
            seed=seed,
            device=device,
            **self.algorithm_arguments(),
        )
        self.model.set_logger(Logger(None, []))  # without outputs: `SB3Loop` reads the metrics from the logger
        self.network: BasePolicy = self.model.policy
        self._normalization = self._make_normalization()
        self.seconds = Stopwatch()

    def _make_normalization(self) -> ObservationNormalization | None:
        """Return a new layer of the network that normalises observations, or None if `normalize` is false."""
        if not (isinstance(self.config, SB3OnPolicyConfig) and self.config.normalize):
            return None
        if self._has_image_obs:
            raise ConfigError("normalize is true; only vector observations can be normalised, not images")
        shape = self.model.observation_space.shape
        assert shape is not None
        self.network.normalization = ObservationNormalization(shape).to(self.device)
        return self.network.normalization

    def algorithm_arguments(self) -> dict[str, Any]:
        """Return the settings as arguments of the algorithm's constructor. Subclasses change them."""
        arguments = {name: value for name, value in vars(self.config).items() if name not in NOT_ARGUMENTS}
        if self.config.linear_schedule:
            for name in arguments.keys() & {"learning_rate", "clip_range"}:
                arguments[name] = LinearSchedule(arguments[name], 0.0, 1.0)  # reaches 0 at the end of the training
        arguments["policy_kwargs"] = {}
        if not self._has_image_obs:
            arguments["policy_kwargs"]["net_arch"] = [self.config.hidden, self.config.hidden]
        return arguments

    @staticmethod
    def bytes_needed(config: Any, spaces: EnvSpaces) -> int:
        """Return the bytes of the replay or rollout buffer. Subclasses define this method."""
        raise NotImplementedError

    @classmethod
    def memory_needs(cls, config: Any, spaces: EnvSpaces) -> list[MemoryNeed]:
        """Return the bytes that the buffer and the networks need, before anything is allocated."""
        outputs = 2 * config.hidden + num_outputs(spaces)
        size = NetworkSize(FLOAT_BYTES * cls.count_weights(config, spaces), outputs)
        return [
            MemoryNeed("the buffer", cls.bytes_needed(config, spaces), f"lower {cls.buffer_setting}"),
            learning_needs(size, copies=2, optimizer="adam", advice=f"lower {cls.size_settings}"),
            row_needs(spaces, size, stack=config.frame_stack),
        ]

    @classmethod
    def count_weights(cls, config: Any, spaces: EnvSpaces) -> int:
        """Return the number of weights of the network, or of its largest layers."""
        return count_weights(config, spaces, outputs=num_outputs(spaces))

    @property
    def value_scaling(self) -> ValueScaling:
        """Return the discount and the reward clip behind the value estimates."""
        return ValueScaling(self.config.gamma, self.config.reward_clip)

    def initial_carry(self, n: int) -> Carry:
        """Return the carry of n environments before their first row: a history of zeros [n, k-1, *obs_shape]."""
        return (empty_history(n, self.config.frame_stack - 1, self.spaces, self.device),)

    def act(self, obs: Tensor, is_first: Tensor, carry: Carry, *, explore: bool) -> tuple[Tensor, Carry]:
        """Return the actions of Stable-Baselines3's `predict`, and the carry for the next call.

        The actions are i64[N], or f32[N, D] with continuous actions. Those of a Gaussian are clipped to [-1, 1].
        Exploration with gSDE draws new noise in each call.

        Args:
            obs: Observations [N, *obs_shape], without frame stacking.
            is_first: bool[N], True where an episode begins.
            carry: The carry that the previous call returned, or `initial_carry(N)`.
            explore: Choose stochastic actions. False means deterministic actions.
        """
        stack, history = self._stack(obs, is_first, carry)
        if explore:
            self._draw_noise(len(obs))
        action, _ = self.model.predict(stack.cpu().numpy(), deterministic=not explore)
        return torch.as_tensor(action, device=self.device), (history,)

    def policy_output(self, obs: Tensor, is_first: Tensor, carry: Carry) -> tuple[PolicyOutput, Carry]:
        """Return Q(s, .) of DQN, or pi(. | s) and V(s) of PPO and A2C, and the next carry.

        With continuous actions, pi(. | s) is a Gaussian, given by its means and standard deviations.

        The arguments are those of `act`. The networks are called directly, because the result of `predict` is not
        differentiable.
        """
        stack, history = self._stack(obs, is_first, carry)
        policy = self.network
        policy.set_training_mode(False)
        if isinstance(policy, DQNPolicy):
            q = policy.q_net(stack)
            return PolicyOutput(q.argmax(1), q, q.amax(1)), (history,)
        assert isinstance(policy, ActorCriticPolicy)
        features = policy.extract_features(stack)
        assert isinstance(features, Tensor)  # would be a tuple if actor and critic had separate encoders
        actor_features, critic_features = policy.mlp_extractor(features)
        value = policy.value_net(critic_features).squeeze(1)
        return actor_output(policy, actor_features, value, self.spaces.action_parts), (history,)

    def _draw_noise(self, n: int) -> None:
        """Draw the noise of gSDE for n environments. Without gSDE, do nothing."""
        if self.model.use_sde:
            policy: Any = self.network  # BasePolicy does not declare the method
            policy.reset_noise(n)

    def _stack(self, obs: Tensor, is_first: Tensor, carry: Carry) -> tuple[Tensor, Tensor]:
        """Return the network's input [N, k, H, W] or [N, k * D], and the history for the next row."""
        stack, history = stack_frames(obs, is_first, *carry)
        shape = self.model.observation_space.shape
        assert shape is not None
        stack = stack.reshape(-1, *shape)
        if self._normalization is not None:
            stack = self._normalization(stack)
        return stack, history

    def observe(self, step: StepResult) -> NoReturn:
        """Raise RuntimeError: the algorithm learns in `SB3Loop`."""
        raise RuntimeError("an agent of Stable-Baselines3 learns in its own loop; call make_loop")

    def make_loop(self, streams: Sequence[Stream], seed: int) -> SB3Loop:
        """Return the loop in which the algorithm learns.

        Args:
            streams: Streams of one environment each.
            seed: Seed from which the seeds of the environments are derived.
        """
        return SB3Loop(
            self.model,
            streams,
            seed,
            frame_stack=self.config.frame_stack,
            reward_clip=self.config.reward_clip,
            gamma=self.config.gamma,
            is_image=self.spaces.is_image,
            ends_at_lost_life=self.ends_at_lost_life,
            agent_seconds=self.seconds,
        )

    def start_from(self, weights: dict[str, Tensor]) -> None:
        """Load these weights into `network`. Raises RuntimeError if they do not fit."""
        self.network.load_state_dict(weights)

    def gauges(self) -> dict[str, float]:
        """Return the number of updates."""
        return {"updates": self.model._n_updates}

    def state_dict(self) -> dict[str, Any]:
        """Return the weights. Stable-Baselines3 does not save everything that an exact continuation would need."""
        return {"network": self.network.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load the weights that `state_dict` returned."""
        self.start_from(state["network"])


class SB3ReplayAgent(SB3Agent):
    """An algorithm of Stable-Baselines3 with a replay buffer."""

    @staticmethod
    def bytes_needed(config: SB3ReplayConfig, spaces: EnvSpaces) -> int:
        """Return the bytes of the replay buffer.

        A transition has two stacks of observations, for s and s'. A continuous action counts, too.
        """
        return config.buffer_size * (2 * observation_bytes(config, spaces) + FLOAT_BYTES * spaces.action_dim)


class SB3EpsilonGreedyAgent(SB3ReplayAgent):
    """An algorithm of Stable-Baselines3 with a replay buffer and epsilon-greedy exploration."""

    def gauges(self) -> dict[str, float]:
        """Return epsilon and the number of updates."""
        model: Any = self.model  # BaseAlgorithm does not declare the attribute
        return {"epsilon": model.exploration_rate, **super().gauges()}


class SB3DQN(SB3EpsilonGreedyAgent):
    """Stable-Baselines3's DQN."""

    config_class = SB3DQNConfig
    algorithm = DQN


class SB3OnPolicyAgent(SB3Agent):
    """An on-policy algorithm of Stable-Baselines3."""

    abilities = Abilities(resumable=False, bfloat16=False, continuous_actions=True)
    buffer_setting = "n_steps or num_envs"

    def algorithm_arguments(self) -> dict[str, Any]:
        """Return the settings as arguments of the algorithm's constructor.

        Raises:
            ConfigError: use_sde is true, and the actions are discrete.
        """
        arguments = super().algorithm_arguments()
        if arguments["use_sde"] and not self.spaces.is_continuous:
            raise ConfigError("use_sde is true; it needs continuous actions, and those of the environment are discrete")
        policy_arguments = arguments["policy_kwargs"]
        policy_arguments["activation_fn"] = ACTIVATIONS[arguments.pop("activation")]
        for name in ("ortho_init", "log_std_init"):
            policy_arguments[name] = arguments.pop(name)
        return arguments

    @staticmethod
    def bytes_needed(config: SB3OnPolicyConfig, spaces: EnvSpaces) -> int:
        """Return the bytes of the rollout buffer: a stack of observations, and a continuous action, per agent step."""
        step_bytes = observation_bytes(config, spaces) + FLOAT_BYTES * spaces.action_dim
        return config.n_steps * spaces.num_envs * step_bytes


class SB3PPO(SB3OnPolicyAgent):
    """Stable-Baselines3's PPO."""

    config_class = SB3PPOConfig
    algorithm = PPO


class SB3A2C(SB3OnPolicyAgent):
    """Stable-Baselines3's A2C."""

    config_class = SB3A2CConfig
    algorithm = A2C

    def algorithm_arguments(self) -> dict[str, Any]:
        """Return the settings as arguments of A2C's constructor.

        The constructor builds PyTorch's RMSprop, with the argument `rms_prop_eps`, unless `policy_kwargs` contains
        another optimiser. TensorFlow's RMSProp is passed in this way.
        """
        arguments = super().algorithm_arguments()
        eps = arguments.pop("rmsprop_eps")
        if not arguments.pop("rmsprop_tf_like"):
            arguments["rms_prop_eps"] = eps
            return arguments
        arguments["policy_kwargs"]["optimizer_class"] = RMSpropTFLike
        arguments["policy_kwargs"]["optimizer_kwargs"] = {"eps": eps}
        return arguments


def actor_output(policy: ActorCriticPolicy, latent: Tensor, value: Tensor, parts: tuple[int, ...]) -> PolicyOutput:
    """Return pi(. | s) and V(s). With continuous actions, the greedy action is the mean, clipped to [-1, 1].

    Args:
        policy: The policy.
        latent: Outputs of the last hidden layer of the actor, f32[N, units].
        value: V(s), f32[N].
        parts: `EnvSpaces.action_parts`.
    """
    if isinstance(policy.action_dist, CategoricalDistribution):
        probs = policy.action_net(latent).softmax(1)
        return PolicyOutput(probs.argmax(1), probabilities_by_part(probs, parts), value, is_policy=True)
    distribution: Any = policy._get_action_dist_from_latent(latent)
    gaussian = distribution.distribution
    return PolicyOutput(gaussian.mean.clamp(-1, 1), gaussian.mean, value, is_policy=True, action_std=gaussian.stddev)


def num_outputs(spaces: EnvSpaces) -> int:
    """Return the outputs of a policy: one for each discrete action, or for each entry of a continuous one."""
    return spaces.action_dim if spaces.is_continuous else spaces.num_actions


def probabilities_by_part(probs: Tensor, parts: tuple[int, ...]) -> Tensor:
    """Return the probabilities of the actions of each part, one part after the other, as `PolicyOutput.scores` needs.

    Args:
        probs: Probabilities of all combinations of parts, the last part fastest, f32[N, A].
        parts: Number of actions of each part. () means one part, whose probabilities are returned unchanged.

    Returns:
        f32[N, sum of parts]. The probability of an action is the sum over the combinations that contain the action.
    """
    if len(parts) < 2:
        return probs
    by_combination = probs.unflatten(1, parts)
    axes = range(1, len(parts) + 1)
    return torch.cat([by_combination.sum([other for other in axes if other != axis]) for axis in axes], 1)


def count_weights(config: SB3Config, spaces: EnvSpaces, *, outputs: int) -> int:
    """Return the number of weights of the hidden layers and the output layer, for vector observations.

    The Nature CNN of images has a fixed size, apart from its hidden layer over 64 feature maps.

    Args:
        config: Settings.
        spaces: Shapes and types of observations and actions.
        outputs: Units of the output layer.
    """
    entries = config.frame_stack * math.prod(spaces.obs_shape)
    if spaces.is_image:
        units = 512
        return units * (math.prod(spaces.obs_shape) // 144 * 64 + outputs)
    return config.hidden * (entries + config.hidden + outputs)


def observation_bytes(config: SB3Config, spaces: EnvSpaces) -> int:
    """Return the bytes of one stack of observations."""
    item_bytes = torch.empty(0, dtype=spaces.dtype).element_size()
    return config.frame_stack * int(np.prod(spaces.obs_shape)) * item_bytes
