"""A game in a window, and the two functions by which `Screen-v0` rates its pictures. Nothing of it knows the lab.

A ball falls, and the keys left and right move a paddle. When the ball arrives, the lower edge of the window is green
for a moment if the paddle has caught the ball, otherwise red. Then the next ball falls, and so on until the window
closes.

    python examples/screen_game/catch_game.py &                  # a window of 160 x 160 pixels in the corner
    export PYTHONPATH=examples/screen_game
    python -m rl_lab train dqn --env Screen-v0 --env-arg region=[0,0,160,160] --env-arg keys=[left,right] \
        --env-arg fps=20 --env-arg size=[20,20] --env-arg reward=catch_game:reward --env-arg done=catch_game:done \
        --num-envs 1 --steps 20000
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import time

import numpy as np
from numpy.typing import NDArray

SIDE = 160  # pixels of the window
EDGE = 12  # height of the lower edge, which shows the result
PADDLE_WIDTH = 40
BALL = 16  # side of the ball
TOP_SPEED = 1.5  # widths of the window that the paddle moves while a ball falls
RESULT_SECONDS = 0.2

Pixels = NDArray[np.uint8]

CAUGHT = (40, 200, 80)
MISSED = (220, 50, 40)


def result(picture: Pixels) -> float:
    """Return 1 if a picture u8[H, W, 3] shows a caught ball, -1 for a missed one, and 0 while a ball falls."""
    red, green, _ = picture[-EDGE // 2, picture.shape[1] // 2].astype(int)
    if max(red, green) < 150:
        return 0.0
    return 1.0 if green > red else -1.0


def reward(before: Pixels, after: Pixels) -> float:
    """Return the result in the first picture that shows it."""
    return result(after) if result(before) == 0 else 0.0


def done(picture: Pixels) -> bool:
    """Return True while the result is shown."""
    return result(picture) != 0


class Game:
    """The state of the game. Positions are shares of the window from 0 to 1."""

    def __init__(self, seconds: float, seed: int) -> None:
        """Drop the first ball.

        Args:
            seconds: Time in which a ball falls.
            seed: Seed of the places where balls appear.
        """
        self.seconds = seconds
        self.random = random.Random(seed)
        self.paddle = 0.5
        self.ball = self.random.random()
        self.fallen = 0.0
        self.shown_until = 0.0
        self.was_caught = False
        self.balls = 0
        self.caught = 0

    def advance(self, elapsed: float, direction: int, now: float) -> None:
        """Move the paddle by -1, 0 or 1 times its speed, and let the ball fall.

        Args:
            elapsed: Seconds since the last call.
            direction: -1 for left, 1 for right, 0 for none.
            now: The time in seconds.
        """
        self.paddle = min(max(self.paddle + direction * TOP_SPEED * elapsed / self.seconds, 0.0), 1.0)
        if now < self.shown_until:
            return
        self.fallen += elapsed / self.seconds
        if self.fallen >= 1:
            place = self.ball * (SIDE - BALL) + BALL / 2
            middle = self.paddle * (SIDE - PADDLE_WIDTH) + PADDLE_WIDTH / 2
            self.was_caught = abs(place - middle) <= (PADDLE_WIDTH + BALL) / 2
            self.balls += 1
            self.caught += self.was_caught
            self.shown_until = now + RESULT_SECONDS
            self.fallen = 0.0
            self.ball = self.random.random()


def play(game: Game, fps: int) -> None:
    """Show the game in a window until it is closed."""
    import pygame

    os.environ.setdefault("SDL_VIDEO_WINDOW_POS", "0,0")
    pygame.display.init()
    window = pygame.display.set_mode((SIDE, SIDE), pygame.NOFRAME)
    clock = pygame.time.Clock()
    last = time.monotonic()
    while not any(event.type == pygame.QUIT for event in pygame.event.get()):
        keys = pygame.key.get_pressed()
        now = time.monotonic()
        game.advance(now - last, int(keys[pygame.K_RIGHT]) - int(keys[pygame.K_LEFT]), now)
        last = now
        window.fill((20, 22, 28))
        if now < game.shown_until:
            window.fill(CAUGHT if game.was_caught else MISSED, (0, SIDE - EDGE, SIDE, EDGE))
        else:
            height = SIDE - 2 * EDGE - BALL
            window.fill((240, 240, 240), (round(game.ball * (SIDE - BALL)), round(game.fallen * height), BALL, BALL))
        window.fill((120, 160, 240), (round(game.paddle * (SIDE - PADDLE_WIDTH)), SIDE - 2 * EDGE, PADDLE_WIDTH, EDGE))
        pygame.display.flip()
        clock.tick(fps)


def main() -> None:
    """Play, and print how many balls were caught."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=0.8, help="time in which a ball falls")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fps", type=int, default=60)
    options = parser.parse_args()
    game = Game(options.seconds, options.seed)
    with contextlib.suppress(KeyboardInterrupt):
        play(game, options.fps)
    print(f"caught {game.caught} of {game.balls}")


if __name__ == "__main__":
    main()
