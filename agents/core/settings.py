"""Allowed ranges of settings, and the check of a configuration against them."""

from __future__ import annotations

import math
import types
import typing
from dataclasses import dataclass, fields
from typing import Annotated, Any


class ConfigError(ValueError):
    """A setting that cannot be: one line that names the field, the value and what would be right."""


@dataclass(frozen=True)
class Range:
    """The allowed values of a number, for `Annotated[float, Range(0, 1)]`; `open_low` leaves `low` itself out."""

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high and not (self.open_low and value == self.low)

    def __str__(self) -> str:
        if self.high == math.inf:
            return f"greater than {self.low:g}" if self.open_low else f"at least {self.low:g}"
        high = f"{self.high:g}" if abs(self.high) < 1e6 else f"{self.high:,.0f}"
        return f"{'above' if self.open_low else 'from'} {self.low:g} to {high}"


Positive = Annotated[float, Range(0, open_low=True)]
NonNegative = Annotated[float, Range(0)]
Fraction = Annotated[float, Range(0, 1)]
Count = Annotated[int, Range(1)]
CountOrZero = Annotated[int, Range(0)]


def check_fields(config: Any) -> None:
    """Raise ConfigError at the first field of a dataclass whose value has the wrong type or lies out of its range."""
    hints = typing.get_type_hints(type(config), include_extras=True)
    for field in fields(config):
        hint, value = hints[field.name], getattr(config, field.name)
        ranges: list[Any] = []
        while typing.get_origin(hint) is Annotated:
            hint, *more = typing.get_args(hint)
            ranges += more
        name = field.name
        if typing.get_origin(hint) is types.UnionType:  # X | None: nothing was given, or an X
            if value is None:
                continue
            hint = next(h for h in typing.get_args(hint) if h is not type(None))
        if typing.get_origin(hint) is typing.Literal:
            choices = typing.get_args(hint)
            if value not in choices or type(value) is bool:
                raise ConfigError(f"{name} is {value!r}; it must be one of {', '.join(map(str, choices))}")
        elif hint is float:
            if type(value) not in (int, float) or not math.isfinite(value):
                raise ConfigError(f"{name} is {value!r}; it must be a finite number")
        elif type(value) is not hint and hint in (int, bool, str):
            kind = {int: "a whole number", bool: "true or false", str: "a text"}[hint]
            raise ConfigError(f"{name} is {value!r}; it must be {kind}")
        for allowed in ranges:
            if isinstance(allowed, Range) and value not in allowed:
                raise ConfigError(f"{name} is {value}; it must be {allowed}")
