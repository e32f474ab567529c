"""Which of a run's checkpoints plays: one that was chosen, or always the newest."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from agents.core.agent import Agent
from rl_lab import checkpoint
from rl_lab.errors import LabError

LOOK_EVERY = 1.0  # seconds between two looks for a newer checkpoint
TRIES = 10  # to read one that training replaces meanwhile


class Weights:
    """Puts the weights of a run's checkpoints into an agent that plays."""

    def __init__(self, run: Path, agent: Agent, name: str | None = None) -> None:
        """`name` is best, last or a step; None is the best, else the last. Raises LabError where there is none."""
        self.run, self.agent = run, agent
        self._looked = -LOOK_EVERY
        self._past = 0  # agent step up to which checkpoints are not followed: there were such when another was chosen
        self._use(lambda: checkpoint.find(run, name))

    @property
    def names(self) -> list[str]:
        """What there is to choose from."""
        steps = [str(checkpoint.step_of(folder)) for folder in checkpoint.generations(self.run)]
        best = (self.run / "checkpoints" / "best" / "state.json").is_file()
        return [*(["best"] if best else []), *dict.fromkeys(steps)]

    def choose(self, name: str) -> None:
        """Play with this one; "next" is the one after the present one. One that is gone or damaged changes nothing."""
        if name == "next":
            names = self.names
            name = names[(names.index(self.name) + 1) % len(names)] if self.name in names else names[0]
        try:
            self._use(lambda: checkpoint.find(self.run, name))
            self._past = max(_step_of(newest_checkpoint(self.run)), self.step)
        except LabError as error:
            print(f"rl_lab: {error}; the one before plays on")

    def follow(self) -> bool:
        """Play with the newest that training has written; looks once a second. Returns whether there was a newer one.

        After a choice it waits for one that was not there then.
        """
        now = time.monotonic()
        if now - self._looked < LOOK_EVERY:
            return False
        self._looked = now
        try:
            newest = newest_checkpoint(self.run)
            if _step_of(newest) <= max(self.step, self._past):
                return False
            self._use(lambda: newest or checkpoint.find(self.run))
        except LabError:  # being replaced at this moment: next time
            return False
        return True

    def _use(self, find: Callable[[], Path]) -> None:
        """Play with what `find` finds; where training replaces that before it is read, with what it finds then."""
        tries = 0
        while True:
            folder = find()
            try:
                step = int(checkpoint.read_state(folder)["steps"])
                checkpoint.load_network(folder, self.agent)
            except checkpoint.Damaged:
                tries += 1
                if tries == TRIES or folder.exists():
                    raise
                continue
            self.step, self.name = step, "best" if folder.name.startswith("best") else str(step)
            return


def _step_of(folder: Path | None) -> int:
    return 0 if folder is None else int(checkpoint.read_state(folder)["steps"])


def newest_checkpoint(run: Path) -> Path | None:
    """Of the best and the last checkpoint the one that has learned longer; None before the first one."""
    found = []
    for name in ("best", "last"):
        try:
            folder = checkpoint.find(run, name)
            found.append((int(checkpoint.read_state(folder)["steps"]), str(folder)))
        except LabError:
            continue
    return Path(max(found)[1]) if found else None
