"""Draw the pictures of docs/worlds.md: each world in the middle of an episode of a good policy.

python scripts/world_pictures.py                # writes docs/world-NAME.png
xvfb-run python scripts/world_pictures.py       # also that of Screen-v0, which needs a screen

Worlds whose package is missing are left out, with a message.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import gymnasium
import numpy as np
from numpy.typing import NDArray

from envs.errors import EnvError
from envs.worlds.battery_radio import GOOD, BatteryRadio
from envs.worlds.battery_radio_optimum import SEND, SLEEP
from envs.worlds.survival import food_away_from_enemies
from envs.worlds.traffic import Traffic, best_of_all_lanes

DOCS = Path(__file__).parents[1] / "docs"
SEED = 3

Observation = NDArray[np.float32]


class Scene(NamedTuple):
    """An episode of a world, up to the step that is drawn."""

    env_id: str
    policy: Callable[[Observation, Any], Any]
    """From the observation and the environment to the action."""
    steps: int
    prepare: Callable[[Any], None] | None = None
    """Change of the environment after the reset."""


def capped_base_stock(obs: Observation, env: Any) -> int:
    """Order up to 24 units of stock and outstanding orders, but at most 5 a period."""
    return min(5, max(0, 24 - int(obs.sum())))


def echelon_base_stock(obs: Observation, env: Any) -> NDArray[np.int64]:
    """Order up to the levels that `SerialSystem.average_optimum` returns for whole units: 6, 12 and 23."""
    shop, warehouse, factory, in_transit = map(int, obs)
    gaps = [6 - shop, 12 - shop - warehouse, 23 - shop - warehouse - factory - in_transit]
    return np.clip(gaps, 0, 10)


def thresholds(obs: Observation, env: Any) -> int:
    """Buy below -2.05, sell above 2.05, and otherwise hold the position."""
    price, position = obs
    if abs(price) > 2.05:
        return 1 - int(np.sign(price))
    return 1 + int(position)


def follow_trend(obs: Observation, env: Any) -> int:
    """Be long after rising prices and short after falling ones. On a random walk this only pays costs."""
    return 2 if obs[:-1].sum() > 0 else 0


def feedback(obs: Observation, env: Any) -> NDArray[np.float32]:
    """Move towards 0 with the velocity -x."""
    return -obs


def retry_after_four_slots(obs: Observation, env: BatteryRadio) -> int:
    """Send if the channel was good when it was last seen, otherwise sleep, and try again after four slots."""
    if obs[0] == 0:
        return SLEEP
    for slots, (channel, action, _) in enumerate(reversed(env.history), 1):
        if action != SLEEP:
            return SEND if channel == GOOD or slots > 4 else SLEEP
    return SEND


def best_lane(obs: Observation, env: Traffic) -> int:
    """Drive towards the best of all lanes."""
    return best_of_all_lanes(obs.reshape(2 * env.lanes_side + 1, -1), env.patches_ahead)


def go_on(obs: Observation, env: gymnasium.Env) -> Any:
    """Apply no torque."""
    return np.zeros(env.action_space.shape or (), np.float32)


def stand_on_a_hill(env: Any) -> None:
    """Put a robot to x = 14.3 m, on the ground. A robot with two legs lifts one of them."""
    position = env.robot.init_qpos.copy()
    position[0] = 14.3
    if len(position) > 6:
        position[3:5] = (-0.6, -0.5)  # thigh and leg, in radians
    env.robot.set_state(position, np.zeros_like(env.robot.init_qvel))
    position[1] += env.ground()
    env.robot.set_state(position, np.zeros_like(env.robot.init_qvel))


def below_the_ball(obs: Observation, env: Any) -> int:
    """Move the paddle of examples/screen_game below the ball: action 1 is the left key, 2 the right one."""
    ball = np.flatnonzero((env.pixels[:130] > 200).all(2).any(0))
    paddle = np.flatnonzero((env.pixels[136:148] == (120, 160, 240)).all(2).any(0))
    if not len(ball) or not len(paddle):
        return 0
    difference = ball.mean() - paddle.mean()
    return 0 if abs(difference) < 10 else 1 + int(difference > 0)


SCENES = [
    Scene("LostSales-v0", capped_base_stock, 120),
    Scene("SerialSupply-v0", echelon_base_stock, 60),
    Scene("MeanReversion-v0", thresholds, 180),
    Scene("PriceSeries-v0", follow_trend, 150),
    Scene("Regulator-v0", feedback, 25),
    Scene("BatteryRadio-v0", retry_after_four_slots, 60),
    Scene("Traffic-v0", best_lane, 30),
    Scene("Survival-v0", lambda obs, env: food_away_from_enemies(env), 60),
    Scene("RoughHopper-v0", go_on, 8, stand_on_a_hill),
    Scene("RoughWalker2d-v0", go_on, 8, stand_on_a_hill),
]
SCREEN_SCENE = Scene("Screen-v0", below_the_ball, 110)
GAME = Path(__file__).parents[1] / "examples" / "screen_game" / "catch_game.py"


def draw(scene: Scene, arguments: dict[str, Any]) -> NDArray[np.uint8]:
    """Play a scene and return the last picture, u8[H, W, 3]."""
    env = gymnasium.make(scene.env_id, render_mode="rgb_array", disable_env_checker=True, **arguments)
    world: Any = env.unwrapped
    obs, _ = env.reset(seed=SEED)
    if scene.prepare is not None:
        scene.prepare(world)
    for _ in range(scene.steps):
        obs, _, terminated, truncated, _ = env.step(scene.policy(obs, world))
        if terminated or truncated:
            obs, _ = env.reset()
    picture = env.render()
    env.close()
    assert isinstance(picture, np.ndarray)
    return picture


def draw_game() -> NDArray[np.uint8]:
    """Start the game of examples/screen_game, play it and return the last picture."""
    sys.path.append(str(GAME.parent))
    arguments = {
        "region": [0, 0, 160, 160],
        "keys": ["left", "right"],
        "fps": 20,
        "reward": "catch_game:reward",
        "done": "catch_game:done",
    }
    game = subprocess.Popen([sys.executable, str(GAME)], stdout=subprocess.DEVNULL)
    try:
        time.sleep(5)  # until the window is there
        return draw(SCREEN_SCENE, arguments)
    finally:
        game.terminate()
        game.wait()


def write_random_walk(path: Path) -> None:
    """Write a file of 1,500 daily prices whose logarithm is a random walk."""
    returns = np.random.default_rng(0).normal(0, 0.01, 1_500)
    prices = 100 * np.exp(np.cumsum(returns))
    dates = np.datetime64("2018-01-01") + np.arange(len(prices))
    lines = [f"{date},{price:.4f}" for date, price in zip(dates, prices, strict=True)]
    path.write_text("\n".join(["date,close", *lines]))


def write(env_id: str, make_picture: Callable[[], NDArray[np.uint8]]) -> None:
    """Write the picture of a world, or print why there is none."""
    try:
        picture = make_picture()
    except EnvError as error:
        print(f"{env_id} is left out: {error}")
        return
    path = DOCS / f"world-{env_id.removesuffix('-v0').lower()}.png"
    cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    print(path)


def main() -> None:
    """Write all pictures."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "prices.csv"
        write_random_walk(file)
        for scene in SCENES:
            arguments = {"csv": str(file)} if scene.env_id == "PriceSeries-v0" else {}
            write(scene.env_id, partial(draw, scene, arguments))
    write("Screen-v0", draw_game)


if __name__ == "__main__":
    main()
