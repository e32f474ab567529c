"""The training loop of a learner whose environments run in collectors."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from ray.exceptions import ObjectLostError, RayActorError, RayError, RayTaskError
from torch import Tensor

from agents.core.agent import Agent, CollectedAgent, RecordsActing
from agents.core.stopwatch import Stopwatch
from agents.core.types import Metrics, StepResult
from envs.spec import EnvSpec
from envs.stream import Episode, spread_seeds
from rl_lab.distributed.chunk import (
    ROW_FIELDS,
    ActingWeights,
    Chunk,
    chunk_from_state,
    chunk_to_state,
    to_arrays,
    to_tensors,
)
from rl_lab.distributed.collector import Collector
from rl_lab.distributed.ray_cluster import connected
from rl_lab.errors import Fault, LabError
from rl_lab.experiment.config import Config
from rl_lab.system.cores import share_of_cores
from rl_lab.system.device import on_device
from rl_lab.training.training_loop import LoopStep

CHUNK_ROWS = 16
"""Rows of a chunk.

When the agent observes a row, it has observed at most 32 other rows (two chunks) since the weights that played this row
were copied. With 8 environments, these weights are then at most 32 * 8 = 256 agent steps old.
"""


class CollectorLoop:
    """A `TrainingLoop` that learns from the chunks of collectors; see the package docstring for the order of events."""

    def __init__(self, config: Config, env_spec: EnvSpec, agent: Agent, device: torch.device) -> None:
        """Connect to Ray and start the collectors.

        Raises:
            LabError: num_envs is not a multiple of collectors, no Ray cluster answers, or Ray has fewer cores than
                collectors.
        """
        run = config.run
        assert isinstance(agent, CollectedAgent)  # `plan_training` has checked the abilities of the agent
        if run.num_envs % run.collectors:
            raise LabError(f"collectors is {run.collectors}; it must divide num_envs, {run.num_envs}")
        self.config = config
        self.env_spec = env_spec
        self.agent = agent
        self.device = device
        self.envs_per_collector = run.num_envs // run.collectors
        self.seconds = Stopwatch()
        self.cleanup = ExitStack()
        self.cleanup.enter_context(connected(run.address))
        cores = int(ray.cluster_resources().get("CPU", 0))
        if cores < run.collectors:
            self.cleanup.close()
            raise LabError(f"collectors is {run.collectors}; each needs a core, and Ray has {cores}")
        self.num_replaced = 0  # number of collectors that died and were replaced
        self.actors = [self._start_collector(i) for i in range(run.collectors)]
        self._limit_threads()

        # The chunks that the agent learns from, one for each collector in the order of `actors`.
        self.chunks: list[Chunk] = []
        self.index = CHUNK_ROWS  # index of the next row to take from the chunks; CHUNK_ROWS if all rows are taken
        self.acting_steps = 0  # `ActingWeights.steps` of the weights with which these chunks were played

        # The following chunks, which the collectors are playing now.
        self.futures: list[Any] = []  # references to the results of `Collector.collect`; empty before the first step
        self.playing_weights = self._copy_weights()  # weights with which the collectors are playing these chunks
        # Numbers of the collectors that play new episodes since the last fetch, because they were replaced or could not
        # be restored. Their old episodes must be truncated.
        self.interrupted: set[int] = set()

        # The last row that `step` has taken from the chunks. It is complete, but not yet observed by the agent.
        self.pending: StepResult | None = None
        self.pending_record: tuple[Tensor, ...] | None = None  # acting record of this row, for a `RecordsActing` agent

    def run(self, after: Callable[[LoopStep], bool], *, steps: int) -> None:
        """Call `step`, then `after` with its result, until `after` returns False. `steps` is not used."""
        while after(self.step()):
            pass

    def step(self) -> LoopStep:
        """Take the next row of all environments from the chunks, and let the agent observe the pending row.

        The new row is then the pending row.

        Returns:
            The outcome of the new row. Its metrics are from the update on the previous row.
        """
        # The chunks must be fetched before the agent observes the pending row: if a collector was replaced,
        # `_insert_last_row` marks the pending row as truncated.
        if self.index == CHUNK_ROWS:
            self._next_chunks()
        index = self.index
        self.index += 1
        metrics = self._observe_pending()
        num_active = self.config.run.num_envs
        for chunk in self.chunks:
            num_active -= int(chunk.rows["is_last"][index].sum())
        fields = {name: self._join([chunk.rows[name][index] for chunk in self.chunks]) for name in ROW_FIELDS}
        self.pending = StepResult(**fields, num_active=num_active)
        if self.chunks[0].acting_records:
            parts = zip(*(chunk.acting_records[index] for chunk in self.chunks), strict=True)
            self.pending_record = tuple(self._join(list(arrays)) for arrays in parts)
        return LoopStep(num_active, metrics, self._episodes_of_row(index))

    def gauges(self) -> dict[str, float]:
        """Return the age of the weights that played the chunks, in agent steps, and the number of replacements."""
        staleness = self.agent.steps - self.acting_steps
        return {"collectors/staleness": staleness, "collectors/replaced": self.num_replaced}

    def export(self, run_folder: Path) -> None:
        """Write nothing: no other program needs files of this loop."""

    def close(self) -> None:
        """End the collectors, and the Ray cluster if this run started it."""
        self.cleanup.close()

    # --- Chunks -------------------------------------------------------------------------------------------------------

    def _next_chunks(self) -> None:
        """Wait for the chunks that are being played, and let the collectors play the following chunks.

        The following chunks are played with the present weights, while the agent learns from the fetched chunks.
        """
        if not self.futures:
            self._start_chunks()
        # `self.chunks` must hold the previous chunks until all new chunks have arrived: `_insert_last_row` reads the
        # `next_row` of the previous chunks.
        chunks = []
        with self.seconds("emulation"):
            for i in range(len(self.actors)):
                chunk = self._fetch(i)
                chunks.append(chunk)
        self.chunks = chunks
        self.interrupted.clear()
        self.acting_steps = self.playing_weights.steps
        self.playing_weights = self._copy_weights()
        self._start_chunks()
        self.index = 0

    def _start_chunks(self) -> None:
        """Let every collector play its next chunk with `playing_weights`."""
        # Stored once: all collectors receive a reference to the same copy.
        weights = ray.put(self.playing_weights.weights)
        steps = self.playing_weights.steps
        self.futures = []
        for i, actor in enumerate(self.actors):
            num_rows = self._rows_to_collect(i)
            self.futures.append(actor.collect.remote(weights, steps, num_rows))

    def _rows_to_collect(self, i: int) -> int:
        """Return the number of rows that collector i must play.

        An interrupted collector plays one row fewer, because `_insert_last_row` adds a row to its chunk.
        """
        if i in self.interrupted:
            return CHUNK_ROWS - 1
        return CHUNK_ROWS

    def _fetch(self, i: int) -> Chunk:
        """Wait for the chunk of collector i and return the chunk. Replace the collector whenever it dies.

        Raises:
            Fault: The constructor of the collector failed, so another replacement would fail too.
            EnvFault: An environment of the collector failed.
        """
        while True:
            try:
                chunk: Chunk = ray.get(self.futures[i])
            except (RayActorError, ObjectLostError) as error:
                if getattr(error, "actor_init_failed", False):
                    reason = " ".join(str(error).split())[-300:]
                    raise Fault(f"a collector cannot start: {reason}") from error
                self._replace_collector(i)
                continue
            except RayTaskError as error:  # its text is a traceback of many lines
                raise error.cause from error
            if i in self.interrupted:
                return self._insert_last_row(i, chunk)
            return chunk

    def _replace_collector(self, i: int) -> None:
        """Start a new collector in place of dead collector i, and let the new one play the chunk."""
        self.num_replaced += 1
        print(f"WARNING: collector {i + 1} died and is replaced; its episodes are truncated", file=sys.stderr)
        self.actors[i] = self._start_collector(i)
        if self.pending is not None:  # otherwise the learner has no rows of the old episodes yet
            self.interrupted.add(i)
        weights, steps = self.playing_weights
        self.futures[i] = self.actors[i].collect.remote(weights, steps, self._rows_to_collect(i))

    def _insert_last_row(self, i: int, chunk: Chunk) -> Chunk:
        """Truncate the episodes that collector i was playing when it was interrupted.

        The pending row is the last row of these episodes that has an action. It is marked as truncated. The
        observations that follow it (`next_row` of the previous chunk) become a row with `is_last` True. This row is
        inserted before the rows of the new episodes. `OverlappedLoop` does likewise if a resumed run cannot reproduce
        its environments.

        Args:
            i: Number of the collector.
            chunk: The first CHUNK_ROWS - 1 rows of the new episodes.

        Returns:
            The chunk with CHUNK_ROWS rows.
        """
        assert self.pending is not None
        is_interrupted = torch.zeros(self.config.run.num_envs, dtype=torch.bool, device=self.device)
        is_interrupted[i * self.envs_per_collector : (i + 1) * self.envs_per_collector] = True
        next_is_last = self._join([previous.next_row["is_last"] for previous in self.chunks])
        # bool[N], True where an episode continues through the pending row and the row after it. A terminated row needs
        # no truncation, because its returns end with this row (also after a lost life).
        running = is_interrupted & ~self.pending.is_last & ~self.pending.terminated & ~next_is_last
        self.pending = self.pending._replace(truncated=self.pending.truncated | running)

        next_row = self.chunks[i].next_row  # `self.chunks` still holds the previous chunks
        last_row = {name: np.zeros_like(field[:1]) for name, field in chunk.rows.items()}
        last_row["obs"] = next_row["obs"][None]
        last_row["is_first"] = next_row["is_first"][None]
        last_row["is_last"] = np.ones_like(next_row["is_last"])[None]
        records = chunk.acting_records
        if records:
            records = [tuple(np.zeros_like(array) for array in records[0]), *records]
        return Chunk(
            rows={name: np.concatenate([last_row[name], field]) for name, field in chunk.rows.items()},
            acting_records=records,
            episodes=[(index + 1, episode) for index, episode in chunk.episodes],
            next_row=chunk.next_row,
        )

    # --- Rows ---------------------------------------------------------------------------------------------------------

    def _observe_pending(self) -> Metrics | None:
        """Let the agent observe the pending row."""
        if self.pending is None:
            return None
        if self.pending_record is not None:
            assert isinstance(self.agent, RecordsActing)
            self.agent.acting_records.append(self.pending_record)
        return self.agent.observe(self.pending)

    def _episodes_of_row(self, index: int) -> list[Episode]:
        """Return the episodes that ended with row `index` of the chunks.

        A collector numbers its environments from 0 to n - 1. The returned episodes have numbers from 0 to N - 1.
        """
        episodes: list[Episode] = []
        for i, chunk in enumerate(self.chunks):
            first_env = i * self.envs_per_collector
            ended = [episode for row, episode in chunk.episodes if row == index]
            episodes += [episode._replace(env=first_env + episode.env) for episode in ended]
        return episodes

    def _join(self, parts: list[Any]) -> Tensor:
        """Join one array [n, ...] per collector into a tensor [N, ...] on the agent's device.

        n is the number of environments of a collector (`envs_per_collector`), N that of the run (`num_envs`).
        """
        return on_device(np.concatenate(parts), self.device)

    # --- Collectors ---------------------------------------------------------------------------------------------------

    def _start_collector(self, i: int) -> Any:
        """Return a new Ray actor for collector i. A replacement has another seed, so that it plays other episodes."""
        seed = int(spread_seeds([self.config.run.seed, i, self.num_replaced], 1)[0])
        actor_class: Any = ray.remote(num_cpus=1)(Collector)
        return actor_class.remote(self.config.to_dict(), self.env_spec.to_dict(), self.envs_per_collector, seed)

    def _limit_threads(self) -> None:
        """Limit PyTorch's threads in this process, so that each collector on this machine has a core of its own.

        Threads that share a core would wait for each other. `close` restores the number of threads.
        """
        num_local = 0
        for actor in self.actors:
            with suppress(RayError):  # a dead collector is replaced when its chunk is fetched
                if ray.get(actor.hostname.remote()) == platform.node():
                    num_local += 1
        threads = torch.get_num_threads()
        self.cleanup.callback(torch.set_num_threads, threads)
        torch.set_num_threads(min(threads, share_of_cores(reserved=num_local)))

    def _copy_weights(self) -> ActingWeights:
        """Return a copy of the agent's weights for the collectors."""
        return ActingWeights(to_arrays(self.agent.network.state_dict()), self.agent.steps)

    # --- State --------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return the chunks with the index of the next row, and what is needed to play the following chunks again.

        Needed are the weights, and the state of each collector before it began to play.
        """
        state: dict[str, Any] = {
            "index": self.index,
            "num_replaced": self.num_replaced,
            "acting_steps": self.acting_steps,
            "next_weights": to_tensors(self.playing_weights._asdict()),
            "chunks": [chunk_to_state(chunk) for chunk in self.chunks],
            "start_states": self._start_states(),
            "interrupted": sorted(self.interrupted),
        }
        if self.pending is not None:
            state["pending"] = self.pending._asdict()
        if self.pending_record is not None:
            state["pending_record"] = list(self.pending_record)
        return state

    def _start_states(self) -> dict[str, Any]:
        """Return for each collector its state before the chunk that it is playing: collector number -> state.

        A collector that has died is left out. Its episodes are truncated when the run is resumed.
        """
        states: dict[str, Any] = {}
        if not self.futures:
            return states
        for i, actor in enumerate(self.actors):
            with suppress(RayError):
                states[str(i)] = to_tensors(ray.get(actor.state_at_chunk_start.remote()))
        return states

    def restore(self, state: dict[str, Any], seed: int) -> bool:
        """Restore the state that `state_dict` returned, and let the collectors play the following chunks again.

        Args:
            state: The saved state.
            seed: Not used: the state of each collector holds the seed of its environments.

        Returns:
            True if all collectors continue their saved episodes. False if at least one collector plays new episodes,
            because its environments are not reproducible or because it had died when the state was saved.
        """
        self.index = state["index"]
        self.num_replaced = state["num_replaced"]
        self.acting_steps = state["acting_steps"]
        self.playing_weights = ActingWeights(**to_arrays(state["next_weights"]))
        self.chunks = [chunk_from_state(chunk) for chunk in state["chunks"]]
        if "pending" in state:
            self.pending = StepResult(**state["pending"])
        if "pending_record" in state:
            self.pending_record = tuple(state["pending_record"])
        if not self.chunks:
            return True
        lost = set()  # numbers of the collectors that cannot continue their saved episodes
        for i, actor in enumerate(self.actors):
            start_state = state["start_states"].get(str(i))
            if start_state is None or not ray.get(actor.restore.remote(to_arrays(start_state))):
                lost.add(i)
        self.interrupted = set(state["interrupted"]) | lost
        self._start_chunks()
        return not lost
