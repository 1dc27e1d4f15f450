"""A file's size and sha256, taken while it is read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import BinaryIO

from pipeline import storage

BLOCK_BYTES = 1 << 20


class HashedReader:
    """A file that is hashed and measured while it is read.

    Attributes:
      size: bytes so far.
      sha256: of them.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = 0
        self.sha256 = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        return self._see(self._file.read(size))

    def readline(self, size: int = -1) -> bytes:
        return self._see(self._file.readline(size))

    def __iter__(self) -> Iterator[bytes]:
        return map(self._see, self._file)

    def _see(self, data: bytes) -> bytes:
        self.sha256.update(data)
        self.size += len(data)
        return data

    def drain(self) -> None:
        """Reads what is left."""
        while self.read(BLOCK_BYTES):
            pass


def sha256_of(uri: str) -> str:
    """A file -> its sha256; it is read once."""
    with storage.open_read(uri) as file:
        reader = HashedReader(file)
        reader.drain()
    return reader.sha256.hexdigest()
