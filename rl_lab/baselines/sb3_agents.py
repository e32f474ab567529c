"""Stable-Baselines3's DQN, PPO and A2C (Raffin et al. 2021) on our environments, as the yardstick beside our own agents.

Their algorithms run as they are, in their own loop; environments, evaluation, logs and run folders are the lab's. What plays is
saved as safetensors like any other agent, so no zip of theirs is ever loaded here; one lies in the run for those who want it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.dqn.policies import DQNPolicy
from torch import Tensor

from agents.core.frame_stack import empty_history, stack_frames
from agents.core.settings import Count, CountOrZero, Fraction, NonNegative, Positive, Range
from agents.core.stopwatch import Stopwatch
from agents.core.types import Carry, EnvSpaces, PolicyOutput
from envs.stream import Stream
from rl_lab.baselines.sb3_envs import SpacesOnly, StreamVecEnv, spaces
from rl_lab.errors import LabError
from rl_lab.training.loop import LoopStep


@dataclass(frozen=True)
class SB3Config:
    """What the three have in common. Names and meanings are Stable-Baselines3's own."""

    learning_rate: Positive = 1e-4
    """Learning rate."""
    linear_schedule: bool = False
    """Whether the learning rate (and PPO's clip range) falls linearly to 0 at the last step."""
    gamma: Fraction = 0.99
    """Discount per agent step."""
    max_grad_norm: Positive = 10.0
    """Largest gradient norm, over all parameters."""
    hidden: Count = 64
    """Units of each of the two hidden layers over a vector observation (images: the Nature CNN)."""
    frame_stack: Annotated[int, Range(1, 16)] = 1
    """Frames the network sees: the last ones of the episode, zeros before its first."""
    reward_clip: NonNegative = 0.0
    """Rewards are clipped to +- this before the algorithm sees them. 0 turns clipping off."""


@dataclass(frozen=True)
class SB3DQNConfig(SB3Config):
    """The settings of Stable-Baselines3's DQN."""

    buffer_size: Count = 100_000
    """Transitions of the replay; an Atari transition takes 56 KB."""
    learning_starts: CountOrZero = 100
    """Agent steps before the first update."""
    batch_size: Count = 32
    """Transitions an update learns from."""
    train_freq: Count = 4
    """Steps of all environments together between two rounds of updates."""
    gradient_steps: Count = 1
    """Updates of a round."""
    target_update_interval: Count = 10_000
    """Agent steps between two copies into the target network."""
    exploration_fraction: Fraction = 0.1
    """Share of the run over which the share of random actions falls."""
    exploration_initial_eps: Fraction = 1.0
    """Share of random actions at first."""
    exploration_final_eps: Fraction = 0.05
    """Share of random actions in the end."""


@dataclass(frozen=True)
class SB3OnPolicyConfig(SB3Config):
    """What PPO and A2C have in common."""

    n_steps: Count = 128
    """Steps of each environment in a batch."""
    gae_lambda: Fraction = 0.95
    """lambda of the generalised advantage."""
    ent_coef: NonNegative = 0.0
    """Weight of the entropy in the loss."""
    vf_coef: NonNegative = 0.5
    """Weight of the value's error in the loss."""


@dataclass(frozen=True)
class SB3PPOConfig(SB3OnPolicyConfig):
    """The settings of Stable-Baselines3's PPO."""

    learning_rate: Positive = 3e-4
    max_grad_norm: Positive = 0.5
    n_steps: Annotated[int, Range(2)] = 128
    """Steps of each environment in a batch."""
    batch_size: Annotated[int, Range(2)] = 64
    """Agent steps an update learns from."""
    n_epochs: Count = 10
    """Times that a batch is gone through."""
    clip_range: Positive = 0.2
    """How far the ratio of new to old probability may move before nothing more is gained."""


@dataclass(frozen=True)
class SB3A2CConfig(SB3OnPolicyConfig):
    """The settings of Stable-Baselines3's A2C."""

    learning_rate: Positive = 7e-4
    max_grad_norm: Positive = 0.5
    n_steps: Count = 5
    gae_lambda: Fraction = 1.0
    rmsprop_eps: Positive = 1e-5
    """RMSProp's term against division by zero."""
    rmsprop_tf_like: bool = False
    """Whether it is TensorFlow's RMSProp, with the term under the root."""


