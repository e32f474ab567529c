"""Several runs in one table: updated in place on a terminal, one plain line per change elsewhere."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console, Group
from rich.live import Live

from rl_lab.errors import LabError
from rl_lab.experiment.run import Run
from rl_lab.system.printable import plain_text
from rl_lab.tracking.fitted_table import FILE_WIDTH, fitted_table
from rl_lab.tracking.metric_names import MINUTES_METRIC, SCORE_METRIC, STEP_METRIC

METRIC_COLUMNS = {  # heading -> name and format of the metric
    "step": (STEP_METRIC, ","),
    "steps/s": ("speed/steps_per_s", ",.0f"),
    "return of 100 games": ("train/return_100", ".2f"),
    "eval": (SCORE_METRIC, ".2f"),
    "minutes": (MINUTES_METRIC, ".1f"),
}
TEXT_COLUMNS = ("run", "state", "node")
DROP_ORDER = ("minutes", "steps/s", "return of 100 games", "node", "step")
"""Columns that are left out on a narrow terminal, the first one first."""

SCORE_STEP = "evaluated_at"  # entry that `newest_metrics` adds: agent step of the last evaluation
UPDATE_INTERVAL = 1.0  # seconds


@dataclass(frozen=True)
class RunRow:
    """One run as the table displays it."""

    name: str
    state: str  # "waiting", "running", "stopped", "ended early", "failed", "done" or "not done"
    run: Run | None  # None if the run folder does not exist yet
    node: str = ""  # address of the cluster node, empty for this machine
    error: str = ""
    settings: dict[str, str] = field(default_factory=dict)  # settings of a trial that a search varies

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
            self.live.update(render_table(rows, self.title, self.console.width))
            return
        has_several_nodes = len(_nodes(rows)) > 1
        for row in rows:
            self._print_if_changed(row, has_several_nodes=has_several_nodes)

    def _print_if_changed(self, row: RunRow, *, has_several_nodes: bool) -> None:
        """Print a line if the run has started, and its state, its score or its error has changed.

        A change of the node alone is not printed: a run moves only after an error, and a stopped run has no node.
        """
        newest = row.newest_metrics()
        score = ""
        if SCORE_METRIC in newest:
            score = f", evaluation {newest[SCORE_METRIC]:.2f} at step {newest[SCORE_STEP]:,}"
        node = f" on {row.node}" if has_several_nodes and row.node else ""
        settings = "".join(f" {name}={value}" for name, value in row.settings.items())
        error = f": {row.error}" if row.error else ""
        content = (row.state, score, error)
        key = str(row.run or row.name)  # two runs may have the same name
        if row.has_started and self._printed.get(key) != content:
            self._printed[key] = content
            self.console.print(plain_text(f"{row.name}{settings} {row.state}{node}{score}{error}"), soft_wrap=True)


def render_table(rows: Sequence[RunRow], title: str, width: int = FILE_WIDTH) -> Group:
    """Return the runs as a table that is at most `width` columns wide, and one line for each error below the table.

    There is a column for each setting in `RunRow.settings`, as far as they fit. The column "node" is left out unless
    there are several nodes.
    """
    columns: dict[str, list[str]] = {"run": [row.name for row in rows], "state": [row.state for row in rows]}
    if len(_nodes(rows)) > 1:
        columns["node"] = [row.node for row in rows]
    settings = list(dict.fromkeys(name for row in rows for name in row.settings))
    headings = [name.replace("_", " ") for name in settings]
    for name, heading in zip(settings, headings, strict=True):
        columns[heading] = [row.settings.get(name, "") for row in rows]
    metrics = [row.newest_metrics() for row in rows]
    for heading, (name, spec) in METRIC_COLUMNS.items():
        columns[heading] = [format(newest[name], spec) if name in newest else "" for newest in metrics]
    drop_order = [*DROP_ORDER, *reversed(headings)]
    table = fitted_table(columns, width, text_columns=TEXT_COLUMNS, drop_order=drop_order, title=title)
    errors = [plain_text(f"{row.name}: {row.error}") for row in rows if row.error]
    return Group(table, *errors)


def _nodes(rows: Sequence[RunRow]) -> set[str]:
    """Return the addresses of the cluster nodes that have runs."""
    return {row.node for row in rows if row.node}
