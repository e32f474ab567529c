"""The agents that `train` accepts by name, and the environments that installed packages add.

A package adds an agent with an entry point in the group `rl_lab.agents`:

    [project.entry-points."rl_lab.agents"]
    my_dqn = "my_package.agent:MyDQN"

The name of the entry point is the agent's name on the command line. The value is the agent class. The class

- follows the protocol `agents.core.agent.Agent` (subclassing is not needed);
- names its settings, a frozen dataclass, in the class attribute `config_class`;
- is built as `cls(config, spaces, seed=..., device=..., dtype=...)`;
- may name a YAML file of settings by environment in the class attribute `presets_file`;
- may say what its parts take of the memory in a class method `memory_needs(config, spaces)`, and the size of its
  network in a class method `network_size(config, spaces)` (`agents.core.memory_needs`);
- may state what it supports in the class attribute `abilities` (`agents.core.agent.Abilities`). Without
  `packed_observations`, the lab refuses environments with action masks, and with images beside vectors; without
  `continuous_actions`, it refuses environments with a Box of actions;
- may define `make_loop` if its algorithm has a training loop of its own (see
  `rl_lab.training.training_loop.BringsOwnLoop`).

The first line of the class docstring is shown by `list agents`.

A package adds an environment with an entry point in the group `rl_lab.envs`:

    [project.entry-points."rl_lab.envs"]
    "MyEnv-v0" = "my_package.envs:register"

The name of the entry point is the Gymnasium id. The value is a function without arguments that registers the
environment with `gymnasium.register`.
"""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rl_lab.errors import LabError
from rl_lab.system.printable import print_line

if TYPE_CHECKING:  # these modules import torch, which would slow down `list agents`
    import torch

    from agents.core.agent import Abilities, Agent
    from agents.core.types import EnvSpaces

CONFIGS = Path(__file__).resolve().parents[2] / "configs"  # beside rl_lab, in a checkout and in site-packages


class AgentClass(Protocol):
    """The class of an agent, or any callable with these attributes that returns an agent."""

    config_class: type[Any]
    """Frozen dataclass of the agent's settings."""

    def __call__(self, config: Any, spaces: EnvSpaces, *, seed: int, device: torch.device, dtype: torch.dtype) -> Agent:
        """Return an untrained agent.

        Args:
            config: An instance of `config_class`.
            spaces: Shapes and types of observations and actions.
            seed: Seed of the initial weights and of exploration.
            device: Device of the networks and the replay.
            dtype: Type in which an image encoder computes.
        """
        ...

    def bytes_needed(self, config: Any, spaces: EnvSpaces) -> int:
        """Return the bytes that the agent's memory (replay or rollout) takes on its device."""
        ...


@dataclass(frozen=True)
class AgentEntry:
    """An agent as the registry lists it, before its class is imported."""

    name: str
    paper: str
    """One line: what the agent is, and the paper it comes from."""
    load: Callable[[], AgentClass]
    """Import the agent class and return it."""
    load_config_class: Callable[[], type[Any]]
    """Return the class of the agent's settings. For the built-in agents, this does not import torch."""
    presets: Path | None
    """The YAML file with the agent's settings by environment, or None if the agent has no such file."""

    @property
    def abilities(self) -> Abilities:
        """Return the attribute `abilities` of the agent class. A class without this attribute has all abilities."""
        from agents.core.agent import Abilities

        return getattr(self.load(), "abilities", Abilities())


def _built_in(name: str, agent: str, config: str, paper: str) -> AgentEntry:
    """Return the entry of one of the project's own agents.

    Args:
        name: Name of the agent.
        agent: The agent class, as module:Class.
        config: The class of the agent's settings, as module:Class.
        paper: One line about the agent.
    """
    return AgentEntry(name, paper, partial(_load, agent), partial(_load, config), CONFIGS / f"{name}.yaml")


def _load(path: str) -> Any:
    """Return the class that module:Class names."""
    module, _, class_name = path.partition(":")
    return getattr(importlib.import_module(module), class_name)


