"""Several runs in one table: updated in place on a terminal, one plain line per change elsewhere."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.live import Live
from rich.table import Table

from rl_lab.errors import LabError
from rl_lab.experiment.run import Run
from rl_lab.system.printable import plain_text
from rl_lab.tracking.metric_names import MINUTES_METRIC, SCORE_METRIC, STEP_METRIC

METRIC_COLUMNS = {  # heading -> name and format of the metric
    "step": (STEP_METRIC, ","),
    "steps/s": ("speed/steps_per_s", ",.0f"),
    "return of 100 games": ("train/return_100", ".2f"),
    "evaluation": (SCORE_METRIC, ".2f"),
    "minutes": (MINUTES_METRIC, ".1f"),
}
SCORE_STEP = "evaluated_at"  # entry that `newest_metrics` adds: agent step of the last evaluation
UPDATE_INTERVAL = 1.0  # seconds


@dataclass(frozen=True)
class RunRow:
    """One run as the table displays it."""

    name: str
    state: str  # "waiting", "running", "stopped", "failed", "done" or "not done"
    run: Run | None  # None if the run folder does not exist yet
    node: str = ""  # address of the cluster node, empty for this machine
    error: str = ""

    @property
    def has_started(self) -> bool:
        """Return True if the run waits no longer, and its folder exists if it is running."""
        if self.state == "waiting":
            return False
        return self.state != "running" or self.run is not None

    def newest_metrics(self) -> dict[str, float]:
        """Return the newest value of each logged metric, and as `SCORE_STEP` the step of the last evaluation."""
        if self.run is None:
            return {}
        try:
            size = (self.run.path / "metrics.jsonl").stat().st_size
        except OSError:  # the file does not exist yet, or cannot be read
            return {}
        return _newest_metrics(self.run, size)


@functools.lru_cache(maxsize=1000)
def _newest_metrics(run: Run, size: int) -> dict[str, float]:
    """Read the newest metrics. `size` is part of the cache key: the file is read again only after it has grown."""
    newest: dict[str, float] = {}
    try:
        lines = run.metrics()
    except LabError:  # the file is being replaced
        return newest
    for line in lines:
        newest |= line
        if SCORE_METRIC in line:
            newest[SCORE_STEP] = line[STEP_METRIC]
    return newest


class RunTable:
    """Displays a group of runs. Use it as a context manager."""

    def __init__(self, console: Console, title: str) -> None:
        self.console = console
        self.title = title
        self.live = Live(console=console, refresh_per_second=2) if console.is_terminal else None
        self.next_update = 0.0  # monotonic time at which `is_due` is True again
        self._printed: dict[str, tuple[str, ...]] = {}  # run -> content of its last line, without a terminal

    def __enter__(self) -> RunTable:
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.stop()

    def is_due(self) -> bool:
        """Return True at most once per second."""
        now = time.monotonic()
        if now < self.next_update:
            return False
        self.next_update = now + UPDATE_INTERVAL
        return True

    def update(self, rows: Sequence[RunRow]) -> None:
        """Display the current state of the runs."""
        if self.live:
            self.live.update(render_table(rows, self.title))
            return
        for row in rows:
            self._print_if_changed(row)

    def _print_if_changed(self, row: RunRow) -> None:
        """Print a line if the run has started and the line differs from the run's last one."""
        newest = row.newest_metrics()
        score = ""
        if SCORE_METRIC in newest:
            score = f", evaluation {newest[SCORE_METRIC]:.2f} at step {newest[SCORE_STEP]:,}"
        node = f" on {row.node}" if row.node else ""
        error = f": {row.error}" if row.error else ""
        content = (row.state, score, node, error)
        key = str(row.run or row.name)  # two runs may have the same name
        if row.has_started and self._printed.get(key) != content:
            self._printed[key] = content
            self.console.print(plain_text(f"{row.name} {row.state}{node}{score}{error}"), soft_wrap=True)


def render_table(rows: Sequence[RunRow], title: str) -> Table:
    """Return the runs as a table. The columns "node" and "error" are left out if they would be empty."""
    has_nodes = any(row.node for row in rows)
    has_errors = any(row.error for row in rows)
    headings = ["state"]
    if has_nodes:
        headings.append("node")
    headings += METRIC_COLUMNS
    table = Table(title=plain_text(title), box=None, title_justify="left")
    table.add_column("run")
    for heading in headings:
        table.add_column(heading, justify="right")
    if has_errors:
        table.add_column("error")
    for row in rows:
        cells = [row.name, row.state]
        if has_nodes:
            cells.append(row.node)
        cells += _metric_cells(row)
        if has_errors:
            cells.append(row.error)
        table.add_row(*map(plain_text, cells))
    return table


def _metric_cells(row: RunRow) -> list[str]:
    newest = row.newest_metrics()
    return [format(newest[name], spec) if name in newest else "" for name, spec in METRIC_COLUMNS.values()]
