"""Tests of runs that are resumed with more steps."""

import pytest

from rl_lab import api, checkpoint
from rl_lab.errors import LabError
from rl_lab.experiment.run import Run


def last_network(run: Run) -> bytes:
    return (checkpoint.find(run.path, "last") / "network.safetensors").read_bytes()


def test_an_extended_run_equals_a_longer_run(train):
    short, long = train(steps=600), train(steps=1000)
    extended = api.resume(short, steps=1000, quiet=True)
    assert extended.config.run.steps == 1000
    assert last_network(extended) == last_network(long)


def test_resume_raises_if_the_run_already_has_more_steps(train):
    run = train(steps=600)
    with pytest.raises(LabError, match="steps is 100; .* already has 6"):
        api.resume(run, steps=100, quiet=True)
    assert run.config.run.steps == 600
