"""Environments with known scores. The import registers them.

Each world is a Gymnasium environment that works without the lab. Most have a method `optimum()`, which returns the
expected score of an optimal policy, or None where no solver can compute it. docs/worlds.md describes the worlds.
"""

from __future__ import annotations

import gymnasium

WORLDS = {  # Gymnasium id -> class
    "LostSales-v0": "envs.worlds.lost_sales:LostSales",
    "SerialSupply-v0": "envs.worlds.serial_supply:SerialSupply",
    "MeanReversion-v0": "envs.worlds.mean_reversion:MeanReversion",
    "PriceSeries-v0": "envs.worlds.price_series:PriceSeries",
    "Regulator-v0": "envs.worlds.regulator:Regulator",
    "BatteryRadio-v0": "envs.worlds.battery_radio:BatteryRadio",
    "Traffic-v0": "envs.worlds.traffic:Traffic",
    "Survival-v0": "envs.worlds.survival:Survival",
    "RoughHopper-v0": "envs.worlds.rough_terrain:RoughHopper",
    "RoughWalker2d-v0": "envs.worlds.rough_terrain:RoughWalker2d",
    "Screen-v0": "envs.worlds.screen:ScreenEnv",
}

MAX_STEPS = {  # steps after which an episode is truncated, where the world itself does not truncate it
    "BatteryRadio-v0": 100_000,  # discrete states would otherwise be cut after 1,000 steps: envs/gymnasium_envs.py
    "Traffic-v0": 67,  # decisions of 30 frames: the 2,000 frames of DeepTraffic's evaluation
    "RoughHopper-v0": 1_000,  # as Gymnasium's Hopper-v5 and Walker2d-v5
    "RoughWalker2d-v0": 1_000,
}

NONDETERMINISTIC = ("Screen-v0",)
"""Worlds whose episodes do not depend on seed and actions alone."""

for env_id, entry_point in WORLDS.items():
    gymnasium.register(
        env_id,
        entry_point,
        max_episode_steps=MAX_STEPS.get(env_id),
        nondeterministic=env_id in NONDETERMINISTIC,
    )
