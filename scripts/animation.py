"""Makes the README's moving picture, docs/demo.webp: some seconds of `watch demo`, half as large.

python scripts/animation.py [--from-step 300 --seconds 8 --saliency]
"""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

import rl_lab
from rl_lab.experiment.run import Run
from rl_lab.watch.game import Game
from rl_lab.watch.picture import compose
from rl_lab.watch.player import Player
from rl_lab.watch.show import picture_rate

FILE = Path(__file__).parent.parent / "docs" / "demo.webp"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from-step", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--saliency", action="store_true")
    given = parser.parse_args()
    run = Run.find("demo")
    kind = "grad-cam" if given.saliency else "off"
    player = Player(rl_lab.load(run), run.config, Game(run.env_spec), epsilon=0.001, seed=1, saliency=kind)
    fps = picture_rate(player, smooth=False)
    moments = islice(player, given.from_step, given.from_step + round(given.seconds * fps))
    animation = cv2.Animation()
    animation.frames = [_half(compose(m, m.screens[-1], run.env_spec, "DQN on Pong")) for m in moments]
    animation.durations = [round(1000 / fps)] * len(animation.frames)
    if not cv2.imwriteanimation(str(FILE), animation, [cv2.IMWRITE_WEBP_QUALITY, 60]):
        raise SystemExit(f"{FILE} cannot be written")
    print(f"{FILE}: {len(animation.frames)} pictures, {FILE.stat().st_size / 1e6:.2f} MB")


def _half(picture: np.ndarray) -> np.ndarray:
    return cv2.resize(picture[:, :, ::-1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)


if __name__ == "__main__":
    main()
