"""Compressed tar archives, which are read from their start on: what lies before a member is unpacked on the way to it.

A process keeps the archive open that it read last, so that members that are asked for in their order are unpacked in
one pass.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import BinaryIO

from pipeline import storage
from pipeline.storage import compression, seekable
from pipeline.storage.containers import tar_headers
from pipeline.storage.containers.members import Check, Listing
from pipeline.storage.errors import TruncatedError
from pipeline.storage.info import FileInfo

_MARK_DIGITS = 8
"""Of a member's place that stand for the archive's version: an archive that was replaced is not taken for the same."""
_SHORT = {".tbz2": "bzip2", ".tgz": "gzip", ".txz": "lzma"}


def list_members(file: FileInfo, keeps: Callable[[str], bool]) -> Listing:
    """A compressed tar archive -> its members; all of it is unpacked."""
    mark = hashlib.sha256(f"{file.version} {file.size_bytes}".encode()).hexdigest()[:_MARK_DIGITS]
    source = _Unpacked(file.uri, mark)
    try:
        return tar_headers.listing(source, f"stream:{{}}:{{}}:{mark}", keeps)
    finally:
        source.close()


def at_random(where: str) -> bool:
    """See `containers.at_random`."""
    return False


_kept: list[_Unpacked] = []
"""The archive that was read last, in this process's only thread that reads."""


def open_member(uri: str, where: str, check: Check, disk_bytes: int | None) -> BinaryIO:
    """A member by its place -> the file."""
    *numbers, mark = where.split(":")
    start, size = map(int, numbers)

    def blocks() -> Iterator[bytes]:
        source = _kept.pop() if _kept else None
        if source is None or (source.uri, source.mark) != (uri, mark) or source.begin > start:
            if source is not None:
                source.close()
            source = _Unpacked(uri, mark)
        try:
            yield from source.content(start, size, lambda: check(0, bytearray()))
        except BaseException:
            source.close()
            raise
        _kept.append(source)

    return seekable.from_blocks(blocks(), blocks, lambda: None, uri, check, disk_bytes)


class _Unpacked:
    """What an archive unpacks to, from its start on.

    Attributes:
      uri: of the archive.
      mark: of its version.
      size: of what it unpacks to; None until its end is reached.
      position: up to where it is unpacked.
    """

    def __init__(self, uri: str, mark: str) -> None:
        self.uri, self.mark = uri, mark
        self.size: int | None = None
        self.position = 0
        kind = next((kind for suffix, kind in _SHORT.items() if uri.lower().endswith(suffix)), None)
        self._file = storage.open_read(uri)
        self._blocks = compression.blocks_of(self._file, uri, kind or compression.kind_of(uri))
        self._held = bytearray()
        """The last bytes before the position."""

    @property
    def begin(self) -> int:
        """The first place of which the bytes can be had."""
        return self.position - len(self._held)

    def close(self) -> None:
        """Closes the archive."""
        with suppress(storage.StorageError):
            self._file.close()

    def at(self, start: int, count: int) -> bytes:
        """See `tar_headers.Source`."""
        self._go_to(start)
        while self.position < start + count and self._next():
            pass
        begin = start - self.begin
        return bytes(self._held[begin : begin + count])

    def content(self, start: int, size: int, progress: Callable[[], None]) -> Iterator[bytes]:
        """A stretch that ends behind the position, in blocks; `progress` is called on the way to it.

        Raises:
          TruncatedError: the archive ends within it.
        """
        while size > 0:
            self._go_to(start, progress)
            if not self._held and not self._next():
                raise TruncatedError(
                    self.uri, f"ends at byte {self.position:,} of what it unpacks to", "Fetch it again"
                )
            begin = start - self.begin
            block = bytes(self._held[begin : begin + size])
            start, size = start + len(block), size - len(block)
            if block:
                yield block

    def _go_to(self, start: int, progress: Callable[[], None] = lambda: None) -> None:
        """Forgets what lies before a place, and unpacks up to it."""
        while self.position <= start:
            self._held.clear()
            progress()
            if not self._next():
                return
        if (before := start - self.begin) > 0:
            del self._held[:before]

    def _next(self) -> bool:
        """Unpacks another block; False at the end."""
        block = next(self._blocks, None)
        if block is None:
            self.size = self.position
            return False
        self._held += block
        self.position += len(block)
        return True
