"""The metrics of a run in trackio, a local tracker of Hugging Face with the interface of W&B."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rl_lab.experiment.run import Run
from rl_lab.experiment.run_files import is_number
from rl_lab.system.optional_packages import import_optional
from rl_lab.system.portable_name import portable_name
from rl_lab.system.printable import print_line
from rl_lab.tracking.metric_names import STEP_METRIC

REMOTE_VARIABLES = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL")
"""Variables of the environment with which trackio sends metrics to a server in place of its database."""


def import_trackio() -> Any:
    """Return the package trackio. Raise LabError if it is not installed."""
    return import_optional("trackio", "--trackio")


class TrackioSink:
    """Writes metrics to trackio's database, under the names of metrics.jsonl. The step of trackio is the agent step.

    The project is the setting `wandb_project`, and the run has a name of its own (`trackio_name`). A resumed run
    replaces its rows in the database by the lines of metrics.jsonl, so that both hold equal values. If trackio sends
    metrics to a server (`REMOTE_VARIABLES`), nothing is replaced, and only new lines are sent.

    A failure of trackio never stops training: the sink prints a message and ignores all further calls.
    """

    def __init__(self, run: Run, lines: list[dict[str, Any]]) -> None:
        """Start the run in trackio.

        Args:
            run: The run folder.
            lines: The lines of metrics.jsonl so far, oldest first: none, or those up to the checkpoint.

        Raises:
            LabError: The package trackio is not installed.
        """
        self.trackio = import_trackio()
        self.trackio_run: Any = None  # None after a failure
        with _without_output():
            self._call(lambda: self._start(run))
        is_remote = any(os.environ.get(name) for name in REMOTE_VARIABLES)
        for line in [] if is_remote else lines:
            self.log(line[STEP_METRIC], line)

    def log(self, step: int, values: dict[str, Any]) -> None:
        """Write the numbers among the values."""
        numbers = {name: value for name, value in values.items() if name != STEP_METRIC and is_number(value)}
        self._call(lambda: self.trackio_run and self.trackio_run.log(numbers, step=step))

    def complete(self) -> None:
        """Do nothing: trackio computes its summaries itself."""

    def close(self) -> None:
        """Wait until everything is written."""
        with _without_output():
            self._call(self._finish)

    def _start(self, run: Run) -> None:
        """Start the run in trackio, and delete the rows that an earlier process of the run has logged."""
        config = run.config
        project = portable_name(config.run.wandb_project)
        name = trackio_name(run)
        self._delete(project, name)
        env_name = portable_name(run.env_spec.name)
        self.trackio_run = self.trackio.init(
            project=project,
            name=name,
            group=config.run.group or f"{config.agent}/{env_name}",
            config={**config.to_dict(), "env_card": run.env_spec.to_dict()},
            resume="allow",
            embed=False,
            auto_log_cpu=False,
            auto_log_gpu=False,
        )

    def _delete(self, project: str, name: str) -> None:
        """Delete what trackio's database has of a run."""
        with contextlib.suppress(ValueError):  # there is no such project
            for trackio_run in self.trackio.Api().runs(project):
                if trackio_run.name == name:
                    trackio_run.delete()

    def _finish(self) -> None:
        """Finish the run in trackio."""
        if self.trackio_run is not None:
            with contextlib.suppress(RuntimeError):  # the start of a later run has finished this one
                self.trackio.finish()

    def _call(self, function: Callable[[], object]) -> None:
        """Call a function of trackio. If it raises, print a message and stop using trackio."""
        try:
            function()
        except Exception as error:
            self.trackio_run = None
            print_line(f"trackio stopped: {error or type(error).__name__}; metrics.jsonl is complete", file=sys.stderr)


def trackio_name(run: Run) -> str:
    """Return the name of a run in trackio, such as dqn-Pong-s1-a9f2c1. It depends on the path of the run folder."""
    config = run.config
    name = config.run.name or f"{config.agent}-{run.env_spec.name}-s{config.run.seed}"
    digest = hashlib.sha1(str(run.path.resolve()).encode()).hexdigest()
    return f"{portable_name(name)}-{digest[:6]}"


@contextmanager
def _without_output() -> Iterator[None]:
    """Drop what is printed to stdout: trackio describes its dashboard at every start."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
