"""Tests of the check of settings."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest

from agents.core.settings import ConfigError, Count, Fraction, Positive, Range, check_fields


@dataclass
class Settings:
    """Settings with a field of each kind."""

    lr: Positive = 1e-3
    gamma: Fraction = 0.99
    n: Count = 1
    kind: Literal["a", "b"] = "a"
    flag: bool = False
    name: str = "x"
    share: Annotated[float | None, Range(0, 1)] = None


@pytest.mark.parametrize(
    ("changes", "message"),
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
        ({"name": 3}, "name is 3; it must be a string"),
        ({"share": 2.0}, "share is 2.0; it must be from 0 to 1"),
        ({"share": "x"}, "share is 'x'; it must be a finite number"),
    ],
)
def test_check_fields_raises_for_bad_value(changes: dict[str, Any], message: str):
    with pytest.raises(ConfigError) as error:
        check_fields(Settings(**changes))
    assert str(error.value) == message


def test_check_fields_passes_good_values():
    check_fields(Settings())
    check_fields(Settings(lr=1, gamma=0, n=10**9, kind="b"))


def test_import_of_settings_does_not_import_torch():
    code = "import sys, agents.core.settings; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
