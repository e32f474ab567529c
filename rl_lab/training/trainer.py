"""The training of one run: a training loop, and hooks that are called between two rows.

A row is one step of every environment. A new run starts at its first row, a resumed run at its last checkpoint.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from agents.core.agent import Agent
from rl_lab import checkpoint
from rl_lab.errors import LabError
from rl_lab.experiment import config as configuration
from rl_lab.experiment.registry import is_resumable
from rl_lab.experiment.run import Run
from rl_lab.experiment.training_plan import TrainingPlan
from rl_lab.system.exit_codes import no_silent_exit
from rl_lab.system.printable import count_of
from rl_lab.system.shell import shell_command
from rl_lab.system.signals import stop_signals
from rl_lab.system.update_speed import describe
from rl_lab.system.watchdog import Watchdog
from rl_lab.tracking.metrics_sink import MetricsSink
from rl_lab.tracking.progress import ProgressDisplay
from rl_lab.tracking.tracker import open_tracker
from rl_lab.tracking.wandb_mode import resolve_wandb_mode
from rl_lab.training.faults import faults, how_to_resume
from rl_lab.training.hooks import (
    Callback,
    EvaluateAgent,
    Hook,
    LogMetrics,
    RecordVideo,
    ResetWatchdog,
    RunCallbacks,
    SaveCheckpoint,
    ShowProgress,
)
from rl_lab.training.loop_factory import make_loop
from rl_lab.training.session import TrainingSession
from rl_lab.training.slow_updates import WarnOfSlowUpdates
from rl_lab.training.training_loop import LoopStep

SMALLEST_SHOWN_MEMORY = 5e6
"""Bytes of the agent's memory (replay, rollout or tables) from which the introduction shows the memory."""


class Interrupted(Exception):
    """A signal stopped training, and a checkpoint was saved."""

    def __init__(self, run: Run, signal: int) -> None:
        super().__init__(f"stopped by signal {signal}")
        self.run = run
        self.signal = signal