OUR_NAMES = {  # of what SB3 logs
    "train/loss": "loss",
    "train/policy_gradient_loss": "policy_loss",
    "train/policy_loss": "policy_loss",
    "train/value_loss": "value_loss",
    "train/approx_kl": "kl",
}


class SB3Agent:
    """One of SB3's algorithms with the methods of the `Agent` protocol that playing needs; it learns in a loop of its own."""

    config_class: ClassVar[type[SB3Config]] = SB3Config
    algorithm: ClassVar[type[BaseAlgorithm]]
    resumable = False  # exactly: see SB3Loop.restore
    mixed_precision = False

    def __init__(
        self, config: SB3Config, rows: EnvSpaces, *, seed: int, device: torch.device, dtype: torch.dtype = torch.float32
    ) -> None:
        """`dtype` is not used: SB3 computes in float32."""
        self.config, self.rows, self.device = config, rows, device
        dtype_of = np.uint8 if rows.dtype == torch.uint8 else np.float32
        box, discrete = spaces(rows.obs_shape, dtype_of, rows.num_actions, config.frame_stack)
        image = len(box.shape) == 3
        self.policy_kwargs: dict[str, Any] = {} if image else {"net_arch": [config.hidden, config.hidden]}
        self.model = self.algorithm(
            "CnnPolicy" if image else "MlpPolicy",  # type: ignore[arg-type]
            SpacesOnly(rows.num_envs, box, discrete),  # type: ignore[abstract]
            seed=seed,
            device=device,
            **self.settings(),
        )
        self.model.set_logger(Logger(None, []))
        self.network = self.model.policy
        self.seconds = Stopwatch()

    def settings(self) -> dict[str, Any]:
        """The algorithm's own arguments."""
        c = self.config
        given = {
            k: v for k, v in vars(c).items() if k not in ("hidden", "frame_stack", "reward_clip", "linear_schedule")
        }
        if c.linear_schedule:
            for name in given.keys() & {"learning_rate", "clip_range"}:
                given[name] = LinearSchedule(given[name], 0.0, 1.0)
        return {**given, "policy_kwargs": self.policy_kwargs}

    @staticmethod
    def bytes_needed(config: Any, rows: EnvSpaces) -> int:
        """Bytes of the rollout: every observation whole."""
        return config.n_steps * rows.num_envs * _observation_bytes(config, rows)

    def initial_carry(self, n: int) -> Carry:
        """The frames before the first one."""
        return (empty_history(n, self.config.frame_stack - 1, self.rows, self.device),)

    def act(self, obs: Tensor, is_first: Tensor, carry: Carry, *, explore: bool) -> tuple[Tensor, Carry]:
        """What SB3's `predict` says; deterministic unless `explore`."""
        stack, history = self._stack(obs, is_first, carry)
        action, _ = self.model.predict(stack.cpu().numpy(), deterministic=not explore)
        return torch.as_tensor(action, device=self.device), (history,)

    def policy_output(self, obs: Tensor, is_first: Tensor, carry: Carry) -> tuple[PolicyOutput, Carry]:
        """Q(s, .), or the policy's probabilities and its critic's value."""
        stack, history = self._stack(obs, is_first, carry)
        policy = self.model.policy
        policy.set_training_mode(False)
        if isinstance(policy, DQNPolicy):
            scores = policy.q_net(stack)
            return PolicyOutput(scores.argmax(1), scores, scores.amax(1)), (history,)
        assert isinstance(policy, ActorCriticPolicy)
        features = policy.extract_features(stack)
        assert isinstance(features, Tensor)  # both heads see the same ones, in one pass
        for_policy, for_value = policy.mlp_extractor(features)
        probs = policy.action_net(for_policy).softmax(1)
        return PolicyOutput(probs.argmax(1), probs, policy.value_net(for_value).squeeze(1), is_policy=True), (history,)

    def _stack(self, obs: Tensor, is_first: Tensor, carry: Carry) -> tuple[Tensor, Tensor]:
        """The stack in the shape that SB3's network wants, and the next history."""
        stack, history = stack_frames(obs, is_first, *carry)
        shape = self.model.observation_space.shape
        assert shape is not None
        return stack.reshape(-1, *shape), history

    def make_loop(self, streams: Sequence[Stream], seed: int) -> SB3Loop:
        """The loop that it learns in, over streams of one environment each."""
        return SB3Loop(self, streams, seed)

    def start_from(self, weights: dict[str, Tensor]) -> None:
        """Begin with these weights."""
        self.network.load_state_dict(weights)

    def gauges(self) -> dict[str, float]:
        """Updates so far, and DQN's epsilon."""
        epsilon = {"epsilon": self.model.exploration_rate} if isinstance(self.model, DQN) else {}
        return {**epsilon, "updates": self.model._n_updates}  # type: ignore[attr-defined]

    def state_dict(self) -> dict[str, Any]:
        """What plays. SB3 cannot save what going on exactly would need."""
        return {"network": self.network.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.start_from(state["network"])


class SB3Loop:
    """SB3's own loop, seen from outside as a series of ticks."""

    def __init__(self, agent: SB3Agent, streams: Sequence[Stream], seed: int) -> None:
        c = agent.config
        self.agent, self.env = agent, StreamVecEnv(streams, c.frame_stack, c.reward_clip)
        self.env.seed_of_all = seed
        self.seconds = self.env.seconds
        agent.model.set_env(self.env)

    def run(self, after: Callable[[LoopStep], bool], *, steps: int) -> None:
        """Let SB3 learn for `steps` agent steps, or until `after` says no; it is called after every row."""
        model, metrics, ticks = self.agent.model, {}, self.env.ticks
        train = model.train  # type: ignore[attr-defined]

        def timed_train(*args: Any, **kwargs: Any) -> None:
            with self.agent.seconds("updating"):
                train(*args, **kwargs)
            logged = model.logger.name_to_value
            metrics.update({OUR_NAMES[k]: torch.tensor(float(v)) for k, v in logged.items() if k in OUR_NAMES})

        class EachRow(BaseCallback):
            def _on_step(self) -> bool:
                tick, new = ticks.pop(), dict(metrics)
                metrics.clear()
                return after(tick._replace(metrics=new or None))

        model.train = timed_train  # type: ignore[attr-defined]
        model.learn(steps, callback=EachRow(), log_interval=10**9)

    def state_dict(self) -> dict[str, Any]:
        """Nothing: see `restore`."""
        return {}

    def restore(self, state: dict[str, Any], seed: int) -> bool:
        raise LabError(
            "a run of Stable-Baselines3 cannot go on exactly: it saves neither its environments nor where it was;"
            " begin a new one with --init-from RUN"
        )

    def gauges(self) -> dict[str, float]:
        """Numbers to log beside the agent's: none."""
        return {}

    def export(self, run: Path) -> None:
        """Leave SB3's own zip in the run's checkpoints, for SB3; nothing here reads it."""
        self.agent.model.save(run / "checkpoints" / "sb3.zip", exclude=["train"])

    def close(self) -> None:
        self.env.close()


class SB3DQN(SB3Agent):
    """Stable-Baselines3's DQN."""

    config_class = SB3DQNConfig
    algorithm = DQN

    @staticmethod
    def bytes_needed(config: Any, rows: EnvSpaces) -> int:
        """Bytes of the replay: every observation whole, and its successor too."""
        return 2 * config.buffer_size * _observation_bytes(config, rows)


class SB3PPO(SB3Agent):
    """Stable-Baselines3's PPO."""

    config_class = SB3PPOConfig
    algorithm = PPO


class SB3A2C(SB3Agent):
    """Stable-Baselines3's A2C."""

    config_class = SB3A2CConfig
    algorithm = A2C

    def settings(self) -> dict[str, Any]:
        """RMSProp's own settings go to the policy."""
        given = super().settings()
        eps, tf_like = given.pop("rmsprop_eps"), given.pop("rmsprop_tf_like")
        if not tf_like:
            return {**given, "rms_prop_eps": eps}
        more = {"optimizer_class": RMSpropTFLike, "optimizer_kwargs": {"eps": eps}}
        return {**given, "policy_kwargs": {**given["policy_kwargs"], **more}}


def _observation_bytes(config: SB3Config, rows: EnvSpaces) -> int:
    itemsize = torch.empty(0, dtype=rows.dtype).element_size()
    return config.frame_stack * int(np.prod(rows.obs_shape)) * itemsize
