"""Write the animated picture of the README, docs/demo.webp: some seconds of `watch demo` at half size.

python scripts/animation.py [--from-step 300 --seconds 8 --saliency]
"""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from rl_lab import api
from rl_lab.analysis.saliency import SaliencyMethod
from rl_lab.experiment.run import Run
from rl_lab.watch.frame_rendering import render_frame
from rl_lab.watch.images import to_bgr
from rl_lab.watch.player import Player
from rl_lab.watch.rendered_env import RenderedEnv
from rl_lab.watch.show_games import frame_rate

FILE = Path(__file__).parent.parent / "docs" / "demo.webp"


def main() -> None:
    """Play the demo agent and write the animation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from-step", type=int, default=300, help="first step of the game that is shown")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--saliency", action="store_true", help="show Grad-CAM heatmaps")
    options = parser.parse_args()
    run = Run.find("demo")
    method: SaliencyMethod = "grad-cam" if options.saliency else "off"
    env = RenderedEnv(run.env_spec)
    player = Player(api.load_agent(run), run.config, env, epsilon=0.001, seed=1, saliency_method=method)
    fps = frame_rate(player, smooth=False)
    last_step = options.from_step + round(options.seconds * fps)
    animation = cv2.Animation()
    frames: list[np.ndarray] = []
    for step in islice(player, options.from_step, last_step):
        frame = render_frame(step, step.screens[-1], run.env_spec, "DQN on Pong")
        frames.append(cv2.resize(to_bgr(frame), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
    animation.frames = frames
    animation.durations = [round(1000 / fps)] * len(frames)
    if not cv2.imwriteanimation(str(FILE), animation, [cv2.IMWRITE_WEBP_QUALITY, 60]):
        raise SystemExit(f"{FILE} cannot be written")
    print(f"{FILE}: {len(frames)} frames, {FILE.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
