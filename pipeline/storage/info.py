"""A file's size and version, before it is opened."""

from __future__ import annotations

from typing import NamedTuple


class FileInfo(NamedTuple):
    """A file.

    Attributes:
      uri: path, or URI.
      size_bytes: its size.
      version: changes when the file does: modification time in ns (local) or as the object store gives it.
    """

    uri: str
    size_bytes: int
    version: str


def split(uri: str) -> tuple[str, str]:
    """An object's URI -> its bucket and its name there."""
    bucket, _, name = uri.partition("://")[2].partition("/")
    return bucket, name
