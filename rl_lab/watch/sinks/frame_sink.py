"""The interface of the places that show frames."""

from __future__ import annotations

from typing import Protocol

from rl_lab.watch.images import RgbImage
from rl_lab.watch.player import PlayerStep


class FrameSink(Protocol):
    """A place that shows frames, one after another."""

    def show(self, frame: RgbImage, player_step: PlayerStep) -> None:
        """Show a frame u8[H, W, 3] that was rendered from this step, in place of the previous frame."""
        ...

    def poll(self) -> None:
        """Process the input of the person who watches. Called repeatedly while a frame is displayed."""
        ...

    def close(self) -> None:
        """Finish. Called once, after the last frame."""
        ...
