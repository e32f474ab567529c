"""Which checkpoint plays: chosen, or followed while training writes new ones."""

import pytest
import torch

from rl_lab import api, checkpoint
from rl_lab.errors import LabError
from rl_lab.watch.checkpoint_selector import Weights, newest_checkpoint


@pytest.fixture
def run(train):
    return train(steps=900, eval_every=300, checkpoint_every=400, eval_episodes=2)


def test_each_checkpoint_can_be_chosen(run, capsys):
    agent = api.load(run)
    weights = Weights(run.path, agent)
    best, *steps = weights.names
    assert (best, weights.name) == ("best", "best")
    assert len(steps) == 2
    played = [best]
    for _ in range(3):
        weights.choose("next")
        played.append(weights.name)
        want = api.load(run, which=weights.name).network.state_dict()
        assert all(torch.equal(x, want[name]) for name, x in agent.network.state_dict().items())
    assert played == [best, *steps, best]
    weights.choose("123")
    assert weights.name == best
    assert "holds no checkpoint '123' yet; the one before plays on" in capsys.readouterr().out


def test_a_run_that_trains_is_followed(run, monkeypatch):
    """At the first look after a newer checkpoint it plays; one that is being replaced is tried again."""
    monkeypatch.setattr("rl_lab.watch.checkpoint_selector.LOOK_EVERY", 0.0)
    weights = Weights(run.path, api.load(run), "best")
    weights.follow()
    assert weights.step == 900 or weights.step == checkpoint.read_state(checkpoint.find(run.path, "last"))["steps"]
    assert not weights.follow()
    longer = api.resume(run, steps=1500, quiet=True)
    state = checkpoint.find(longer.path, "last") / "state.json"
    text = state.read_text()
    state.write_text(text[:-20])
    best = checkpoint.find(longer.path, "best") / "state.json"
    best.rename(best.with_suffix(".away"))
    assert not weights.follow()
    state.write_text(text)
    assert weights.follow()
    assert weights.step >= 1500


def test_before_the_first_checkpoint_there_is_none(tmp_path):
    assert newest_checkpoint(tmp_path) is None
    with pytest.raises(LabError, match="holds no checkpoint yet"):
        Weights(tmp_path, None)
