"""The console of progress displays, which are redrawn in place on a terminal and in a notebook."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from rich.console import Console


class ProgressConsole(Console):
    """A console that counts a notebook as a terminal, so that a progress bar is redrawn there too.

    A notebook redraws an output through the package ipywidgets. Without it, progress is printed as lines.
    """

    _redraws_in_notebook = False

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._redraws_in_notebook = self.is_jupyter and find_spec("ipywidgets") is not None

    @property
    def is_terminal(self) -> bool:
        """Return True if the output can be redrawn in place."""
        return self._redraws_in_notebook or super().is_terminal
