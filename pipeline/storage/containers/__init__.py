"""Files that hold others, as archives do: their members, and each opened as a file.

A clip inside one has the URI CONTAINER::MEMBER, which people read and which tells it from others, and a place, which is
a text that begins with the container's kind and says where the member is. A place is a function of the container's
content and version alone, and good for as long as these do not change.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, BinaryIO

from pipeline.storage.containers.members import Check, Listing, unchecked
from pipeline.storage.info import FileInfo

SEPARATOR = "::"
_KINDS = {
    ".parquet": "parquet",
    ".tar": "tar",
    ".zip": "zipped",
    ".tar.bz2": "stream",
    ".tar.gz": "stream",
    ".tar.xz": "stream",
    ".tar.zst": "stream",
    ".tbz2": "stream",
    ".tgz": "stream",
    ".txz": "stream",
}
"""By a file's extension, the kind of container that it is: the module of this package that reads it."""
_EXTENSIONS = tuple(_KINDS)


def kind_of(uri: str) -> str | None:
    """The kind of container that a file's name says it is, None for none."""
    lower = uri.lower()
    if not lower.endswith(_EXTENSIONS):  # nearly all
        return None
    return next(kind for extension, kind in _KINDS.items() if lower.endswith(extension))


def uri_of(container: str, member: str) -> str:
    """A container and a member's name -> the member's URI."""
    return f"{container}{SEPARATOR}{member}"


def split(uri: str) -> tuple[str, str]:
    """The inverse of `uri_of`, for a container whose own URI has no part that looks like one before its end.

    >>> split("gs://bucket/a::b/c.tar::d::e.wav")
    ('gs://bucket/a::b/c.tar', 'd::e.wav')
    """
    at = uri.find(SEPARATOR)
    while at >= 0 and kind_of(uri[:at]) is None:
        at = uri.find(SEPARATOR, at + 1)
    if at < 0:
        raise ValueError(f"{uri!r} is in no container")
    return uri[:at], uri[at + len(SEPARATOR) :]


def file_of(uri: str, place: str) -> str:
    """A clip's URI and place -> the URI of the file that is in storage."""
    return split(uri)[0] if place else uri


def at_random(place: str) -> bool:
    """Whether any part of a member can be read by itself; so can parts of a file that is in no container ("")."""
    kind, _, where = place.partition(":")
    return not place or bool(_module(kind).at_random(where))


def in_turn(place: str) -> int | None:
    """Where a member is in a container that can only be read from its start on; None for any other."""
    return int(place.split(":")[1]) if place.startswith("stream:") else None


def in_group(place: str) -> tuple[int, int] | None:
    """Of a container that is read a group of members at a time, the member's group and its turn there; None for others.

    >>> in_group("parquet:3:12:audio")
    (3, 12)
    """
    if not place.startswith("parquet:"):
        return None
    _, group, turn, _ = place.split(":", 3)
    return int(group), int(turn)


def prepare(kind: str) -> None:
    """Imports what opening members of a kind of container takes."""
    _module(kind)
    if kind == "parquet":
        importlib.import_module("pyarrow.parquet")


def list_members(file: FileInfo, keeps: Callable[[str], bool] = lambda name: False) -> Listing:
    """A container -> what is in it.

    Args:
      file: one of which `kind_of` is not None.
      keeps: whether the content of a (small) member is wanted with the listing, by its name.

    Raises:
      StorageError: it cannot be read. What is wrong within it is in the listing.
    """
    kind = kind_of(file.uri)
    assert kind is not None
    listing: Listing = _module(kind).list_members(file, keeps)
    return listing


def open_member(uri: str, place: str, check: Check = unchecked, disk_bytes: int | None = None) -> BinaryIO:
    """A member -> its content, as a file in which one can seek.

    Args:
      uri, place: of the clip.
      check, disk_bytes: where a member has to be unpacked, as of `seekable.from_blocks`.

    Raises:
      TruncatedError, DamagedError: it is cut off or damaged.
      MissingError, StorageError: the container is not there, or cannot be read.
    """
    kind, _, where = place.partition(":")
    file: BinaryIO = _module(kind).open_member(split(uri)[0], where, check, disk_bytes)
    return file


def _module(kind: str) -> Any:
    return importlib.import_module(f"{__name__}.{kind}")
