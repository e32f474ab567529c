"""The training of one seed in a process of its own."""

from __future__ import annotations

import re
import subprocess
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from rl_lab.errors import USER_ERRORS
from rl_lab.experiment.launch import is_finished
from rl_lab.experiment.run import Run

MAX_KEPT_LINES = 500
"""Lines of a job's output that are kept, from the last one backwards: enough for a traceback with its causes."""

JobState = Literal["waiting", "running", "done", "stopped", "failed"]


class TrainingJob:
    """A command that trains one seed. The command is run at most once, by `start`."""

    def __init__(self, seed: int, command: Sequence[str], run: Run | None = None) -> None:
        """Describe the job without starting it.

        Args:
            seed: The seed.
            command: The command line. It is empty if the seed is trained already.
            run: The run folder, if it exists already.
        """
        self.seed = seed
        self.command = command
        self.run = run
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._last_lines: deque[str] = deque(maxlen=MAX_KEPT_LINES)
        self._is_finished: bool | None = None  # read from the run folder once the process has ended

    @property
    def state(self) -> JobState:
        """Return the state of the job. "stopped" means by a signal, "failed" any other error.

        A job is done when its run is finished. The exit code alone does not say so: an environment may end the
        process with code 0.
        """
        if self._process is None:
            return "waiting" if self.command else "done"
        exit_code = self._process.poll()
        if exit_code is None:
            return "running"
        if exit_code == 0:
            return "done" if self._is_complete() else "failed"
        # A shell reports signal n as 128 + n, and so does the command `train`; Popen reports -n.
        if exit_code >= 128 or exit_code < 0:
            return "stopped"
        return "failed"

    @property
    def problem(self) -> str:
        """Return why the job failed, if its output does not say so; otherwise an empty text."""
        if self.state != "failed" or self._process is None or self._process.returncode != 0:
            return ""
        last_line = self.last_line()
        output = f"; its last line: {last_line}" if last_line else ""
        return f"the process ended with exit code 0 before the run had all its steps{output}"

    def start(self, environment: dict[str, str]) -> None:
        """Start the process in a session of its own, so that Ctrl-C in the terminal does not reach it directly."""
        self._process = subprocess.Popen(
            self.command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="backslashreplace",  # an environment may print other bytes
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read_output, args=(self._process,), daemon=True)
        self._reader.start()

    def send_signal(self, number: int) -> None:
        """Send a signal to the process if it is running."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def last_line(self) -> str:
        """Return the last line of the output, or an empty text. Call it after the process has ended."""
        if self._reader is not None:
            self._reader.join(5)
        return self._last_lines[-1] if self._last_lines else ""

    def traceback(self) -> list[str]:
        """Return the output from the first line of a traceback on, which is printed by jobs with the flag --verbose."""
        self.last_line()  # wait until the output is read
        lines = list(self._last_lines)
        for i, line in enumerate(lines):
            if line.startswith("Traceback (most recent call last)"):
                return lines[i:]
        return []

    def _is_complete(self) -> bool:
        """Return True if the run of the ended process is finished."""
        if self._is_finished is None:
            if self._reader is not None:
                self._reader.join(5)  # the last lines may hold the run folder
            try:
                self._is_finished = self.run is not None and is_finished(self.run)
            except (*USER_ERRORS, OSError):  # the run folder was removed or damaged
                self._is_finished = False
        return self._is_finished

    def _read_output(self, process: subprocess.Popen[str]) -> None:
        """Read the output until it ends."""
        assert process.stdout is not None
        with process.stdout as output:
            for line in output:
                self._read_line(line.rstrip())

    def _read_line(self, line: str) -> None:
        """Keep a line of the output, and take the run folder from it."""
        self._last_lines.append(line)
        match = re.match(r"run folder (.+)$", line)
        if match and self.run is None:
            self.run = Run(Path(match[1]))
