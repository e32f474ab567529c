"""Play games and show them frame by frame in a sink: a video file, the terminal, a window or a web page.

A screen is an image of the game alone. A frame is the image that the sink shows: a screen beside the agent's input and
output (`rl_lab.watch.frame_rendering`).
"""

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

    scores: list[float]  # sum of the raw rewards of each game that was shown to its end
    num_frames: int  # frames that the sink received
    num_cut: int = 0  # games that did not end by themselves, but reached the maximum number of steps


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
    """Play games, send their frames to a sink, and close the sink and the environment.

    The viewer can end a game early: `controls.quit` ends the function, `controls.restart` begins the first game again.

    Args:
        player: The agent and its environment.
        sink: Receives the frames.
        title: Returns the title of the next frame.
        episodes: Number of games to show to their end. None means no limit; the function then ends at `controls.quit`.
        smooth: Show every screen of an Atari emulator, not only the screens at which the agent acts.
        controls: The viewer's requests. Frames are shown at the game's own speed times `controls.speed`. None means no
            requests, and frames as fast as possible.
        after_step: Called after each step, also after a step that will be repeated; it may change the agent's weights.

    Returns:
        The scores of the games that were shown to their end, and the number of frames.
    """
    scores: list[float] = []
    num_frames = 0
    num_cut = 0
    frame_seconds = 1 / frame_rate(player, smooth=smooth)
    try:
        for player_step in player:
            screens = player_step.screens if smooth else player_step.screens[-1:]
            redraw = False  # True if the viewer changed what a paused frame shows, so that the step must be repeated
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
                num_cut += player_step.is_cut
                if len(scores) == episodes:
                    break
    finally:
        try:
            sink.close()
        finally:
            player.env.close()
    return ShowResult(scores, num_frames, num_cut)


def frame_rate(player: Player, *, smooth: bool) -> float:
    """Return the frames per second of the game's own speed.

    For an Atari game with a frame skip of 4: 60, the rate of the emulator, if `smooth`; otherwise 15, the rate of the
    agent's actions. For another environment: its "render_fps", whether `smooth` or not.
    """
    screens_per_frame = 1 if smooth else player.env.screens_per_step
    return player.env.screens_per_second / screens_per_frame


def _apply_controls(controls: Controls, player: Player, redraw: bool) -> None:
    """Pass the viewer's requests to the player, which resets them."""
    if controls.restart:
        controls.restart = False
        player.restart = True
    player.repeat_step = redraw
    player.saliency_method = controls.saliency_method


def _is_finished(player_step: PlayerStep, player: Player) -> bool:
    """Return True if this step ends a game that counts.

    A last step that will be repeated is counted only after its last repetition. A restart discards the game.
    """
    return player_step.is_last and not (player.restart or player.repeat_step)
