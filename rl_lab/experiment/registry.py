"""The agents by name: the lab's own, and those that installed packages add under the entry points `rl_lab.agents`.

A package adds an environment by an entry point in `rl_lab.envs` whose name is the Gymnasium id and whose value is a callable
without arguments that registers it.
"""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from rl_lab.errors import LabError

CONFIGS = Path(__file__).resolve().parents[2] / "configs"  # beside rl_lab in a checkout and in site-packages alike


@dataclass(frozen=True)
class AgentEntry:
    """One agent of `list agents`. `load` imports its class, whose `config_class` holds the settings."""

    name: str
    paper: str  # one line: what it is and where it comes from
    load: Callable[[], Any]
    presets: Path | None  # the YAML file with its settings by environment


def _ours(name: str, module: str, attribute: str, paper: str) -> AgentEntry:
    return AgentEntry(
        name, paper, lambda: getattr(importlib.import_module(module), attribute), CONFIGS / f"{name}.yaml"
    )


BUILT_IN_AGENTS = [
    _ours("dqn", "agents.dqn", "DQN", "deep Q-network: Mnih et al. 2015, Human-level control through deep RL"),
    _ours(
        "double_dqn",
        "agents.double_dqn",
        "DoubleDQN",
        "less over-estimation: van Hasselt et al. 2015, Deep RL with double Q-learning",
    ),
    _ours(
        "dueling_dqn",
        "agents.dueling_dqn",
        "DuelingDQN",
        "value and advantage streams: Wang et al. 2015, Dueling network architectures",
    ),
    _ours(
        "dueling_double_dqn",
        "agents.dueling_double_dqn",
        "DuelingDoubleDQN",
        "double and dueling together, Wang et al. 2015",
    ),
    _ours("drqn", "agents.drqn", "DRQN", "with a memory: Hausknecht and Stone 2015, Deep recurrent Q-learning"),
    _ours("rainbow", "agents.rainbow", "Rainbow", "DQN with everything: Hessel et al. 2018, Rainbow"),
    _ours(
        "expected_sarsa",
        "agents.expected_sarsa",
        "ExpectedSarsa",
        "on-policy targets: van Seijen et al. 2009, A theoretical and empirical analysis of Expected Sarsa",
    ),
    _ours(
        "reinforce",
        "agents.reinforce",
        "Reinforce",
        "policy gradient: Williams 1992; Karpathy 2016, Pong from pixels; Schulman et al. 2016, 2017",
    ),
    _ours(
        "sb3_dqn",
        "rl_lab.baselines.sb3_agents",
        "SB3DQN",
        "Stable-Baselines3's DQN, for comparison: Raffin et al. 2021",
    ),
    _ours("sb3_ppo", "rl_lab.baselines.sb3_agents", "SB3PPO", "Stable-Baselines3's PPO, for comparison"),
    _ours("sb3_a2c", "rl_lab.baselines.sb3_agents", "SB3A2C", "Stable-Baselines3's A2C, for comparison"),
    _ours("tabular_sarsa", "agents.tabular", "TabularSarsa", "Rummery and Niranjan 1994, On-line Q-learning"),
    _ours(
        "tabular_expected_sarsa",
        "agents.tabular",
        "TabularExpectedSarsa",
        "van Seijen et al. 2009, A theoretical and empirical analysis of Expected Sarsa",
    ),
    _ours("tabular_q_learning", "agents.tabular", "TabularQLearning", "Watkins 1989, Learning from delayed rewards"),
    _ours(
        "tabular_sarsa_lambda",
        "agents.tabular",
        "TabularSarsaLambda",
        "Singh and Sutton 1996, Reinforcement learning with replacing eligibility traces",
    ),
]


@cache
def agents() -> dict[str, AgentEntry]:
    """Every agent by name. An installed agent's class may name its YAML as `presets_file` and its paper in its docstring."""
    found = {entry.name: entry for entry in BUILT_IN_AGENTS}
    for point in entry_points(group="rl_lab.agents"):
        if point.name in found:
            raise LabError(
                f"the agent {point.name!r} of {point.value} has the name of another one; rename its entry point"
            )
        try:
            cls = point.load()
        except Exception as error:  # somebody else's package must not keep ours from working
            print(f"WARNING: the agent {point.name!r} of {point.value} cannot be loaded: {error}", file=sys.stderr)
            continue
        presets = getattr(cls, "presets_file", None)
        summary = (cls.__doc__ or point.value).strip().splitlines()[0]
        found[point.name] = AgentEntry(point.name, summary, point.load, Path(presets) if presets else None)
    return found


def find_agent(name: str) -> AgentEntry:
    """The agent called `name`. Raises LabError with the nearest names."""
    known = agents()
    if name not in known:
        near = difflib.get_close_matches(name.lower(), known, 3, 0.4) or sorted(known)
        raise LabError(f"unknown agent {name!r}; nearest: {', '.join(near)} (`list agents` shows all)")
    return known[name]


def is_resumable(name: str) -> bool:
    """Whether a run of this agent can go on from a checkpoint; Stable-Baselines3's cannot."""
    return getattr(find_agent(name).load(), "resumable", True)


@cache
def load_env_plugins() -> list[str]:
    """Let installed packages register their environments; returns the ids they name."""
    ids = []
    for point in entry_points(group="rl_lab.envs"):
        try:
            point.load()()
        except Exception as error:
            print(
                f"WARNING: the environment {point.name!r} of {point.value} cannot be loaded: {error}", file=sys.stderr
            )
            continue
        ids.append(point.name)
    return ids
