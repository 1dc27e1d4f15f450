"""A content that comes in blocks -> a file in which one can seek, whatever its size and the room for it."""

from __future__ import annotations

import errno
import io
import logging
import tempfile
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, cast

from pipeline.storage.errors import TruncatedError
from pipeline.storage.positioned import PositionedFile

_log = logging.getLogger(__name__)

IN_MEMORY_BYTES = 32 << 20
"""Contents up to this size are held in memory, larger ones in a temporary file."""
START_BYTES = 1 << 20
"""Of a content, by which its rate and channels are known; held in memory."""
_BUFFER_BYTES = 1 << 20


def from_blocks(
    blocks: Iterator[bytes],
    again: Callable[[], Iterator[bytes]],
    close: Callable[[], None],
    uri: str,
    check: Callable[[int, bytearray], None],
    disk_bytes: int | None,
) -> BinaryIO:
    """A content that comes in blocks -> a file in which one can seek.

    Small contents are held in memory, larger ones in a temporary file. One for which there is no room is asked for
    again as it is read, and after each step back from its start.

    Args:
      blocks: the content.
      again: gives it once more, from its start.
      close: called when no more blocks are needed, with the content at the latest.
      uri: its name, for messages.
      check: called after every block with the bytes that have come, and the first megabyte of them; what it raises ends
        the reading.
      disk_bytes: the most that a temporary file takes; None: what there is room for.
    """
    start, size = bytearray(), 0
    content: BinaryIO | None = io.BytesIO()
    try:
        for block in blocks:
            size += len(block)
            start += block[: START_BYTES - len(start)]
            if content is not None and (content := _added(content, block, disk_bytes)) is None:
                _log.info("%s: no room for its content on the disk of temporary files", uri)
            check(size, start)
    except BaseException:
        close()
        if content is not None:
            content.close()
        raise
    if content is None:
        return cast(BinaryIO, io.BufferedReader(ReplayedFile(again, close, uri, bytes(start), size), _BUFFER_BYTES))
    close()
    content.seek(0)
    if isinstance(content, io.BytesIO):
        return content
    return cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, content)))


def _added(content: BinaryIO, block: bytes, disk_bytes: int | None) -> BinaryIO | None:
    """A content and the block that follows -> the content with it, on the disk if it is large; None without room."""
    size = content.tell() + len(block)
    if size > IN_MEMORY_BYTES and disk_bytes is not None and size > disk_bytes:
        content.close()
        return None
    try:
        if isinstance(content, io.BytesIO) and size > IN_MEMORY_BYTES:
            in_memory = content
            content = cast(BinaryIO, tempfile.TemporaryFile(buffering=0))  # noqa: SIM115  the caller's to close
            _write(content, in_memory.getbuffer())
        _write(content, block)
    except OSError as error:
        content.close()
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        return None
    return content


def _write(file: BinaryIO, data: bytes | memoryview) -> None:
    """Write all: a file without a buffer, which tells at once when the disk is full, takes as much as fits."""
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


class ReplayedFile(PositionedFile):
    """A content that is asked for again as it is read.

    Args:
      again, close, uri: as of `from_blocks`.
      start: its first bytes.
      size: of all of it, in bytes.
    """

    def __init__(
        self, again: Callable[[], Iterator[bytes]], close: Callable[[], None], uri: str, start: bytes, size: int
    ) -> None:
        super().__init__(size)
        self._again, self._end, self._uri, self._start = again, close, uri, start
        self._blocks: Iterator[bytes] = iter(())
        self._block, self._block_at = b"", size
        """The block that came last, and its place."""

    def close(self) -> None:
        self._end()
        super().close()

    def readinto(self, buffer: Any) -> int:
        source, at = self._at(self._position)
        part = source[self._position - at :][: len(buffer)]
        buffer[: len(part)] = part
        self._position += len(part)
        return len(part)

    def _at(self, position: int) -> tuple[bytes, int]:
        """The block that holds a position, and where it begins; an empty one at the end."""
        if position >= self._size:
            return b"", position
        if position < len(self._start):
            return self._start, 0
        if position < self._block_at:
            self._blocks = self._again()
            self._block, self._block_at = b"", 0
        while position >= self._block_at + len(self._block):
            self._block_at += len(self._block)
            block = next(self._blocks, None)
            if block is None:
                raise TruncatedError(self._uri, "has become shorter", "Leave it alone while it is read")
            self._block = block
        return self._block, self._block_at
