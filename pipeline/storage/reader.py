"""An object, of which any range of bytes can be had -> a file for reading, seekable, that fetches few of them."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, BinaryIO, cast

from pipeline.storage.errors import retried
from pipeline.storage.positioned import PositionedFile

FIRST_BYTES = 1 << 20
"""Of the first range, and of the first after a jump: most clips are smaller."""
MOST_BYTES = 8 << 20
"""Each range that follows the one before is four times as large, up to this."""
BUFFER_BYTES = 1 << 18

Fetch = Callable[[int, int], tuple[bytes, int]]
"""First byte, and that after the last -> those that are there, or all bytes of the object; and its size."""


def reading(uri: str, fetch: Fetch, start: int = 0, stop: int | None = None) -> BinaryIO:
    """A function that fetches ranges of an object -> the file. Raises MissingError where there is none.

    Args:
      uri: for messages.
      fetch: the function.
      start: where the file stands at first.
      stop: where it ends for this reader: what is before it is fetched at once, up to `MOST_BYTES`.
    """
    return cast(BinaryIO, io.BufferedReader(_Reader(uri, fetch, start, stop), BUFFER_BYTES))


class _Reader(PositionedFile):
    def __init__(self, uri: str, fetch: Fetch, start: int, stop: int | None) -> None:
        self._uri, self._fetch = uri, fetch
        self._ahead = FIRST_BYTES if stop is None else max(1, min(stop - start, MOST_BYTES))
        self._block, size = retried(uri, "opening", lambda: fetch(start, start + self._ahead))
        super().__init__(size if stop is None else min(size, stop), start)
        self._at = self._start_of(self._block, start)

    def readinto(self, buffer: Any) -> int:
        if not self._at <= self._position < self._at + len(self._block) and self._position < self._size:
            self._load()
        part = memoryview(self._block)[max(self._position - self._at, 0) :][: len(buffer)]
        buffer[: len(part)] = part
        self._position += len(part)
        return len(part)

    def _load(self) -> None:
        """Fetches the range that begins at the position, again after an error that passes."""
        start, follows = self._position, self._position == self._at + len(self._block)
        self._ahead = min(4 * self._ahead, MOST_BYTES) if follows else FIRST_BYTES
        end = min(start + self._ahead, self._size)
        self._block = b""  # not two at a time
        self._block, _ = retried(self._uri, "reading", lambda: self._fetch(start, end))
        self._at = self._start_of(self._block, start)

    def _start_of(self, block: bytes, start: int) -> int:
        """Where what was fetched from `start` on begins: a server that gives no ranges gives all."""
        return start if len(block) <= self._ahead else 0

    def close(self) -> None:
        self._block, self._size = b"", 0
        super().close()