BUILT_IN_AGENTS = [
    _built_in(
        "dqn",
        "agents.dqn:DQN",
        "agents.configs.dqn:DQNConfig",
        "deep Q-network: Mnih et al. 2015, Human-level control through deep RL",
    ),
    _built_in(
        "double_dqn",
        "agents.double_dqn:DoubleDQN",
        "agents.configs.dqn:DQNConfig",
        "less over-estimation: van Hasselt et al. 2015, Deep RL with double Q-learning",
    ),
    _built_in(
        "dueling_dqn",
        "agents.dueling_dqn:DuelingDQN",
        "agents.configs.dqn:DuelingDQNConfig",
        "value and advantage streams: Wang et al. 2015, Dueling network architectures",
    ),
    _built_in(
        "dueling_double_dqn",
        "agents.dueling_double_dqn:DuelingDoubleDQN",
        "agents.configs.dqn:DuelingDQNConfig",
        "double and dueling together: Wang et al. 2015, Dueling network architectures",
    ),
    _built_in(
        "drqn",
        "agents.drqn:DRQN",
        "agents.configs.dqn:DRQNConfig",
        "with a memory: Hausknecht and Stone 2015, Deep recurrent Q-learning",
    ),
    _built_in(
        "rainbow",
        "agents.rainbow:Rainbow",
        "agents.configs.dqn:RainbowConfig",
        "DQN with six extensions: Hessel et al. 2018, Rainbow",
    ),
    _built_in(
        "qr_dqn",
        "agents.qr_dqn:QRDQN",
        "agents.configs.dqn:QRDQNConfig",
        "quantiles of the return: Dabney et al. 2018, Distributional RL with quantile regression",
    ),
    _built_in(
        "expected_sarsa",
        "agents.expected_sarsa:ExpectedSarsa",
        "agents.configs.dqn:DQNConfig",
        "on-policy targets: van Seijen et al. 2009, A theoretical and empirical analysis of Expected Sarsa"
        " (the preset paper is that of dqn)",
    ),
    _built_in(
        "reinforce",
        "agents.reinforce:Reinforce",
        "agents.configs.reinforce:ReinforceConfig",
        "policy gradient, one step for each batch: Williams 1992; Karpathy 2016, Pong from pixels",
    ),
    _built_in(
        "ppo",
        "agents.ppo:PPO",
        "agents.configs.ppo:PPOConfig",
        "clipped policy gradient: Schulman et al. 2017, Proximal policy optimization algorithms",
    ),
    _built_in(
        "recurrent_ppo",
        "agents.recurrent_ppo:RecurrentPPO",
        "agents.configs.ppo:RecurrentPPOConfig",
        "ppo with a memory: an LSTM or GRU, with stored states as in Kapturowski et al. 2019, Recurrent experience"
        " replay",
    ),
    _built_in(
        "a2c",
        "agents.a2c:A2C",
        "agents.configs.a2c:A2CConfig",
        "actor-critic with n-step returns: Mnih et al. 2016, Asynchronous methods for deep RL",
    ),
    _built_in(
        "pqn",
        "agents.pqn:PQN",
        "agents.configs.pqn:PQNConfig",
        "Q-learning without a replay memory: Gallici et al. 2024, Simplifying deep temporal difference learning",
    ),
    _built_in(
        "sac",
        "agents.sac:SAC",
        "agents.configs.sac:SACConfig",
        "for continuous actions: Haarnoja et al. 2018, Soft actor-critic algorithms and applications",
    ),
    _built_in(
        "td3",
        "agents.td3:TD3",
        "agents.configs.td3:TD3Config",
        "for continuous actions: Fujimoto et al. 2018, Addressing function approximation error in actor-critic methods",
    ),
    _built_in(
        "sb3_dqn",
        "rl_lab.baselines.sb3_agents:SB3DQN",
        "rl_lab.baselines.sb3_config:SB3DQNConfig",
        "Stable-Baselines3's DQN, for comparison: Raffin et al. 2021",
    ),
    _built_in(
        "sb3_ppo",
        "rl_lab.baselines.sb3_agents:SB3PPO",
        "rl_lab.baselines.sb3_config:SB3PPOConfig",
        "Stable-Baselines3's PPO, for comparison",
    ),
    _built_in(
        "sb3_a2c",
        "rl_lab.baselines.sb3_agents:SB3A2C",
        "rl_lab.baselines.sb3_config:SB3A2CConfig",
        "Stable-Baselines3's A2C, for comparison",
    ),
    _built_in(
        "sb3_qrdqn",
        "rl_lab.baselines.sb3_contrib_agents:SB3QRDQN",
        "rl_lab.baselines.sb3_config:SB3QRDQNConfig",
        "SB3-Contrib's QR-DQN, for comparison",
    ),
    _built_in(
        "sb3_recurrent_ppo",
        "rl_lab.baselines.sb3_contrib_agents:SB3RecurrentPPO",
        "rl_lab.baselines.sb3_config:SB3RecurrentPPOConfig",
        "SB3-Contrib's PPO with an LSTM, for comparison",
    ),
    _built_in(
        "sb3_sac",
        "rl_lab.baselines.sb3_actor_critics:SB3SAC",
        "rl_lab.baselines.sb3_config:SB3SACConfig",
        "Stable-Baselines3's SAC, for comparison, for continuous actions",
    ),
    _built_in(
        "sb3_td3",
        "rl_lab.baselines.sb3_actor_critics:SB3TD3",
        "rl_lab.baselines.sb3_config:SB3TD3Config",
        "Stable-Baselines3's TD3, for comparison, for continuous actions",
    ),
    _built_in(
        "tabular_sarsa",
        "agents.tabular:TabularSarsa",
        "agents.configs.tabular:TabularConfig",
        "Rummery and Niranjan 1994, On-line Q-learning",
    ),
    _built_in(
        "tabular_expected_sarsa",
        "agents.tabular:TabularExpectedSarsa",
        "agents.configs.tabular:TabularConfig",
        "van Seijen et al. 2009, A theoretical and empirical analysis of Expected Sarsa",
    ),
    _built_in(
        "tabular_q_learning",
        "agents.tabular:TabularQLearning",
        "agents.configs.tabular:TabularConfig",
        "Watkins 1989, Learning from delayed rewards",
    ),
    _built_in(
        "tabular_sarsa_lambda",
        "agents.tabular:TabularSarsaLambda",
        "agents.configs.tabular:SarsaLambdaConfig",
        "Singh and Sutton 1996, Reinforcement learning with replacing eligibility traces",
    ),
]


