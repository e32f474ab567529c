"""The objects of a training run that the trainer and its hooks share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from agents.core.agent import Agent
from rl_lab.experiment.run import Run
from rl_lab.experiment.training_plan import TrainingPlan
from rl_lab.system.watchdog import Watchdog
from rl_lab.tracking.metric_names import STEP_METRIC
from rl_lab.tracking.progress import ProgressDisplay, ProgressStatus
from rl_lab.tracking.summary import TargetReached, find_target_reached
from rl_lab.training.metrics_window import MetricsWindow
from rl_lab.training.run_state import RunState
from rl_lab.training.training_loop import TrainingLoop


class EpisodeInterrupted(Exception):
    """An evaluation or a video was interrupted, because a signal asked training to stop."""


@dataclass
class TrainingSession:
    """A training run in progress."""

    plan: TrainingPlan
    run: Run
    agent: Agent
    loop: TrainingLoop
    display: ProgressDisplay
    watchdog: Watchdog
    state: RunState = field(default_factory=RunState)
    window: MetricsWindow = field(default_factory=MetricsWindow)
    checkpoint_metrics: dict[str, float] = field(default_factory=dict)
    """Metrics of the last checkpoint that are not logged yet. Logged with the next line of training metrics, because a
    checkpoint may be due by the clock, and lines at steps chosen by the clock would differ from run to run."""
    target_reached: TargetReached | None = None
    """The first evaluation that reached the target score. A resumed run reads it from metrics.jsonl."""
    entropy: float | None = None
    """Mean entropy of the policy in the last line of training metrics; None if the agent logs none."""
    stop_signal: int | None = None
    """Number of the signal that asked training to stop."""
    ended_by_callback: bool = False
    """A callback of the caller asked training to end. The run is evaluated and saved, and can be resumed."""
    extra_metrics: dict[str, float] = field(default_factory=dict)
    """Metrics that callbacks add to the next line of training metrics, or to the last line of the run."""

    def request_stop(self, signal: int) -> None:
        """Ask training to stop after the current row. Of several signals, the first one decides the exit code."""
        if self.stop_signal is None:
            self.stop_signal = signal

    def keep_alive(self) -> None:
        """Reset the watchdog. Raise EpisodeInterrupted if training was asked to stop.

        Called after every row of an evaluation and every frame of a video.
        """
        self.watchdog.reset()
        if self.stop_signal is not None:
            raise EpisodeInterrupted

    def show_progress_if_due(self, activity: str = "") -> None:
        """Update the progress display if its interval has passed."""
        if self.display.is_due():
            self.show_progress(activity)

    def show_progress(self, activity: str = "") -> None:
        """Update the progress display.

        Args:
            activity: What happens between two rows of training, such as an evaluation; otherwise "".
        """
        state = self.state
        status = ProgressStatus(
            step=state.steps,
            steps_per_s=state.speed(),
            return_100=state.mean_recent_score,
            epsilon=self.agent.gauges().get("epsilon"),
            entropy=self.entropy,
            last_eval=state.last_eval.score if state.last_eval else None,
            best_eval=state.best_score,
            solved_at=self.target_reached.steps if self.target_reached else None,
            activity=activity,
        )
        self.display.show(status)

    def pop_extra_metrics(self) -> dict[str, float]:
        """Return `extra_metrics` as numbers, and clear them."""
        values = {name: float(value) for name, value in self.extra_metrics.items()}
        self.extra_metrics = {}
        return values

    def evaluation_seed(self) -> int:
        """Return the seed of the evaluation episodes at the current agent step."""
        sequence = np.random.SeedSequence([self.plan.config.run.seed, self.state.steps])
        return int(sequence.generate_state(1)[0] >> 1)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a resumed run needs, apart from the agent's state."""
        device = self.plan.device
        state = self.state.state_dict()
        state["window"] = self.window.state_dict()
        state["loop"] = self.loop.state_dict()
        state["torch"] = torch.get_rng_state()
        if device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(device)
        return state

    def load_state_dict(self, state: dict[str, Any]) -> bool:
        """Restore the state that `state_dict` returned.

        Returns:
            False if the environments are not reproducible and new episodes were started.
        """
        device = self.plan.device
        settings = self.plan.config.run
        self.state.load_state_dict(state)
        lines = [line for line in self.run.metrics() if line[STEP_METRIC] <= self.state.steps]
        self.target_reached = find_target_reached(lines, settings.target)
        self.window.load_state_dict(state["window"])
        torch.set_rng_state(state["torch"].cpu())
        if "cuda" in state and device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda"].cpu(), device)
        return self.loop.restore(state.get("loop", {}), seed=settings.seed)
