"""Tests of the stopwatch."""

from agents.core.stopwatch import Stopwatch


def test_durations_of_one_name_add_up():
    seconds = Stopwatch()
    for _ in range(2):
        with seconds("a"):
            pass
    assert list(seconds) == ["a"]
    assert 0 < seconds["a"] < 1
