"""Tests of the checkpoint selector."""

from typing import Any

import pytest
import torch

from rl_lab import api, checkpoint
from rl_lab.errors import LabError
from rl_lab.watch.checkpoint_selector import CheckpointSelector, newest_checkpoint


@pytest.fixture
def run(train):
    return train(steps=900, eval_every=300, checkpoint_every=400, eval_episodes=2)


def test_next_selects_each_checkpoint_in_turn(run):
    agent = api.load_agent(run)
    selector = CheckpointSelector(run.path, agent)
    best, *steps = selector.names
    assert best == "best"
    assert selector.name == "best"
    assert len(steps) == 2
    selected = [best]
    for _ in range(3):
        selector.choose("next")
        selected.append(selector.name)
        expected = api.load_agent(run, which=selector.name).network.state_dict()
        assert all(torch.equal(weights, expected[name]) for name, weights in agent.network.state_dict().items())
    assert selected == [best, *steps, best]


def test_choosing_a_missing_checkpoint_keeps_the_weights(run, capsys):
    selector = CheckpointSelector(run.path, api.load_agent(run))
    selector.choose("123")
    assert selector.name == "best"
    output = capsys.readouterr().out
    assert "no checkpoint '123'" in output
    assert "the agent keeps the weights of checkpoint best" in output


def test_load_newer_loads_new_checkpoints_and_retries_damaged_ones(run, monkeypatch):
    monkeypatch.setattr("rl_lab.watch.checkpoint_selector.POLL_SECONDS", 0.0)
    selector = CheckpointSelector(run.path, api.load_agent(run), "best")
    selector.load_newer()
    last_step = checkpoint.read_state(checkpoint.find(run.path, "last"))["steps"]
    assert selector.step in (900, last_step)
    assert not selector.load_newer()
    longer = api.resume(run, steps=1500, quiet=True)
    last_state = checkpoint.find(longer.path, "last") / "state.json"
    text = last_state.read_text()
    last_state.write_text(text[:-20])
    best_state = checkpoint.find(longer.path, "best") / "state.json"
    best_state.rename(best_state.with_suffix(".away"))
    assert not selector.load_newer()
    last_state.write_text(text)
    assert selector.load_newer()
    assert selector.step >= 1500


def test_run_without_checkpoint_has_no_newest_one(tmp_path):
    unused_agent: Any = None
    assert newest_checkpoint(tmp_path) is None
    with pytest.raises(LabError, match="no checkpoint"):
        CheckpointSelector(tmp_path, unused_agent)
