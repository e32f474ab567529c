"""Screen-v0: a part of this computer's screen as an environment, whose actions are keys. It runs in real time."""

from __future__ import annotations

import importlib
import os
import tempfile
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from envs.errors import EnvError
from envs.worlds import parameters
from envs.worlds.drawing import BLUE, GREY, INK, Area, Picture
from envs.worlds.extras import import_extra
from envs.worlds.keyboard import KEYSYMS, Keyboard, check_display, is_key, open_keyboard

ENV_NAME = "Screen-v0"

Pixels = NDArray[np.uint8]
"""A picture u8[H, W, 3] of the region, RGB."""
Reward = Callable[[Pixels, Pixels], float]
"""From the picture before an action and the picture after it to the reward."""
Done = Callable[[Pixels], bool]
"""From a picture to whether the game is over."""

START_SECONDS = 10.0
"""Time after which a reset gives up, if the game is still over."""
TAP_SECONDS = 0.05
"""How long a reset holds the keys that start a game."""
RECENT = 1_000
"""Decisions that `Timing` describes."""
MAX_TAKEOVERS = 3
"""Steps in a row that another environment may disturb."""


class Timing(NamedTuple):
    """How regular the decisions of an environment were. All times are in seconds."""

    decisions: int
    """The last decisions of all episodes, at most `RECENT`."""
    rate: float
    """Decisions a second."""
    jitter: float
    """Standard deviation of the time between two pictures."""
    longest: float
    """Longest time between two pictures."""
    late: float
    """Share of the decisions that came after the picture that should have followed them."""


