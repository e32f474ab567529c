"""Tests of writing, verifying and reading checkpoints, with damaged and manipulated files among them."""

import hashlib
import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.configs.dqn import DQNConfig
from agents.core.agent import Agent
from agents.core.types import EnvSpaces, StepResult
from agents.dqn import DQN
from agents.memory.ring import Ring
from rl_lab import checkpoint
from rl_lab.checkpoint import ring_segments
from rl_lab.errors import LabError

CPU = torch.device("cpu")
SPACES = EnvSpaces((3,), torch.float32, 2, 2)


class RingAgent:
    """Stands for an agent whose memory is one ring buffer."""

    def __init__(self, ring: Ring) -> None:
        self.ring = ring
        self.network = torch.nn.Linear(1, 1)
        self.loaded: Any = None

    def state_dict(self) -> dict[str, Any]:
        return {"network": self.network.state_dict(), "memory": {"rows": self.ring}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.loaded = state["memory"]["rows"]


def small_agent() -> DQN:
    config = DQNConfig(hidden=4, replay_size=80, learning_starts=20, batch_size=8)
    return DQN(config, SPACES, seed=0, device=CPU)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a small agent whose replay is full."""
    agent = small_agent()
    false = torch.zeros(2, dtype=torch.bool)
    for t in range(60):
        is_first = false if t else ~false
        agent.observe(StepResult(torch.randn(2, 3), is_first, false, false.long(), false.float(), false, false, 2))
    return checkpoint.save(tmp_path_factory.mktemp("run"), 1, agent, {"steps": 1}).folder


@contextmanager
def changed_state(folder: Path, change: Callable[[dict[str, Any]], Any]) -> Iterator[None]:
    """Change state.json and its checksum, as a malicious author of a checkpoint could, and restore it afterwards."""
    path = folder / "state.json"
    before = path.read_text()
    content = json.loads(before)
    content.pop("checksum")
    change(content)
    content["checksum"] = hashlib.blake2b(json.dumps(content, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps(content))
    try:
        yield
    finally:
        path.write_text(before)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    capacity=st.integers(1, 30),
    segment_rows=st.integers(1, 40),
    increments=st.lists(st.integers(0, 25), min_size=1, max_size=8),
)
def test_a_ring_is_restored_after_any_number_of_rows_and_saves(
    capacity: int,
    segment_rows: int,
    increments: list[int],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
):
    run = tmp_path_factory.mktemp("run")
    monkeypatch.setattr(ring_segments, "SEGMENT_BYTES", 8 * segment_rows)
    field = torch.zeros(capacity, 1, dtype=torch.int64)
    total = 0
    for increment in increments:
        for row in range(total, total + increment):
            field[row % capacity] = row + 1
        total += increment
        ring_agent = RingAgent(Ring({"x": field}, total))
        agent = cast(Agent, ring_agent)
        folder = checkpoint.save(run, total, agent, {"n": total}).folder
        assert checkpoint.load(folder, agent, CPU) == {"n": total}
        if total:
            loaded = {"x": torch.zeros_like(field)}
            ring_agent.loaded.copy_into(loaded)
            assert torch.equal(loaded["x"], field)
            assert ring_agent.loaded.total == total
        assert len(checkpoint.generations(run)) <= 2


def test_load_returns_the_nested_state_that_was_saved(tmp_path: Path):
    tensors = [torch.arange(3.0), torch.ones(2, dtype=torch.int64)]
    state = {"steps": 7, "loop": {"carry": tensors, "records": [], "games": [[1, 2.5]]}, "last": (1, 2)}
    agent = cast(Agent, RingAgent(Ring({"x": torch.zeros(4, 1)}, 2)))
    loaded = checkpoint.load(checkpoint.save(tmp_path, 7, agent, state).folder, agent, CPU)
    carry = loaded["loop"].pop("carry")
    assert loaded == {"steps": 7, "loop": {"records": [], "games": [[1, 2.5]]}, "last": [1, 2]}
    assert [torch.equal(*pair) for pair in zip(carry, tensors, strict=True)] == [True, True]


def test_read_state_returns_the_top_level_without_tensors(tmp_path: Path):
    state = {"steps": 7, "score": None, "games": [1.0], "loop": {"index": 3}, "torch": torch.ones(2)}
    agent = cast(Agent, RingAgent(Ring({"x": torch.zeros(4, 1)}, 2)))
    folder = checkpoint.save(tmp_path, 7, agent, state).folder
    assert checkpoint.read_state(folder) == {"steps": 7, "score": None, "games": [1.0]}


def test_a_checkpoint_states_its_format(saved: Path):
    assert json.loads((saved / "state.json").read_text())["format"] == 2


@pytest.mark.parametrize("version", [0, 3, "2", None])
def test_load_raises_if_the_format_is_unknown(saved: Path, version: Any):
    with changed_state(saved, lambda content: content.update(format=version)):
        with pytest.raises(LabError, match="reads formats up to 2") as error:
            checkpoint.load(saved, small_agent(), CPU)
        assert not isinstance(error.value, checkpoint.DamagedCheckpoint)  # so that resume does not discard it


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content["files"].update({"../../../etc/passwd": {"bytes": 1, "blake2b": "0"}}),
        lambda content: content["files"].update({"rows/../../x": {"bytes": 1, "blake2b": "0"}}),
        lambda content: content["state"].update({"agent/replay/rows/segments": ["../../secret-0-9.safetensors"]}),
        lambda content: content["state"].update({"agent/replay/rows/capacity": 10**15}),
        lambda content: content["state"].update({"agent/replay/rows/capacity": 3}),
        lambda content: content["state"].update({"agent/replay/rows/capacity": 0}),
        lambda content: content["state"].update({"agent/replay/rows/total": "many"}),
        lambda content: content["state"].update({"agent/replay/rows/total": -5}),
        lambda content: content["state"].update({"agent/replay/total_active": -5}),
        lambda content: content["state"].update({"agent/steps": None}),
        lambda content: content["state"].update({"agent/replay": 1}),
        lambda content: content["state"].update({"agent/[1]": 1}),
        lambda content: content["state"].pop("agent/replay/total_active"),
        lambda content: content.update({"files": []}),
        lambda content: content.update({"files": {"network.safetensors": 3}}),
        lambda content: content.update({"state": 3}),
    ],
)
def test_load_raises_a_one_line_error_if_the_state_is_manipulated(saved: Path, change: Callable[[dict[str, Any]], Any]):
    with changed_state(saved, change), pytest.raises(LabError) as error:
        checkpoint.load(saved, small_agent(), CPU)
    assert "\n" not in str(error.value)
    assert checkpoint.load(saved, small_agent(), CPU) == {"steps": 1}


def test_load_raises_if_any_byte_of_any_file_is_damaged(saved: Path):
    """Flip, cut or append bytes at random places. `load` never succeeds, and raises no other error than LabError."""
    rng = random.Random(0)
    files = [*saved.glob("*"), *(saved.parent / "rows").glob("*")]
    for _ in range(150):
        path = rng.choice(files)
        before = path.read_bytes()
        position = rng.randrange(len(before))
        flipped = before[:position] + bytes([before[position] ^ (1 << rng.randrange(8))]) + before[position + 1 :]
        damaged = rng.choice([before[:position], flipped, before + b"x", b""])
        if path.name == "state.json" and damaged.rstrip(b"\nx ") == before.rstrip():
            continue  # white space at the end does not change the JSON
        path.write_bytes(damaged)
        try:
            with pytest.raises(LabError):
                checkpoint.load(saved, small_agent(), CPU)
        finally:
            path.write_bytes(before)


def test_load_network_raises_if_weights_are_not_finite(tmp_path: Path):
    agent = small_agent()
    with torch.no_grad():
        next(agent.network.parameters()).fill_(float("nan"))
    folder = checkpoint.save_best(tmp_path, agent, {"steps": 1})
    with pytest.raises(LabError, match="holds weights that are not finite numbers"):
        checkpoint.load_network(folder, small_agent())


def test_load_network_raises_if_the_agent_has_other_layers(tmp_path: Path):
    folder = checkpoint.save_best(tmp_path, small_agent(), {"steps": 1})
    other = DQN(DQNConfig(hidden=5), SPACES, seed=0, device=CPU)
    with pytest.raises(LabError, match="does not fit the agent"):
        checkpoint.load_network(folder, other)
