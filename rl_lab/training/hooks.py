"""Hooks between two rows of training: logging, evaluation, videos, checkpoints, watchdog and progress display.

Each hook is one class. Most hooks have a period in agent steps, and do nothing while they are not due. `Trainer.train`
makes a list of hooks, and the trainer calls the hooks in the order of the list after every row. No hook draws from a
random generator that training uses, so evaluations and videos do not change what is learned.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from safetensors import SafetensorError

from agents.core.agent import Agent
from envs.stream import Stream
from rl_lab import checkpoint
from rl_lab.errors import FAULTS, USER_ERRORS, Fault, LabError
from rl_lab.experiment.factory import make_eval_envs
from rl_lab.system.disk import check_disk
from rl_lab.tracking.metric_names import CUT_METRIC, LENGTH_METRIC, MINUTES_METRIC, SCORE_METRIC
from rl_lab.tracking.summary import TargetReached
from rl_lab.tracking.tracker import Tracker
from rl_lab.training.evaluation import Evaluation, EvaluationProgress, evaluate
from rl_lab.training.every import Every
from rl_lab.training.run_state import LastEvaluation, LastLog
from rl_lab.training.session import EpisodeInterrupted, TrainingSession

Callback = Callable[[TrainingSession], object]
"""A function of the caller of `rl_lab.train`. It is called with the session after every row; False ends training."""


class Hook(Protocol):
    """An object that the trainer calls between two rows."""

    def after_row(self) -> None:
        """Do what is due after a row. Called after every row."""
        ...


class LogMetrics:
    """Logs the means of the training metrics every `log_every` agent steps."""

    def __init__(self, session: TrainingSession, tracker: Tracker) -> None:
        self.session = session
        self.tracker = tracker
        self.period = Every(session.plan.config.run.log_every, session.state.steps)

    def after_row(self) -> None:
        """Log if a line is due."""
        if self.period.due(self.session.state.steps):
            self.log()

    def log(self) -> None:
        """Log one line of training metrics: the means since the previous line, and the present counters."""
        session = self.session
        state = session.state
        speed = state.speed()  # before `last_log` is set, because the speed is measured since the previous line
        state.last_log = LastLog(state.steps, state.loop_seconds)
        values = session.window.close()
        session.entropy = values.get("entropy", session.entropy)
        values |= session.agent.gauges()
        values |= session.loop.gauges()
        values["train/games"] = state.episodes
        if state.mean_recent_score is not None:
            values["train/return_100"] = state.mean_recent_score
        values |= session.checkpoint_metrics
        values |= session.pop_extra_metrics()
        values["speed/steps_per_s"] = speed
        values["time/minutes"] = state.wall_clock.minutes
        for name, seconds in (session.loop.seconds | session.agent.seconds).items():
            values[f"seconds/{name}"] = seconds
        self.tracker.log(state.steps, values)
        session.checkpoint_metrics = {}


class EvaluateAgent:
    """Evaluates the agent every `eval_every` agent steps, and saves the weights with the best mean score."""

    def __init__(self, session: TrainingSession, tracker: Tracker) -> None:
        self.session = session
        self.tracker = tracker
        self.period = Every(session.plan.config.run.eval_every, session.state.steps)
        self._stream: Stream | None = None
        self._has_warned = False  # that episodes were cut

    def after_row(self) -> None:
        """Evaluate if an evaluation is due."""
        if self.period.due(self.session.state.steps):
            self.evaluate()

    def evaluate_if_missing(self) -> None:
        """Evaluate unless the agent was evaluated at the current step, or a signal asked training to stop."""
        state = self.session.state
        evaluated = state.last_eval is not None and state.last_eval.steps == state.steps
        if not evaluated and self.session.stop_signal is None:
            self.evaluate()

    def evaluate(self) -> None:
        """Evaluate the agent, log the result, and save the weights if their score is the best so far.

        If a signal interrupts the evaluation, nothing is logged. The next checkpoint then stores that the evaluation
        is still due, and the resumed run evaluates before it trains.

        Raises:
            Fault: The weights or the actions are not finite.
        """
        state = self.session.state
        check_weights(self.session.agent)  # the scores of such a network could still be the best so far
        state.evaluation_due = True
        try:
            result = self._run_episodes()
        except EpisodeInterrupted:
            return
        state.evaluation_due = False
        state.last_eval = LastEvaluation(state.steps, result.mean)
        is_first_at_target = self._note_target(result.mean)
        is_best = self._is_best(result.mean)
        if is_best:
            state.best_score = result.mean
            best_state = {"steps": state.steps, "score": result.mean}
            checkpoint.save_best(self.session.run.path, self.session.agent, best_state)
        self._report(result, is_best=is_best, is_first_at_target=is_first_at_target)
        self._warn_of_cuts(result)

    def close(self) -> None:
        """Close the environments of the evaluations, if an evaluation has made them."""
        if self._stream is not None:
            self._stream.close()

    def _is_best(self, score: float) -> bool:
        """Return True if a score is the best so far. A score that is not finite never is.

        Of two evaluations with equal scores, the later one counts as the best: its agent has learned for longer.
        """
        best = self.session.state.best_score
        if not math.isfinite(score):
            return False
        return best is None or not math.isfinite(best) or score >= best

    def _note_target(self, score: float) -> bool:
        """Return True if this score is the first of the run that reaches the target, and keep when this happened."""
        session = self.session
        if session.target_reached is not None or not session.plan.config.run.reaches_target(score):
            return False
        session.target_reached = TargetReached(session.state.steps, session.state.wall_clock.minutes)
        return True

    def _warn_of_cuts(self, result: Evaluation) -> None:
        """Print once a run that episodes were cut."""
        if not result.num_cut or self._has_warned:
            return
        self._has_warned = True
        max_steps = self.session.plan.config.run.eval_max_steps
        self.session.display.print_line(
            f"WARNING: {result.num_cut} of {len(result.returns)} evaluation episodes were cut at {max_steps:,} steps"
            " (eval_max_steps)"
        )

    def _show_progress(self, progress: EvaluationProgress) -> None:
        """Reset the watchdog, and show the progress of the evaluation. Raise EpisodeInterrupted after a signal."""
        self.session.keep_alive()
        self.session.show_progress_if_due(str(progress))

    def _run_episodes(self) -> Evaluation:
        """Run the episodes of an evaluation. The first call makes the environments.

        Raises:
            EpisodeInterrupted: A signal asked training to stop.
        """
        plan = self.session.plan
        settings = plan.config.run
        if self._stream is None:
            self._stream = make_eval_envs(plan.config, plan.env_spec, settings.eval_episodes)
        return evaluate(
            self.session.agent,
            self._stream,
            episodes=settings.eval_episodes,
            epsilon=settings.eval_epsilon,
            seed=self.session.evaluation_seed(),
            device=plan.device,
            max_steps=settings.eval_max_steps,
            after_row=self._show_progress,
        )

    def _report(self, result: Evaluation, *, is_best: bool, is_first_at_target: bool) -> None:
        """Log and print the result of an evaluation."""
        state = self.session.state
        minutes = state.wall_clock.minutes
        metrics: dict[str, float] = {
            SCORE_METRIC: result.mean,
            "eval/return_std": result.std,
            "eval/return_min": min(result.returns),
            "eval/return_max": max(result.returns),
            LENGTH_METRIC: float(np.mean(result.lengths)),
            "eval/value": result.value,
            "eval/realised": result.realised,
            "train/games": state.episodes,
            MINUTES_METRIC: minutes,
        }
        if max(result.lengths) >= self.session.plan.config.run.eval_max_steps:
            metrics[CUT_METRIC] = result.num_cut
        self.tracker.log(state.steps, metrics)
        line = f"eval at step {state.steps:,} ({minutes:.1f} min): {result}"
        if is_best:
            line += "  best so far"
        if is_first_at_target:
            line += f"  solved: target {self.session.plan.config.run.target:g} reached"
        self.session.display.print_line(line)


class RecordVideo:
    """Records one evaluation episode as a video every `video_every` agent steps."""

    def __init__(self, session: TrainingSession, tracker: Tracker) -> None:
        self.session = session
        self.tracker = tracker
        self.period = Every(session.plan.config.run.video_every, session.state.steps)
        self._warnings: set[str] = set()  # reasons for missing videos that were printed
        self._num_steps = 0  # steps of the game that is being recorded

    def after_row(self) -> None:
        """Record a video if one is due."""
        if self.period.due(self.session.state.steps):
            self.record()

    def record(self) -> None:
        """Record a video. If the recording fails, print the reason once and go on with training.

        A signal that asks training to stop ends the recording without a video.
        """
        from rl_lab.watch.record_video import record_video  # loads video codecs, which most runs do not need

        session = self.session
        steps = session.state.steps
        self._num_steps = 0
        try:
            path = record_video(
                session.run,
                session.agent,
                steps,
                session.evaluation_seed(),
                session.plan.device,
                after_step=self._show_progress,
            )
            self.tracker.log_video(steps, path)
        except EpisodeInterrupted:
            return
        except (*USER_ERRORS, *FAULTS, OSError) as error:
            self._warn(str(error))
        except Exception as error:  # an error of the environment, the encoder or the viewer must not end training
            self._warn(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")

    def _show_progress(self) -> None:
        """Reset the watchdog, and show the progress of the recording. Raise EpisodeInterrupted after a signal."""
        self.session.keep_alive()
        self._num_steps += 1
        self.session.show_progress_if_due(f"recording a video: step {self._num_steps:,}")

    def _warn(self, reason: str) -> None:
        """Print why there is no video, unless this reason was printed before."""
        if reason in self._warnings:
            return
        self._warnings.add(reason)
        self.session.display.print_line(f"WARNING: no video at step {self.session.state.steps:,}: {reason}")


class SaveCheckpoint:
    """Saves a checkpoint every `checkpoint_every` agent steps, and at least every `checkpoint_minutes`.

    A setting of 0 disables its condition.
    """

    def __init__(self, session: TrainingSession) -> None:
        settings = session.plan.config.run
        self.session = session
        self.period = Every(settings.checkpoint_every, session.state.steps)
        self.max_minutes = settings.checkpoint_minutes
        self.saved_at = time.perf_counter()  # time of the last checkpoint; first the start of this process's training

    def after_row(self) -> None:
        """Save if a checkpoint is due."""
        minutes = (time.perf_counter() - self.saved_at) / 60
        due_by_step = self.period.due(self.session.state.steps)
        due_by_time = 0 < self.max_minutes <= minutes
        if due_by_step or due_by_time:
            self.save()
            self.saved_at = time.perf_counter()

    def save(self) -> None:
        """Save a checkpoint. The watchdog is paused, because a large replay memory may take minutes on a slow disk.

        Raises:
            Fault: The weights are not finite, or the checkpoint cannot be written. The previous checkpoints are kept.
        """
        session = self.session
        run_folder = session.run.path
        start = time.perf_counter()
        check_weights(session.agent)
        try:
            with session.watchdog.paused():
                check_disk(run_folder, checkpoint.bytes_to_write(run_folder, session.agent))
                saved = checkpoint.save(run_folder, session.state.steps, session.agent, session.state_dict())
                session.loop.export(run_folder)
        except (OSError, SafetensorError, LabError) as error:
            raise Fault(f"no checkpoint can be written to {session.run}: {error}") from error
        session.checkpoint_metrics = {
            "checkpoint/seconds": time.perf_counter() - start,
            "checkpoint/megabytes": saved.bytes_written / 1e6,
        }


class RunCallbacks:
    """Calls the functions that the caller of `rl_lab.train` gave, in their order. They may change the session."""

    def __init__(self, session: TrainingSession, callbacks: Sequence[Callback]) -> None:
        self.session = session
        self.callbacks = callbacks

    def after_row(self) -> None:
        """Call all functions. If one returns False, training ends after this row.

        The watchdog is paused, because a function may take long: it may evaluate the agent in a way of its own.
        """
        if not self.callbacks:
            return
        with self.session.watchdog.paused():
            for callback in self.callbacks:
                if callback(self.session) is False:
                    self.session.ended_by_callback = True


class ResetWatchdog:
    """Resets the watchdog after every row, which shows that the environments have not hung."""

    def __init__(self, session: TrainingSession) -> None:
        self.watchdog = session.watchdog

    def after_row(self) -> None:
        """Reset the watchdog."""
        self.watchdog.reset()


class ShowProgress:
    """Updates the progress display at its own interval in seconds."""

    def __init__(self, session: TrainingSession) -> None:
        self.session = session

    def after_row(self) -> None:
        """Update the display if its interval has passed."""
        self.session.show_progress_if_due()

    def show(self) -> None:
        """Update the display."""
        self.session.show_progress()


def check_weights(agent: Agent) -> None:
    """Raise Fault if a weight of the agent's network is not finite: training has diverged."""
    weights = agent.network.state_dict().values()
    if not all(bool(tensor.isfinite().all()) for tensor in weights):
        raise Fault("the weights are not finite any more: lower lr, or set grad_clip")
