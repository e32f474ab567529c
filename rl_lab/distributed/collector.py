"""A collector: a process that steps a share of a run's environments."""

from __future__ import annotations

import platform
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.core.agent import Agent, CollectedAgent, RecordsActing
from agents.core.types import Carry, Metrics, StepResult
from envs.spec import EnvSpec
from envs.stream import Episode
from rl_lab.distributed.chunk import ROW_FIELDS, Arrays, Chunk, to_arrays, to_tensors
from rl_lab.experiment import config as configuration
from rl_lab.experiment.factory import make_agent, make_envs
from rl_lab.experiment.registry import load_env_plugins
from rl_lab.training.overlapped_loop import OverlappedLoop

CPU = torch.device("cpu")


class ActingAgent:
    """The agent in the loop of a collector. It acts as the wrapped agent, and does not learn.

    The acting records of a `RecordsActing` agent are collected, because the learner's `observe` needs them.
    """

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.acting_records: list[tuple[NDArray[Any], ...]] = []  # one record per call of `act`, oldest first

    def initial_carry(self, n: int) -> Carry:
        """Return the carry of n environments before their first row."""
        return self.agent.initial_carry(n)

    def act(self, obs: Tensor, is_first: Tensor, carry: Carry, *, explore: bool) -> tuple[Tensor, Carry]:
        """Return the actions and the carry of the wrapped agent; see `Agent.act`."""
        action, carry = self.agent.act(obs, is_first, carry, explore=explore)
        if isinstance(self.agent, RecordsActing):
            record = self.agent.acting_records.popleft()
            self.acting_records.append(tuple(tensor.numpy() for tensor in record))
        return action, carry

    def observe(self, step: StepResult) -> Metrics | None:
        """Do nothing: the row is observed by the learner."""
        return None

    def pop_records(self) -> list[tuple[NDArray[Any], ...]]:
        """Return the acting records since the last call, oldest first."""
        records = self.acting_records
        self.acting_records = []
        return records


class Collector:
    """A share of a run's environments and a copy of its network. Each instance is a Ray actor in its own process."""

    def __init__(self, config: dict[str, Any], env_spec: dict[str, Any], num_envs: int, seed: int) -> None:
        """Create the agent and the environments.

        Args:
            config: The resolved configuration of the run, as a dict.
            env_spec: The environment spec of the run, as a dict.
            num_envs: Environments of this collector.
            seed: Seed of the environments and of the exploration noise.
        """
        load_env_plugins()
        torch.set_num_threads(1)
        config_of_run = configuration.from_dict(config, "the run")
        spec = EnvSpec.from_dict(env_spec)
        stream = make_envs(config_of_run, spec, num_envs, seed=seed)
        overrides = {"num_envs": num_envs, "device": "cpu", "precision": "float32", "seed": seed}
        agent = make_agent(configuration.replace_settings(config_of_run, overrides, "a collector"), spec, CPU)
        assert isinstance(agent, CollectedAgent)  # `plan_training` has checked the abilities of the agent
        self.agent = agent  # its memory stays empty, so it is not allocated
        self.acting_agent = ActingAgent(agent)
        self.loop = OverlappedLoop(self.acting_agent, stream, CPU, seed)
        self.seed = seed
        self.start_state: dict[str, Any] = {}  # see `state_at_chunk_start`

    def collect(self, weights: Arrays, steps: int, num_rows: int) -> Chunk:
        """Step the environments `num_rows` times and return the rows as a chunk.

        Args:
            weights: State dict of the network to act with.
            steps: Agent steps that the learner had observed when the weights were copied. The exploration rate depends
                on them.
            num_rows: Number of rows.
        """
        self.start_state = {
            "seed": self.seed,
            "loop": to_arrays(self.loop.state_dict()),
            "generator": to_arrays(self.agent.generator.get_state()),
        }
        self.agent.network.load_state_dict(to_tensors(weights))
        self.agent.steps = steps
        self.acting_agent.pop_records()  # a restore that truncates episodes leaves a record that belongs to no chunk
        rows: list[StepResult] = []
        episodes: list[tuple[int, Episode]] = []
        for index in range(num_rows):
            loop_step = self.loop.step()
            episodes += [(index, episode) for episode in loop_step.episodes]
            assert self.loop.pending is not None
            rows.append(self.loop.pending)
        next_row = self.loop.row
        return Chunk(
            rows={name: torch.stack([getattr(row, name) for row in rows]).numpy() for name in ROW_FIELDS},
            acting_records=self.acting_agent.pop_records(),
            episodes=episodes,
            next_row={"obs": next_row.obs, "is_first": next_row.is_first, "is_last": next_row.is_last},
        )

    def hostname(self) -> str:
        """Return the name of the machine on which the collector runs."""
        return platform.node()

    def state_at_chunk_start(self) -> dict[str, Any]:
        """Return the state, as arrays, from before the last call of `collect`. It is empty before the first call.

        After `restore` of this state, `collect` returns the same chunk again. Ray runs the calls of an actor in order,
        so this call is answered only after the chunk that was requested before it.
        """
        return self.start_state

    def restore(self, state: dict[str, Any]) -> bool:
        """Restore a state of `state_at_chunk_start`.

        Returns:
            True if the environments continue their saved episodes. False if they are not reproducible and new episodes
            begin.
        """
        self.seed = state["seed"]
        is_exact = self.loop.restore(to_tensors(state["loop"]), self.seed)
        self.agent.generator.set_state(torch.tensor(state["generator"]))
        return is_exact
