"""An audio file before it is decoded: its bytes, their errors, and its end as far as it is known."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from vggish_core.audio.splices import Piece


class AudioError(Exception):
    """Audio that cannot be read.

    Attributes:
      reason: one of empty, not_audio, no_audio_stream, corrupt, truncated, no_samples, not_finite, unsupported_rate,
        unreadable, missing.
      message: one line for the user: what was found.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


class GapError(AudioError):
    """Packets are missing in the middle: the container's clock goes on without sound.

    Attributes:
      start, stop: sample frames of the sound's own between which nothing is; it begins at the container's `lead`.
    """

    def __init__(self, start: int, stop: int, lead: int, rate_hz: int) -> None:
        begins_s, ends_s = (start + lead) / rate_hz, (stop + lead) / rate_hz
        super().__init__("corrupt", f"packets are missing: no sound from {begins_s:.3f} to {ends_s:.3f} s")
        self.start = start
        self.stop = stop


class NamelessFile:
    """A binary file as decoders see it: no name to guess a format from, no exceptions that their C code would lose.

    Attributes:
      error: what the storage raised, if it did; the file seems to end there.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: Exception | None = None

    def read(self, size: int = -1) -> bytes:
        try:
            return self._file.read(size)
        except Exception as error:
            self.error = error
            return b""

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def read_at(self, offset: int, size: int) -> bytes:
        """So many bytes, or those up to the file's end."""
        self.seek(offset)
        return self.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence == 0 and offset < 0:  # where a damaged header leads: the position stays
            return -1
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def size(self) -> int:
        """Bytes of the file."""
        position = self.tell()
        size = self.seek(0, os.SEEK_END)
        self.seek(position)
        return size

    def left(self) -> int:
        """Bytes between the position and the end."""
        return self.size() - self.tell()

    def check(self) -> None:
        """Raise what the storage raised.

        Raises:
          AudioError: unreadable.
        """
        if self.error is not None:
            raise AudioError("unreadable", f"{type(self.error).__name__}: {self.error}") from self.error


@dataclass(frozen=True)
class OpenedFile:
    """A file to decode.

    Attributes:
      file: as it was given.
      content: what decoders read: the same, or the same put right.
      owned: whether it is to be closed at the end, and has a descriptor.
      plain: whether the content is the file itself.
    """

    file: BinaryIO
    content: NamelessFile
    owned: bool
    plain: bool = True


@dataclass(frozen=True)
class Extent:
    """A file's length according to its structure.

    Attributes:
      missing: what is missing at the file's end, with both figures; "" where nothing is known to be.
      pieces: of what to decode in the file's place, where its header has to be put right.
      unread: what else it holds that no decoder reads, with its place; "" where nothing is known to be.
    """

    missing: str = ""
    pieces: Sequence[Piece] | None = None
    unread: str = ""
