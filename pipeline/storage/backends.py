"""What local and remote storage can both do, and which of the two has a file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import BinaryIO, Literal, Protocol

from pipeline import extras
from pipeline.storage import local
from pipeline.storage.errors import StorageError
from pipeline.storage.globs import Glob
from pipeline.storage.info import FileInfo
from pipeline.storage.uris import is_local, local_path


class Files(Protocol):
    """The operations of local and remote storage, by their own paths."""

    def kind(self, path: str, /) -> Literal["file", "folder"] | None: ...
    def info(self, path: str, /) -> FileInfo: ...
    def walk(self, top: str, glob: Glob, closed: list[StorageError] | None = None, /) -> Iterator[FileInfo]: ...
    def open_read(self, path: str, start: int = 0, stop: int | None = None, /) -> BinaryIO: ...
    def open_write(self, path: str, /) -> AbstractContextManager[BinaryIO]: ...
    def read_whole(self, path: str, /) -> tuple[bytes, str]: ...
    def delete(self, path: str, /) -> None: ...
    def rename(self, source: str, target: str, /) -> None: ...
    def mkdirs(self, path: str, /) -> None: ...


def at(uri: str) -> tuple[Files, str]:
    """A path or URI -> the storage it is in, and its name there."""
    if is_local(uri):
        return local, local_path(uri)
    extras.needs_store(uri.partition("://")[0])
    from pipeline.storage import remote

    return remote, uri
