"""Standard output and standard error that go quiet, instead of raising, once they cannot be written to.

The reader of a pipe may close it (`train ... | head`), a terminal may be lost, and the disk behind a redirected output
may be full. None of these may end a training run.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO


class QuietStream:
    """A text stream that discards everything after the first error of the stream that it wraps.

    The file descriptor then leads to /dev/null, so that the interpreter can flush what is still buffered when it exits.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.is_lost = False

    def write(self, text: str) -> int:
        """Write a text. Characters that the encoding lacks are written as escapes."""
        try:
            self._try(lambda: self._stream.write(text))
        except UnicodeEncodeError:
            encoding = self._stream.encoding
            escaped = text.encode(encoding, "backslashreplace").decode(encoding)
            self._try(lambda: self._stream.write(escaped))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write texts one after another."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Write what is buffered."""
        self._try(self._stream.flush)

    def __getattr__(self, name: str) -> Any:
        """Return any other attribute of the wrapped stream."""
        return getattr(self._stream, name)

    def _try(self, operation: Callable[[], object]) -> None:
        """Call an operation of the wrapped stream, unless the stream is lost. An error means that it is lost."""
        if self.is_lost:
            return
        try:
            operation()
        except UnicodeEncodeError:
            raise
        except (OSError, ValueError):  # ValueError: the stream was closed
            self.is_lost = True
            self._discard_buffer()

    def _discard_buffer(self) -> None:
        """Let the file descriptor lead to /dev/null."""
        with suppress(OSError, ValueError):
            descriptor = self._stream.fileno()
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, descriptor)
            os.close(null)


@contextmanager
def quiet_if_lost() -> Iterator[None]:
    """Let `sys.stdout` and `sys.stderr` go quiet at their first error, inside a `with` block. Blocks may be nested."""
    outer = sys.stdout, sys.stderr
    inner = tuple(_quiet(stream) for stream in outer)
    sys.stdout, sys.stderr = inner
    try:
        yield
    finally:
        for stream in inner:
            if stream is not None:
                stream.flush()
        if sys.stdout is inner[0]:
            sys.stdout = outer[0]
        if sys.stderr is inner[1]:
            sys.stderr = outer[1]


def _quiet(stream: Any) -> Any:
    """Return a quiet stream. A process without a console has None in place of its streams."""
    if stream is None or isinstance(stream, QuietStream):
        return stream
    return QuietStream(stream)
