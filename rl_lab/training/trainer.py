"""Trains one agent: sets up the world, turns the loop, and between two rows logs, evaluates and saves."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError

from envs.stream import Stream
from rl_lab import checkpoint
from rl_lab.errors import USER_ERRORS, Fault, LabError
from rl_lab.experiment.factory import EVAL_ENVS, make_agent, make_envs, memory_needed, value_scaling
from rl_lab.experiment.run import Run
from rl_lab.system.device import keep_freed_memory, resolve_device
from rl_lab.system.disk import check_disk
from rl_lab.system.shell import as_typed
from rl_lab.system.signals import stop_signals
from rl_lab.system.watchdog import Watchdog
from rl_lab.tracking.metrics_sink import MetricsSink
from rl_lab.tracking.progress import ProgressDisplay, ProgressStatus
from rl_lab.tracking.tracker import Tracker, open_tracker
from rl_lab.tracking.wandb_mode import resolve_wandb_mode
from rl_lab.training.evaluation import evaluate
from rl_lab.training.every import Every
from rl_lab.training.faults import faults, how_to_resume
from rl_lab.training.loop_factory import make_loop
from rl_lab.training.metrics_window import MetricsWindow
from rl_lab.training.training_loop import LoopStep


class Interrupted(Exception):
    """Training was asked to stop, and has saved; `signal` is what asked."""

    def __init__(self, run: Run, signal: int) -> None:
        super().__init__(f"stopped by signal {signal}")
        self.run, self.signal = run, signal


class CutShort(Exception):
    """A game was asked to stop."""


class Runner:
    """One training run: the agent, its loop, and everything that watches them."""

    def __init__(self, run: Run, *, quiet: bool, listener: MetricsSink | None = None) -> None:
        """`listener` is told what is logged, as metrics.jsonl is."""
        self.run, self.config, self.env_spec = run, run.config, run.env_spec
        settings = self.config.run
        self.device = resolve_device(settings.device)
        keep_freed_memory()
        torch.manual_seed(settings.seed)  # dropout draws from torch's own generator
        self.listener = listener
        self.display = ProgressDisplay(settings.steps, quiet=quiet)
        self.agent = make_agent(self.config, self.env_spec, self.device)
        self.watchdog = Watchdog(settings.env_timeout, self._hung)
        with self.watchdog:
            self.loop = make_loop(self.config, self.env_spec, self.agent, self.device)
        self.eval_stream: Stream | None = None
        self.steps = 0
        self.wall_seconds = 0.0  # of training and everything around it, over all resumed parts
        self.loop_seconds = 0.0  # in the loop alone
        self.games = 0  # that have ended
        self.last_games: deque[float] = deque(maxlen=100)
        self.last_eval: tuple[int, float] | None = None  # agent step and mean
        self.best: float | None = None
        self.signal: int | None = None
        self.cost: dict[str, float] = {}  # of the last checkpoint, not yet logged
        self.evaluation_due = False  # an evaluation was cut short: it comes first on resume
        self.window = MetricsWindow()
        self.logged = (0, 0.0)  # agent steps and loop seconds at the last line of the log
        self.speed = 0.0  # agent steps a second, as last measured

    # --- the state of a run ---------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Everything of the run that is not the agent's."""
        return {
            "steps": self.steps,
            "score": self.last_eval[1] if self.last_eval and self.last_eval[0] == self.steps else None,
            "best": self.best,
            "last_eval": self.last_eval,
            "evaluation_due": self.evaluation_due,
            "games": self.games,
            "last_games": list(self.last_games),
            "wall_seconds": self.wall_seconds,
            "loop_seconds": self.loop_seconds,
            "logged": self.logged,
            "window": self.window.state_dict(),
            "loop": self.loop.state_dict(),
            "torch": torch.get_rng_state(),
            **({"cuda": torch.cuda.get_rng_state(self.device)} if self.device.type == "cuda" else {}),
        }

    def restore(self) -> None:
        """Take over the newest checkpoint that is whole. Raises LabError where there is none."""
        folders = checkpoint.generations(self.run.path)
        for folder in folders:
            try:
                state = checkpoint.load(folder, self.agent, self.device)
            except checkpoint.Damaged as error:
                self.display.print_line(f"WARNING: {error}; the one before it serves")
                continue
            checkpoint.discard_newer(folder)
            break
        else:
            which = "no checkpoint that is whole" if folders else "no checkpoint to go on from"
            best = (self.run.path / "checkpoints" / "best").is_dir()
            anew = f"begin a new run with its best network by --init-from {self.run}" if best else "start it anew"
            raise LabError(f"{self.run} holds {which}; {anew}")
        self.steps, self.best, self.evaluation_due = state["steps"], state["best"], state["evaluation_due"]
        self.last_eval = tuple(state["last_eval"]) if state["last_eval"] else None
        self.games = state["games"]
        self.last_games.extend(state["last_games"])
        self.wall_seconds, self.loop_seconds = state["wall_seconds"], state["loop_seconds"]
        self.logged = tuple(state["logged"])
        self.window.load_state_dict(state["window"])
        torch.set_rng_state(state["torch"].cpu())
        if "cuda" in state and self.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda"].cpu(), self.device)
        if not self.loop.restore(state.get("loop", {}), seed=self.config.run.seed):
            self.display.print_line(
                f"WARNING: {self.env_spec.name} is not the same after the same seed: new episodes begin here"
            )

    def save(self) -> None:
        """Write a checkpoint; what it cost is logged with the next line, for it comes when the clock says so. Raises Fault where it cannot be written: the one before stays."""
        start = time.perf_counter()
        if not all(bool(x.isfinite().all()) for x in self.agent.network.state_dict().values()):
            raise Fault("the weights are no finite numbers any more: lower lr, or set grad_clip")
        try:
            check_disk(self.run.path, checkpoint.bytes_to_write(self.run.path, self.agent))
            saved = checkpoint.save(self.run.path, self.steps, self.agent, self.state_dict())
            self.loop.export(self.run.path)
        except (OSError, SafetensorError, LabError) as error:
            raise Fault(f"no checkpoint can be written to {self.run}: {error}") from error
        seconds = time.perf_counter() - start
        self.cost = {"checkpoint/seconds": seconds, "checkpoint/megabytes": saved.bytes / 1e6}

    # --- training -------------------------------------------------------------------------------------------------

    def train(self) -> Run:
        """Turn the loop until the steps are done or a signal asks to stop; then save, close and say what comes next."""
        settings = self.config.run
        mode, why = resolve_wandb_mode(settings.wandb)
        with contextlib.ExitStack() as closing:
            closing.callback(self.loop.close)
            closing.callback(lambda: self.eval_stream and self.eval_stream.close())
            self._introduce(mode, why)
            tracker = open_tracker(self.run, mode, self.steps, self.listener)
            closing.callback(tracker.close)
            closing.enter_context(self.display)
            closing.enter_context(stop_signals(self._ask_to_stop))
            with faults(self.run, self.device):
                with self.watchdog:
                    self._turn(tracker)
                try:
                    with self.watchdog:
                        self._evaluate_last(tracker)
                finally:  # whatever befalls the evaluation, what was learned is kept
                    self.save()
                tracker.log(self.steps, {**self.cost, "time/minutes": self.wall_seconds / 60})
            tracker.complete()
        if self.signal is not None:
            raise Interrupted(self.run, self.signal)
        self._say_goodbye()
        return self.run

    def _turn(self, tracker: Tracker) -> None:
        settings = self.config.run
        evaluating = Every(settings.eval_every, self.steps)
        filming = Every(settings.video_every, self.steps)
        saving = Every(settings.checkpoint_every, self.steps)
        logging = Every(settings.log_every, self.steps)
        began = saved_at = time.perf_counter()
        before = self.wall_seconds
        if self.evaluation_due:
            self._evaluate(tracker)

        def after(tick: LoopStep) -> bool:
            nonlocal saved_at, stepped_at
            now = time.perf_counter()
            self.loop_seconds += now - stepped_at
            self.wall_seconds = before + now - began
            self.steps += tick.num_active
            self.window.add(tick)
            self.games += len(tick.episodes)
            self.last_games.extend(game.score for game in tick.episodes)
            if logging.due(self.steps):
                self._log(tracker)
            if evaluating.due(self.steps):
                self._evaluate(tracker)
            if filming.due(self.steps):
                self._film(tracker)
            minutes = (now - saved_at) / 60
            if saving.due(self.steps) or 0 < settings.checkpoint_minutes <= minutes:
                self.save()
                saved_at = time.perf_counter()
            self.watchdog.pat()
            if self.display.is_due():
                self.display.show(self._status())
            stepped_at = time.perf_counter()
            return self.steps < settings.steps and self.signal is None

        stepped_at = time.perf_counter()
        if self.steps < settings.steps and self.signal is None:
            self.loop.run(after, steps=settings.steps)
        self.display.show(self._status())
        if self.signal is not None:
            self.display.print_line("stopped after this step, saving")
        self.wall_seconds = before + time.perf_counter() - began

    def _evaluate_last(self, tracker: Tracker) -> None:
        if self.signal is None and (self.last_eval is None or self.last_eval[0] != self.steps):
            self._evaluate(tracker)

    def _ask_to_stop(self, number: int) -> None:
        self.signal = number

    def _hung(self) -> str:
        seconds = self.config.run.env_timeout
        return f"rl_lab: nothing has moved for {seconds:g} s, {self.env_spec.name} hangs; {how_to_resume(self.run)}"

    # --- what happens between two rows ----------------------------------------------------------------------------

    def _log(self, tracker: Tracker) -> None:
        speed = self._speed()
        self.logged = (self.steps, self.loop_seconds)
        times = {**self.loop.seconds, **self.agent.seconds}
        tracker.log(
            self.steps,
            {
                **self.window.close(),
                **self.agent.gauges(),
                **self.loop.gauges(),
                "train/games": self.games,
                **({"train/return_100": float(np.mean(self.last_games))} if self.last_games else {}),
                **self.cost,
                "speed/steps_per_s": speed,
                "time/minutes": self.wall_seconds / 60,
                **{f"seconds/{name}": value for name, value in times.items()},
            },
        )
        self.cost = {}

    def _speed(self) -> float:
        """Agent steps a second of the loop since the last line of the log; the speed before, if there were none."""
        steps, seconds = self.logged
        if self.steps > steps:
            self.speed = (self.steps - steps) / max(self.loop_seconds - seconds, 1e-9)
        return self.speed

    def _evaluate(self, tracker: Tracker) -> None:
        settings = self.config.run
        if self.eval_stream is None:
            self.eval_stream = make_envs(self.config, self.env_spec, min(EVAL_ENVS, settings.eval_episodes))
        start = time.perf_counter()
        self.evaluation_due = True
        try:
            result = evaluate(
                self.agent,
                self.eval_stream,
                episodes=settings.eval_episodes,
                epsilon=settings.eval_epsilon,
                seed=self._seed_of_games(),
                device=self.device,
                value_scaling=value_scaling(self.config),
                each_row=self._between_moments,
            )
        except CutShort:
            return
        self.evaluation_due = False
        self.wall_seconds += time.perf_counter() - start
        self.last_eval = (self.steps, result.mean)
        best = self.best is None or result.mean >= self.best  # of two equal scores the later: it has learned more
        if best:
            self.best = result.mean
            checkpoint.save_best(self.run.path, self.agent, {"steps": self.steps, "score": result.mean})
        tracker.log(
            self.steps,
            {
                "eval/return_mean": result.mean,
                "eval/return_std": result.std,
                "eval/return_min": min(result.returns),
                "eval/return_max": max(result.returns),
                "eval/length_mean": float(np.mean(result.lengths)),
                "eval/value": result.value,
                "eval/realised": result.realised,
                "train/games": self.games,
                "time/minutes": self.wall_seconds / 60,
            },
        )
        minutes = f"{self.wall_seconds / 60:.1f} min"
        self.display.print_line(f"eval at step {self.steps:,} ({minutes}): {result}{'  best so far' if best else ''}")

    def _seed_of_games(self) -> int:
        """The seed of the games that are played at this step to look at the agent."""
        return int(np.random.SeedSequence([self.config.run.seed, self.steps]).generate_state(1)[0] >> 1)

    def _film(self, tracker: Tracker) -> None:
        """Play a game as evaluations do, into a video; training does not notice, and goes on where there can be none."""
        from rl_lab.watch.record_video import film  # opens codecs

        start = time.perf_counter()
        try:
            path = film(self.run, self.agent, self.steps, self._seed_of_games(), self.device, self._between_moments)
            tracker.log_video(self.steps, path)
        except CutShort:
            pass
        except (*USER_ERRORS, OSError) as error:
            self.display.print_line(f"WARNING: no video at step {self.steps:,}: {error}")
        self.wall_seconds += time.perf_counter() - start

    def _between_moments(self) -> None:
        self.watchdog.pat()
        if self.signal is not None:
            raise CutShort

    # --- words ----------------------------------------------------------------------------------------------------

    def _status(self) -> ProgressStatus:
        return ProgressStatus(
            step=self.steps,
            steps_per_s=self._speed(),
            return_100=float(np.mean(self.last_games)) if self.last_games else None,
            epsilon=self.agent.gauges().get("epsilon"),
            last_eval=self.last_eval[1] if self.last_eval else None,
            best_eval=self.best,
        )

    def _introduce(self, mode: str, why: str) -> None:
        settings = self.config.run
        needed = memory_needed(self.config, self.env_spec)
        begin = f"resume at step {self.steps:,} of" if self.steps else "train"
        self.display.print_line(f"{begin} {self.config.agent} on {self.env_spec}")
        self.display.print_line(
            f"{settings.steps:,} agent steps, {settings.num_envs} environments, seed {settings.seed}, {settings.device},"
            f" {settings.precision}, preset {settings.preset}; replay {needed / 1e9:.2f} GB"
        )
        if getattr(self.config.settings, "learning_starts", 0) >= settings.steps:
            self.display.print_line("WARNING: learning_starts is not below steps: nothing will be learned")
        self.display.print_line(f"W&B {mode}: {why}")
        self.display.print_line(f"run folder {self.run}")

    def _say_goodbye(self) -> None:
        if self.last_eval:
            self.display.print_line(f"done in {self.wall_seconds / 60:.1f} min: last evaluation {self.last_eval[1]:.2f}")
        self.display.print_line(f"best evaluation {self.best:.2f}, saved in {checkpoint.find(self.run.path)}")
        self.display.print_line(f"next:  {as_typed('eval', self.run, '--episodes', 30)}")
        self.display.print_line(f"       {as_typed('watch', self.run)}")
