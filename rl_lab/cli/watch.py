"""The command `watch`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro

from agents.core.settings import Range, check_fields
from rl_lab.analysis.saliency import Saliency, saliencies
from rl_lab.cli.parsing import PlayOptions, parse
from rl_lab.errors import LabError
from rl_lab.experiment.factory import make_player
from rl_lab.experiment.registry import load_env_plugins
from rl_lab.experiment.run import Run
from rl_lab.system.device import has_display
from rl_lab.watch.checkpoint_selector import Weights, newest_checkpoint
from rl_lab.watch.controls import KEYS, Controls
from rl_lab.watch.game import Game
from rl_lab.watch.player import Player
from rl_lab.watch.show import Sink, picture_rate, show
from rl_lab.watch.sinks.terminal import Terminal
from rl_lab.watch.sinks.video import Video
from rl_lab.watch.sinks.window import Window

Flag = tyro.conf.FlagCreatePairsOff[bool]


@dataclass(frozen=True)
class WatchOptions(PlayOptions):
    video: str = ""
    """MP4 file to write (WebM where PyAV is missing), at the speed the game is played."""
    web: Flag = False
    """Show it on a page of this machine, for a browser."""
    window: Flag = False
    """Show it in a window."""
    terminal: Flag = False
    """Show it in this terminal, which must know 24-bit colours."""
    host: str = "127.0.0.1"
    """Address of the page; another one than this machine's own shows it to others."""
    port: Annotated[int, Range(0, 65535)] = 8000
    """Port of the page; 0 takes a free one."""
    smooth: Flag = False
    """Show all 60 frames a second of an Atari game, not only those that the agent decides at."""
    saliency: Flag = False
    """Show where the network looks (Grad-CAM)."""
    occlusion: Flag = False
    """Show what it would miss (slower; needs no convolution)."""
    follow: Flag = False
    """Play with each new checkpoint of a run that is still training, as it comes."""
    episodes: Annotated[int | None, Range(1)] = None
    """Whole games to play; unless given one in a video, and otherwise until it is stopped."""
    epsilon: Annotated[float | None, Range(0, 1)] = None
    """Share of random actions; the run's own eval_epsilon unless given."""


def watch_command(args: list[str]) -> None:
    chosen = parse(WatchOptions, args, "watch", "Watch a run's agent play, with what it sees and thinks.")
    check_fields(chosen)
    named = [name for name in ("video", "web", "window", "terminal") if getattr(chosen, name)]
    if len(named) > 1:
        raise LabError(f"it is shown in one place at a time, not in {' and '.join(named)}")
    if chosen.saliency and chosen.occlusion:
        raise LabError("either --saliency or --occlusion, not both")
    where = named[0] if named else "window" if has_display() else "web"
    run = Run.find(chosen.run, chosen.runs_dir)
    torch.set_num_threads(1)  # one picture at a time is too little for more
    if chosen.follow:
        if chosen.checkpoint != "auto":
            raise LabError("--follow plays with the newest checkpoint; leave --checkpoint out")
        _give_way()
        _wait_for_checkpoint(run)
    load_env_plugins()
    agent = make_player(run.config, run.env_spec)
    weights = Weights(run.path, agent, chosen.which)
    if chosen.follow:
        weights.follow()
    epsilon = run.config.run.eval_epsilon if chosen.epsilon is None else chosen.epsilon
    kind: Saliency = "grad-cam" if chosen.saliency else "occlusion" if chosen.occlusion else "off"
    possible = saliencies(agent, run.env_spec)
    if kind not in possible:
        needs = "pictures" if possible == ("off",) else "convolutions; try --occlusion"
        raise LabError(f"{run.config.agent} on {run.env_spec.name} has no {kind} map: that needs {needs}")
    player = Player(agent, run.config, Game(run.env_spec), epsilon=epsilon, seed=chosen.seed, saliency=kind)
    controls = None if where == "video" else Controls(saliency=kind, saliencies=possible)

    def title() -> str:
        return f"{run.config.agent}, {run.env_spec.name}, step {weights.step:,}, epsilon {epsilon:g}"

    def each_moment() -> None:
        if controls is not None and controls.checkpoint is not None:
            weights.choose(controls.checkpoint)
            controls.checkpoint = None
        elif chosen.follow and weights.follow():
            print(f"now plays: step {weights.step:,}", flush=True)

    sink = _open(where, chosen, controls, weights, title, picture_rate(player, smooth=chosen.smooth))
    episodes = chosen.episodes if chosen.episodes is not None else 1 if where == "video" else None
    try:
        shown = show(
            player,
            sink,
            title=title,
            episodes=episodes,
            smooth=chosen.smooth,
            controls=controls,
            each_moment=each_moment,
        )
    except KeyboardInterrupt:
        return
    if shown.scores:
        print(f"{run.config.agent} on {run.env_spec.name}: score {', '.join(f'{score:g}' for score in shown.scores)}")
    if isinstance(sink, Video):
        print(f"{chosen.video}: {shown.pictures:,} pictures, {shown.pictures / sink.fps:.1f} s")


def _open(
    where: str, chosen: WatchOptions, controls: Controls | None, weights: Weights, title: Callable[[], str], fps: float
) -> Sink:
    """The place that was chosen; a place that has keys says which."""
    if controls is None:
        return Video(Path(chosen.video), fps)
    keys = ", ".join(f"{'space' if key == ' ' else key}: {what}" for key, what in KEYS.items())
    if where == "window":
        window = Window(controls, title)
        print(f"in a window; keys: {keys}", flush=True)
        return window
    if where == "web":
        from rl_lab.watch.sinks.web import Web

        page = Web(controls, weights, title, host=chosen.host, port=chosen.port)
        print(f"on the page {page.address} (Ctrl-C stops); keys: {keys}", flush=True)
        return page
    return Terminal(title)


def _give_way() -> None:
    """Take the processor only where the training that is followed leaves it."""
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    elif hasattr(os, "nice"):
        os.nice(19)


def _wait_for_checkpoint(run: Run) -> None:
    if newest_checkpoint(run.path) is None:
        print(f"{run} holds no checkpoint yet; waiting for the first (Ctrl-C stops)", flush=True)
    while newest_checkpoint(run.path) is None:
        time.sleep(1)
