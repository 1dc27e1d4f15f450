"""What containers hold, and a stretch of a file as a file."""

from __future__ import annotations

import io
import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NamedTuple, cast

from pipeline.storage.errors import TruncatedError
from pipeline.storage.positioned import PositionedFile

Check = Callable[[int, bytearray], None]
"""Called with the number of unpacked bytes, and the first of them; what it raises ends the unpacking."""
BUFFER_BYTES = 1 << 18
KEPT_BYTES = 1 << 20
"""Of members whose content is wanted with the listing."""


def unchecked(size: int, start: bytearray) -> None:
    """A `Check` that lets everything pass."""


class Member(NamedTuple):
    """A file in a container.

    Attributes:
      name: its path in the container, "a/b.wav": without "./", slashes at its ends, or two next to each other.
      place: where it is (`pipeline.storage.containers`); "" where it cannot be read.
      size_bytes: of its content.
      reason: why it cannot be read, one of `pipeline.reasons.REASONS`; "" if it can.
      what: the same in words.
      content: of a small member of which it is wanted; None otherwise.
    """

    name: str
    place: str
    size_bytes: int
    reason: str = ""
    what: str = ""
    content: bytes | None = None


@dataclass
class Listing:
    """What a container holds, as far as it can be read.

    Attributes:
      members: in the container's order, each name once.
      reason: why it cannot be read on behind them, one of `pipeline.reasons.REASONS`; "" if it ends in order.
      what: the same in words, with the place in bytes.
      notes: what else a user should know of it.
    """

    members: list[Member] = field(default_factory=list)
    reason: str = ""
    what: str = ""
    notes: list[str] = field(default_factory=list)


def plain_name(name: str) -> str:
    """A member's name as it is written -> the same without what says nothing.

    >>> plain_name("./a//b.wav"), plain_name("/a/b/"), plain_name("../c")
    ('a/b.wav', 'a/b', '../c')
    """
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def is_hidden(name: str) -> bool:
    """Whether a member, or a folder that it is in, is hidden: its name begins with a dot."""
    return any(part.startswith(".") and part != ".." for part in name.split("/"))


MOST_LINKS = 40
"""That lead from one to the next; as many as Linux follows."""


def linked(name: str, files: Mapping[str, Member], links: Mapping[str, tuple[str, bool]]) -> Member:
    """A link in an archive -> the member that it leads to, under its own name.

    Args:
      name: of the link.
      files: members by name.
      links: what links lead to, as they say it, and whether they are symbolic, by name.
    """
    target = name
    for _ in range(MOST_LINKS):
        if target not in links:
            break
        text, symbolic = links[target]
        if symbolic and text.startswith("/"):
            break
        target = plain_name(posixpath.normpath(posixpath.join(posixpath.dirname(target), text) if symbolic else text))
    if target in files:
        return files[target]._replace(name=name)
    return Member(name, "", 0, "missing", f"it is a link to {links[name][0]}, which is no file of the archive")


def stretch(file: BinaryIO, uri: str, start: int, size: int) -> BinaryIO:
    """Some bytes of a file -> a file of their own, which closes the other with itself.

    Args:
      file: seekable.
      uri: for messages.
      start: of the bytes in the file.
      size: their number.
    """
    return cast(BinaryIO, io.BufferedReader(_Stretch(file, uri, start, size), BUFFER_BYTES))


class _Stretch(PositionedFile):
    def __init__(self, file: BinaryIO, uri: str, start: int, size: int) -> None:
        super().__init__(size)
        self._file, self._uri, self._start = file, uri, start

    def close(self) -> None:
        self._file.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), self._size - self._position)
        if wanted <= 0:
            return 0
        self._file.seek(self._start + self._position)
        data = self._file.read(wanted)
        if not data:
            raise TruncatedError(self._uri, "has become shorter", "Leave it alone while it is read")
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)
