"""Play the games of two agents at the same time, and show them side by side.

Both play the same games: game n of both begins at the same time, and the agent whose game is over first waits for the
other one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from rl_lab.watch.controls import Controls
from rl_lab.watch.frame_rendering import render_frame
from rl_lab.watch.images import RgbImage
from rl_lab.watch.player import Player, PlayerStep
from rl_lab.watch.show_games import ShowResult, frame_rate
from rl_lab.watch.sinks.frame_sink import FrameSink


def show_pair(
    players: Sequence[Player],
    sink: FrameSink,
    *,
    titles: Callable[[], Sequence[str]],
    episodes: int | None,
    smooth: bool = False,
    controls: Controls | None = None,
    after_step: Callable[[Sequence[PlayerStep]], None] = lambda _: None,
) -> list[ShowResult]:
    """Play games, send frames with all agents side by side to a sink, and close the sink and the environments.

    Args:
        players: The agents, with environments of equal frame rates and equal seeds.
        sink: Receives the frames u8[H, W * len(players), 3].
        titles: Returns the title of the next frame of each agent.
        episodes: Number of games to show to their end. None means no limit.
        smooth, controls: As in `show_games`.
        after_step: Is called after each frame with the steps that it shows; it may change the agents' weights.

    Returns:
        The result of each agent.
    """
    pair = _Pair(players, sink, titles, smooth=smooth, controls=controls, after_step=after_step)
    try:
        while pair.play_game() and pair.num_games != episodes:
            pass
    finally:
        try:
            sink.close()
        finally:
            for player in players:
                player.env.close()
    return [ShowResult(scores, pair.num_frames, cut) for scores, cut in zip(pair.scores, pair.num_cut, strict=True)]


class _Pair:
    """The games of several players.

    Attributes:
        num_games: Games that were shown to their end.
        num_frames: Frames that the sink received.
        scores: The scores of each player.
        num_cut: The games of each player that were cut.
    """

    def __init__(
        self,
        players: Sequence[Player],
        sink: FrameSink,
        titles: Callable[[], Sequence[str]],
        *,
        smooth: bool,
        controls: Controls | None,
        after_step: Callable[[Sequence[PlayerStep]], None],
    ) -> None:
        self.players = players
        self.sink = sink
        self.titles = titles
        self.smooth = smooth
        self.controls = controls
        self.after_step = after_step
        self.frame_seconds = 1 / frame_rate(players[0], smooth=smooth)
        self.games: list[Iterator[PlayerStep]] = [iter(player) for player in players]
        self.num_games = 0
        self.num_frames = 0
        self.scores: list[list[float]] = [[] for _ in players]
        self.num_cut = [0] * len(players)

    def play_game(self) -> bool:
        """Play one game of each player, or a part of it if the viewer restarts. Returns False if the viewer quits."""
        steps = [next(game) for game in self.games]
        while True:
            redraw = self._show(steps)
            if self.controls is not None and self.controls.quit:
                return False
            restart = self._apply_controls(redraw=redraw)
            self.after_step(steps)
            if restart:
                return True
            if redraw:
                steps = [next(game) for game in self.games]
                continue
            if all(step.is_last for step in steps):
                break
            steps = [step if step.is_last else next(game) for game, step in zip(self.games, steps, strict=True)]
        self.num_games += 1
        for index, step in enumerate(steps):
            self.scores[index].append(step.score)
            self.num_cut[index] += step.is_cut
        return True

    def _show(self, steps: Sequence[PlayerStep]) -> bool:
        """Show the screens of the steps. Returns True if the viewer changed what a paused frame shows."""
        num_screens = max(len(step.screens) for step in steps) if self.smooth else 1
        for index in range(num_screens):
            self.sink.show(self._frame(steps, index - num_screens), steps[0])
            self.num_frames += 1
            if self.controls is not None and self.controls.hold_frame(self.frame_seconds, self.sink.poll):
                return True
        return False

    def _frame(self, steps: Sequence[PlayerStep], index: int) -> RgbImage:
        """Return the frames of the steps side by side.

        Args:
            steps: The steps.
            index: Negative index of the screen: -1 is the last one. A step with fewer screens shows its first one.
        """
        frames = []
        for player, step, title in zip(self.players, steps, self.titles(), strict=True):
            screen = step.screens[max(index, -len(step.screens))]
            frames.append(render_frame(step, screen, player.env.env_spec, title))
        return np.concatenate(frames, axis=1)

    def _apply_controls(self, *, redraw: bool) -> bool:
        """Pass the viewer's requests to the players. Returns True if the first game begins again."""
        if self.controls is None:
            return False
        restart = self.controls.restart
        self.controls.restart = False
        for player in self.players:
            player.restart = restart
            player.repeat_step = redraw
            player.saliency_method = self.controls.saliency_method
        return restart
