"""What a person sees of a run: a bar on a terminal, elsewhere a plain line every half minute."""

from __future__ import annotations

import time
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text


@dataclass
class Status:
    """The numbers of the moment."""

    step: int = 0
    steps_per_s: float = 0.0
    return_100: float | None = None  # mean of the last 100 games
    epsilon: float | None = None
    last_eval: float | None = None
    best_eval: float | None = None

    def eta(self, total: int) -> str:
        """Time left at the present speed, h:mm:ss."""
        if not self.steps_per_s:
            return "-:--:--"
        left = int((total - self.step) / self.steps_per_s)
        return f"{left // 3600}:{left // 60 % 60:02}:{left % 60:02}"

    def line(self, total: int) -> str:
        """All of it in one line."""

        def number(x: float | None) -> str:
            return "-" if x is None else f"{x:.2f}"

        parts = [
            f"step {self.step:,}/{total:,}",
            f"{self.steps_per_s:,.0f} steps/s",
            f"ETA {self.eta(total)}",
            f"return {number(self.return_100)}",
            *([f"epsilon {self.epsilon:.3f}"] if self.epsilon is not None else []),
            f"eval {number(self.last_eval)} (best {number(self.best_eval)})",
        ]
        return "  ".join(parts)


class Display:
    """Shows the status of a run of `total` agent steps; use it as a context."""

    BAR_EVERY, LINE_EVERY = 0.5, 30.0  # seconds between two looks: on a terminal, elsewhere

    def __init__(self, total: int, *, quiet: bool = False) -> None:
        self.total = total
        self.console = Console(quiet=quiet, highlight=False, soft_wrap=True)
        self.bar = Progress(BarColumn(20), TextColumn("{task.description}"), console=self.console, refresh_per_second=4)
        self.task = self.bar.add_task("", total=total)
        self.shown_at = time.monotonic()

    def __enter__(self) -> Display:
        if self.console.is_terminal:
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.console.is_terminal:
            self.bar.stop()

    def say(self, line: str) -> None:
        """A line that stays, above the bar."""
        self.console.print(Text(line))

    def due(self) -> bool:
        """Whether it is time to show the status again."""
        return time.monotonic() - self.shown_at >= (self.BAR_EVERY if self.console.is_terminal else self.LINE_EVERY)

    def show(self, status: Status) -> None:
        """The present state: redrawn in the bar, or said in a line."""
        self.shown_at = time.monotonic()
        if self.console.is_terminal:
            self.bar.update(self.task, completed=status.step, description=status.line(self.total))
        else:
            self.say(status.line(self.total))
