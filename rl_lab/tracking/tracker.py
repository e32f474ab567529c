"""The tracker: passes the metrics of a run to all of its sinks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rl_lab.experiment.run import Run
from rl_lab.tracking.json_lines_sink import JsonLinesSink
from rl_lab.tracking.metric_names import STEP_METRIC
from rl_lab.tracking.metrics_sink import MetricsSink
from rl_lab.tracking.tensorboard_sink import TensorBoardSink
from rl_lab.tracking.trackio_sink import TrackioSink
from rl_lab.tracking.wandb_mode import WandbMode
from rl_lab.tracking.wandb_sink import WandbSink


class Tracker:
    """Passes the metrics of a run to several sinks, in order."""

    def __init__(self, run: Run, sinks: list[MetricsSink]) -> None:
        self.run = run
        self.sinks = sinks

    def log(self, step: int, values: dict[str, Any]) -> None:
        """Log metrics at an agent step. The values are plain numbers on the host."""
        for sink in self.sinks:
            sink.log(step, values)

    def log_video(self, step: int, path: Path) -> None:
        """Log a video file in the run folder at an agent step."""
        self.log(step, {"video": str(path.relative_to(self.run.path))})

    def complete(self) -> None:
        """Tell the sinks that everything is logged and the last checkpoint is saved."""
        for sink in self.sinks:
            sink.complete()

    def close(self) -> None:
        """Close the sinks."""
        for sink in self.sinks:
            sink.close()


def open_tracker(
    run: Run,
    mode: WandbMode,
    step: int,
    listener: MetricsSink | None = None,
    *,
    tensorboard: bool = False,
    trackio: bool = False,
) -> Tracker:
    """Open the sinks of a run that starts or resumes.

    Args:
        run: The run folder.
        mode: W&B mode; "disabled" adds no W&B sink.
        step: Agent steps of the checkpoint from which the run resumes; 0 for a new run. Lines of metrics.jsonl after
            this step are dropped, because the run will log them again.
        listener: A further sink, or None.
        tensorboard: Add a TensorBoard sink.
        trackio: Add a trackio sink.
    """
    lines: list[dict[str, Any]] = []
    if step > 0:
        lines = [line for line in run.metrics() if line[STEP_METRIC] <= step]
    sinks: list[MetricsSink] = [JsonLinesSink(run, lines)]
    if mode != "disabled":
        sinks.append(WandbSink(run, mode, lines))
    if tensorboard:
        sinks.append(TensorBoardSink(run, lines))
    if trackio:
        sinks.append(TrackioSink(run, lines))
    if listener is not None:
        sinks.append(listener)
    return Tracker(run, sinks)
