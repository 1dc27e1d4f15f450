"""Standard streams that never make a command fail: closed, full, ASCII only, or without a reader.

A finished data set is finished, even if nothing can be printed. What could not be printed is kept for the run's log.
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import TextIO

from pipeline.errors import JobError


class Stream(io.TextIOWrapper):
    """A text stream to a file descriptor; once that cannot be written to, it writes nowhere.

    Attributes:
      unwritten: what was lost since the stream broke; "" if nothing.
    """

    unwritten = ""

    def __init__(self, stream: io.TextIOWrapper) -> None:
        encoding = stream.encoding
        super().__init__(stream.detach(), encoding, errors="backslashreplace", line_buffering=True)
        self._waiting = ""

    def write(self, text: str) -> int:
        self._waiting += text
        try:
            super().write(text)
            if "\n" in text:
                self._waiting = ""
        except OSError:
            self._give_up()
        return len(text)

    def flush(self) -> None:
        try:
            super().flush()
            self._waiting = ""
        except OSError:
            self._give_up()

    def _give_up(self) -> None:
        """Have the descriptor lead nowhere: what is left in buffers would fail again, at the process' end too."""
        self.unwritten, self._waiting = self.unwritten + self._waiting, ""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)
        with suppress(OSError):
            super().flush()


def prepare() -> None:
    """Makes this process's standard streams such streams; those that are closed lead nowhere.

    A file that is opened later would take a closed stream's number, and get what libraries print there.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
            os.set_inheritable(number, True)
    sys.stdin = sys.stdin or _nowhere("r")
    sys.stdout, sys.stderr = (_prepared(stream) for stream in (sys.stdout, sys.stderr))


def _prepared(stream: TextIO | None) -> TextIO:
    stream = stream or _nowhere("w")
    return Stream(stream) if isinstance(stream, io.TextIOWrapper) else stream


def _nowhere(mode: str) -> io.TextIOWrapper:
    return open(os.devnull, mode, encoding="utf-8")  # type: ignore[return-value]  # noqa: PTH123


def unwritten(stream: TextIO) -> str:
    """The text that could not be printed on a stream, as far as it is known."""
    return getattr(stream, "unwritten", "")


def expect_printed() -> None:
    """Raises JobError if standard output, which is all that there is to show for the work, could not be written."""
    sys.stdout.flush()
    if unwritten(sys.stdout):
        raise JobError("the result was not printed: standard output cannot be written to", "Direct it to a file")
