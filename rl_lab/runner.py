"""Trains one agent: sets up the world, turns the loop, and between two rows logs, evaluates and saves."""

from __future__ import annotations

import dataclasses
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.base import Agent, Metrics, RowSpec
from envs.card import EnvCard
from envs.make import make_stream
from envs.stream import Stream
from rl_lab import checkpoint
from rl_lab.config import Config
from rl_lab.device import check_memory, resolve_device, resolve_precision
from rl_lab.evaluation import Evaluation, evaluate
from rl_lab.loop import Loop, Tick
from rl_lab.progress import Display, Status
from rl_lab.registry import find_agent
from rl_lab.run import Run
from rl_lab.tracking import Tracker, open_tracker, wandb_mode

EVAL_ENVS = 10  # at most so many games of an evaluation run side by side


class Interrupted(Exception):
    """Training was asked to stop, and has saved; `signal` is what asked."""

    def __init__(self, run: Run, signal: int) -> None:
        super().__init__(f"stopped by signal {signal}")
        self.run, self.signal = run, signal


class Every:
    """True once in each `period` agent steps, at its multiples, whatever the number of environments; never for 0."""

    def __init__(self, period: int, step: int) -> None:
        self.period, self.last = period, step // period if period else 0

    def due(self, step: int) -> bool:
        if not self.period or step // self.period == self.last:
            return False
        self.last = step // self.period
        return True


def row_spec(card: EnvCard, num_envs: int) -> RowSpec:
    """What an agent is told of the card's environment."""
    return RowSpec(card.frame, getattr(torch, card.dtype), card.num_actions, num_envs)


def make_agent(config: Config, card: EnvCard, device: torch.device) -> Agent:
    """The agent of a resolved configuration, untrained."""
    cls = find_agent(config.agent).load()
    dtype = resolve_precision(config.run.precision, device)
    return cls(config.settings, row_spec(card, config.run.num_envs), seed=config.run.seed, device=device, dtype=dtype)


def make_stream_for(config: Config, card: EnvCard, num_envs: int) -> Stream:
    """`num_envs` environments of the card, run the way the configuration says."""
    run = config.run
    return make_stream(card, num_envs, threads=run.emulator_threads, vectorization=run.vectorization)


def make_explicit(config: Config, card: EnvCard) -> Config:
    """The configuration with every "auto" replaced by what it means on this machine and env."""
    device = resolve_device(config.run.device)
    precision = str(resolve_precision(config.run.precision, device)).removeprefix("torch.")
    protocol = config.run.protocol if card.protocol == "id" else card.protocol
    run = dataclasses.replace(config.run, device=device.type, precision=precision, protocol=protocol)  # type: ignore[arg-type]
    return dataclasses.replace(config, run=run)


def train(config: Config, card: EnvCard, *, quiet: bool = False) -> Run:
    """Train a new run to its end. Raises Interrupted when a signal stopped it, after saving."""
    config = make_explicit(config, card)
    check_fits(config, card)
    return Runner(Run.create(config, card), quiet=quiet).train()


def resume(run: Run, *, quiet: bool = False) -> Run:
    """Go on with a run from its last checkpoint. Raises LabError where there is none."""
    runner = Runner(run, quiet=quiet)
    runner.restore()
    return runner.train()


def check_fits(config: Config, card: EnvCard) -> int:
    """The bytes of the agent's memory. Raises LabError where the device has not as many free."""
    cls, device = find_agent(config.agent).load(), torch.device(config.run.device)
    needed = cls.bytes_needed(config.settings, row_spec(card, config.run.num_envs))
    check_memory(needed, device)
    return needed


