"""Checks of the arguments of worlds. The message of an EnvError says in one line what is wrong and what is right."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from envs.errors import EnvError


def whole_number(name: str, value: Any, low: int, high: int) -> int:
    """Return the value as int. Raises EnvError unless it is a whole number in [low, high]."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not low <= value <= high:
        raise EnvError(f"{name} is {value!r}; it must be a whole number from {low} to {high}")
    return int(value)


def number(name: str, value: Any, low: float = 0.0, high: float = math.inf) -> float:
    """Return the value as float. Raises EnvError unless it is a finite number in [low, high]."""
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not low <= value <= high:
        limits = f" of at least {low:g}" if math.isinf(high) else f" from {low:g} to {high:g}"
        if math.isinf(low):
            limits = ""
        raise EnvError(f"{name} is {value!r}; it must be a number{limits}")
    return float(value)


def flag(name: str, value: Any) -> bool:
    """Return the value as bool. Raises EnvError unless it is True or False."""
    if not isinstance(value, bool | np.bool_):
        raise EnvError(f"{name} is {value!r}; it must be true or false")
    return bool(value)


def render_mode(value: Any) -> str | None:
    """Return the render mode. Raises EnvError unless it is None or "rgb_array"."""
    if value not in (None, "rgb_array"):
        raise EnvError(f"render_mode is {value!r}; it must be rgb_array or None")
    return value
