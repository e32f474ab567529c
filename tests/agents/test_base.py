"""Schedules and the ranges of settings."""

from dataclasses import dataclass
from typing import Annotated, Literal

import pytest

from agents.base import ConfigError, Count, Fraction, Positive, Range, Stopwatch, check_fields, linear_schedule


@dataclass
class Settings:
    lr: Positive = 1e-3
    gamma: Fraction = 0.99
    n: Count = 1
    kind: Literal["a", "b"] = "a"
    flag: bool = False
    name: str = "x"
    share: Annotated[float | None, Range(0, 1)] = None


def test_linear_schedule():
    assert [linear_schedule(1.0, 0.0, 4, t) for t in range(6)] == [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    assert linear_schedule(1.0, 0.1, 0, 0) == 0.1
    assert [linear_schedule(1.0, 0.0, 6, t, hold=2) for t in (0, 1, 2, 3, 5, 6, 9)] == [
        1.0,
        1.0,
        1.0,
        0.75,
        0.25,
        0.0,
        0.0,
    ]
    assert [linear_schedule(1.0, 0.1, 2, t, hold=4) for t in (0, 3, 4)] == [1.0, 1.0, 0.1], "a hold beyond the end"


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"lr": 0}, "lr is 0; it must be greater than 0"),
        ({"lr": "fast"}, "lr is 'fast'; it must be a finite number"),
        ({"lr": float("nan")}, "lr is nan; it must be a finite number"),
        ({"lr": True}, "lr is True; it must be a finite number"),
        ({"gamma": 1.5}, "gamma is 1.5; it must be from 0 to 1"),
        ({"n": 0}, "n is 0; it must be at least 1"),
        ({"n": 1.5}, "n is 1.5; it must be a whole number"),
        ({"n": True}, "n is True; it must be a whole number"),
        ({"kind": "c"}, "kind is 'c'; it must be one of a, b"),
        ({"flag": "yes"}, "flag is 'yes'; it must be true or false"),
        ({"name": 3}, "name is 3; it must be a text"),
        ({"share": 2.0}, "share is 2.0; it must be from 0 to 1"),
        ({"share": "x"}, "share is 'x'; it must be a finite number"),
    ],
)
def test_bad_settings_are_named(bad, message):
    with pytest.raises(ConfigError) as error:
        check_fields(Settings(**bad))
    assert str(error.value) == message


def test_good_settings_pass():
    check_fields(Settings())
    check_fields(Settings(lr=1, gamma=0, n=10**9, kind="b"))


def test_stopwatch_adds_up():
    seconds = Stopwatch()
    for _ in range(2):
        with seconds("a"):
            pass
    assert list(seconds) == ["a"]
    assert 0 < seconds["a"] < 1
