"""Play games and show them frame by frame in a sink: a video file, the terminal, a window or a web page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rl_lab.watch.controls import Controls
from rl_lab.watch.frame_rendering import render_frame
from rl_lab.watch.player import Player, PlayerStep
from rl_lab.watch.sinks.frame_sink import FrameSink


@dataclass(frozen=True)
class ShowResult:
    """The games that were shown."""

    scores: list[float]  # of the games that were shown to their end
    num_frames: int


def show_games(
    player: Player,
    sink: FrameSink,
    *,
    title: Callable[[], str],
    episodes: int | None,
    smooth: bool = False,
    controls: Controls | None = None,
    after_step: Callable[[], None] = lambda: None,
) -> ShowResult:
    """Play whole games, send their frames to a sink, and close the sink and the environment.

    Args:
        player: The agent and its environment.
        sink: Receives the frames.
        title: Returns the title of the next frame.
        episodes: Number of games; None means until the person quits.
        smooth: Show every screen of an Atari emulator, not only the screens at which the agent acts.
        controls: Show the frames at the game's own speed and respond to keys. None means as fast as possible.
        after_step: Is called after each step; it may change the agent's weights.
    """
    scores: list[float] = []
    num_frames = 0
    frame_seconds = 1 / frame_rate(player, smooth=smooth)
    try:
        for player_step in player:
            screens = player_step.screens if smooth else player_step.screens[-1:]
            redraw = False
            for screen in screens:
                sink.show(render_frame(player_step, screen, player.env.env_spec, title()), player_step)
                num_frames += 1
                if controls is not None:
                    redraw = controls.hold_frame(frame_seconds, sink.poll)
                if redraw:
                    break
            if controls is not None:
                if controls.quit:
                    break
                _apply_controls(controls, player, redraw)
            after_step()
            if _is_finished(player_step, player):
                scores.append(player_step.score)
                if len(scores) == episodes:
                    break
    finally:
        sink.close()
        player.env.close()
    return ShowResult(scores, num_frames)


def frame_rate(player: Player, *, smooth: bool) -> float:
    """Return the frames per second of the game's own speed.

    For an Atari game: 60, the rate of the emulator, if `smooth`; otherwise 15, the rate of the agent's actions.
    """
    screens_per_frame = 1 if smooth else player.env.screens_per_step
    return player.env.screens_per_second / screens_per_frame


def _apply_controls(controls: Controls, player: Player, redraw: bool) -> None:
    """Pass the requests of the person to the player."""
    player.restart = controls.restart
    controls.restart = False
    player.repeat_step = redraw
    player.saliency_method = controls.saliency_method


def _is_finished(player_step: PlayerStep, player: Player) -> bool:
    """Return True if the game is over and its last step will not be shown again."""
    return player_step.is_last and not (player.restart or player.repeat_step)
