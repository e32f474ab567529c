"""A progress bar in the output of a notebook's cell."""

from __future__ import annotations

import html
import importlib
from collections.abc import Sequence
from typing import Any

from rich.console import Console

BAR_WIDTH = 40
"""Width of the bar in characters, where it is drawn as text."""

TEMPLATE = (
    '<div><progress value="{percent}" max="100" style="width: {width}ch; vertical-align: middle"></progress>'
    '<pre style="display: inline-block; margin: 0 0 0 1ch; vertical-align: middle">{text}</pre></div>'
)


def is_notebook() -> bool:
    """Return True if the output is that of a cell of a notebook."""
    return Console().is_jupyter


class NotebookBar:
    """A bar with some lines of text, which is drawn again in its place.

    The bar is an output of IPython, so the saved notebook holds its last state, and no further package is needed. Where
    a page shows no HTML, the bar consists of characters.
    """

    def __init__(self) -> None:
        self._handle: Any = None  # IPython's DisplayHandle, from the first call of `show`

    def show(self, percent: int, lines: Sequence[str]) -> None:
        """Draw the bar.

        Args:
            percent: Length of the bar, from 0 to 100.
            lines: The text beside the bar.
        """
        display = importlib.import_module("IPython.display")  # a notebook has it; the lab does not require it
        num_full = percent * BAR_WIDTH // 100
        bar = "━" * num_full + " " * (BAR_WIDTH - num_full)
        content = {
            "text/plain": "\n".join([bar, *lines]),
            "text/html": TEMPLATE.format(percent=percent, width=BAR_WIDTH, text=html.escape("\n".join(lines))),
        }
        if self._handle is None:
            self._handle = display.display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)
