"""Select which checkpoint of a run an agent plays with: a chosen one, or always the newest."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from agents.core.agent import Agent
from rl_lab import checkpoint
from rl_lab.errors import LabError
from rl_lab.system.data_files import DataFileError, path_exists
from rl_lab.system.printable import print_line

POLL_SECONDS = 1.0  # time between two checks for a newer checkpoint
MAX_ATTEMPTS = 10  # to read a checkpoint that training replaces at the same time


class SelectableCheckpoints(Protocol):
    """The checkpoints that a viewer offers."""

    @property
    def name(self) -> str:
        """Return the name of the checkpoint that is loaded."""
        ...

    @property
    def names(self) -> list[str]:
        """Return the names of all checkpoints that can be chosen."""
        ...


class CheckpointSelector:
    """Load weights from the checkpoints of a run into an agent.

    Attributes:
        name: The checkpoint that is loaded: "best" or its agent step.
        step: The agent step at which that checkpoint was written.
    """

    def __init__(self, run_path: Path, agent: Agent, name: str | None = None) -> None:
        """Load the first checkpoint.

        Args:
            run_path: Folder of the run.
            agent: Receives the weights.
            name: "best", "last" or an agent step. None is the best checkpoint, or the last one if there is no best.

        Raises:
            LabError: The checkpoint does not exist or is damaged.
        """
        self.run_path = run_path
        self.agent = agent
        self.name = ""
        self.step = 0
        self._last_check = -POLL_SECONDS  # in seconds of time.monotonic()
        self._newest_at_choice = 0  # agent step of the newest checkpoint when a person chose another one
        self._load(lambda: checkpoint.find(run_path, name))

    @property
    def names(self) -> list[str]:
        """Return the names of all checkpoints of the run: "best", if it exists, then agent steps, newest first."""
        has_best = _is_readable(self.run_path / "checkpoints" / "best" / "state.json")
        steps = [str(checkpoint.step_of(folder)) for folder in checkpoint.generations(self.run_path)]
        unique_steps = list(dict.fromkeys(steps))
        return ["best", *unique_steps] if has_best else unique_steps

    def choose(self, name: str) -> None:
        """Load the checkpoint with this name; "next" is the one after the current one in `names`.

        If it is damaged or was removed, print a message and keep the current weights.
        """
        if name == "next":
            name = self._next_name()
        try:
            self._load(lambda: checkpoint.find(self.run_path, name))
            self._newest_at_choice = max(_steps_of(newest_checkpoint(self.run_path)), self.step)
        except LabError as error:
            print_line(f"rl_lab: {error}; the agent keeps the weights of checkpoint {self.name}")

    def load_newer(self) -> bool:
        """Load the newest checkpoint if it is newer than the current one. The disk is checked once a second.

        After `choose`, only a checkpoint that was written later than the choice counts as newer.

        Returns:
            True if a newer checkpoint was loaded.
        """
        now = time.monotonic()
        if now - self._last_check < POLL_SECONDS:
            return False
        self._last_check = now
        try:
            newest = newest_checkpoint(self.run_path)
            if _steps_of(newest) <= max(self.step, self._newest_at_choice):
                return False
            self._load(lambda: newest or checkpoint.find(self.run_path))
        except LabError:  # training is replacing the checkpoint; the next check will load the new one
            return False
        return True

    def _next_name(self) -> str:
        names = self.names
        if self.name not in names:
            return names[0]
        return names[(names.index(self.name) + 1) % len(names)]

    def _load(self, find_folder: Callable[[], Path]) -> None:
        """Load the weights from the folder that `find_folder` returns.

        Training may replace the folder before it is read. In this case, call `find_folder` again.
        """
        attempt = 1
        while True:
            folder = find_folder()
            try:
                step = _steps_of(folder)
                checkpoint.load_network(folder, self.agent)
            except checkpoint.DamagedCheckpoint:
                was_replaced = not folder.exists()
                if attempt == MAX_ATTEMPTS or not was_replaced:
                    raise
                attempt += 1
                continue
            self.step = step
            self.name = "best" if folder.name.startswith("best") else str(step)
            return


def newest_checkpoint(run_path: Path) -> Path | None:
    """Return the checkpoint with the most agent steps, "best" or "last", or None if the run has no checkpoint yet."""
    candidates: list[tuple[int, str]] = []
    for name in ("best", "last"):
        try:
            folder = checkpoint.find(run_path, name)
            candidates.append((_steps_of(folder), str(folder)))
        except LabError:
            continue
    return Path(max(candidates)[1]) if candidates else None


def _is_readable(path: Path) -> bool:
    """Return True if a file exists and can be looked up."""
    try:
        return path_exists(path)
    except DataFileError:  # the folder belongs to another user
        return False


def _steps_of(folder: Path | None) -> int:
    """Return the agent steps of a checkpoint, or 0 for None."""
    if folder is None:
        return 0
    return int(checkpoint.read_state(folder)["steps"])