class ScreenEnv(gymnasium.Env):
    """A program on the screen, seen as pictures of a region and played by keys, without any help of the program.

    Observation: uint8[height, width, 1], the region in grey, in the size `size`.

    Actions: 0 releases all keys, k holds the k-th of `keys` (and releases the others).

    A step sets the keys, waits until the next multiple of 1 / fps, and takes a picture. If the agent decides too late,
    the step lasts 1 / fps from then on. `info["seconds"]` is the time since the picture before, `info["late"]` says
    whether the agent was late, and `timing()` describes the recent steps.

    The program goes on between two steps, so neither a seed nor a checkpoint can restore its state: a resumed run
    begins a new episode. Only one environment can use the screen at a time. If another one has used it meanwhile, for
    example that of an evaluation, the episode is truncated.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 15}  # noqa: RUF012  # Gymnasium's interface

    def __init__(
        self,
        region: Sequence[int],
        keys: Sequence[str],
        fps: float = 15.0,
        reward: Reward | str = "",
        done: Done | str = "",
        size: Sequence[int] = (84, 84),
        start: Sequence[str] = (),
        render_mode: str | None = None,
    ) -> None:
        """Check the arguments. The screen is opened by the first reset.

        Args:
            region: left, top, width and height of the region, in pixels of the screen.
            keys: Names of keys: letters, digits, left, right, up, down, space, enter, esc, tab, backspace, shift, ctrl,
                alt, f1 to f12. Keys that are held together are joined by "+": "right+space".
            fps: Decisions a second, 1 to 60.
            reward: Function of the pictures before and after an action, or its name "module:function".
            done: Function of a picture that returns True if the game is over, or its name "module:function".
            size: Width and height of the observation, 8 to 256. If both are at least 36, agents see an image, else a
                map with a small network.
            start: Keys that start a new game. A reset taps them until `done` is False. Without them, the program has to
                start on its own.
            render_mode: None or "rgb_array".

        Raises:
            EnvError: An argument is wrong, a package is missing, or there is no screen.
        """
        self.region = _whole_numbers("region", region, ("left", "top", "width", "height"), (0, 0, 8, 8), 16_384)
        self.keys = [_combination("keys", key) for key in _list_of("keys", keys)]
        if not self.keys:
            raise EnvError("keys is []; it must name at least one key")
        self.start = [_combination("start", key) for key in _list_of("start", start)]
        self.fps = parameters.number("fps", fps, 1, 60)
        self.reward = _function("reward", reward)
        self.done = _function("done", done)
        self.size = _whole_numbers("size", size, ("width", "height"), (8, 8), 256)
        self.render_mode = parameters.render_mode(render_mode)
        import_extra("mss", ENV_NAME, "screen")
        check_display(ENV_NAME)
        width, height = self.size
        self.observation_space = Box(0, 255, (height, width, 1), np.uint8)
        self.action_space = Discrete(1 + len(self.keys))
        self.metadata = {**self.metadata, "render_fps": max(1, round(self.fps))}
        self.screen: Any = None
        self.keyboard: Keyboard | None = None
        self.owner = _Owner()
        self.held: tuple[str, ...] = ()
        self.pixels: Pixels = np.zeros((self.region[3], self.region[2], 3), np.uint8)
        self.taken = 0.0  # time of the last picture
        self.due = 0.0  # time of the next picture
        self.takeovers = 0
        self.score = 0.0
        self.recent: deque[tuple[float, bool]] = deque(maxlen=RECENT)  # seconds since the picture before, late

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Pixels, dict[str, Any]]:
        """Release all keys, and wait until a game runs. The seed changes nothing.

        Raises:
            EnvError: The screen cannot be read, or no game has started after 10 seconds.
        """
        super().reset(seed=seed)
        self._open()
        self.owner.take()
        self._release_all()
        self._take_picture()
        gives_up = time.monotonic() + START_SECONDS
        while self.done(self.pixels):
            if time.monotonic() > gives_up:
                raise EnvError(f"{ENV_NAME}: the game is still over after {START_SECONDS:g} s (see done and start)")
            for combination in self.start:
                self._hold(combination)
                time.sleep(TAP_SECONDS)
                self._hold(())
            time.sleep(1 / self.fps)
            self._take_picture()
        self.due = self.taken + 1 / self.fps
        self.score = 0.0
        return self._obs(), {}

    def step(self, action: int) -> tuple[Pixels, float, bool, bool, dict[str, Any]]:
        """Set the keys, wait for the next picture, and rate it.

        Raises:
            EnvError: Another environment uses the screen all the time.
        """
        disturbed = not self.owner.is_mine()
        self._count_takeovers(disturbed)
        if disturbed:
            self.owner.take()
            self._release_all()
        self._hold(self.keys[action - 1] if action else ())
        now = time.monotonic()
        late = now > self.due
        if late:
            self.due = now + 1 / self.fps
        time.sleep(max(self.due - now, 0.0))
        before = self.pixels
        last_taken = self.taken
        self._take_picture()
        self.due += 1 / self.fps
        seconds = self.taken - last_taken
        self.recent.append((seconds, late))
        info = {"seconds": seconds, "late": late}
        if disturbed:  # the picture before belongs to another game
            return self._obs(), 0.0, False, True, info
        reward = float(self.reward(before, self.pixels))
        terminated = bool(self.done(self.pixels))
        self.score += reward
        return self._obs(), reward, terminated, False, info

    def timing(self) -> Timing:
        """Return how regular the last decisions were. Raises EnvError before the first decision."""
        if not self.recent:
            raise EnvError(f"{ENV_NAME} has made no decision yet")
        seconds = np.array([each for each, _ in self.recent])
        late = np.mean([each for _, each in self.recent])
        return Timing(len(seconds), float(1 / seconds.mean()), float(seconds.std()), float(seconds.max()), float(late))

    def render(self) -> Pixels:
        """Return a picture u8[400, 500, 3]: the region, the held keys, and the time of each decision."""
        return draw_screen(self)

    def close(self) -> None:
        """Release all keys, and give the screen back."""
        if self.keyboard is not None:
            self._release_all()
            self.keyboard.close()
            self.keyboard = None
        if self.screen is not None:
            self.screen.close()
            self.screen = None

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without connections, which a copy opens again."""
        return {**self.__dict__, "screen": None, "keyboard": None, "owner": _Owner()}

    def _open(self) -> None:
        """Open screen and keyboard, if they are not open. Raises EnvError."""
        if self.screen is not None:
            return
        mss = import_extra("mss", ENV_NAME, "screen")
        self.keyboard = open_keyboard(ENV_NAME)
        try:
            screen = mss.MSS()
        except Exception as error:  # mss raises errors of several classes
            raise EnvError(f"{ENV_NAME}: the screen cannot be read ({' '.join(str(error).split())})") from error
        whole = screen.monitors[0]
        left, top, width, height = self.region
        if left + width > whole["left"] + whole["width"] or top + height > whole["top"] + whole["height"]:
            screen.close()
            raise EnvError(
                f"region is {list(self.region)}; it must lie on the screen, which has {whole['width']} x"
                f" {whole['height']} pixels"
            )
        self.screen = screen

    def _take_picture(self) -> None:
        """Read the region of the screen."""
        left, top, width, height = self.region
        shot = self.screen.grab({"left": left, "top": top, "width": width, "height": height})
        self.taken = time.monotonic()
        self.pixels = np.asarray(cv2.cvtColor(np.asarray(shot), cv2.COLOR_BGRA2RGB), np.uint8)

    def _obs(self) -> Pixels:
        grey = cv2.cvtColor(self.pixels, cv2.COLOR_RGB2GRAY)
        return np.asarray(cv2.resize(grey, self.size, interpolation=cv2.INTER_AREA), np.uint8)[:, :, None]

    def _hold(self, keys: tuple[str, ...]) -> None:
        """Hold these keys, and release the others."""
        assert self.keyboard is not None
        for key in self.held:
            if key not in keys:
                self.keyboard.release(key)
        for key in keys:
            if key not in self.held:
                self.keyboard.press(key)
        self.held = keys

    def _release_all(self) -> None:
        """Release all keys that an environment of this kind may hold: another one may have left a key down."""
        assert self.keyboard is not None
        for key in dict.fromkeys(key for combination in [*self.keys, *self.start] for key in combination):
            self.keyboard.release(key)
        self.held = ()

    def _count_takeovers(self, disturbed: bool) -> None:
        """Raise EnvError if other environments have disturbed the last steps."""
        self.takeovers = self.takeovers + 1 if disturbed else 0
        if self.takeovers > MAX_TAKEOVERS:
            raise EnvError(f"several environments use the screen at once; {ENV_NAME} needs --num-envs 1")


