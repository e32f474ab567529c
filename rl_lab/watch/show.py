"""Shows a run's agent playing: in a video file or in the terminal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rl_lab import api, checkpoint
from rl_lab.run import Run
from rl_lab.watch.game import Game, Screen
from rl_lab.watch.picture import compose
from rl_lab.watch.player import Moment, Player
from rl_lab.watch.terminal import Terminal
from rl_lab.watch.video import Video


@dataclass(frozen=True)
class Shown:
    """The games that were shown."""

    scores: list[float]
    pictures: int
    seconds: float  # that they take to show


def show(
    run: Run,
    *,
    episodes: int,
    seed: int,
    epsilon: float | None = None,
    which: str | None = None,
    video: Path | None = None,
    smooth: bool = False,
) -> Shown:
    """Play whole games with a run's checkpoint, into a video or the terminal; `smooth` shows every frame of an emulator.

    Raises LabError where there is no checkpoint or the video cannot be written.
    """
    folder = checkpoint.find(run.path, which)
    agent = api.load(run, which=which)
    game = Game(run.card)
    share = epsilon if epsilon is not None else run.config.run.eval_epsilon
    player = Player(agent, run.config, game, epsilon=share, seed=seed)
    fps = game.screens_per_second
    if game.twin is not None and not smooth:
        fps /= run.card.frame_skip or 1
    title = f"{run.config.agent}, {folder.name}, epsilon {share:g}"
    sink = Video(video, fps) if video else Terminal(fps)
    put: Callable[[Screen, Moment], None]
    if isinstance(sink, Video):
        put = lambda picture, moment: sink.add(picture)  # noqa: E731
    else:
        put = lambda picture, moment: sink.show(picture, f"{title}   score {moment.score:g}   Ctrl-C stops")  # noqa: E731
    scores: list[float] = []
    pictures = 0
    try:
        for moment in player:
            screens = moment.screens if smooth else moment.screens[-1:]
            for screen in screens:
                put(compose(moment, screen, run.card, title), moment)
            pictures += len(screens)
            if moment.over:
                scores.append(moment.score)
                if len(scores) == episodes:
                    break
    finally:
        sink.close()
        game.close()
    return Shown(scores, pictures, pictures / fps)
