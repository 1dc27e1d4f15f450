"""An object store for tests, as Beam knows them: `memory://bucket/name`, in this process, failing when it is told to.

Importing this module makes it one of Beam's file systems. Like S3 and GCS it has no folders, lists by prefix, shows
objects whole when their writer is closed, even by an exception, and raises exceptions of its own with HTTP statuses.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import count
from typing import Any, BinaryIO

from apache_beam.io.filesystem import BeamIOError, FileMetadata, FileSystem


class StoreError(Exception):
    """As the stores' client libraries raise them."""

    def __init__(self, code: int) -> None:
        super().__init__(f"status {code}")
        self.code = code


class MemoryStore(FileSystem):
    """See the module.

    Attributes:
      objects: content and time of the last change, by URI.
      failing: statuses that the next calls fail with; 200: that call succeeds.
      calls: names of the calls so far.
    """

    objects: dict[str, tuple[bytes, float]] = {}  # noqa: RUF012  one store a process
    failing: Iterator[int] = iter(())
    calls: list[str] = []  # noqa: RUF012
    clock = count(1)

    @classmethod
    def reset(cls) -> None:
        cls.objects.clear()
        cls.calls.clear()
        cls.failing = iter(())

    @classmethod
    def call(cls, name: str) -> None:
        """Every call begins here."""
        cls.calls.append(name)
        if (status := next(cls.failing, 200)) != 200:
            raise StoreError(status)

    @classmethod
    def scheme(cls) -> str:
        return "memory"

    def has_dirs(self) -> bool:
        return False

    def join(self, basepath: str, *paths: str) -> str:
        return "/".join((basepath, *paths))

    def split(self, path: str) -> tuple[str, str]:
        head, _, tail = path.rpartition("/")
        return head, tail

    def mkdirs(self, path: str) -> None: ...

    def _list(self, dir_or_prefix: str) -> Iterator[FileMetadata]:
        self.call("list")
        for name in sorted(self.objects):
            if name.startswith(dir_or_prefix):
                yield self.metadata(name, listed=True)

    def create(self, path: str, mime_type: str = "", compression_type: str = "auto") -> BinaryIO:
        self.call("create")
        assert compression_type == "uncompressed"
        return _Upload(path)

    def open(self, path: str, mime_type: str = "", compression_type: str = "auto") -> BinaryIO:
        self.call("open")
        assert compression_type == "uncompressed"
        return _Download(self._content(path))

    def _content(self, path: str) -> bytes:
        if path not in self.objects:
            raise StoreError(404)
        return self.objects[path][0]

    def copy(self, source_file_names: list[str], destination_file_names: list[str]) -> None:
        for source, target in zip(source_file_names, destination_file_names, strict=True):
            try:
                self.call("copy")
                self.objects[target] = (self._content(source), next(self.clock))
            except StoreError as error:
                raise BeamIOError("Copy operation failed", {(source, target): error}) from None

    def rename(self, source_file_names: list[str], destination_file_names: list[str]) -> None:
        raise AssertionError("not used")

    def exists(self, path: str) -> bool:
        self.call("exists")
        return path in self.objects

    def size(self, path: str) -> int:
        return len(self._content(path))

    def last_updated(self, path: str) -> float:
        return self.objects[path][1]

    def metadata(self, path: str, listed: bool = False) -> FileMetadata:
        if not listed:
            self.call("metadata")
        return FileMetadata(path, len(self._content(path)), self.objects[path][1])

    def delete(self, paths: list[str]) -> None:
        self.call("delete")
        errors: dict[str, Any] = {path: 404 for path in paths if self.objects.pop(path, None) is None}
        if errors:
            raise BeamIOError("Delete operation failed", errors)


class _Upload(io.BytesIO):
    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def close(self) -> None:
        if not self.closed:
            data = self.getvalue()
            super().close()  # also if the call fails: it is not made again when this is collected
            MemoryStore.call("close")
            MemoryStore.objects[self._path] = (data, next(MemoryStore.clock))


class _Download(io.BytesIO):
    def read(self, size: int | None = -1) -> bytes:
        MemoryStore.call("read")
        return super().read(size)
