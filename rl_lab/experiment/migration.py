"""Conversion of the settings of runs that older versions of the lab wrote.

Up to version 0.1, the agent `reinforce` had the settings `epochs`, `minibatch_size` and `ratio_clip`. With more than
one gradient step for each batch, or with a clipped ratio, it was PPO. Such a run is now a run of `ppo`, which makes the
same updates, bit for bit, and reads the same checkpoints:

    reinforce then              ppo
    standardize: true           standardize: batch
    standardize: false          standardize: none
    minibatch_size: 0           minibatch_size: the batch_size
                                value_clip: 0
                                target_kl: 0

A run with one gradient step for each batch and without a clip remains a run of `reinforce`. One difference is left: the
older version shuffled the batch, so the random numbers of the actions after a `resume` are others.
"""

from __future__ import annotations

from typing import Any

from agents.core.settings import ConfigError

REMOVED_SETTINGS = ("epochs", "minibatch_size", "ratio_clip")
"""Settings that `reinforce` had in older versions. The config.yaml of an older run holds all of them."""

REINFORCE_SETTINGS: dict[str, Any] = {
    "baseline": True,
    "batch_games": 0,
    "points_end_returns": False,
    "convolutions": True,
}
"""Settings of `reinforce` that `ppo` does not have, with the values that describe what `ppo` does."""


def migrate_settings(data: dict[str, Any], source: str) -> dict[str, Any]:
    """Return the name of the agent and its settings as the current version names them.

    Args:
        data: The name of the agent and settings, of this version or an older one.
        source: Origin of the data, for error messages.

    Raises:
        ConfigError: No agent of this version makes the updates of the run.
    """
    if data.get("agent") != "reinforce" or not data.keys() >= set(REMOVED_SETTINGS):
        return data
    if data["epochs"] == 1 and data["minibatch_size"] == 0 and data["ratio_clip"] == 0:
        return {name: value for name, value in data.items() if name not in REMOVED_SETTINGS}
    for name, value in REINFORCE_SETTINGS.items():
        if data.get(name, value) != value:
            raise ConfigError(
                f"{source} is a run of an older reinforce with {name} {data[name]}, epochs {data['epochs']},"
                f" minibatch_size {data['minibatch_size']} and ratio_clip {data['ratio_clip']}; reinforce now makes one"
                f" gradient step for each batch, and ppo has no {name}, so no agent continues it"
            )
    return _ppo_settings(data)


def _ppo_settings(data: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of `ppo` for those of a run of `reinforce` in which it made the updates of PPO."""
    settings = {name: value for name, value in data.items() if name not in REINFORCE_SETTINGS}
    settings["agent"] = "ppo"
    settings["value_clip"] = 0.0
    settings["target_kl"] = 0.0
    if data.get("standardize") is True:
        settings["standardize"] = "batch"
    elif data.get("standardize") is False:
        settings["standardize"] = "none"
    if data["minibatch_size"] == 0:
        settings["minibatch_size"] = data.get("batch_size")
    return settings
