"""The side that learns: what the runner's loop is, with the environments elsewhere."""

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
from numpy.typing import NDArray
from ray.exceptions import ObjectLostError, RayActorError, RayError
from torch import Tensor

from agents.core.stopwatch import Stopwatch
from agents.core.types import Metrics, StepResult
from envs.spec import EnvSpec
from envs.stream import Episode, spread_seeds
from rl_lab.distributed.collector import Chunk, Collector, Weights, plain, tensors
from rl_lab.distributed.ray_cluster import connected
from rl_lab.errors import Fault, LabError
from rl_lab.experiment.config import Config
from rl_lab.system.device import num_cores, on_device
from rl_lab.training.loop import LoopStep

CHUNK = 16  # rows; with 8 environments a row is at most 256 agent steps old when it is learned from


def _chunk_state(chunk: Chunk) -> dict[str, Any]:
    """A chunk as a tree of tensors and plain values."""
    played = {str(t): {str(j): torch.tensor(x) for j, x in enumerate(row)} for t, row in enumerate(chunk.played)}
    return {
        "rows": tensors(chunk.rows),
        "games": [[t, *game] for t, game in chunk.games],
        "next_row": tensors(chunk.next_row),
        **({"played": played} if played else {}),
    }


def _chunk_of(state: dict[str, Any]) -> Chunk:
    played = plain(state.get("played", {}))
    rows = [tuple(played[str(t)][str(j)] for j in range(len(played[str(t)]))) for t in range(len(played))]
    games = [(int(t), Episode(int(env), score, int(length))) for t, env, score, length in state["games"]]
    return Chunk(plain(state["rows"]), rows, games, plain(state["next_row"]))


