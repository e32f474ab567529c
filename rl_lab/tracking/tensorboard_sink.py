"""The metrics of a run in TensorBoard, in the folder "tensorboard" of the run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rl_lab.experiment.run import Run
from rl_lab.experiment.run_files import is_number
from rl_lab.system.optional_packages import import_optional
from rl_lab.tracking.metric_names import STEP_METRIC

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

FOLDER = "tensorboard"


def check_tensorboard() -> None:
    """Raise LabError if the package tensorboard is not installed."""
    import_optional("tensorboard", "--tensorboard")


class TensorBoardSink:
    """Writes metrics to event files, under the names of metrics.jsonl. The x-axis is the agent step.

    A run that resumes writes a further event file. TensorBoard then hides the events after the checkpoint from which
    the run resumes. A run that had no event files before gets all its lines.
    """

    def __init__(self, run: Run, lines: list[dict[str, Any]]) -> None:
        """Open an event file.

        Args:
            run: The run folder.
            lines: The lines of metrics.jsonl so far, oldest first: none, or those up to the checkpoint.

        Raises:
            LabError: The package tensorboard is not installed.
        """
        check_tensorboard()
        from torch.utils.tensorboard import SummaryWriter  # imports the package tensorboard

        folder = run.path / FOLDER
        is_continued = any(folder.glob("events.*"))
        first_new_step = lines[-1][STEP_METRIC] + 1 if lines else 0
        purge_step = first_new_step if is_continued else None
        self.writer: SummaryWriter = SummaryWriter(str(folder), purge_step=purge_step)
        if not is_continued:
            for line in lines:
                self._add(line[STEP_METRIC], line)
            self.writer.flush()

    def log(self, step: int, values: dict[str, Any]) -> None:
        """Write the numbers among the values, and flush the file."""
        self._add(step, values)
        self.writer.flush()

    def complete(self) -> None:
        """Do nothing: the file is complete after every line."""

    def close(self) -> None:
        """Close the file."""
        self.writer.close()

    def _add(self, step: int, values: dict[str, Any]) -> None:
        for name, value in values.items():
            if name != STEP_METRIC and is_number(value):
                self.writer.add_scalar(name, value, step)
