"""A store for tests, as fsspec knows them: `memory://bucket/name`, in this process, failing on demand.

Importing this module makes it fsspec's file system of `memory://`. Like S3 and GCS it has no folders, lists by prefix,
shows objects whole, and raises exceptions of its own with HTTP statuses.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import fsspec


class StoreError(Exception):
    """As the stores' client libraries raise them."""

    def __init__(self, code: int) -> None:
        super().__init__(f"status {code}")
        self.code = code


class MemoryStore(fsspec.AbstractFileSystem):
    """See the module.

    Attributes:
      objects: content and time of the last change, by URI.
      failing: statuses that the next calls fail with; 200: that call succeeds.
      calls: names of the calls so far.
    """

    protocol = "memory"
    cachable = False
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
    def _strip_protocol(cls, path: str) -> str:
        return path

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        self.call("info")
        return self._info(path)

    def _info(self, path: str) -> dict[str, Any]:
        return {"name": path, "type": "file", "size": len(self._content(path)), "mtime": self.objects[path][1]}

    def find(self, path: str, *_: Any, **__: Any) -> dict[str, Any]:
        self.call("find")
        below = f"{path.rstrip('/')}/"
        return {name: self._info(name) for name in sorted(self.objects) if name.startswith(below)}

    def _content(self, path: str) -> bytes:
        if path not in self.objects:
            raise StoreError(404)
        return self.objects[path][0]

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        self.call("cat")
        return self._content(path)[start:end]

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        self.call("pipe")
        if mode == "create" and path in self.objects:
            raise FileExistsError(path)
        self.objects[path] = (value, next(self.clock))

    def cp_file(self, path1: str, path2: str, **_: Any) -> None:
        self.call("copy")
        self.objects[path2] = (self._content(path1), next(self.clock))

    def rm_file(self, path: str) -> None:
        self.call("delete")
        self._content(path)
        del self.objects[path]


fsspec.register_implementation("memory", MemoryStore, clobber=True)
