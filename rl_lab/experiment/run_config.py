"""The settings of a run that do not depend on its agent."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import tyro

from agents.core.settings import Count, CountOrZero, Fraction, NonNegative, Range
from envs.options import IMAGE_SIZE, MIN_IMAGE_SIDE, ImageColors, ObsKind, Vectorization
from envs.spec import View

Seed = Annotated[int, Range(0, 2**31 - 1)]


@dataclass(frozen=True)
class RunConfig:
    """The settings of a run that do not depend on its agent. An agent step is one action in one environment."""

    env: str = ""
    """Name of an Atari game (Pong), or a Gymnasium id (CartPole-v1, mymodule:MyEnv-v0)."""
    env_args: Annotated[dict[str, Any], tyro.conf.Suppress] = field(default_factory=dict)
    """Keyword arguments of the environment's constructor. The option --env-arg sets one of them."""
    wrappers: Annotated[list[Any], tyro.conf.Suppress] = field(default_factory=list)
    """Wrappers around the environment, the innermost first: module:Class, or module:Class: {argument: value}. The
    option --wrapper adds one."""
    obs_kind: ObsKind = "auto"
    """Meaning of an array of observations: image, planes (maps over a grid) or vector. "auto" decides by shape, type,
    and bounds: an image has two sides of at least 36, and numbers from 0 to 255 (uint8 or float) or from 0.0 to 1.0."""
    obs_key: str = ""
    """Parts of a Dict or Tuple observation to use, separated by commas. Empty means all parts."""
    image: ImageColors = "grey"
    """Colours of images."""
    image_size: Annotated[int, Range(MIN_IMAGE_SIDE, 1024)] = IMAGE_SIZE
    """Height and width of images in pixels."""
    crop: str = ""
    """With view pixels, the part of the picture to use: top:bottom,left:right in pixels. Empty means a default of the
    environment, or the whole picture."""
    action_masks: bool = True
    """Use the action masks of an environment that has them: info["action_mask"], the entry "action_mask" of a Dict
    observation, or a method action_masks()."""
    protocol: Literal["auto", "classic", "machado", "v5"] = "auto"
    """Protocol of an Atari game. "auto" is the protocol that the name of the environment implies."""
    flicker: Fraction = 0.0
    """Probability that an observation is blank, for partial observability (Hausknecht and Stone 2015)."""
    mask_velocity: bool = False
    """Hide the velocities in a vector observation, for partial observability (CartPole-v1 and similar ones)."""
    view: View = "grey"
    """What the agent sees: the environment's observations ("grey"), Pong's playing field as 80 x 80 bits ("binary",
    Karpathy 2016), or the rendered picture in place of the observations ("pixels")."""
    actions: str = ""
    """Names of the allowed actions, separated by commas: RIGHT,LEFT. Empty means all actions."""
    preset: str = "default"
    """Name of a set of settings in the agent's YAML file."""
    init_from: str = ""
    """A run whose best network initialises the agent."""
    steps: Count = 1_000_000
    """Agent steps of the run, over all environments."""
    seed: Seed = 1
    """Seed of all random numbers in the run."""
    group: str = ""
    """Name shared by the runs of one study, for `compare` and W&B. W&B uses agent/env if it is empty."""
    name: str = ""
    """Name of the run, which ends the name of its folder. W&B shows it too; by default agent, environment and seed."""
    tags: str = ""
    """Words about the run, separated by commas, for W&B and config.yaml."""
    notes: str = ""
    """A text about the run, for W&B and config.yaml."""
    num_envs: Count = 8
    """Environments that are stepped side by side."""
    emulator_threads: CountOrZero = 0
    """Threads of the Atari emulators. 0 means one per core that the process may use."""
    collectors: CountOrZero = 0
    """Ray processes that step the environments for the learner. 0 steps the environments in this process."""
    address: str = ""
    """Ray cluster of the collectors: host:port, or "auto" for a local one. Empty: RAY_ADDRESS, or else a new one."""
    vectorization: Vectorization = "auto"
    """Run non-Atari environments in this process (sync) or in one process each (async). "auto": async for images."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Device of networks and replay. "auto" is the first available one of cuda, mps and cpu."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the image encoder. "auto": bfloat16 if it makes updates faster. Weights are always float32."""
    torch_threads: CountOrZero = 0
    """PyTorch's threads. 0 measures updates at the start of the run, and takes the fewest threads that are nearly as
    fast as the best number."""
    eval_every: CountOrZero = 50_000
    """Agent steps between two evaluations. 0 evaluates at the end only."""
    eval_episodes: Count = 10
    """Episodes of an evaluation."""
    eval_epsilon: Fraction = 0.001
    """Probability of a random action in an evaluation."""
    eval_max_steps: Count = 108_000
    """Agent steps after which an evaluation episode is cut: four times the longest episode of an Atari game."""
    target: float | None = None
    """Target score: the run says when the mean of an evaluation first reaches it, and so does W&B's summary."""
    stop_at_target: bool = False
    """End the run after the first evaluation whose mean is at least the target."""
    video_every: CountOrZero = 0
    """Agent steps between two videos of an evaluation episode, saved in videos/ of the run folder. 0 records none."""
    checkpoint_every: CountOrZero = 100_000
    """Agent steps between two checkpoints. 0: checkpoint_minutes alone decides."""
    checkpoint_minutes: NonNegative = 10.0
    """Maximum minutes between two checkpoints. 0: checkpoint_every alone decides."""
    env_timeout: NonNegative = 300.0
    """Seconds without an environment step after which the environments count as hung and the run ends. 0: never."""
    log_every: Count = 2_000
    """Agent steps between two lines of training metrics in metrics.jsonl."""
    wandb: Literal["auto", "online", "offline", "disabled"] = "auto"
    """Weights & Biases. "auto" is online if an API key is found, else offline."""
    wandb_project: str = "rl_lab"
    """Project of the run in W&B and in trackio."""
    tensorboard: bool = False
    """Write metrics for TensorBoard too, into the folder tensorboard/ of the run."""
    trackio: bool = False
    """Write metrics into the database of trackio too, as a run of the project `wandb_project`."""
    runs_dir: str = "runs"
    """Folder of the run folders."""

    def reaches_target(self, score: float | None) -> bool:
        """Return True if there is a target, and the mean score of an evaluation is finite and at least the target."""
        if self.target is None or score is None:
            return False
        return math.isfinite(score) and score >= self.target

    def is_finished(self, steps: int, score: float | None) -> bool:
        """Return True if a run has nothing left to do: it has all its steps, or has stopped at its target.

        Args:
            steps: Agent steps of the run.
            score: Mean score of the evaluation at this step, or None if the agent has to be evaluated there.
        """
        return score is not None and (steps >= self.steps or self.ends_at(score))

    def ends_at(self, score: float | None) -> bool:
        """Return True if the run ends after an evaluation with this mean score, because of `stop_at_target`."""
        return self.stop_at_target and self.reaches_target(score)
