"""metrics.jsonl: the metrics of a run as one JSON object per line."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from rl_lab.experiment.run import Run
from rl_lab.tracking.metric_names import STEP_METRIC


class JsonLinesSink:
    """Appends metrics to metrics.jsonl. Each line is flushed, so that other processes can read the file at any time."""

    def __init__(self, run: Run, lines: list[dict[str, Any]]) -> None:
        """Replace the content of metrics.jsonl by `lines` in one atomic step, and open the file for appending."""
        path = run.path / "metrics.jsonl"
        new_path = path.with_suffix(".new")
        new_path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        new_path.replace(path)
        self.file = path.open("a")

    def log(self, step: int, values: dict[str, Any]) -> None:
        """Append one line."""
        self.file.write(json.dumps({STEP_METRIC: step, **values}) + "\n")
        self.file.flush()

    def complete(self) -> None:
        """Do nothing: the file is complete after every line."""

    def close(self) -> None:
        """Close the file."""
        # Closing writes what is still buffered. On a full disk this fails, and `log` has already raised the error.
        with suppress(OSError):
            self.file.close()
