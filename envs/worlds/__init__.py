"""Environments whose exact optimum is known, so that a score is a regret. Importing this package registers them.

Each world is a Gymnasium environment that works without the lab. Its method `optimum()` returns the expected score of
an optimal policy, or None where no solver can compute it. docs/worlds.md describes the worlds.
"""

from __future__ import annotations

import gymnasium

WORLDS = {  # Gymnasium id -> class
    "LostSales-v0": "envs.worlds.lost_sales:LostSales",
    "SerialSupply-v0": "envs.worlds.serial_supply:SerialSupply",
    "MeanReversion-v0": "envs.worlds.mean_reversion:MeanReversion",
    "PriceSeries-v0": "envs.worlds.price_series:PriceSeries",
    "Regulator-v0": "envs.worlds.regulator:Regulator",
}

for env_id, entry_point in WORLDS.items():
    gymnasium.register(env_id, entry_point)
