"""A file made of pieces of another one and of new bytes, such as a corrected header."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, BinaryIO

Piece = bytes | tuple[int, int]
"""Bytes, or [start, stop) of the file."""


class SplicedFile(io.RawIOBase):
    """Pieces, one after the other, as a file that can be read and sought in; closing it leaves the other one open.

    Args:
      file: what the pieces are of.
      pieces: in order.
    """

    def __init__(self, file: BinaryIO, pieces: Sequence[Piece]) -> None:
        self._file = file
        self._pieces = [piece for piece in pieces if _size(piece)]
        self._ends = list(accumulate(map(_size, self._pieces)))
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._ends[-1] if self._ends else 0}
        self._position = max(0, origin[whence] + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        index = bisect_right(self._ends, self._position)
        if index == len(self._pieces):
            return 0
        piece = self._pieces[index]
        at = self._position - (self._ends[index] - _size(piece))
        if isinstance(piece, bytes):
            part = piece[at : at + len(buffer)]
        else:
            self._file.seek(piece[0] + at)
            part = self._file.read(min(len(buffer), piece[1] - piece[0] - at))
        buffer[: len(part)] = part
        self._position += len(part)
        return len(part)


def _size(piece: Piece) -> int:
    return len(piece) if isinstance(piece, bytes) else piece[1] - piece[0]


def replaced(size: int, changes: dict[int, bytes], stop: int | None = None) -> list[Piece]:
    """A file of so many bytes, with other bytes of the same number at some offsets, cut off at `stop` -> its pieces.

    >>> replaced(10, {4: b"ab"})
    [(0, 4), b'ab', (6, 10)]
    """
    pieces: list[Piece] = []
    at = 0
    for offset, data in sorted(changes.items()):
        pieces += [(at, offset), data]
        at = offset + len(data)
    return [*pieces, (at, size if stop is None else stop)]
