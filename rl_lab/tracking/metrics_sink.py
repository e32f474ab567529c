"""The interface of everything that receives the metrics of a run."""

from __future__ import annotations

from typing import Any, Protocol


class MetricsSink(Protocol):
    """Receives the metrics of a run: a file, Weights & Biases, TensorBoard, trackio, or the scheduler of a sweep."""

    def log(self, step: int, values: dict[str, Any]) -> None:
        """Store metrics.

        Args:
            step: Agent step at which the metrics were measured.
            values: Metric name -> plain number. "video" is the path of a video, relative to the run folder.
        """
        ...

    def complete(self) -> None:
        """Store what belongs to the run as a whole. Called once, after the last checkpoint was saved."""
        ...

    def close(self) -> None:
        """Release files and connections. Called last, also after an error."""
        ...
