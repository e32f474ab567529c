"""Several runs in one table: redrawn on a terminal; elsewhere one plain line for each change."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rl_lab.errors import LabError
from rl_lab.experiment.run import Run
from rl_lab.tracking.tracker import AXIS, SCORE

COLUMNS = {  # head -> the metric and its format
    "step": (AXIS, ","),
    "steps/s": ("speed/steps_per_s", ",.0f"),
    "return of 100 games": ("train/return_100", ".2f"),
    "evaluation": (SCORE, ".2f"),
    "minutes": ("time/minutes", ".1f"),
}


@dataclass(frozen=True)
class Line:
    """One run as the table shows it; without a run it has not begun."""

    name: str
    state: str
    run: Run | None
    node: str = ""
    error: str = ""

    def newest(self) -> dict[str, float]:
        """The newest value of everything the run has logged, and the step of its last evaluation."""
        file = self.run.path / "metrics.jsonl" if self.run else None
        return _newest(self.run, file.stat().st_size) if self.run and file and file.exists() else {}


@functools.lru_cache(maxsize=1000)  # a run that stands still is not read again each second
def _newest(run: Run, size: int) -> dict[str, float]:
    found: dict[str, float] = {}
    try:
        lines = run.metrics()
    except LabError:  # shown while it is written
        return found
    for line in lines:
        found |= line
        if SCORE in line:
            found["evaluated_at"] = line[AXIS]
    return found


class Board:
    """The table of a group of runs, for as long as it is open."""

    def __init__(self, console: Console, title: str) -> None:
        self.console, self.title = console, title
        self.live = Live(console=console, refresh_per_second=2) if console.is_terminal else None
        self.told: dict[str, tuple[str, ...]] = {}
        self.next = 0.0  # when it is due again

    def __enter__(self) -> Board:
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.stop()

    def due(self) -> bool:
        """Whether a second has gone since this was last true."""
        now = time.monotonic()
        if now < self.next:
            return False
        self.next = now + 1
        return True

    def update(self, lines: Sequence[Line]) -> None:
        """Show where the runs stand now."""
        if self.live:
            self.live.update(table(lines, self.title))
            return
        for line in lines:
            newest = line.newest()
            score = f", evaluation {newest[SCORE]:.2f} at step {newest['evaluated_at']:,}" if SCORE in newest else ""
            now = (line.state, score, line.node, line.error)
            which = str(line.run or line.name)  # two may have one name
            begun = line.state != "waits" and (line.state != "runs" or line.run is not None)
            if begun and self.told.get(which) != now:
                self.told[which] = now
                where = f" on {line.node}" if line.node else ""
                error = f": {line.error}" if line.error else ""
                self.console.print(f"{line.name} {line.state}{where}{score}{error}", markup=False, soft_wrap=True)


def table(lines: Sequence[Line], title: str) -> Table:
    """The runs as a table; nodes and errors have a column where there are any."""
    nodes, errors = any(line.node for line in lines), any(line.error for line in lines)
    drawn = Table(title=Text(title), box=None, title_justify="left")
    drawn.add_column("run")
    for head in ["state", *(["node"] if nodes else []), *COLUMNS]:
        drawn.add_column(head, justify="right")
    if errors:
        drawn.add_column("error")
    for line in lines:
        newest = line.newest()
        cells = [format(newest[key], form) if key in newest else "" for key, form in COLUMNS.values()]
        node, error = [line.node] if nodes else [], [line.error] if errors else []
        drawn.add_row(*map(Text, [line.name, line.state, *node, *cells, *error]))  # not markup: errors hold brackets
    return drawn
