"""Settings of the agents of Stable-Baselines3 and SB3-Contrib.

Names and meanings are those of the two packages unless stated otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from agents.core.settings import Count, CountOrZero, Fraction, NonNegative, Positive, Range


@dataclass(frozen=True)
class SB3Config:
    """Settings that all algorithms have in common."""

    learning_rate: Positive = 1e-4
    """Learning rate."""
    linear_schedule: bool = False
    """Reduce the learning rate, and PPO's clip range, linearly to 0 at the last step of the training."""
    gamma: Fraction = 0.99
    """Discount per agent step."""
    hidden: Count = 64
    """Units of each of the two hidden layers, for vector observations. Images use the Nature CNN."""
    frame_stack: Annotated[int, Range(1, 16)] = 1
    """Observations that the network receives: the latest ones of the episode, zeros before the first."""
    reward_clip: NonNegative = 0.0
    """Rewards are clipped to [-reward_clip, reward_clip]. 0 disables clipping."""


@dataclass(frozen=True)
class SB3GSDEConfig:
    """Settings of generalised state-dependent exploration (gSDE: Raffin et al. 2020), for continuous actions."""

    use_sde: bool = False
    """Explore by generalised state-dependent exploration (gSDE: Raffin et al. 2020). Only for continuous actions."""
    sde_sample_freq: Annotated[int, Range(-1)] = -1
    """Steps of the vector environment between two draws of gSDE's noise. -1 draws only before a rollout, or, with SAC,
    after a round of updates."""


@dataclass(frozen=True)
class SB3ReplayConfig(SB3Config):
    """Settings that the algorithms with a replay buffer have in common."""

    buffer_size: Count = 100_000
    """Capacity of the replay buffer in transitions. An Atari transition takes 56 KB."""
    learning_starts: CountOrZero = 100
    """Agent steps before the first update."""
    batch_size: Count = 32
    """Transitions in the batch of an update."""
    train_freq: Count = 4
    """Steps of the vector environment between two rounds of updates."""
    gradient_steps: Count = 1
    """Updates in a round."""


@dataclass(frozen=True)
class SB3DQNConfig(SB3ReplayConfig):
    """Settings of Stable-Baselines3's DQN."""

    max_grad_norm: Positive = 10.0
    """Maximum norm of the gradient of all parameters."""
    target_update_interval: Count = 10_000
    """Agent steps between two copies of the online network to the target network."""
    exploration_fraction: Fraction = 0.1
    """Fraction of the training during which epsilon falls linearly."""
    exploration_initial_eps: Fraction = 1.0
    """Epsilon, the probability of a random action, at the first agent step."""
    exploration_final_eps: Fraction = 0.05
    """Epsilon in the rest of the training."""


@dataclass(frozen=True)
class SB3QRDQNConfig(SB3DQNConfig):
    """Settings of SB3-Contrib's QR-DQN."""

    learning_rate: Positive = 5e-5
    max_grad_norm: NonNegative = 0.0
    """Maximum norm of the gradient of all parameters. 0 disables clipping."""
    exploration_fraction: Fraction = 0.005
    exploration_final_eps: Fraction = 0.01
    n_quantiles: Count = 200
    """Quantiles of the return of each action."""


@dataclass(frozen=True)
class SB3ActorCriticConfig(SB3ReplayConfig):
    """Settings that SAC and TD3 have in common."""

    hidden: Count = 256
    """Units of the first hidden layer of the actor and of each critic, for vector observations. Images use two Nature
    CNNs without hidden layers after them: one for the actor, one for the critics."""
    second_hidden: Count = 256
    """Units of the second hidden layer."""
    buffer_size: Count = 1_000_000
    """Capacity of the replay buffer in transitions."""
    batch_size: Count = 256
    train_freq: Count = 1
    tau: Annotated[float, Range(0, 1, open_low=True)] = 0.005
    """Step size of Polyak averaging: each weight of a target network moves by tau times its distance to the weight of
    the online network."""


