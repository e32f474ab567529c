"""The side that plays: a share of the environments in a worker of Ray, turned by the same loop as ever."""

from __future__ import annotations

import platform
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.core.types import Carry, Metrics, StepResult
from envs.spec import EnvSpec
from envs.stream import Episode
from rl_lab.experiment import config as configuration
from rl_lab.experiment.config import Config
from rl_lab.experiment.factory import make_agent, make_envs
from rl_lab.experiment.registry import load_env_plugins
from rl_lab.training.loop import Loop

Weights = dict[str, NDArray[Any]]


class Chunk(NamedTuple):
    """What a collector sends: T complete rows of its environments, and the row that comes after them."""

    rows: dict[str, NDArray[Any]]  # the fields of Step but `live`, [T, n, ...]
    played: list[tuple[NDArray[Any], ...]]  # what the agent's `act` left for its `observe`, T times, if it does
    games: list[tuple[int, Episode]]  # the games that ended, with the row
    next_row: dict[str, NDArray[Any]]  # obs, first, dead


class Player:
    """An agent that acts and does not learn: what a collector's loop turns with."""

    def __init__(self, agent: Any) -> None:
        self.agent = agent
        self.played: list[tuple[NDArray[Any], ...]] = []

    def initial_carry(self, n: int) -> Carry:
        return self.agent.initial_carry(n)

    def act(self, obs: Tensor, is_first: Tensor, carry: Carry, *, explore: bool) -> tuple[Tensor, Carry]:
        action, carry = self.agent.act(obs, is_first, carry, explore=explore)
        if hasattr(self.agent, "acting_records"):
            self.played.append(tuple(x.numpy() for x in self.agent.acting_records.popleft()))
        return action, carry

    def observe(self, step: StepResult) -> Metrics | None:
        return None


class Collector:
    """A share of a run's environments and a copy of its network, in a worker of Ray."""

    def __init__(self, config: dict[str, Any], env_spec: dict[str, Any], num_envs: int, seed: int) -> None:
        load_env_plugins()
        torch.set_num_threads(1)
        resolved, its_env_spec = configuration.from_dict(config, "the run"), EnvSpec.from_dict(env_spec)
        self.seed = seed
        stream = make_envs(resolved, its_env_spec, num_envs)
        here = {"num_envs": num_envs, "device": "cpu", "precision": "float32", "seed": seed}
        resolved = configuration.replaced(resolved, {**here, **_small_memory(resolved, num_envs)}, "a collector")
        self.agent: Any = make_agent(resolved, its_env_spec, torch.device("cpu"))
        self.player = Player(self.agent)
        self.loop = Loop(self.player, stream, torch.device("cpu"), seed)  # type: ignore[arg-type]
        self.begin: dict[str, Any] = {}  # the state at the beginning of the last chunk

    def collect(self, weights: Weights, steps: int, rows: int) -> Chunk:
        """Play so many rows with these weights, exploring as after `steps` agent steps."""
        self.begin = {
            "seed": self.seed,
            "loop": plain(self.loop.state_dict()),
            "generator": self.agent.generator.get_state().numpy().copy(),
        }
        self.agent.network.load_state_dict({name: torch.tensor(x) for name, x in weights.items()})
        self.agent.steps = steps
        self.player.played, played = [], []
        found: list[StepResult] = []
        games: list[tuple[int, Episode]] = []
        for t in range(rows):
            games += [(t, game) for game in self.loop.step().episodes]
            assert self.loop.pending is not None
            found.append(self.loop.pending)
        played, self.player.played = self.player.played, []
        fields = {
            name: torch.stack([getattr(s, name) for s in found]).numpy()
            for name in StepResult._fields
            if name != "num_active"
        }
        row = self.loop.row
        return Chunk(fields, played, games, {"obs": row.obs, "is_first": row.is_first, "is_last": row.is_last})

    def machine(self) -> str:
        """The name of the machine that it runs on."""
        return platform.node()

    def state(self) -> dict[str, Any]:
        """What `restore` needs to play the last chunk again, as arrays."""
        return self.begin

    def restore(self, state: dict[str, Any]) -> bool:
        """Go back to the beginning of a chunk; whether the environments came back exactly."""
        self.seed = state["seed"]
        exact = self.loop.restore(tensors(state["loop"]), self.seed)
        self.agent.generator.set_state(torch.tensor(state["generator"]))
        return exact


def _small_memory(config: Config, num_envs: int) -> dict[str, Any]:
    """A replay that holds next to nothing, for agents that will not learn."""
    settings = config.settings
    length = (
        getattr(settings, "burn_in", 0) + getattr(settings, "unroll", 0) + settings.n_step + settings.frame_stack + 2
    )
    return {"replay_size": max(settings.batch_size, length * num_envs)}


def plain(tree: Any) -> Any:
    """A tree of tensors as arrays that are nobody else's."""
    if isinstance(tree, Tensor):
        return tree.cpu().numpy().copy()
    return {k: plain(v) for k, v in tree.items()} if isinstance(tree, dict) else tree


def tensors(tree: Any) -> Any:
    """A tree of arrays as tensors that are nobody else's: what Ray hands over cannot be written to."""
    if isinstance(tree, np.ndarray):
        return torch.tensor(tree)
    return {k: tensors(v) for k, v in tree.items()} if isinstance(tree, dict) else tree
