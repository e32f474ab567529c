"""Tests of periods in agent steps."""

from rl_lab.training.every import Every


def test_every_is_due_once_after_each_multiple():
    every = Every(10, 0)
    assert [step for step in range(0, 50, 4) if every.due(step)] == [12, 20, 32, 40]


def test_every_zero_steps_is_never_due():
    assert not Every(0, 0).due(10**6)


def test_every_starts_after_the_last_multiple():
    assert not Every(10, 25).due(28)
