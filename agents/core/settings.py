"""Allowed ranges of settings, and the check of a configuration against them.

A field of a configuration dataclass states its range in its type:

    gamma: Annotated[float, Range(0, 1)] = 0.99

`check_fields` checks types and ranges. This module does not import torch, so that the command line starts quickly.
"""

from __future__ import annotations

import functools
import math
import types
import typing
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal


class ConfigError(ValueError):
    """A setting is not allowed. The message is one line with the field, its value, and what is allowed."""


@dataclass(frozen=True)
class Range:
    """The allowed values of a number, for use in `Annotated[float, Range(0, 1)]`.

    Args:
        low: Smallest allowed value.
        high: Largest allowed value.
        open_low: Exclude `low` itself.
    """

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False

    def __contains__(self, value: float) -> bool:
        if self.open_low and value == self.low:
            return False
        return self.low <= value <= self.high

    def __str__(self) -> str:
        if self.high == math.inf:
            bound = "greater than" if self.open_low else "at least"
            return f"{bound} {self.low:g}"
        bound = "above" if self.open_low else "from"
        high = f"{self.high:g}" if abs(self.high) < 1e6 else f"{self.high:,.0f}"
        return f"{bound} {self.low:g} to {high}"


Positive = Annotated[float, Range(0, open_low=True)]
NonNegative = Annotated[float, Range(0)]
Fraction = Annotated[float, Range(0, 1)]
Count = Annotated[int, Range(1)]
CountOrZero = Annotated[int, Range(0)]

_CONTAINERS: dict[Any, tuple[type, str]] = {dict: (dict, "a mapping of names to values"), list: (list, "a list")}
_TYPE_DESCRIPTIONS: dict[Any, str] = {int: "a whole number", bool: "true or false", str: "a string"}


def check_fields(config: Any) -> None:
    """Check every field of a configuration dataclass.

    Raises:
        ConfigError: A value has the wrong type or is outside its range. The first such field is reported.
    """
    hints = _field_hints(type(config))
    for field in fields(config):
        value = getattr(config, field.name)
        field_type, ranges = _split_annotated(hints[field.name])
        if typing.get_origin(field_type) is types.UnionType:  # X | None
            if value is None:
                continue
            field_type = _without_none(field_type)
        _check_type(field.name, value, field_type)
        _check_ranges(field.name, value, ranges)


@functools.cache
def _field_hints(config_class: type) -> dict[str, Any]:
    """Return the type hints of a dataclass, with their ranges. They are cached, because resolving them is slow."""
    return typing.get_type_hints(config_class, include_extras=True)


def _split_annotated(hint: Any) -> tuple[Any, list[Range]]:
    """Return the type and the ranges in a type hint, such as float and [Range(0, 1)]."""
    ranges: list[Range] = []
    while typing.get_origin(hint) is Annotated:
        hint, *metadata = typing.get_args(hint)
        ranges += [entry for entry in metadata if isinstance(entry, Range)]
    return hint, ranges


def _without_none(union: types.UnionType) -> Any:
    """Return X of the type X | None."""
    return next(member for member in typing.get_args(union) if member is not type(None))


def _check_type(name: str, value: Any, field_type: Any) -> None:
    """Raise ConfigError if the value is not of the field's type: number, bool, str, dict, list or Literal."""
    if typing.get_origin(field_type) is Literal:
        _check_choice(name, value, typing.get_args(field_type))
    elif field_type is float:
        if type(value) not in (int, float) or not math.isfinite(value):
            raise ConfigError(f"{name} is {value!r}; it must be a finite number")
    elif typing.get_origin(field_type) in _CONTAINERS:
        container, description = _CONTAINERS[typing.get_origin(field_type)]
        if not isinstance(value, container):
            raise ConfigError(f"{name} is {value!r}; it must be {description}")
    elif field_type in _TYPE_DESCRIPTIONS and type(value) is not field_type:
        raise ConfigError(f"{name} is {value!r}; it must be {_TYPE_DESCRIPTIONS[field_type]}")


def _check_choice(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    """Raise ConfigError if the value is not one of the choices. True is not accepted as 1, nor False as 0."""
    if value not in choices or type(value) is bool:
        allowed = ", ".join(str(choice) for choice in choices)
        raise ConfigError(f"{name} is {value!r}; it must be one of {allowed}")


def _check_ranges(name: str, value: Any, ranges: list[Range]) -> None:
    """Raise ConfigError if the value is outside one of the ranges."""
    for allowed in ranges:
        if value not in allowed:
            raise ConfigError(f"{name} is {value}; it must be {allowed}")
