"""Checkpoints on disk: their parts, their order, and those that someone tampered with."""

import hashlib
import json
import random

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.core.types import EnvSpaces, StepResult
from agents.dqn import DQN, DQNConfig
from agents.memory.ring import Ring
from rl_lab import checkpoint
from rl_lab.checkpoint import ring_files
from rl_lab.errors import LabError

CPU = torch.device("cpu")


class Holder:
    """An agent of one ring and one weight."""

    def __init__(self, ring):
        self.ring, self.network, self.loaded = ring, torch.nn.Linear(1, 1), None

    def state_dict(self):
        return {"network": self.network.state_dict(), "memory": {"rows": self.ring}}

    def load_state_dict(self, state):
        self.loaded = state["memory"]["rows"]


def test_flat_names_and_back():
    tree = {"a": {"b": 1, "c": {"d": torch.ones(2)}}, "e": "x"}
    flat = checkpoint.flatten(tree)
    assert list(flat) == ["a/b", "a/c/d", "e"]
    assert checkpoint.unflatten(flat) == tree


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    capacity=st.integers(1, 30),
    length=st.integers(1, 40),
    totals=st.lists(st.integers(0, 25), min_size=1, max_size=8),
)
def test_a_ring_comes_back_from_its_segments(capacity, length, totals, tmp_path_factory, monkeypatch):
    """Saved at growing numbers of rows, with segments of any length: each time the rows are where they were."""
    run = tmp_path_factory.mktemp("run")
    monkeypatch.setattr(ring_files, "SEGMENT_BYTES", 8 * length)
    field = torch.zeros(capacity, 1, dtype=torch.int64)
    total = 0
    for more in totals:
        for row in range(total, total + more):
            field[row % capacity] = row + 1
        total += more
        agent = Holder(Ring({"x": field}, total))
        folder = checkpoint.save(run, total, agent, {"n": total}).folder  # type: ignore[arg-type]
        assert checkpoint.load(folder, agent, CPU) == {"n": total}  # type: ignore[arg-type]
        if total:
            loaded = {"x": torch.zeros_like(field)}
            agent.loaded.copy_into(loaded)
            assert torch.equal(loaded["x"], field)
            assert agent.loaded.total == total
        assert len(checkpoint.generations(run)) <= 2


def test_best_comes_before_last_and_the_old_one_serves_until_the_new_is_whole(tmp_path):
    for name in ("step-000000100", "step-000000200", "best"):
        folder = tmp_path / "checkpoints" / name
        folder.mkdir(parents=True)
        (folder / "state.json").write_text("{}")
    (tmp_path / "checkpoints/step-000000300.new").mkdir()  # as if killed while writing
    assert checkpoint.find(tmp_path).name == "best"
    assert checkpoint.find(tmp_path, "last").name == "step-000000200"
    assert checkpoint.find(tmp_path, "100").name == "step-000000100"
    (tmp_path / "checkpoints/best").rename(tmp_path / "checkpoints/best.old")  # as if killed between two renames
    assert checkpoint.find(tmp_path, "best").name == "best.old"
    with pytest.raises(LabError, match="holds no checkpoint 'first' yet"):
        checkpoint.find(tmp_path, "first")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A small agent with a filled replay, saved."""
    run = tmp_path_factory.mktemp("run")
    agent = tiny()
    no = torch.zeros(2, dtype=torch.bool)
    for t in range(60):
        agent.observe(StepResult(torch.randn(2, 3), no if t else ~no, no, no.long(), no.float(), no, no, 2))
    return checkpoint.save(run, 1, agent, {"steps": 1}).folder


def tiny(**options):
    config = DQNConfig(hidden=4, replay_size=80, learning_starts=20, batch_size=8, **options)
    return DQN(config, EnvSpaces((3,), torch.float32, 2, 2), seed=0, device=CPU)


def with_state(folder, change):
    """Rewrite state.json as someone would who can compute checksums."""
    path = folder / "state.json"
    before = path.read_text()
    content = json.loads(before)
    content.pop("checksum")
    change(content)
    content["checksum"] = hashlib.blake2b(json.dumps(content, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps(content))
    return before


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c["files"].update({"../../../etc/passwd": {"bytes": 1, "blake2b": "0"}}),
        lambda c: c["files"].update({"rows/../../x": {"bytes": 1, "blake2b": "0"}}),
        lambda c: c["state"].update({"agent/replay/rows/segments": ["../../secret-0-9.safetensors"]}),
        lambda c: c["state"].update({"agent/replay/rows/capacity": 10**15}),
        lambda c: c["state"].update({"agent/replay/rows/capacity": 3}),
        lambda c: c["state"].update({"agent/replay/rows/capacity": 0}),
        lambda c: c["state"].update({"agent/replay/rows/total": "many"}),
        lambda c: c["state"].update({"agent/replay/rows/total": -5}),
        lambda c: c["state"].update({"agent/replay/total_live": -5}),
        lambda c: c["state"].update({"agent/steps": None}),
        lambda c: c["state"].pop("agent/replay/total_live"),
        lambda c: c.update({"files": []}),
        lambda c: c.update({"files": {"network.safetensors": 3}}),
        lambda c: c.update({"state": 3}),
    ],
)
def test_a_hostile_state_is_refused_in_one_line(saved, change):
    before = with_state(saved, change)
    try:
        with pytest.raises(LabError) as error:
            checkpoint.load(saved, tiny(), CPU)
    finally:
        (saved / "state.json").write_text(before)
    assert "\n" not in str(error.value)
    assert checkpoint.load(saved, tiny(), CPU) == {"steps": 1}


def test_random_damage_is_always_noticed(saved):
    """Flip, cut or add bytes anywhere, in any file: never another error than ours, never a silent success."""
    rng = random.Random(0)
    files = [*saved.glob("*"), *(saved.parent / "rows").glob("*")]
    for _ in range(150):
        path = rng.choice(files)
        before = path.read_bytes()
        at = rng.randrange(len(before))
        damaged = rng.choice(
            [
                before[:at],
                before[:at] + bytes([before[at] ^ (1 << rng.randrange(8))]) + before[at + 1 :],
                before + b"x",
                b"",
            ]
        )
        path.write_bytes(damaged)
        try:
            if path.name == "state.json" and damaged.rstrip(b"\nx ") == before.rstrip():
                continue
            with pytest.raises(LabError):
                checkpoint.load(saved, tiny(), CPU)
        finally:
            path.write_bytes(before)


def test_weights_that_are_no_numbers_or_of_another_agent_are_refused(tmp_path):
    agent = tiny()
    with torch.no_grad():
        next(agent.network.parameters()).fill_(float("nan"))
    folder = checkpoint.save_best(tmp_path, agent, {"steps": 1})
    with pytest.raises(LabError, match="holds weights that are not finite numbers"):
        checkpoint.load_network(folder, tiny())
    folder = checkpoint.save_best(tmp_path, tiny(), {"steps": 1})
    other = DQN(DQNConfig(hidden=5), EnvSpaces((3,), torch.float32, 2, 2), seed=0, device=CPU)
    with pytest.raises(LabError, match="does not fit the agent"):
        checkpoint.load_network(folder, other)


def test_generations_go_by_their_number(tmp_path):
    names = ["step-000000900", "step-999999999", "step-1000000000", "step-999999999.old"]
    for name in [*names, "step-12", "step-000000001.new"]:
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
    order = ["step-1000000000", "step-999999999", "step-999999999.old", "step-000000900"]
    assert [folder.name for folder in checkpoint.generations(tmp_path)] == order