class _Owner:
    """The environment that uses the screen now: its name is in a file of this display and user."""

    def __init__(self) -> None:
        self.name = uuid.uuid4().hex
        display = "".join(letter for letter in os.environ.get("DISPLAY", "") if letter.isalnum())
        user = os.getuid() if hasattr(os, "getuid") else ""
        self.path = Path(tempfile.gettempdir()) / f"rl_lab-screen-{user}-{display}"

    def take(self) -> None:
        """Become the owner."""
        self.path.write_text(self.name)

    def is_mine(self) -> bool:
        """Return True if no other environment has become the owner since."""
        try:
            return self.path.read_text() == self.name
        except OSError:  # somebody has removed the file
            return False


def _list_of(name: str, values: Any) -> list[Any]:
    """Return a sequence as a list. Raises EnvError for anything else, also for one text."""
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise EnvError(f"{name} is {values!r}; it must be a list of keys, such as [left, right]")
    return list(values)


def _whole_numbers(name: str, values: Any, parts: Sequence[str], lows: Sequence[int], high: int) -> tuple[int, ...]:
    """Return whole numbers as a tuple. Raises EnvError if there are not as many as parts, or one is out of range."""
    if isinstance(values, str) or not isinstance(values, Sequence | np.ndarray) or len(values) != len(parts):
        raise EnvError(f"{name} is {values!r}; it must be {len(parts)} whole numbers: {', '.join(parts)}")
    return tuple(
        parameters.whole_number(f"{part} of {name}", value, low, high)
        for part, value, low in zip(parts, values, lows, strict=True)
    )


def _combination(name: str, keys: Any) -> tuple[str, ...]:
    """Return the keys of a text such as "right+space". A digit may be a number. Raises EnvError for unknown keys."""
    if isinstance(keys, int) and not isinstance(keys, bool):
        keys = str(keys)
    names = tuple(keys.split("+")) if isinstance(keys, str) else ()
    if not names or not all(is_key(key) for key in names):
        raise EnvError(f"{name} has {keys!r}; keys are a to z, 0 to 9, {', '.join(KEYSYMS)}, joined by +")
    return names


def _function(name: str, function: Any) -> Callable[..., Any]:
    """Return a function that is given as such or by its name. Raises EnvError."""
    if callable(function):
        return function
    module, colon, attribute = function.partition(":") if isinstance(function, str) else ("", "", "")
    if not (colon and module and attribute):
        raise EnvError(f"{name} is {function!r}; it must be a function, or its name as module:function")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise EnvError(f"{name} is {function!r}, which cannot be imported: {error}") from error
    if not callable(found):
        raise EnvError(f"{name} is {function!r}, which is no function")
    return found


def draw_screen(env: ScreenEnv) -> Pixels:
    """Return a picture u8[400, 500, 3]: the region as large as possible, and below keys, score and timing."""
    picture = Picture()
    _, _, width, height = env.region
    scale = min(480 / width, 270 / height)
    shown = cv2.resize(env.pixels, (int(width * scale), int(height * scale)), interpolation=cv2.INTER_AREA)
    top = 10
    left = (500 - shown.shape[1]) // 2
    picture.pixels[top : top + shown.shape[0], left : left + shown.shape[1]] = shown
    picture.text(f"keys {' + '.join(env.held) or '-'}", 20, 304)
    picture.text(f"score {env.score:g}", 200, 304)
    if env.recent:
        timing = env.timing()
        picture.text(f"{timing.rate:.1f} decisions/s, jitter {1_000 * timing.jitter:.1f} ms", 20, 326, INK)
        picture.text(f"late {100 * timing.late:.0f}%", 380, 326, INK)
    chart = Area(20, 340, 480, 390)
    picture.axis(chart)
    high = 2 / env.fps
    picture.level(chart, 1 / env.fps, 0, high, GREY)
    picture.line(chart, [seconds for seconds, _ in list(env.recent)[-200:]], 200, 0, high, BLUE)
    return picture.pixels
