"""Tests that runs of older versions can be played, evaluated and resumed.

tests/data/old_runs holds runs whose checkpoints have format 1. Each has about 400 agent steps:

    dqn, drqn, reinforce    python -m rl_lab train AGENT --env CartPole-v1 --steps 400
    drqn_collectors         the same with --collectors 2

`reinforce` was PPO then: the run is read as one of `ppo` (tests/rl_lab/experiment/test_migration.py).
The replays are full, so the first segment of dqn, drqn and reinforce holds fewer rows than its name says.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import rl_lab
from agents.memory.ring import Ring
from rl_lab import api, checkpoint
from rl_lab.checkpoint.migration import migrate, migrate_name, migrate_ring_fields
from rl_lab.checkpoint.state_file import read_state_file
from rl_lab.distributed.chunk import chunk_from_state
from rl_lab.experiment import factory
from rl_lab.experiment.run import Run

OLD_RUNS = Path(__file__).parents[2] / "data" / "old_runs"
AGENTS = ["dqn", "drqn", "reinforce"]
CPU = torch.device("cpu")


def copy_of(name: str, folder: Path) -> Run:
    return Run(Path(shutil.copytree(OLD_RUNS / name, folder / name)))


def loaded(run: Run) -> tuple[Any, dict[str, Any]]:
    """Return the agent and the other state of the newest checkpoint of a run."""
    agent = factory.make_agent(run.config, run.env_spec, CPU)
    state = checkpoint.load(checkpoint.generations(run.path)[0], agent, CPU)
    return agent, state


def learner_tensors(run: Run) -> dict[str, torch.Tensor]:
    return load_file(checkpoint.generations(run.path)[0] / "learner.safetensors")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("agent/replay/total_live", "agent/replay/total_active"),
        ("agent/played/0/1", "agent/acting_records/[0]/[1]"),
        ("agent/played/2/log_prob", "agent/acting_records/[2]/[0]"),
        ("agent/played/2/value", "agent/acting_records/[2]/[1]"),
        ("agent/optimizer/0/step", "agent/optimizer/0/step"),
        ("agent/network/value.weight", "agent/network/value.weight"),
        ("run/games", "run/games"),
        ("run/loop/row/first", "run/loop/row/is_first"),
        ("run/loop/pending/dead", "run/loop/pending/is_last"),
        ("run/loop/pending/live", "run/loop/pending/num_active"),
        ("run/loop/carry/10", "run/loop/carry/[10]"),
        ("run/loop/played/1", "run/loop/pending_record/[1]"),
        ("run/loop/chunks/0/rows/dead", "run/loop/chunks/[0]/rows/is_last"),
        ("run/loop/chunks/1/played/3/0", "run/loop/chunks/[1]/acting_records/[3]/[0]"),
        ("run/loop/chunks/1/games", "run/loop/chunks/[1]/episodes"),
        ("run/loop/begins/1/loop/carry/0", "run/loop/start_states/1/loop/carry/[0]"),
        ("run/loop/begins/1/loop/pending/live", "run/loop/start_states/1/loop/pending/num_active"),
        ("run/loop/sent/weights/head.bias", "run/loop/next_weights/weights/head.bias"),
    ],
)
def test_migrate_name(old: str, new: str):
    assert migrate_name(old) == new


def test_migrate_adds_the_empty_lists_that_format_1_did_not_store():
    assert migrate({"run/steps": 1}) == {"run/steps": 1, "agent/acting_records": []}
    assert migrate({"run/loop/row/obs": 1})["run/loop/carry"] == []
    collector_loop = migrate({"run/loop/index": 16})
    assert collector_loop["run/loop/chunks"] == []
    assert collector_loop["run/loop/start_states"] == {}


def test_migrate_ring_fields_leaves_fields_of_format_2_unchanged():
    old = {"dead": torch.ones(1), "reward": torch.zeros(1)}
    new = migrate_ring_fields(old)
    assert list(new) == ["is_last", "reward"]
    assert migrate_ring_fields(new) == new


@pytest.mark.parametrize("agent_name", AGENTS)
def test_an_old_network_plays_and_is_evaluated(agent_name: str, tmp_path: Path):
    run = copy_of(agent_name, tmp_path)
    best = load_file(run.path / "checkpoints/best/network.safetensors")
    agent = rl_lab.load(run.path)
    for name, weight in agent.network.state_dict().items():
        assert torch.equal(weight, best[name]), name
    assert len(rl_lab.evaluate(run.path, episodes=3).returns) == 3


@pytest.mark.parametrize("agent_name", AGENTS)
def test_an_old_replay_is_restored(agent_name: str, tmp_path: Path):
    run = copy_of(agent_name, tmp_path)
    agent, _ = loaded(run)
    flat = checkpoint.flatten({"agent": agent.state_dict()})
    ((name, ring),) = ((name, value) for name, value in flat.items() if isinstance(value, Ring))
    values = read_state_file(checkpoint.generations(run.path)[0]).values
    assert ring.total == values[f"{name}/total"]
    assert ring.capacity == values[f"{name}/capacity"]
    num_restored = 0
    for file in values[f"{name}/segments"]:
        fields = load_file(run.path / "checkpoints" / file)
        end = int(Path(file).stem.split("-")[-1])
        num_rows = len(fields["reward"])
        positions = torch.arange(end - num_rows, end) % ring.capacity
        for field, rows in fields.items():
            restored = ring.fields["is_last" if field == "dead" else field]
            assert torch.equal(restored[positions], rows), field
        num_restored += num_rows
    assert num_restored == ring.capacity


def test_an_old_count_of_active_cells_is_restored(tmp_path: Path):
    run = copy_of("dqn", tmp_path)
    agent, _ = loaded(run)
    old_values = json.loads((checkpoint.generations(run.path)[0] / "state.json").read_text())["state"]
    assert agent.replay.state_dict()["total_active"] == old_values["agent/replay/total_live"]


def test_old_acting_records_of_drqn_are_restored(tmp_path: Path):
    run = copy_of("drqn", tmp_path)
    agent, state = loaded(run)
    tensors = learner_tensors(run)
    ((hidden, cell),) = agent.acting_records
    assert torch.equal(hidden, tensors["agent/played/0/0"])
    assert torch.equal(cell, tensors["agent/played/0/1"])
    assert len(state["loop"]["carry"]) == 3
    assert torch.equal(state["loop"]["carry"][2], tensors["run/loop/carry/2"])


def test_old_acting_records_of_ppo_are_restored(tmp_path: Path):
    run = copy_of("reinforce", tmp_path)
    agent, _ = loaded(run)
    tensors = learner_tensors(run)
    ((log_prob, value),) = agent.acting_records
    assert torch.equal(log_prob, tensors["agent/played/0/log_prob"])
    assert torch.equal(value, tensors["agent/played/0/value"])


def test_an_old_state_of_collectors_is_restored(tmp_path: Path):
    run = copy_of("drqn_collectors", tmp_path)
    agent, state = loaded(run)
    tensors = learner_tensors(run)
    loop = state["loop"]
    chunks = [chunk_from_state(chunk) for chunk in loop["chunks"]]
    assert [len(chunk.acting_records) for chunk in chunks] == [16, 16]
    for i, chunk in enumerate(chunks):
        assert torch.equal(torch.from_numpy(chunk.rows["is_last"]), tensors[f"run/loop/chunks/{i}/rows/dead"])
        record = tensors[f"run/loop/chunks/{i}/played/15/1"]
        assert torch.equal(torch.from_numpy(chunk.acting_records[15][1]), record)
        carry = loop["start_states"][str(i)]["loop"]["carry"]
        assert torch.equal(carry[1], tensors[f"run/loop/begins/{i}/loop/carry/1"])
    assert torch.equal(loop["pending_record"][1], tensors["run/loop/played/1"])
    assert loop["next_weights"]["weights"].keys() == agent.network.state_dict().keys()
    assert loop["interrupted"] == []


@pytest.mark.parametrize("agent_name", AGENTS)
def test_an_old_run_is_resumed(agent_name: str, tmp_path: Path):
    run = copy_of(agent_name, tmp_path)
    old_folder = checkpoint.generations(run.path)[0]
    old_steps = checkpoint.read_state(old_folder)["steps"]
    old_values = read_state_file(old_folder).values
    old_metrics = run.metrics()

    api.resume(run, steps=500, quiet=True)

    new_folder = checkpoint.generations(run.path)[0]
    new_values = read_state_file(new_folder).values
    assert read_state_file(new_folder).format == 2
    assert old_steps < 500 <= checkpoint.read_state(new_folder)["steps"] < 510
    assert new_values["agent/steps"] > old_values["agent/steps"]
    assert new_values["agent/updates"] > old_values["agent/updates"]
    assert new_values["run/games"] > old_values["run/games"]
    assert run.metrics()[: len(old_metrics)] == old_metrics
    old_weights, new_weights = (load_file(folder / "network.safetensors") for folder in (old_folder, new_folder))
    assert old_weights.keys() == new_weights.keys()
    assert not any(torch.equal(old_weights[name], new_weights[name]) for name in old_weights)

    api.resume(run, steps=600, quiet=True)  # from format 2, whose segments may be those of format 1
    assert checkpoint.read_state(checkpoint.generations(run.path)[0])["steps"] >= 600
