"""What a person asks of a show while it runs: the same keys in the window and on the page."""

from __future__ import annotations

import time
from collections.abc import Callable

from rl_lab.analysis.saliency import Saliency

KEYS = {
    " ": "pause or go on",
    ".": "one step",
    "+": "faster",
    "-": "slower",
    "r": "restart",
    "s": "saliency: off, Grad-CAM, occlusion (of pictures)",
    "c": "the next checkpoint",
    "q": "quit",
}
SPEEDS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # times the game's own speed
REST = 0.01  # seconds between two looks at what was asked


class Controls:
    """Set by the sink's thread, read by the show's: every wish is one plain attribute."""

    def __init__(self, *, saliency: Saliency = "off", saliencies: tuple[Saliency, ...] = ("off",)) -> None:
        """`saliencies` are those that the agent can have."""
        self.saliencies = saliencies
        self.paused = self.restart = self.quit = False
        self.saliency: Saliency = saliency
        self.checkpoint: str | None = None  # the one that is wished for; "next" is the one after
        self.speed = 1.0
        self._steps = 0  # pictures to show although paused
        self._changed = False  # what is shown is to be drawn anew
        self._next = 0.0  # when the next picture is due

    def press(self, key: str) -> None:
        """One of KEYS; others do nothing."""
        if key == " ":
            self.paused = not self.paused
        elif key == ".":
            self.paused, self._steps = True, self._steps + 1
        elif key in ("+", "-"):
            faster = SPEEDS.index(self.speed) + (1 if key == "+" else -1)
            self.speed = SPEEDS[min(max(faster, 0), len(SPEEDS) - 1)]
        elif key == "r":
            self.restart = True
        elif key == "s":
            self.saliency = self.saliencies[(self.saliencies.index(self.saliency) + 1) % len(self.saliencies)]
            self._changed = True
        elif key == "c":
            self.choose("next")
        elif key == "q":
            self.quit = True

    def choose(self, checkpoint: str) -> None:
        """Let this checkpoint play on."""
        self.checkpoint, self._changed = checkpoint, True

    def stay(self, seconds: float, idle: Callable[[], None]) -> bool:
        """Let a picture stand: for its time at the present speed, and while paused. `idle` is called meanwhile.

        Returns whether the same moment is to be drawn again, because a wish changed what it shows.
        """
        self._next = max(self._next + seconds / self.speed, time.monotonic())
        while not (self.quit or self.restart):
            idle()
            if self._changed and self.paused:
                self._changed = False
                return True
            if self._steps:
                self._steps -= 1
                break
            wait = self._next - time.monotonic()
            if not self.paused and wait <= 0:
                break
            time.sleep(REST if self.paused else min(REST, max(wait, 0)))
        self._changed = False
        return False