class StoppedWithoutSaving(KeyboardInterrupt):
    """A second Ctrl-C ended training at once. The run has the checkpoints that were saved before."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run


class Trainer:
    """Trains the agent of one run. Call `restore` before `train` to resume the run."""

    def __init__(
        self,
        plan: TrainingPlan,
        run: Run,
        agent: Agent,
        *,
        quiet: bool,
        listener: MetricsSink | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        """Create the environments and the training loop.

        Args:
            plan: The resolved settings of the run.
            run: The run folder.
            agent: The agent, with the weights from which a new run starts.
            quiet: Print nothing.
            listener: A further receiver of everything that is logged.
            callbacks: Functions that are called after every row, before the other hooks.
        """
        settings = plan.config.run
        self.listener = listener
        self.callbacks = callbacks
        watchdog = Watchdog(settings.env_timeout, self._hang_message)
        display = ProgressDisplay(settings.steps, quiet=quiet)
        self.plan = plan
        self.run = run
        self._restored_from: Path | None = None  # the checkpoint
        self._is_saved = False  # the last checkpoint was saved
        with watchdog:
            loop = make_loop(plan.config, plan.env_spec, agent, plan.device)
        self.session = TrainingSession(plan, run, agent, loop, display, watchdog)

    def restore(self) -> None:
        """Restore the newest undamaged checkpoint. Raises LabError if there is none.

        Newer checkpoints, which are damaged, are removed when training begins.
        """
        session = self.session
        folders = checkpoint.generations(self.run.path)
        for folder in folders:
            try:
                state = checkpoint.load(folder, session.agent, self.plan.device)
            except checkpoint.DamagedCheckpoint as error:
                session.display.print_line(f"WARNING: {error}; the previous checkpoint is used")
                continue
            self._restored_from = folder
            break
        else:
            raise self._no_checkpoint_error(has_damaged=bool(folders))
        try:
            is_exact = session.load_state_dict(state)
        except checkpoint.WRONG_STATE as error:
            raise checkpoint.wrong_state_error(folder, error) from error
        if not is_exact:
            session.display.print_line(
                f"WARNING: {self.plan.env_spec.name} is not reproducible from its seed: new episodes begin here"
            )

    def train(self) -> Run:
        """Train until the run has all its steps or stops at its target, or until a signal asks to stop. Then save.

        Without a signal, the agent is evaluated before the checkpoint is saved, unless it was evaluated at this step.

        Returns:
            The run folder.

        Raises:
            Interrupted: A signal stopped training. A checkpoint was saved.
            StoppedWithoutSaving: A second Ctrl-C ended training before the last checkpoint was saved.
            Fault: An error ended training; the message names the command that continues the run.
        """
        try:
            with no_silent_exit(lambda: f"; {how_to_resume(self.run)}"):
                if self._restored_from is not None:
                    checkpoint.discard_newer(self._restored_from)
                self._train()
        except KeyboardInterrupt as interrupt:
            if self._is_saved:  # a second Ctrl-C came after the last checkpoint, for example while W&B was uploading
                raise Interrupted(self.run, signal.SIGINT) from interrupt
            raise StoppedWithoutSaving(self.run) from interrupt
        if self.session.stop_signal is not None:
            raise Interrupted(self.run, self.session.stop_signal)
        self._print_result()
        return self.run

    def _train(self) -> None:
        """Run the loop with its hooks, the last evaluation, and the last checkpoint."""
        session = self.session
        state = session.state
        wandb_mode, wandb_reason = resolve_wandb_mode(self.plan.config.run.wandb)
        with contextlib.ExitStack() as stack:
            stack.callback(session.loop.close)
            self._print_introduction(f"W&B {wandb_mode}: {wandb_reason}")
            settings = self.plan.config.run
            tracker = open_tracker(
                self.run,
                wandb_mode,
                state.steps,
                self.listener,
                tensorboard=settings.tensorboard,
                trackio=settings.trackio,
            )
            stack.callback(tracker.close)
            stack.enter_context(session.display)
            stack.enter_context(stop_signals(session.request_stop))

            evaluation = EvaluateAgent(session, tracker)
            stack.callback(evaluation.close)
            checkpoints = SaveCheckpoint(session)
            progress = ShowProgress(session)
            hooks: list[Hook] = [
                RunCallbacks(session, self.callbacks),
                LogMetrics(session, tracker),
                evaluation,
                RecordVideo(session, tracker),
                checkpoints,
                ResetWatchdog(session),
                WarnOfSlowUpdates(session),
                progress,
            ]

            with faults(self.run, self.plan.device), state.wall_clock:
                with session.watchdog:
                    if state.evaluation_due:  # a signal interrupted this evaluation before the run was resumed
                        evaluation.evaluate()
                    self._run_loop(hooks)
                if session.stop_signal is not None:
                    session.display.print_line("stopped after this step, saving")
                self._evaluate_and_save(evaluation, progress, checkpoints)
                # No line of training metrics follows, so these metrics have to be logged here.
                values = session.checkpoint_metrics | session.pop_extra_metrics()
                tracker.log(state.steps, {**values, "time/minutes": state.wall_clock.minutes})
            tracker.complete()

    def _evaluate_and_save(
        self, evaluation: EvaluateAgent, progress: ShowProgress, checkpoints: SaveCheckpoint
    ) -> None:
        """Evaluate the agent, unless this was done or a signal asked to stop, and save the last checkpoint."""
        try:
            with self.session.watchdog:
                evaluation.evaluate_if_missing()
            progress.show()  # with the last evaluation
        finally:  # the learned weights are saved even if the evaluation fails
            checkpoints.save()
            self._is_saved = True

    def _run_loop(self, hooks: Sequence[Hook]) -> None:
        """Run the loop until all steps are done, the run stops at its target, or a signal asks to stop.

        Every hook is called after each row.

        The time in the hooks does not count as time of the loop, from which the training speed is computed.
        """
        loop_resumed_at = time.perf_counter()

        def after(step: LoopStep) -> bool:
            """Update the counters and call the hooks. Return True if training goes on."""
            nonlocal loop_resumed_at
            self.session.state.loop_seconds += time.perf_counter() - loop_resumed_at
            self._count(step)
            for hook in hooks:
                hook.after_row()
            loop_resumed_at = time.perf_counter()
            return self._goes_on()

        if self._goes_on():
            self.session.loop.run(after, steps=self.plan.config.run.steps)

    def _count(self, step: LoopStep) -> None:
        """Add the outcome of a row to the counters, the scores and the metrics of the run."""
        state = self.session.state
        state.steps += step.num_active
        state.episodes += len(step.episodes)
        state.recent_scores.extend(episode.score for episode in step.episodes)
        self.session.window.add(step)

    def _goes_on(self) -> bool:
        """Return False if the run has all its steps, reached its target, or was asked to stop."""
        session = self.session
        settings = self.plan.config.run
        if session.stop_signal is not None or session.ended_by_callback:
            return False
        if session.state.has_stopped_at_target(settings):
            return False
        return session.state.steps < settings.steps

    def _hang_message(self) -> str:
        """Return the message of the watchdog."""
        seconds = self.plan.config.run.env_timeout
        name = self.plan.env_spec.name
        return f"rl_lab: no environment step for {seconds:g} s, {name} may hang; {how_to_resume(self.run)}"

    def _no_checkpoint_error(self, *, has_damaged: bool) -> LabError:
        """Return the error of a run that cannot be resumed. `has_damaged`: the run has only damaged checkpoints."""
        problem = "no undamaged checkpoint" if has_damaged else "no checkpoint to resume from"
        if (self.run.path / "checkpoints" / "best").is_dir():
            advice = f"begin a new run with its best network by --init-from {self.run}"
        else:
            advice = "train a new run"
        return LabError(f"{self.run} holds {problem}; {advice}")

    def _print_introduction(self, wandb: str) -> None:
        """Print the main settings, warnings about settings, the state of W&B and the run folder."""
        self.print_settings()
        self.session.display.print_line(wandb)
        self.session.display.print_line(f"run folder {self.run}")

    def print_settings(self) -> None:
        """Print the main settings, and warnings about settings."""
        config = self.plan.config
        settings = config.run
        steps_done = self.session.state.steps
        print_line = self.session.display.print_line
        action = f"resume at step {steps_done:,} of" if steps_done else "train"
        print_line(f"{action} {config.agent} on {self.plan.env_spec}")
        environments = "1 environment" if settings.num_envs == 1 else f"{settings.num_envs} environments"
        memory = ""
        if self.plan.replay_bytes >= SMALLEST_SHOWN_MEMORY:
            memory = f"; memory of the agent {self.plan.replay_bytes / 1e9:.2f} GB"
        print_line(
            f"{settings.steps:,} agent steps, {environments}, seed {settings.seed},"
            f" {settings.device}, {settings.precision}, {count_of(settings.torch_threads, 'torch thread')},"
            f" preset {settings.preset}{memory}"
        )
        if self.plan.compute.measured:
            print_line(f"time of an update in ms by threads: {describe(self.plan.compute.measured)}")
        for warning in [*self.plan.env_spec.warnings(), *configuration.warnings(config)]:
            print_line(f"WARNING: {warning}")

    def _print_result(self) -> None:
        """Print the last and the best score, when the target was reached, and commands to continue with."""
        settings = self.plan.config.run
        state = self.session.state
        reached = self.session.target_reached
        print_line = self.session.display.print_line
        if state.last_eval:
            print_line(f"done in {state.wall_clock.minutes:.1f} min: last evaluation {state.last_eval.score:.2f}")
        if reached:
            minutes = "" if reached.minutes is None else f" after {reached.minutes:.1f} min"
            end = ", which ended the run (stop_at_target)" if state.has_stopped_at_target(settings) else ""
            print_line(f"solved: target {settings.target:g} reached at step {reached.steps:,}{minutes}{end}")
        if state.best_score is not None:
            folder = checkpoint.find(self.run.path).relative_to(self.run.path)
            print_line(f"best evaluation {state.best_score:.2f}, saved in {self.run}/{folder}")
        print_command = self.session.display.print_command
        print_command(f"next:  {shell_command('eval', self.run, '--episodes', 30)}")
        print_command(f"       {shell_command('watch', self.run)}")
        if not reached and is_resumable(self.plan.config.agent):
            print_command(f"       {shell_command('resume', self.run, '--steps', 2 * settings.steps)}")
