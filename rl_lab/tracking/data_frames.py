"""The metrics of a run as a table: a DataFrame of pandas, or a CSV file. The names are those of metrics.jsonl."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rl_lab.errors import LabError
from rl_lab.system.optional_packages import import_optional
from rl_lab.tracking.metric_names import STEP_METRIC

if TYPE_CHECKING:
    import pandas


def merged_lines(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one line for each agent step, in order. Of values that were logged twice at a step, the later one counts.

    Args:
        lines: Lines of metrics.jsonl, oldest first.
    """
    by_step: dict[int, dict[str, Any]] = {}
    for line in lines:
        by_step.setdefault(line[STEP_METRIC], {}).update(line)
    return [by_step[step] for step in sorted(by_step)]


def metrics_frame(lines: list[dict[str, Any]]) -> pandas.DataFrame:
    """Return the metrics as a DataFrame: one row for each agent step, which is the index; one column for each metric.

    A metric that was not logged at a step is NaN.

    Args:
        lines: Lines of metrics.jsonl, oldest first.

    Raises:
        LabError: pandas is not installed.
    """
    pandas = import_optional("pandas", "a DataFrame of metrics")
    rows = merged_lines(lines)
    frame = pandas.DataFrame(rows, columns=column_names(rows))
    return frame.set_index(STEP_METRIC)


def write_csv(lines: list[dict[str, Any]], path: Path) -> None:
    """Write the metrics as a CSV file: a header, then one row for each agent step. A missing value is empty.

    Args:
        lines: Lines of metrics.jsonl, oldest first.
        path: The file.

    Raises:
        LabError: The file cannot be written.
    """
    rows = merged_lines(lines)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, column_names(rows), restval="")
            writer.writeheader()
            writer.writerows(rows)
    except OSError as error:
        raise LabError(f"{path} cannot be written: {error.strerror}") from error


def column_names(rows: list[dict[str, Any]]) -> list[str]:
    """Return the names of all metrics in the order in which they first appear, the agent step first."""
    names = {STEP_METRIC: None}
    for row in rows:
        names |= dict.fromkeys(row)
    return list(names)
