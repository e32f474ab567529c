"""Settings that several agents share: of the network, the optimiser, the replay memory, exploration and the rewards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from agents.core.schedules import linear_schedule
from agents.core.settings import Count, CountOrZero, Fraction, NonNegative, Positive, Range

Init = Literal["torch", "orthogonal", "he", "xavier", "lecun"]
Norm = Literal["none", "layer", "layers", "batch"]
Pixels = Literal["frames", "differences"]
Codes = Literal["numbers", "embed"]
ImageEncoder = Literal["nature", "data_efficient"]
Core = Literal["lstm", "gru"]
OptimizerName = Literal["adam", "radam", "rmsprop", "centered_rmsprop"]


@dataclass(frozen=True)
class NetworkConfig:
    """Settings of the encoder, shared by all agents with a neural network."""

    frame_stack: Annotated[int, Range(1, 16)] = 1
    """Observations that the network receives: the latest ones of the episode, zeros before the first."""
    hidden: Count = 512
    """Units of each fully connected hidden layer."""
    filters: Count = 32
    """Filters of the first convolution. For images, the other two convolutions have twice as many."""
    encoder: ImageEncoder = "nature"
    """Convolutions for images: the three of Mnih et al. 2015 ("nature"), or the two of data-efficient
    Rainbow, "data_efficient" (van Hasselt et al. 2019), which cost less."""
    init: Init = "orthogonal"
    """Initialisation of the weights. "torch" is PyTorch's default, U(+-1/sqrt(fan_in)), as in Mnih et al. 2015."""
    pixels: Pixels = "differences"
    """Input of the first convolution: the stacked "frames" (Mnih et al. 2015), or the newest frame and "differences" of
    successive frames."""
    codes: Codes = "numbers"
    """Input of whole numbers on a grid, such as MiniGrid's codes of objects: the "numbers" themselves, or "embed", a
    learned vector of 16 numbers for each code of each channel."""
    norm: Norm = "none"
    """Normalisation: "layer" (Ba et al. 2016) of the hidden layers, "layers" of the convolutions too, or "batch" (Ioffe
    and Szegedy 2015)."""
    normalize_obs: bool = False
    """Subtract the running mean from each entry of a vector observation, divide by the running standard deviation, and
    clip to [-10, 10]."""
    dropout: Annotated[float, Range(0, 0.99)] = 0.0
    """Dropout rate of the hidden layers in training (Srivastava et al. 2014)."""


@dataclass(frozen=True)
class OptimizerConfig:
    """Settings of the optimiser, shared by all agents that learn by gradient descent."""

    lr: Positive = 1e-4
    """Learning rate."""
    lr_end: Positive = 1e-4
    """Learning rate from agent step lr_steps on."""
    lr_hold: CountOrZero = 0
    """Agent step at which the learning rate begins to change linearly from lr to lr_end."""
    lr_steps: CountOrZero = 0
    """Agent step at which the learning rate reaches lr_end. 0 keeps it at lr."""
    optimizer: OptimizerName = "adam"
    """adam (Kingma and Ba 2015), radam (Liu et al. 2020), rmsprop (Tieleman and Hinton 2012), or centered_rmsprop (Mnih
    et al. 2015)."""
    optimizer_eps: Positive = 1.5e-4
    """Epsilon in the denominator of the optimiser's step, against division by zero."""
    weight_decay: NonNegative = 0.0
    """Weight decay of AdamW (Loshchilov and Hutter 2019): every step first multiplies the weights by 1 - lr *
    weight_decay. Biases and other vectors do not decay. It needs the optimizer adam or radam."""
    grad_clip: NonNegative = 10.0
    """Largest norm of the gradient of all parameters together (Pascanu et al. 2013). 0 disables clipping."""
    cuda_graphs: bool = False
    """Capture acting and updating as CUDA graphs. This needs the optimizer adam. Devices other than CUDA ignore this
    setting. Untested: written without a CUDA device."""

    def learning_rate(self, steps: int) -> float:
        """Return the learning rate after `steps` agent steps."""
        if not self.lr_steps:
            return self.lr
        return linear_schedule(self.lr, self.lr_end, self.lr_steps, steps, hold=self.lr_hold)


@dataclass(frozen=True)
class ReplayConfig:
    """Settings of the replay memory and of sampling from it."""

    replay_size: Count = 100_000
    """Capacity in agent steps, over all environments. A million Atari frames take 7.1 GB."""
    learning_starts: CountOrZero = 5_000
    """Agent steps before the first update."""
    batch_size: Count = 32
    """Transitions (DRQN: sequences) in the batch of an update."""
    replay_ratio: NonNegative = 8.0
    """Sampled transitions per agent step. A batch of 32 every 4 agent steps is 8. 0 disables learning."""
    n_step: Count = 1
    """Steps of the n-step return, without off-policy correction (Sutton 1988)."""
    priority_alpha: Fraction = 0.0
    """Exponent of prioritised sampling (Schaul et al. 2016). 0 samples uniformly."""
    priority_beta: Fraction = 0.4
    """Exponent of the importance-sampling weights at the first agent step."""
    priority_beta_steps: Count = 1_000_000
    """Agent steps over which priority_beta rises linearly to 1."""
    augment_shift: Annotated[int, Range(0, 64)] = 0
    """Shift the images of each sampled observation by up to this number of pixels, vertically and horizontally; pixels
    at the edge are repeated (Kostrikov et al. 2020, with 4). 0 disables shifts."""
    augment_intensity: Fraction = 0.0
    """Multiply the images of each sampled observation by 1 + augment_intensity * x, where x is standard normal, clipped
    to [-2, 2] (Kostrikov et al. 2020, with 0.05). 0 disables this noise."""


@dataclass(frozen=True)
class EpsilonGreedyConfig:
    """Settings of epsilon-greedy exploration, whose epsilon changes linearly."""

    epsilon_start: Fraction = 1.0
    """Probability of a random action at the first agent step."""
    epsilon_end: Fraction = 0.01
    """Probability of a random action from agent step epsilon_steps on."""
    epsilon_hold: CountOrZero = 0
    """Agent step at which epsilon begins to change linearly from epsilon_start to epsilon_end."""
    epsilon_steps: CountOrZero = 50_000
    """Agent step at which epsilon reaches epsilon_end."""

    def epsilon(self, steps: int) -> float:
        """Return the probability of a random action after `steps` agent steps."""
        return linear_schedule(self.epsilon_start, self.epsilon_end, self.epsilon_steps, steps, hold=self.epsilon_hold)


@dataclass(frozen=True)
class RewardConfig:
    """Settings of the rewards that an agent learns from. Scores are always sums of raw rewards."""

    reward_scale: Positive = 1.0
    """Factor on the rewards before they are stored."""
    normalize_reward: bool = False
    """Divide rewards by the running standard deviation of the discounted returns, and clip them to [-10, 10], before
    they are stored (Engstrom et al. 2020). reward_scale then multiplies the divided rewards."""
    reward_clip: NonNegative = 0.0
    """Clip rewards to [-reward_clip, reward_clip] before they are stored, after scaling. 0 disables clipping."""
