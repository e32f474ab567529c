"""The keys of the window and of the web page: pause, speed, restart, saliency method and checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable

from rl_lab.analysis.saliency import SaliencyMethod

KEYS = {
    " ": "pause or resume",
    ".": "play one step",
    "+": "faster",
    "-": "slower",
    "r": "restart with the first episode",
    "s": "saliency map: off, Grad-CAM, occlusion (for image observations)",
    "c": "play with the next checkpoint",
    "q": "quit",
}
SPEEDS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # multiples of the game's own speed
POLL_SECONDS = 0.01  # time between two checks of the controls while a frame is displayed


class Controls:
    """The requests of the person who watches.

    The thread of the sink writes the attributes, the thread that plays reads them.

    Attributes:
        paused: Show the current frame until the person resumes the game or requests one step.
        restart: Begin again with the first game. The player resets this attribute.
        quit: End the program.
        saliency_method: The method of the saliency map.
        checkpoint: The name of the checkpoint to play with, "next" for the one after the current one, or None for no
            change.
        speed: Multiple of the game's own speed, one of SPEEDS.
    """

    def __init__(
        self, *, saliency_method: SaliencyMethod = "off", saliency_methods: tuple[SaliencyMethod, ...] = ("off",)
    ) -> None:
        """Start with a saliency method; `saliency_methods` are all methods that the agent supports."""
        self.saliency_methods = saliency_methods
        self.paused = False
        self.restart = False
        self.quit = False
        self.saliency_method: SaliencyMethod = saliency_method
        self.checkpoint: str | None = None
        self.speed = 1.0
        self._steps_while_paused = 0  # steps that were requested and not yet played
        self._needs_redraw = False
        self._next_frame_time = 0.0  # in seconds of time.monotonic()

    def press(self, key: str) -> None:
        """Handle a key. Keys that are not in KEYS have no effect."""
        actions: dict[str, Callable[[], None]] = {
            " ": self._toggle_pause,
            ".": self._play_one_step,
            "+": lambda: self._change_speed(1),
            "-": lambda: self._change_speed(-1),
            "r": self._request_restart,
            "s": self._select_next_saliency_method,
            "c": lambda: self.select_checkpoint("next"),
            "q": self._request_quit,
        }
        if key in actions:
            actions[key]()

    def select_checkpoint(self, name: str) -> None:
        """Request that the game goes on with the weights of this checkpoint."""
        self.checkpoint = name
        self._needs_redraw = True

    def hold_frame(self, seconds: float, poll: Callable[[], None]) -> bool:
        """Wait while a frame is displayed: for its duration, and as long as the game is paused.

        Args:
            seconds: Duration of the frame at the game's own speed.
            poll: Function that processes the key presses of a window. It is called repeatedly.

        Returns:
            True if the same step must be drawn again, because the saliency method or the checkpoint was changed while
            paused.
        """
        self._next_frame_time = max(self._next_frame_time + seconds / self.speed, time.monotonic())
        while not (self.quit or self.restart):
            poll()
            if self._needs_redraw and self.paused:
                self._needs_redraw = False
                return True
            if self._steps_while_paused:
                self._steps_while_paused -= 1
                break
            remaining = self._next_frame_time - time.monotonic()
            if not self.paused and remaining <= 0:
                break
            time.sleep(POLL_SECONDS if self.paused else min(POLL_SECONDS, max(remaining, 0)))
        self._needs_redraw = False
        return False

    def _toggle_pause(self) -> None:
        self.paused = not self.paused

    def _play_one_step(self) -> None:
        self.paused = True
        self._steps_while_paused += 1

    def _change_speed(self, change: int) -> None:
        """Select another entry of SPEEDS, `change` entries after the current one."""
        index = SPEEDS.index(self.speed) + change
        self.speed = SPEEDS[min(max(index, 0), len(SPEEDS) - 1)]

    def _request_restart(self) -> None:
        self.restart = True

    def _select_next_saliency_method(self) -> None:
        index = self.saliency_methods.index(self.saliency_method) + 1
        self.saliency_method = self.saliency_methods[index % len(self.saliency_methods)]
        self._needs_redraw = True

    def _request_quit(self) -> None:
        self.quit = True
