"""How episodes are shown. This module does not import torch, so that `watch --help` need not wait for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from agents.core.settings import Range

Flag = tyro.conf.FlagCreatePairsOff[bool]
SinkName = Literal["video", "web", "window", "terminal"]


@dataclass(frozen=True)
class WatchOptions:
    """How episodes are shown."""

    video: str = ""
    """Write a file at the environment's own speed: a video (.mp4, .webm) or an animated picture of half the size
    (.gif, .webp)."""
    web: Flag = False
    """Show the episodes on a web page that this machine serves."""
    window: Flag = False
    """Show the episodes in a window. This is the default if there is a display; otherwise --web is."""
    terminal: Flag = False
    """Show the episodes in this terminal, which must support 24-bit colours."""
    host: str = "127.0.0.1"
    """Address of the web page. The default accepts connections from this machine only."""
    port: Annotated[int, Range(0, 65535)] = 8000
    """Port of the web page; 0 selects a free port."""
    smooth: Flag = False
    """Show all 60 frames a second of an Atari game, not only the 15 at which the agent acts."""
    saliency: Flag = False
    """Show which pixels the greedy action depends on (Grad-CAM; needs image observations and convolutions)."""
    occlusion: Flag = False
    """Show the pixels whose hiding changes the agent's output (slower; needs image observations, any network)."""
    follow: Flag = False
    """Load each new checkpoint of a run that is still training."""
    episodes: Annotated[int | None, Range(1)] = None
    """Number of episodes to play. The default is 1 for a video, and no limit otherwise."""
    epsilon: Annotated[float | None, Range(0, 1)] = None
    """Probability of a random action. By default the run's eval_epsilon."""
    max_steps: Annotated[int | None, Range(1)] = None
    """Agent steps after which an episode is cut. By default the run's eval_max_steps."""
