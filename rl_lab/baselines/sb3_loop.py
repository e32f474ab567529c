"""The training loop of Stable-Baselines3 behind this project's `TrainingLoop` protocol."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from agents.core.stopwatch import Stopwatch
from agents.core.types import Metrics
from agents.nn.normalization import find_normalization
from envs.stream import Stream
from rl_lab.baselines.sb3_envs import NormalizedVecEnv, StreamVecEnv
from rl_lab.errors import LabError
from rl_lab.training.training_loop import LoopStep

METRIC_NAMES = {  # names in Stable-Baselines3's log, and their names in metrics.jsonl
    "train/loss": "loss",
    "train/critic_loss": "loss",
    "train/actor_loss": "policy_loss",
    "train/policy_gradient_loss": "policy_loss",
    "train/policy_loss": "policy_loss",
    "train/value_loss": "value_loss",
    "train/approx_kl": "kl",
    "train/ent_coef": "temperature",
}


class SB3Loop:
    """Runs an algorithm's `learn` and reports every row to the trainer."""

    def __init__(
        self,
        model: BaseAlgorithm,
        streams: Sequence[Stream],
        seed: int,
        *,
        frame_stack: int,
        reward_clip: float,
        gamma: float,
        is_image: bool,
        ends_at_lost_life: bool,
        agent_seconds: Stopwatch,
    ) -> None:
        """Connect the algorithm with its environments.

        Args:
            model: The algorithm.
            streams: Streams of one environment each.
            seed: The environments' seeds are derived from it.
            frame_stack: Observations that the network receives.
            reward_clip: Rewards are clipped to [-reward_clip, reward_clip]; 0 disables clipping.
            gamma: Discount of the returns by which rewards are normalised, where the policy normalises observations.
            is_image: The observations are images [H, W] or [C, H, W].
            ends_at_lost_life: A lost life ends an episode for the algorithm, if the environment's protocol says so.
            agent_seconds: Stopwatch that measures "updating".
        """
        self._model = model
        self._agent_seconds = agent_seconds
        self._env = StreamVecEnv(
            streams, frame_stack, reward_clip, seed, is_image=is_image, ends_at_lost_life=ends_at_lost_life
        )
        self._new_metrics: Metrics = {}  # metrics of updates since the last row
        self.seconds = self._env.seconds
        layer = find_normalization(model.policy)
        self._normalized_env = None if layer is None else NormalizedVecEnv(self._env, gamma, layer)
        model.set_env(self._normalized_env or self._env)

    def run(self, after: Callable[[LoopStep], bool], *, steps: int) -> None:
        """Learn for `steps` agent steps, or until `after`, which is called after every row, returns False."""
        self._measure_updates()

        def on_row() -> bool:
            step = self._env.steps.pop()
            metrics = dict(self._new_metrics) or None
            self._new_metrics.clear()
            return after(step._replace(metrics=metrics))

        # Stable-Baselines3 writes no log of its own with this interval.
        self._model.learn(steps, callback=_RowCallback(on_row), log_interval=10**9)

    def _measure_updates(self) -> None:
        """Replace the method `train` of the algorithm, which has no hooks, by one that also measures and logs."""
        model: Any = self._model  # BaseAlgorithm does not declare `train`, but all algorithms have it
        train = model.train

        def measured_train(*args: Any, **kwargs: Any) -> None:
            with self._agent_seconds("updating"):
                train(*args, **kwargs)
            for name, value in self._model.logger.name_to_value.items():
                if name in METRIC_NAMES:
                    self._new_metrics[METRIC_NAMES[name]] = torch.tensor(float(value))

        model.train = measured_train

    def state_dict(self) -> dict[str, Any]:
        """Return an empty state: `restore` is not supported."""
        return {}

    def restore(self, state: dict[str, Any], seed: int) -> bool:
        """Raise LabError: Stable-Baselines3 does not save what an exact continuation needs."""
        raise LabError(
            "a run of Stable-Baselines3 cannot be resumed exactly, because the states of its environments and of its"
            " training loop are not saved; start a new run with --init-from RUN"
        )

    def gauges(self) -> dict[str, float]:
        """Return no gauges."""
        return {}

    def export(self, run_folder: Path) -> None:
        """Write the algorithm in Stable-Baselines3's own format, for other programs."""
        folder = run_folder / "checkpoints"
        policy = self._model.policy
        layer = find_normalization(policy)
        if layer is not None:  # a policy of Stable-Baselines3 has no such layer, and its loader refuses the weights
            del policy.normalization
        try:
            # The replaced method `train` cannot be pickled.
            self._model.save(folder / "sb3.zip", exclude=["train"])
        finally:
            if layer is not None:
                policy.normalization = layer
        if self._normalized_env is not None:
            self._normalized_env.save(str(folder / "sb3_vecnormalize.pkl"))

    def close(self) -> None:
        """Close the environments."""
        self._env.close()


class _RowCallback(BaseCallback):
    """Calls a function after every step of the vector environment. Learning stops when the function returns False."""

    def __init__(self, on_row: Callable[[], bool]) -> None:
        super().__init__()
        self._on_row = on_row

    def _on_step(self) -> bool:
        return self._on_row()
