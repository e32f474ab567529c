"""Settings of the tabular agents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from agents.core.settings import Count, CountOrZero, Fraction, Range


@dataclass(frozen=True)
class TabularConfig:
    """Settings of the tabular agents. An agent step is one decision in one environment."""

    alpha: Annotated[float, Range(0, 1, open_low=True)] = 0.5
    """Step size: fraction of the temporal-difference error that is added to Q(s, a)."""
    gamma: Fraction = 1.0
    """Discount per agent step."""
    epsilon_start: Fraction = 0.1
    """Probability of a random action at the first agent step."""
    epsilon_end: Fraction = 0.1
    """Probability of a random action from agent step epsilon_steps on."""
    epsilon_steps: CountOrZero = 0
    """Agent step until which epsilon changes linearly from epsilon_start to epsilon_end."""
    initial: float = 0.0
    """Q(s, a) of all states and actions before learning. A high value makes the agent try every action."""
    tilings: Count = 8
    """Number of tilings over a vector observation, each shifted against the others. Discrete states do not use
    tilings."""
    tiles: Count = 8
    """Number of tiles of each tiling along each entry of a vector observation."""
    independent: bool = False
    """Learn a separate table for each environment, for studies in which each environment is a separate run."""


@dataclass(frozen=True)
class SarsaLambdaConfig(TabularConfig):
    """Settings of SARSA(lambda)."""

    trace_decay: Fraction = 0.9
    """lambda. Every trace is multiplied by gamma * lambda after each agent step."""
    traces: Literal["replacing", "accumulating"] = "replacing"
    """Change of the traces of an active feature: "accumulating" adds 1 to the trace of the chosen action; "replacing"
    sets this trace to 1, and the traces of the other actions to 0."""
