"""Shows an agent playing: moment by moment into a video, the terminal, a window or a page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from rl_lab.watch.controls import Controls
from rl_lab.watch.game import Screen
from rl_lab.watch.picture import compose
from rl_lab.watch.player import Moment, Player


class Sink(Protocol):
    """Where pictures go."""

    def show(self, picture: Screen, moment: Moment) -> None:
        """One picture, u8[H, W, 3] RGB."""
        ...

    def idle(self) -> None:
        """Called often while a picture stands."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Shown:
    """The games that were shown to their end."""

    scores: list[float]
    pictures: int


def show(
    player: Player,
    sink: Sink,
    *,
    title: Callable[[], str],
    episodes: int | None,
    smooth: bool = False,
    controls: Controls | None = None,
    each_moment: Callable[[], None] = lambda: None,
) -> Shown:
    """Play whole games (`episodes` None: until asked to stop) into a sink, and close it.

    With `controls` the pictures come at the game's own speed and do as they are told; without them as fast as they can be made.
    `smooth` shows every frame of an emulator. `each_moment` is called after each, and may change the agent's weights.
    """
    scores: list[float] = []
    pictures = 0
    period = 1 / picture_rate(player, smooth=smooth)
    try:
        for moment in player:
            again = False
            for screen in moment.screens if smooth else moment.screens[-1:]:
                sink.show(compose(moment, screen, player.game.env_spec, title()), moment)
                pictures += 1
                if controls is not None and (again := controls.stay(period, sink.idle)):
                    break
            if controls is not None:
                if controls.quit:
                    break
                player.restart, controls.restart = controls.restart, False
                player.again, player.saliency = again, controls.saliency
            each_moment()
            if moment.over and not (player.restart or player.again):
                scores.append(moment.score)
                if len(scores) == episodes:
                    break
    finally:
        sink.close()
        player.game.close()
    return Shown(scores, pictures)


def picture_rate(player: Player, *, smooth: bool) -> float:
    """Pictures a second at which the game has its own speed: 15 decisions of an Atari game, or all its 60 frames."""
    game = player.game
    skipped = 1 if smooth or game.twin is None else game.env_spec.frame_skip or 1
    return game.screens_per_second / skipped
