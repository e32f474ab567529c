"""A person plays an environment at the keyboard, in the window of `watch`."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from envs.spec import EnvSpec
from envs.stream import Row, spread_seeds
from rl_lab.experiment.human_scores import add_human_score
from rl_lab.system.printable import print_line
from rl_lab.system.signals import stop_signals_interrupt
from rl_lab.watch.controls import POLL_SECONDS, Controls
from rl_lab.watch.images import RgbImage
from rl_lab.watch.play_frame import CONTROL_KEYS, PlayState, render_play_frame
from rl_lab.watch.play_keys import Keyboard, PlayKeys, action_names, keys_of_env
from rl_lab.watch.rendered_env import RenderedEnv
from rl_lab.watch.sinks.window import WindowSink

OVER_SECONDS = 1.5  # time for which the last screen of a game stays, at speed 1
CONTROLS_OF_KEYS = {"escape": "q", "return": "r", "tab": " ", "+": "+", "=": "+", "-": "-"}
"""Key of the window -> key of `Controls`."""


@dataclass(frozen=True)
class PlaySettings:
    """How a person plays."""

    runs_dir: str = "runs"
    seed: int | None = None  # seed of the first game; None draws one
    episodes: int | None = None  # games to play; None means no limit
    speed: float = 1.0  # multiple of the game's own speed, one of `controls.SPEEDS`
    wait: bool = False  # the environment waits for a key before each step
    idle_action: int | None = None  # the action while no key is pressed


def play_env(env_spec: EnvSpec, settings: PlaySettings) -> list[float]:
    """Let a person play until the games are over, the window is closed, or Ctrl-C arrives. Print and keep the scores.

    Returns:
        The scores of the games that were played to their end.

    Raises:
        LabError: The actions are continuous, or there is no display.
        EnvFault: The environment failed.
    """
    keys = keys_of_env(env_spec, settings.idle_action)
    keyboard = Keyboard()
    controls = Controls()
    controls.speed = settings.speed
    window = WindowSink(
        controls,
        lambda: f"rl_lab: {env_spec.name}",
        on_key=KeyHandler(keyboard, controls),
        instead="play needs a display",
    )
    print_line(f"in a window; keys: {describe_keys(env_spec, keys)}")
    env: RenderedEnv | None = None
    scores: list[float] = []
    try:
        with contextlib.suppress(KeyboardInterrupt), stop_signals_interrupt():
            env = RenderedEnv(env_spec)
            game = HumanGames(env, keys, keyboard, controls, window, settings, scores)
            game.play()
    finally:
        window.close()
        if env is not None:
            env.close()
    return scores


def describe_keys(env_spec: EnvSpec, keys: PlayKeys) -> str:
    """Return the keys of the game and of the window in one line."""
    actions = [
        f"{keys.keys_of(action)}: {name}" for action, name in enumerate(action_names(env_spec)) if keys.keys_of(action)
    ]
    return ", ".join([*actions, *(f"{key}: {effect}" for key, effect in CONTROL_KEYS.items())])


class KeyHandler:
    """Pass the keys of the window to the game or to the controls."""

    def __init__(self, keyboard: Keyboard, controls: Controls) -> None:
        self.keyboard = keyboard
        self.controls = controls

    def __call__(self, key: str, *, is_down: bool) -> None:
        """Handle a key with the name of pygame, in lower case, that goes down or up."""
        if key in CONTROLS_OF_KEYS:
            if is_down:
                self.controls.press(CONTROLS_OF_KEYS[key])
        elif is_down:
            self.keyboard.press(key)
        else:
            self.keyboard.release(key)


@dataclass
class HumanGames:
    """The games of one session."""

    env: RenderedEnv
    keys: PlayKeys
    keyboard: Keyboard
    controls: Controls
    window: WindowSink
    settings: PlaySettings
    scores: list[float]  # receives the score of each game that ends
    clock: Callable[[], float] = field(default=time.monotonic)

    def play(self) -> None:
        """Play until the games are over or the person quits."""
        first_seed = secrets.randbelow(2**31 - 1) if self.settings.seed is None else self.settings.seed
        seed = first_seed
        attempt = 0
        while not self._play_until_restart(seed):
            attempt += 1
            self.controls.restart = False
            seed = int(spread_seeds([first_seed, attempt], 1)[0])

    def _play_until_restart(self, seed: int) -> bool:
        """Play the games of a seed. Returns False if the person asks for another seed, which discards the game."""
        row, screens = self.env.reset(seed)
        game = _RunningGame(len(self.scores) + 1, self.clock())
        action: int | None = None
        while True:
            game.update(self.env, row)
            self._show(row, screens, game, action)
            if row.is_last[0]:
                self._finish(game, seed)
                if len(self.scores) == self.settings.episodes:
                    return True
            elif self._waits:
                self._wait_for_key(row, screens, game, action)
            if self.controls.quit:
                return True
            if self.controls.restart:
                return False
            chosen = self._choose_action(row)
            was_last = bool(row.is_last[0])
            row, screens = self.env.step(chosen)
            action = None if was_last else chosen
            if was_last:
                game = _RunningGame(len(self.scores) + 1, self.clock())

    @property
    def _waits(self) -> bool:
        """Return True if the environment waits for a key. Environments with discrete states are games of turns."""
        return self.settings.wait or bool(self.env.env_spec.state_sizes)

    def _choose_action(self, row: Row) -> int:
        """Return the action of the keys, or the idle action. If it is not legal, the first legal action."""
        action = self.keys.action(self.keyboard.take())
        legal = self.env.stream.legal_actions(row)
        for candidate in (action, self.keys.idle_action):
            if candidate is not None and (legal is None or legal[0, candidate]):
                return candidate
        assert legal is not None
        return int(np.argmax(legal[0]))

    def _show(self, row: Row, screens: list[RgbImage], game: _RunningGame, action: int | None) -> None:
        """Show the screens of a step at the speed of the game, the last screen of a game for longer."""
        seconds = 1 / self.env.screens_per_second
        for screen in screens:
            self._draw(screen, row, game, action)
            self.controls.hold_frame(seconds, self.window.poll)
        if row.is_last[0]:
            self.controls.hold_frame(OVER_SECONDS, self.window.poll)

    def _draw(self, screen: RgbImage, row: Row, game: _RunningGame, action: int | None) -> None:
        state = PlayState(
            game_number=game.number,
            step_number=game.num_steps,
            score=game.score,
            action=action,
            is_last=bool(row.is_last[0]),
            is_waiting=self._waits,
            speed=self.controls.speed,
            is_paused=self.controls.paused,
            scores=self.scores,
        )
        self.window.show(render_play_frame(state, screen, self.env.env_spec, self.keys))

    def _wait_for_key(self, row: Row, screens: list[RgbImage], game: _RunningGame, action: int | None) -> None:
        """Wait until a key of an action is pressed, or the person quits or restarts."""
        while not (self.controls.quit or self.controls.restart):
            if self.keys.action(self.keyboard.pressed) is not None:
                return
            self.window.poll()
            time.sleep(POLL_SECONDS)

    def _finish(self, game: _RunningGame, seed: int) -> None:
        """Print and keep the score of a game that is over."""
        self.scores.append(game.score)
        path = add_human_score(
            self.settings.runs_dir,
            self.env.env_spec,
            score=game.score,
            steps=game.num_steps,
            seconds=self.clock() - game.start,
            seed=seed,
            game=game.number,
        )
        print_line(f"game {game.number}: score {game.score:g}, {game.num_steps:,} steps (kept in {path})")


@dataclass
class _RunningGame:
    """The game that is being played."""

    number: int  # counted from 1, in the session
    start: float  # in seconds of the clock
    score: float = 0.0
    num_steps: int = 0

    def update(self, env: RenderedEnv, row: Row) -> None:
        """Read score and length up to a row."""
        episode = env.stream.running_episode(0)
        self.score = episode.score
        self.num_steps = episode.length
