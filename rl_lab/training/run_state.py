"""Counters, scores and times of a training run."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from rl_lab.experiment.run_config import RunConfig


class WallClock:
    """Wall-clock seconds of training, over all parts of a resumed run. The clock runs inside a `with` block."""

    def __init__(self) -> None:
        self._total = 0.0
        self._started_at: float | None = None

    @property
    def seconds(self) -> float:
        """Return the seconds so far."""
        if self._started_at is None:
            return self._total
        return self._total + time.perf_counter() - self._started_at

    @property
    def minutes(self) -> float:
        """Return the minutes so far."""
        return self.seconds / 60

    def set(self, seconds: float) -> None:
        """Continue from this number of seconds."""
        self._total = seconds

    def __enter__(self) -> WallClock:
        self._started_at = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self._total = self.seconds
        self._started_at = None


class LastEvaluation(NamedTuple):
    """The result of the last evaluation."""

    steps: int  # agent steps of training before the evaluation
    score: float  # mean score


class LastLog(NamedTuple):
    """The counters at the last line of training metrics."""

    steps: int  # agent steps
    loop_seconds: float  # seconds spent in the training loop


@dataclass
class RunState:
    """The progress of a run that a checkpoint stores, apart from the states of the agent and of the loop."""

    steps: int = 0
    """Agent steps."""
    episodes: int = 0
    """Training episodes that have ended."""
    recent_scores: deque[float] = field(default_factory=lambda: deque(maxlen=100))
    """Scores of the last 100 training episodes."""
    last_eval: LastEvaluation | None = None
    """The last evaluation, or None before the first one."""
    best_score: float | None = None
    """Best mean score of an evaluation."""
    evaluation_due: bool = False
    """True if an evaluation was interrupted. It is repeated when the run is resumed."""
    wall_clock: WallClock = field(default_factory=WallClock)
    """Time of training with evaluations, videos and checkpoints."""
    loop_seconds: float = 0.0
    """Seconds spent in the training loop alone."""
    last_log: LastLog = field(default_factory=lambda: LastLog(0, 0.0))
    """The counters at the last line of training metrics, or zeros before the first line."""
    last_speed: float = 0.0
    """Last measured speed in agent steps per second. Not saved."""

    @property
    def mean_recent_score(self) -> float | None:
        """Return the mean score of the last 100 training episodes, or None if no episode has ended."""
        if not self.recent_scores:
            return None
        return float(np.mean(self.recent_scores))

    @property
    def score(self) -> float | None:
        """Return the score of the evaluation at the current step, or None if the agent was not evaluated there."""
        if self.last_eval is None or self.last_eval.steps != self.steps or self.evaluation_due:
            return None
        return self.last_eval.score

    def has_stopped_at_target(self, settings: RunConfig) -> bool:
        """Return True if the evaluation at the current step ends the run, because of `stop_at_target`."""
        return settings.ends_at(self.score)

    def speed(self) -> float:
        """Return the agent steps per second of the loop since the last line of training metrics.

        If there were no steps since then, the last measured speed is returned.
        """
        if self.steps > self.last_log.steps:
            seconds = self.loop_seconds - self.last_log.loop_seconds
            self.last_speed = (self.steps - self.last_log.steps) / max(seconds, 1e-9)
        return self.last_speed

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain values."""
        return {
            "steps": self.steps,
            "score": self.score,
            "best": self.best_score,
            "last_eval": self.last_eval,
            "evaluation_due": self.evaluation_due,
            "games": self.episodes,
            "last_games": list(self.recent_scores),
            "wall_seconds": self.wall_clock.seconds,
            "loop_seconds": self.loop_seconds,
            "logged": self.last_log,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that `state_dict` returned."""
        self.steps = state["steps"]
        self.best_score = state["best"]
        self.evaluation_due = state["evaluation_due"]
        self.last_eval = LastEvaluation(*state["last_eval"]) if state["last_eval"] else None
        self.episodes = state["games"]
        self.recent_scores.extend(state["last_games"])
        self.wall_clock.set(state["wall_seconds"])
        self.loop_seconds = state["loop_seconds"]
        self.last_log = LastLog(*state["logged"])
