"""Tar archives: a listing from one pass over the headers, and members as stretches of the file.

The format: POSIX.1-2017, "pax", and "Basic Tar Format" of GNU tar's manual. `tarfile` reads a header; it takes a
damaged one for the archive's end, so what leads from one to the next is here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

from pipeline import storage
from pipeline.storage.containers import tar_headers
from pipeline.storage.containers.members import Check, Listing, stretch
from pipeline.storage.info import FileInfo

AHEAD_BYTES = 1 << 16
"""Read at a header: small members, and their neighbours' headers, come with it. Of others only the headers are read."""


def list_members(file: FileInfo, keeps: Callable[[str], bool]) -> Listing:
    """A tar archive -> its members; of large ones no more than the headers is read."""
    with _Headers(file) as source:
        return tar_headers.listing(source, "tar:{}:{}", keeps)


def open_member(uri: str, where: str, check: Check, disk_bytes: int | None) -> BinaryIO:
    """A member by its place -> the file; of a remote archive it is fetched alone."""
    start, size = map(int, where.split(":"))
    return stretch(storage.open_read(uri, start, start + size), uri, start, size)


def at_random(where: str) -> bool:
    """See `containers.at_random`."""
    return True


class _Headers:
    """An archive of which a little is read here and there, in ascending order."""

    def __init__(self, file: FileInfo) -> None:
        self.uri, self.size = file.uri, file.size_bytes
        self._local = storage.open_read(file.uri) if storage.is_local(file.uri) else None
        self._block, self._at = b"", 0

    def __enter__(self) -> _Headers:
        return self

    def __exit__(self, *_: object) -> None:
        if self._local is not None:
            self._local.close()

    def at(self, start: int, count: int) -> bytes:
        """Some bytes; fewer only at the end of the file."""
        end = min(start + count, self.size)
        if not self._at <= start <= end <= self._at + len(self._block):
            self._block = self._read(start, min(max(end, start + AHEAD_BYTES), self.size))
            self._at = start
        return self._block[start - self._at : end - self._at]

    def _read(self, start: int, end: int) -> bytes:
        if start >= end:
            return b""
        if self._local is not None:
            self._local.seek(start)
            return self._local.read(end - start)
        with storage.open_read(self.uri, start, end) as file:
            return file.read(end - start)