@cache
def agents() -> dict[str, AgentEntry]:
    """Return all agents by name: the built-in ones, then those of installed packages.

    Raises:
        LabError: An installed package uses the name of another agent.
    """
    entries = {entry.name: entry for entry in BUILT_IN_AGENTS}
    for point in entry_points(group="rl_lab.agents"):
        if point.name in entries:
            raise LabError(
                f"the agent {point.name!r} of {point.value} has the name of another agent; rename its entry point"
            )
        entry = _load_agent_plugin(point)
        if entry is not None:
            entries[point.name] = entry
    return entries


def _load_agent_plugin(point: EntryPoint) -> AgentEntry | None:
    """Return the entry of an installed package's agent. If the class cannot be imported, warn and return None."""
    try:
        cls = point.load()
    except Exception as error:  # a broken package must not disable the other agents
        print_line(f"WARNING: the agent {point.name!r} of {point.value} cannot be loaded: {error}", file=sys.stderr)
        return None
    presets = getattr(cls, "presets_file", None)
    summary = (cls.__doc__ or point.value).strip().splitlines()[0]
    return AgentEntry(point.name, summary, point.load, lambda: cls.config_class, Path(presets) if presets else None)


def find_agent(name: str) -> AgentEntry:
    """Return the agent called `name`. Raises LabError, with the nearest names, if there is none."""
    known = agents()
    if name not in known:
        nearest = difflib.get_close_matches(name.lower(), known, 3, 0.4) or sorted(known)
        raise LabError(f"unknown agent {name!r}; nearest: {', '.join(nearest)} (`list agents` shows all)")
    return known[name]


def is_resumable(name: str) -> bool:
    """Return True if runs of this agent can be resumed. Runs of the Stable-Baselines3 agents cannot."""
    return find_agent(name).abilities.resumable


@cache
def load_env_plugins() -> list[str]:
    """Register the environments of installed packages, and return their Gymnasium ids. Later calls do nothing more."""
    ids = []
    for point in entry_points(group="rl_lab.envs"):
        try:
            register = point.load()
            register()
        except Exception as error:  # a broken package must not disable the other environments
            print_line(
                f"WARNING: the environment {point.name!r} of {point.value} cannot be loaded: {error}", file=sys.stderr
            )
            continue
        ids.append(point.name)
    return ids