@dataclass(frozen=True)
class SB3SACConfig(SB3GSDEConfig, SB3ActorCriticConfig):
    """Settings of Stable-Baselines3's SAC."""

    learning_rate: Positive = 3e-4
    learn_ent_coef: bool = True
    """Learn the weight of the entropy, so that the entropy of the policy becomes -D nats for actions of D entries."""
    ent_coef: Positive = 1.0
    """Weight of the entropy in the return. With learn_ent_coef, its value before the first update."""
    log_std_init: float = -3.0
    """Initial logarithm of gSDE's standard deviation. No effect without use_sde."""


@dataclass(frozen=True)
class SB3TD3Config(SB3ActorCriticConfig):
    """Settings of Stable-Baselines3's TD3."""

    learning_rate: Positive = 1e-3
    hidden: Count = 400
    second_hidden: Count = 300
    noise_std: NonNegative = 0.1
    """Standard deviation of the Gaussian noise on each entry of an action in training. Entries are from -1 to 1."""
    policy_delay: Count = 2
    """Updates of the critics between two updates of the actor and of the target networks."""
    target_policy_noise: NonNegative = 0.2
    """Standard deviation of the Gaussian noise on the actions of the target actor."""
    target_noise_clip: NonNegative = 0.5
    """Largest absolute value of the noise on the actions of the target actor."""


@dataclass(frozen=True)
class SB3OnPolicyConfig(SB3GSDEConfig, SB3Config):
    """Settings that the on-policy algorithms have in common."""

    max_grad_norm: Positive = 0.5
    """Maximum norm of the gradient of all parameters."""
    n_steps: Count = 128
    """Steps of each environment in a rollout."""
    gae_lambda: Fraction = 0.95
    """Lambda of the generalised advantage estimation."""
    ent_coef: NonNegative = 0.0
    """Weight of the entropy in the loss."""
    vf_coef: NonNegative = 0.5
    """Weight of the value loss."""
    normalize: bool = False
    """Normalise observations and rewards by Stable-Baselines3's `VecNormalize`. Only for vectors."""
    activation: Literal["tanh", "relu"] = "tanh"
    """Activation of the hidden layers, for vector observations."""
    ortho_init: bool = True
    """Initialise the weights orthogonally, except those of an LSTM."""
    log_std_init: float = 0.0
    """Initial logarithm of the standard deviation of continuous actions."""


@dataclass(frozen=True)
class SB3PPOConfig(SB3OnPolicyConfig):
    """Settings of Stable-Baselines3's PPO."""

    learning_rate: Positive = 3e-4
    n_steps: Annotated[int, Range(2)] = 128
    """Steps of each environment in a rollout."""
    batch_size: Annotated[int, Range(2)] = 64
    """Agent steps in the minibatch of an update."""
    n_epochs: Count = 10
    """Passes over a rollout."""
    clip_range: Positive = 0.2
    """The probability ratio between the new and the old policy is clipped to [1 - clip_range, 1 + clip_range]."""


@dataclass(frozen=True)
class SB3A2CConfig(SB3OnPolicyConfig):
    """Settings of Stable-Baselines3's A2C."""

    learning_rate: Positive = 7e-4
    n_steps: Count = 5
    gae_lambda: Fraction = 1.0
    rmsprop_eps: Positive = 1e-5
    """Epsilon in the denominator of RMSProp."""
    rmsprop_tf_like: bool = False
    """Use TensorFlow's RMSProp, which adds epsilon inside the square root."""


@dataclass(frozen=True)
class SB3RecurrentPPOConfig(SB3PPOConfig):
    """Settings of SB3-Contrib's recurrent PPO. The LSTM lies between the encoder and the hidden layers."""

    batch_size: Annotated[int, Range(2)] = 128
    lstm_hidden_size: Count = 256
    """Units of the LSTM."""
    enable_critic_lstm: bool = True
    """Use an LSTM of its own for the values. False: the values depend on the newest observations only."""
    hidden_layers: Annotated[int, Range(0, 8)] = 2
    """Hidden layers of the policy, and of the values, after the LSTM, for vector observations."""
