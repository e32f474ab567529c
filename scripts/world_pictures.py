"""Draw the pictures of docs/worlds.md: each world in the middle of an episode of a good policy.

python scripts/world_pictures.py            # writes docs/world-NAME.png
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import gymnasium
import numpy as np
from numpy.typing import NDArray

import envs.worlds  # noqa: F401  # registers the worlds

DOCS = Path(__file__).parents[1] / "docs"
SEED = 3

Observation = NDArray[np.float32]


class Scene(NamedTuple):
    """An episode of a world, up to the step that is drawn."""

    env_id: str
    policy: Callable[[Observation], Any]
    steps: int


def capped_base_stock(obs: Observation) -> int:
    """Order up to 24 units of stock and outstanding orders, but at most 5 a period."""
    return min(5, max(0, 24 - int(obs.sum())))


def echelon_base_stock(obs: Observation) -> NDArray[np.int64]:
    """Order up to the levels that `SerialSystem.average_optimum` returns for whole units: 6, 12 and 23."""
    shop, warehouse, factory, in_transit = map(int, obs)
    gaps = [6 - shop, 12 - shop - warehouse, 23 - shop - warehouse - factory - in_transit]
    return np.clip(gaps, 0, 10)


def thresholds(obs: Observation) -> int:
    """Buy below -2.05, sell above 2.05, and otherwise hold the position."""
    price, position = obs
    if abs(price) > 2.05:
        return 1 - int(np.sign(price))
    return 1 + int(position)


def follow_trend(obs: Observation) -> int:
    """Be long after rising prices and short after falling ones. On a random walk this only pays costs."""
    return 2 if obs[:-1].sum() > 0 else 0


def feedback(obs: Observation) -> NDArray[np.float32]:
    """Move towards 0 with the velocity -x."""
    return -obs


SCENES = [
    Scene("LostSales-v0", capped_base_stock, 120),
    Scene("SerialSupply-v0", echelon_base_stock, 60),
    Scene("MeanReversion-v0", thresholds, 180),
    Scene("PriceSeries-v0", follow_trend, 150),
    Scene("Regulator-v0", feedback, 25),
]


def draw(scene: Scene, arguments: dict[str, Any]) -> NDArray[np.uint8]:
    """Play a scene and return the last picture, u8[H, W, 3]."""
    env = gymnasium.make(scene.env_id, render_mode="rgb_array", **arguments)
    obs, _ = env.reset(seed=SEED)
    for _ in range(scene.steps):
        obs, *_ = env.step(scene.policy(obs))
    picture = env.render()
    assert isinstance(picture, np.ndarray)
    return picture


def write_random_walk(path: Path) -> None:
    """Write a file of 1,500 daily prices whose logarithm is a random walk."""
    returns = np.random.default_rng(0).normal(0, 0.01, 1_500)
    prices = 100 * np.exp(np.cumsum(returns))
    dates = np.datetime64("2018-01-01") + np.arange(len(prices))
    lines = [f"{date},{price:.4f}" for date, price in zip(dates, prices, strict=True)]
    path.write_text("\n".join(["date,close", *lines]))


def main() -> None:
    """Write all pictures."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "prices.csv"
        write_random_walk(file)
        for scene in SCENES:
            arguments = {"csv": str(file)} if scene.env_id == "PriceSeries-v0" else {}
            name = scene.env_id.removesuffix("-v0").lower()
            path = DOCS / f"world-{name}.png"
            cv2.imwrite(str(path), cv2.cvtColor(draw(scene, arguments), cv2.COLOR_RGB2BGR))
            print(path)


if __name__ == "__main__":
    main()
