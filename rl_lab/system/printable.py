"""Texts from outside, such as the names in a run folder, made safe for terminals, titles and images."""

from __future__ import annotations

import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.text import Text


def printable(text: object) -> str:
    r"""Return a text in one line, with Python's escape in place of each character that cannot be printed.

    Such characters are control characters, among them ESC and line breaks, marks that change the direction of text,
    invisible characters, and halves of surrogate pairs, which no file or terminal can encode. For example, a line
    break becomes \n and ESC becomes \x1b.
    """
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in str(text))


def ascii_printable(text: object) -> str:
    """Return a text as `printable` does, with escapes also for all characters that ASCII lacks."""
    return printable(text).encode("ascii", "backslashreplace").decode()


def print_line(text: object, *, file: TextIO | None = None) -> None:
    """Print a text as one printable line, to standard output if no file is given."""
    stream = sys.stdout if file is None else file
    line = printable(text)
    encoding = getattr(stream, "encoding", None) or "utf-8"
    print(line.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)


def print_wrapped(text: object) -> None:
    """Print a text as printable lines: broken between words on a terminal, in one line elsewhere."""
    if not sys.stdout.isatty():
        print_line(text)
        return
    for line in wrapped(text, shutil.get_terminal_size().columns):
        print_line(line)


def wrapped(text: object, width: int) -> list[str]:
    """Return a text as printable lines of at most `width` characters, broken between words.

    Words are never broken: a longer word, such as a path, has a line of its own. All lines but the first are indented.
    """
    lines = textwrap.wrap(
        printable(text), width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
    return lines or [""]


def plain_text(text: object) -> Text:
    """Return a text for rich: printable, and not interpreted as markup."""
    from rich.text import Text  # error messages need no rich

    return Text(printable(text))


def count_of(number: int, noun: str) -> str:
    """Return a number with its noun: "1 core", "2 cores"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
