"""What files for reading have in common whose content is fetched as it is asked for: a size, and a position."""

from __future__ import annotations

import io
import os


class PositionedFile(io.RawIOBase):
    """The base of such a file; it lacks only what reads.

    Args:
      size: bytes of the content.
      position: where the file stands at first.
    """

    def __init__(self, size: int, position: int = 0) -> None:
        super().__init__()
        self._size = size
        self._position = position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """A position before the start is the start."""
        self._position = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence])
        return self._position