class Runner:
    """One training run: the agent, its loop, and everything that watches them."""

    def __init__(self, run: Run, *, quiet: bool) -> None:
        self.run, self.config, self.card = run, run.config, run.card
        settings = self.config.run
        self.device = torch.device(settings.device)
        self.display = Display(settings.steps, quiet=quiet)
        self.agent = make_agent(self.config, self.card, self.device)
        self.stream = make_stream_for(self.config, self.card, settings.num_envs)
        self.loop = Loop(self.agent, self.stream, self.device, settings.seed)
        self.eval_stream: Stream | None = None
        self.steps = 0
        self.wall_seconds = 0.0  # of training and everything around it, over all resumed parts
        self.loop_seconds = 0.0  # in the loop alone
        self.last_games: deque[float] = deque(maxlen=100)
        self.last_eval: tuple[int, Evaluation] | None = None
        self.best: float | None = None
        self.signal: int | None = None
        self.window = Window()

    def restore(self) -> None:
        """Take over the last checkpoint. The environments begin new episodes: those that were cut count as truncated."""
        state = checkpoint.load_all(checkpoint.find(self.run.path, "last"), self.agent, self.device)
        self.steps, self.best = state["steps"], state["best"]
        self.wall_seconds, self.loop_seconds = state["wall_seconds"], state["loop_seconds"]
        self.last_games.extend(state["last_games"])
        self.loop.restart(state["loop"], seed=self.config.run.seed + self.steps)

    def save(self, name: str, *, resumable: bool) -> None:
        """Write a checkpoint."""
        state: dict[str, Any] = {
            "steps": self.steps,
            "best": self.best,
            "score": self.last_eval[1].mean if self.last_eval and self.last_eval[0] == self.steps else None,
        }
        if resumable:
            state |= {
                "wall_seconds": self.wall_seconds,
                "loop_seconds": self.loop_seconds,
                "last_games": list(self.last_games),
                "loop": self.loop.state_dict(),
            }
        checkpoint.save(self.run.path, name, self.agent, state, resumable=resumable)

    def train(self) -> Run:
        """Turn the loop until the steps are done or a signal asks to stop; then save, close and say what comes next."""
        settings = self.config.run
        mode, why = wandb_mode(settings.wandb)
        self._introduce(mode, why)
        tracker = open_tracker(self.run, mode, self.steps)
        evaluating = Every(settings.eval_every, self.steps)
        saving = Every(settings.checkpoint_every, self.steps)
        logging = Every(settings.log_every, self.steps)
        began = time.perf_counter() - self.wall_seconds
        self.window.restart(self.steps, self.loop_seconds)
        try:
            with self.display, self._signals():
                while self.steps < settings.steps and self.signal is None:
                    start = time.perf_counter()
                    tick = self.loop.step()
                    self.loop_seconds += time.perf_counter() - start
                    self.wall_seconds = time.perf_counter() - began
                    self.steps += tick.live
                    self._count(tick)
                    if logging.due(self.steps):
                        self._log(tracker)
                    if evaluating.due(self.steps):
                        self._evaluate(tracker)
                    if saving.due(self.steps):
                        self.save("last", resumable=True)
                if self.signal is None and (self.last_eval is None or self.last_eval[0] != self.steps):
                    self._evaluate(tracker)
                self.wall_seconds = time.perf_counter() - began
                self.save("last", resumable=True)
            tracker.summary(self._summary())
            tracker.artifact(checkpoint.find(self.run.path))
        finally:
            tracker.close()
            self.stream.close()
            if self.eval_stream:
                self.eval_stream.close()
        if self.signal is not None:
            raise Interrupted(self.run, self.signal)
        self._say_goodbye()
        return self.run

    # --- what happens between two rows ----------------------------------------------------------------------------

    def _count(self, tick: Tick) -> None:
        self.window.add(tick)
        self.last_games.extend(game.score for game in tick.episodes)

    def _log(self, tracker: Tracker) -> None:
        values = self.window.close(self.steps, self.loop_seconds)
        seconds = {**self.loop.seconds, **self.agent.seconds}
        tracker.log(
            self.steps,
            {
                **values,
                **self.agent.gauges(),
                **({"train/return_100": float(np.mean(self.last_games))} if self.last_games else {}),
                "time/minutes": self.wall_seconds / 60,
                **{f"seconds/{name}": value for name, value in seconds.items()},
            },
        )
        self.display.show(self._status(values["speed/steps_per_s"]))

    def _evaluate(self, tracker: Tracker) -> None:
        settings = self.config.run
        if self.eval_stream is None:
            self.eval_stream = make_stream_for(self.config, self.card, min(EVAL_ENVS, settings.eval_episodes))
        seed = int(np.random.SeedSequence([settings.seed, self.steps]).generate_state(1)[0] >> 1)
        start = time.perf_counter()
        result = evaluate(
            self.agent,
            self.eval_stream,
            episodes=settings.eval_episodes,
            epsilon=settings.eval_epsilon,
            seed=seed,
            device=self.device,
        )
        self.wall_seconds += time.perf_counter() - start
        self.last_eval = (self.steps, result)
        best = self.best is None or result.mean > self.best
        if best:
            self.best = result.mean
            self.save("best", resumable=False)
        tracker.log(
            self.steps,
            {
                "eval/return_mean": result.mean,
                "eval/return_std": result.std,
                "eval/return_min": min(result.returns),
                "eval/return_max": max(result.returns),
                "eval/length_mean": float(np.mean(result.lengths)),
                "time/minutes": self.wall_seconds / 60,
            },
        )
        minutes = f"{self.wall_seconds / 60:.1f} min"
        self.display.say(f"eval at step {self.steps:,} ({minutes}): {result}{'  best so far' if best else ''}")

    # --- words ----------------------------------------------------------------------------------------------------

    def _status(self, steps_per_s: float) -> Status:
        return Status(
            step=self.steps,
            steps_per_s=steps_per_s,
            return_100=float(np.mean(self.last_games)) if self.last_games else None,
            epsilon=self.agent.gauges().get("epsilon"),
            last_eval=self.last_eval[1].mean if self.last_eval else None,
            best_eval=self.best,
        )

    def _summary(self) -> dict[str, Any]:
        last = self.last_eval[1].mean if self.last_eval else None
        return {"best": self.best, "final": last, "steps": self.steps, "minutes": self.wall_seconds / 60}

    def _introduce(self, mode: str, why: str) -> None:
        settings = self.config.run
        needed = check_fits(self.config, self.card)
        begin = f"resume at step {self.steps:,} of" if self.steps else "train"
        self.display.say(f"{begin} {self.config.agent} on {self.card}")
        self.display.say(
            f"{settings.steps:,} agent steps, {settings.num_envs} environments, seed {settings.seed}, {settings.device},"
            f" {settings.precision}, preset {settings.preset}; replay {needed / 1e9:.2f} GB"
        )
        self.display.say(f"W&B {mode}: {why}")
        self.display.say(f"run folder {self.run}")

    def _say_goodbye(self) -> None:
        if self.last_eval:
            self.display.say(f"done in {self.wall_seconds / 60:.1f} min: last evaluation {self.last_eval[1]}")
        self.display.say(f"best evaluation {self.best:.2f}, saved in {checkpoint.find(self.run.path)}")
        self.display.say(f"next:  python -m rl_lab eval {self.run} --episodes 30")

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """The first Ctrl-C or SIGTERM asks the loop to stop after its step; the second one acts as ever."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def ask(number: int, frame: object) -> None:
            self.signal = number
            signal.signal(number, before[signal.Signals(number)])
            self.display.say("stopping after this step, then saving; once more to stop at once")

        before = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class Window:
    """What happened since the last line of the log."""

    def restart(self, step: int, seconds: float) -> None:
        self.step, self.seconds = step, seconds
        self.metrics: list[Metrics] = []
        self.returns: list[float] = []
        self.lengths: list[int] = []

    def add(self, tick: Tick) -> None:
        if tick.metrics:
            self.metrics.append(tick.metrics)
        self.returns += [game.score for game in tick.episodes]
        self.lengths += [game.length for game in tick.episodes]

    def close(self, step: int, seconds: float) -> dict[str, float]:
        """Means over the window, read from the device in one go; then a new window begins."""
        values: dict[str, float] = {"speed/steps_per_s": (step - self.step) / max(seconds - self.seconds, 1e-9)}
        if self.metrics:
            names = list(self.metrics[0])
            table: Tensor = torch.stack([torch.stack([m[name].float() for name in names]) for m in self.metrics])
            values |= dict(zip(names, table.mean(0).tolist(), strict=True))
        if self.returns:
            values |= {"train/return": float(np.mean(self.returns)), "train/length": float(np.mean(self.lengths))}
        self.restart(step, seconds)
        return values
