"""What every agent shares: the row it observes, the protocol it follows, its schedules and the ranges of its settings."""

from __future__ import annotations

import math
import time
import types
import typing
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Annotated, Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

Carry = tuple[Tensor, ...]
"""What an agent remembers between two calls of `act`: tensors `[N, ...]`, owned by the caller; empty if it needs nothing."""

Metrics = dict[str, Tensor]
"""Named scalars on the agent's device; nobody calls `.item()` on them before they are logged."""


class Step(NamedTuple):
    """Row t of N environments, as tensors on the agent's device (docs/architecture.md, "The row")."""

    obs: Tensor  # [N, *frame]: one frame, not a stack
    first: Tensor  # bool[N]: obs is an episode's first
    dead: Tensor  # bool[N]: obs is an episode's last; the action here does nothing
    action: Tensor  # i64[N]
    reward: Tensor  # f32[N]: raw, earned by this row's action; the agent clips
    terminated: Tensor  # bool[N]: bootstrapping stops here (a life lost too, where the protocol says so)
    truncated: Tensor  # bool[N]: the episode ends here, bootstrapping does not
    live: int  # how many of the N rows are not dead: the agent steps this row adds to every count


class Thought(NamedTuple):
    """What an agent would do at a row of N environments, and why."""

    action: Tensor  # i64[N]: the greedy one
    scores: Tensor  # f32[N, A]: Q(s, .), or the policy's probabilities pi(. | s)
    value: Tensor  # f32[N]: what the agent expects to come, discounted
    distribution: Tensor | None = None  # f32[N, A, atoms]: the probabilities of returns, where it learns them
    state_norm: Tensor | None = None  # f32[N]: the size of what it remembers, |h|
    is_policy: bool = False  # whether the scores are probabilities


@dataclass(frozen=True)
class RowSpec:
    """The shape of a row: all that an agent is told about the world."""

    frame: tuple[int, ...]  # shape of one observation: (84, 84) for an Atari frame, (4,) for CartPole
    dtype: torch.dtype  # torch.uint8 for images, torch.float32 for vectors
    num_actions: int
    num_envs: int
    one_hot: bool = False  # a state's number, as a vector with a 1 in its place
    bounds: tuple[tuple[float, float], ...] | None = None  # of a vector's entries, where all of them have some

    @property
    def is_image(self) -> bool:
        return len(self.frame) == 2 and self.dtype == torch.uint8


@dataclass(frozen=True)
class Ring:
    """Rows in a state dict that are written once, in order, over the oldest: row r lies at position r % capacity.

    Whoever saves the state may keep the rows it has already saved.
    """

    fields: dict[str, Tensor]  # each [capacity, ...]
    total: int  # rows ever written

    @property
    def capacity(self) -> int:
        return len(next(iter(self.fields.values())))

    def copy_into(self, fields: dict[str, Tensor]) -> None:
        """Put the rows where they belong in a memory of the same shape. Raises ValueError where the shapes differ."""
        check_same_rows(self.fields, fields)
        if self.fields and self.capacity != len(next(iter(fields.values()))):
            raise ValueError(f"the rows are those of a memory of {self.capacity}")
        for name, field in fields.items():
            field.copy_(self.fields[name])


def check_same_rows(rows: dict[str, Tensor], fields: dict[str, Tensor]) -> None:
    """Raise ValueError unless both hold the same fields, whose rows have the same shapes and types."""
    for name in sorted(rows.keys() | fields.keys()):
        there, here = (f"{x[name].dtype}{list(x[name].shape[1:])}" if name in x else "none" for x in (rows, fields))
        if there != here:
            raise ValueError(f"rows hold {name} as {there}, not {here}")


class Agent(Protocol):
    """What the runner, the evaluator and the viewer need of an algorithm, and all they know of it."""

    network: nn.Module  # what plays: its weights alone reproduce the greedy policy
    seconds: Stopwatch  # host seconds spent in "sampling" and "updating"

    @staticmethod
    def bytes_needed(config: Any, rows: RowSpec) -> int:
        """Bytes that its memory will take on its device, known before anything is allocated."""
        ...

    def initial_carry(self, n: int) -> Carry:
        """The carry of n environments before their first row."""
        ...

    def act(self, obs: Tensor, first: Tensor, carry: Carry, *, explore: bool) -> tuple[Tensor, Carry]:
        """Actions i64[N] for frames `obs` [N, *frame], and the next carry. Greedy unless `explore`."""
        ...

    def think(self, obs: Tensor, first: Tensor, carry: Carry) -> tuple[Thought, Carry]:
        """What `act` does without exploring, and what it comes from; the next carry.

        Gradients flow, to ask what it comes from in the pixels: who wants none says torch.no_grad(). `obs` may be float then.
        """
        ...

    def observe(self, step: Step) -> Metrics | None:
        """Remember the row, and learn when an update is due; the mean metrics of the updates made, if any."""
        ...

    def start_from(self, weights: dict[str, Tensor]) -> None:
        """Begin with these weights of `network`. Raises RuntimeError where they do not fit."""
        ...

    def gauges(self) -> dict[str, float]:
        """Numbers known on the host at any time: epsilon, updates, replay size."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything that `load_state_dict` needs to go on: nested dicts of tensors, numbers, texts and Rings."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def no_frames(n: int, count: int, rows: RowSpec, device: torch.device) -> Tensor:
    """The history of n environments before their first row: `count` frames of zeros, [n, count, *frame]."""
    return torch.zeros((n, count, *rows.frame), dtype=rows.dtype, device=device)


def stack_frames(obs: Tensor, first: Tensor, history: Tensor) -> tuple[Tensor, Tensor]:
    """The last k frames of each episode [N, k, *frame], from the newest one `obs` and the k-1 before it; the next history.

    Zeros stand before an episode's first frame, as in the replay.
    """
    history = history * ~first.view(-1, *[1] * (history.dim() - 1))
    stack = torch.cat([history, obs[:, None]], 1)
    return stack, stack[:, 1:]


def clip_rewards(step: Step, limit: float) -> Step:
    """The row with its rewards clipped to +- `limit`; 0 leaves them as they are."""
    return step._replace(reward=step.reward.clamp(-limit, limit)) if limit else step


def mean_metrics(made: list[Metrics]) -> Metrics | None:
    """The mean of each metric over the updates that were made; None where there were none."""
    if len(made) < 2:
        return made[0] if made else None
    return {name: torch.stack([metrics[name] for metrics in made]).mean() for name in made[0]}


class Stopwatch(dict[str, float]):
    """Seconds by name: `with seconds("sampling"): ...` adds to `seconds["sampling"]`."""

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self[name] = self.get(name, 0.0) + time.perf_counter() - start


def linear_schedule(start: float, end: float, steps: int, t: int, *, hold: int = 0) -> float:
    """`start` until t = `hold`, `end` from t = `steps` on, a straight line between."""
    if t < hold:
        return start
    if t >= steps:
        return end
    return start + (end - start) * (t - hold) / (steps - hold)


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