class CollectorLoop:
    """What `Loop` is to the runner, with the environments elsewhere."""

    def __init__(self, config: Config, env_spec: EnvSpec, agent: Any, device: torch.device) -> None:
        """Raises LabError where the agent has no replay, the environments cannot be shared out, or cores are missing."""
        run = config.run
        if not hasattr(agent, "replay"):
            raise LabError(f"collectors is {run.collectors}; {config.agent} has no replay and learns where it plays")
        if run.num_envs % run.collectors:
            raise LabError(f"collectors is {run.collectors}; it must divide num_envs, {run.num_envs}")
        self.config, self.env_spec, self.agent, self.device = config, env_spec, agent, device
        self.share = run.num_envs // run.collectors
        self.seconds = Stopwatch()
        self.closing = ExitStack()
        self.closing.enter_context(connected(run.address))
        cores = int(ray.cluster_resources().get("CPU", 0))
        if cores < run.collectors:
            self.closing.close()
            raise LabError(f"collectors is {run.collectors}; each needs a core, and Ray has {cores}")
        self.replaced = 0  # collectors that died
        self.actors = [self._new(i) for i in range(run.collectors)]
        self._leave_cores()
        self.pending: StepResult | None = None  # the last row of the chunk before, complete but not yet observed
        self.pending_played: tuple[Tensor, ...] | None = None
        self.last: list[dict[str, NDArray[Any]]] = []  # the row after it, of each collector
        self.chunks: list[Chunk] = []  # what is being learned from, of each collector
        self.index = CHUNK  # of the next row in it
        self.played_at = 0  # the agent steps that the weights knew which played it
        self.sent: tuple[Weights, int] = self._weights()  # what the chunk to come is played with
        self.coming: list[Any] = []
        self.cut: set[int] = set()  # collectors whose episodes must be ended, because others have begun

    def _new(self, i: int) -> Any:
        seed = int(spread_seeds([self.config.run.seed, i, self.replaced], 1)[0])
        remote: Any = ray.remote(num_cpus=1)(Collector)
        return remote.remote(self.config.to_dict(), self.env_spec.to_dict(), self.share, seed)

    def _leave_cores(self) -> None:
        """Compute with fewer threads where collectors play on this machine: threads that want one core wait for each other."""
        left = num_cores()
        for actor in self.actors:
            with suppress(RayError):  # it is said, and another takes its place, when its chunk is fetched
                left -= ray.get(actor.machine.remote()) == platform.node()
        before = torch.get_num_threads()
        self.closing.callback(torch.set_num_threads, before)
        torch.set_num_threads(max(1, min(before, left)))

    def _weights(self) -> tuple[Weights, int]:
        return {
            k: x.detach().cpu().numpy().copy() for k, x in self.agent.network.state_dict().items()
        }, self.agent.steps

    def _order(self) -> None:
        """Ask each collector for its next chunk; one that begins anew leaves room for the row that ends what was before."""
        weights, steps = self.sent
        shared = ray.put(weights)
        self.coming = [
            actor.collect.remote(shared, steps, CHUNK - (i in self.cut)) for i, actor in enumerate(self.actors)
        ]

    # --- turning --------------------------------------------------------------------------------------------------

    def step(self) -> LoopStep:
        """One row of all environments: observe the one before it, which may learn."""
        if self.index == CHUNK:
            self._next_chunk()
        t, self.index = self.index, self.index + 1
        metrics = self._observe()
        fields = {
            name: on_device(np.concatenate([chunk.rows[name][t] for chunk in self.chunks]), self.device)
            for name in StepResult._fields
            if name != "num_active"
        }
        num_active = self.config.run.num_envs - sum(int(chunk.rows["is_last"][t].sum()) for chunk in self.chunks)
        self.pending = StepResult(**fields, num_active=num_active)
        if self.chunks[0].played:
            parts = zip(*(chunk.played[t] for chunk in self.chunks), strict=True)
            self.pending_played = tuple(on_device(np.concatenate(x), self.device) for x in parts)
        games = [
            game._replace(env=i * self.share + game.env)
            for i, chunk in enumerate(self.chunks)
            for row, game in chunk.games
            if row == t
        ]
        return LoopStep(num_active, metrics, games)

    def _observe(self) -> Metrics | None:
        if self.pending is None:
            return None
        if self.pending_played is not None:
            self.agent.acting_records.append(self.pending_played)
        return self.agent.observe(self.pending)

    def _next_chunk(self) -> None:
        """Take the chunk that is there, or wait for it, and let the next one be played while this one is learned from."""
        if not self.coming:
            self._order()
        with self.seconds("emulation"):
            self.chunks = [self._fetch(i) for i in range(len(self.actors))]
        self.last = [chunk.next_row for chunk in self.chunks]
        self.cut.clear()
        self.played_at = self.sent[1]
        self.sent = self._weights()
        self._order()
        self.index = 0

    def _fetch(self, i: int) -> Chunk:
        while True:
            try:
                chunk: Any = ray.get(self.coming[i])
                return self._after_cut(i, chunk) if i in self.cut else chunk
            except (RayActorError, ObjectLostError) as error:
                if getattr(error, "actor_init_failed", False):
                    raise Fault(f"a collector cannot begin: {' '.join(str(error).split())[-300:]}") from error
                self.replaced += 1
                print(
                    f"WARNING: collector {i + 1} died; another takes its place, and its episodes end here",
                    file=sys.stderr,
                )
                self.actors[i] = self._new(i)
                if self.pending is not None:
                    self.cut.add(i)
                self.coming[i] = self.actors[i].collect.remote(*self.sent, CHUNK - (i in self.cut))

    def _after_cut(self, i: int, fresh: Chunk) -> Chunk:
        """The chunk of a new collector behind the dead row that ends the episodes of the one before; see Loop._cut."""
        assert self.pending is not None
        mine = torch.zeros(self.config.run.num_envs, dtype=torch.bool, device=self.device)
        mine[i * self.share : (i + 1) * self.share] = True
        last = self.last[i]
        over = on_device(np.concatenate([row["is_last"] for row in self.last]), self.device)
        running = mine & ~self.pending.is_last & ~self.pending.terminated & ~over
        self.pending = self.pending._replace(truncated=self.pending.truncated | running)
        end = {name: np.zeros_like(field[:1]) for name, field in fresh.rows.items()}
        end |= {
            "obs": last["obs"][None],
            "is_first": last["is_first"][None],
            "is_last": np.ones_like(last["is_last"])[None],
        }
        rows = {name: np.concatenate([end[name], field]) for name, field in fresh.rows.items()}
        played = [tuple(np.zeros_like(x) for x in fresh.played[0]), *fresh.played] if fresh.played else []
        return Chunk(rows, played, [(t + 1, game) for t, game in fresh.games], fresh.next_row)

    def run(self, after: Callable[[LoopStep], bool], *, steps: int) -> None:
        """Row after row until `after`, which is called between two, says no."""
        while after(self.step()):
            pass

    def gauges(self) -> dict[str, float]:
        """Agent steps that the weights which played the next row lag behind the learner's, and collectors replaced."""
        return {"collectors/staleness": self.agent.steps - self.played_at, "collectors/replaced": self.replaced}

    # --- state ----------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """What is being learned from and how far, and what the chunk to come was played with and from."""
        weights, steps = self.sent
        return {
            "index": self.index,
            "replaced": self.replaced,
            "played_at": self.played_at,
            "sent": {"weights": tensors(weights), "steps": steps},
            "chunks": {str(i): _chunk_state(chunk) for i, chunk in enumerate(self.chunks)},
            "begins": self._begins(),
            "cut": sorted(self.cut),
            **({"pending": self.pending._asdict()} if self.pending else {}),
            **({"played": dict(enumerate(self.pending_played))} if self.pending_played else {}),
        }

    def _begins(self) -> dict[str, Any]:
        """What the chunks to come were played from; not of a collector that has died, whose episodes end here on resume."""
        found = {}
        for i, actor in enumerate(self.actors if self.coming else []):
            try:
                found[str(i)] = tensors(ray.get(actor.state.remote()))
            except RayError:  # replaced when its chunk is fetched
                continue
        return found

    def restore(self, state: dict[str, Any], seed: int) -> bool:
        """Go on from `state`; whether all environments came back exactly as they were."""
        self.index, self.replaced, self.played_at = state["index"], state["replaced"], state["played_at"]
        self.sent = plain(state["sent"]["weights"]), state["sent"]["steps"]
        count = range(len(self.actors))
        self.chunks = [_chunk_of(state["chunks"][str(i)]) for i in count] if "chunks" in state else []
        self.last = [chunk.next_row for chunk in self.chunks]
        self.pending = StepResult(**state["pending"]) if "pending" in state else None
        played = state.get("played", {})
        self.pending_played = tuple(played[str(i)] for i in range(len(played))) or None
        if not self.chunks:
            return True
        begins = state.get("begins", {})
        back = {i for i in count if str(i) in begins and ray.get(self.actors[i].restore.remote(plain(begins[str(i)])))}
        self.cut = set(state["cut"]) | set(count) - back
        self._order()
        return len(back) == len(self.actors)

    def close(self) -> None:
        """End the collectors, and the cluster if it is this run's own."""
        self.closing.close()

    def export(self, run: Path) -> None:
        """What other programs want to find beside a checkpoint: nothing."""
