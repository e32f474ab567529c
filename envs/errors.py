"""Errors of environments. Their messages are one line for the user."""

from __future__ import annotations


class EnvError(ValueError):
    """An environment is unknown, or agents of this project cannot use it. The message is one line for the user."""


class EnvFault(Exception):
    """An environment raised, exited or sent invalid data during a run. The message is one line and names the place.

    The notes of the exception hold the traceback in the environment's code.
    """

    def __init__(self, message: str | EnvFault) -> None:
        """Create a fault. Gymnasium raises the fault of a worker process as EnvFault(fault); the notes are kept."""
        super().__init__(str(message))
        for note in getattr(message, "__notes__", ()):
            self.add_note(note)
