"""The limit on the combinations of the parts of an action, for agents that learn a value for each combination."""

from __future__ import annotations

from agents.core.settings import ConfigError
from agents.core.types import EnvSpaces

MAX_COMBINATIONS = 4_096
"""Most combinations of the parts of an action. The network has one output for each."""


def check_combinations(spaces: EnvSpaces) -> None:
    """Raise ConfigError if the parts of an action have more combinations than an agent with action values takes."""
    if spaces.action_parts and spaces.num_actions > MAX_COMBINATIONS:
        raise ConfigError(
            f"an action has {len(spaces.action_parts)} parts with {spaces.num_actions:,} combinations; agents that"
            f" learn action values take at most {MAX_COMBINATIONS:,}, ppo takes any number"
        )
