"""Files of whatever else fsspec opens (http, https, hf, abfs, memory ...), by what all of its file systems have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import fsspec
from fsspec.core import url_to_fs

from pipeline.storage import hosts, options
from pipeline.storage.errors import StorageError
from pipeline.storage.info import FileInfo

_VERSIONS = ("ETag", "etag", "Last-Modified", "last_modified", "mtime", "modified", "updated", "created")
"""Attributes of files, by one or another file system, that change with the content."""
_SERVERS = ("ftp", "sftp", "ssh", "smb", "webhdfs", "hdfs", "dask")
"""Schemes whose URIs name a host, to which their library connects."""


class OtherStore:
    """A `pipeline.storage.remote.Store`, made with options of its file system, which has habits of its own about names.

    Raises:
      StorageError: there is no such file system, or its package is not installed.
    """

    def __init__(self, uri: str, **options: Any) -> None:
        scheme = uri.partition("://")[0]
        try:
            fsspec.get_filesystem_class(scheme)
        except ImportError as error:
            raise StorageError(uri, f"a package is missing: {error}", "Install it") from error
        except ValueError as error:
            what = f"there is no storage for {scheme}://"
            raise StorageError(uri, what, "Give a local path, gs:// or s3://") from error
        self._options = {"use_listings_cache": False, **options}

    def _at(self, uri: str) -> tuple[Any, str]:
        """A URI -> its file system, and the name that it has there."""
        _expect_public(uri)
        found: tuple[Any, str] = url_to_fs(uri, **self._options)
        return found

    def info(self, uri: str) -> FileInfo:
        files, name = self._at(uri)
        found = files.info(name)
        if found.get("type") == "directory":
            raise FileNotFoundError(uri)
        return _info(uri, found)

    def page(self, prefix: str, after: str | None, most: int) -> tuple[list[FileInfo], str | None]:
        """All files below a folder; there is no next page."""
        files, top = self._at(prefix)
        try:
            found = files.find(top, detail=True)
        except FileNotFoundError:
            return [], None
        below = f"{top.rstrip('/')}/"
        inside = {name[len(below) :]: each for name, each in found.items() if name.startswith(below)}
        return [_info(prefix + name, each) for name, each in inside.items() if name], None

    def read(self, uri: str, start: int, end: int) -> tuple[bytes, int]:
        """A server that gives no ranges gives all of a file."""
        files, name = self._at(uri)
        size = files.info(name).get("size")
        if size is not None and start >= size:
            return b"", size
        data: bytes = files.cat_file(name, start, end if size is None else min(end, size))
        return data, max(len(data), start + len(data) if size is None else size)

    def write(self, uri: str, file: BinaryIO, mode: str = "overwrite") -> None:
        files, name = self._at(uri)
        file.seek(0)
        files.pipe_file(name, file.read(), mode=mode)

    def copy(self, source: str, target: str) -> None:
        files, name = self._at(source)
        files.cp_file(name, self._at(target)[1])

    def delete(self, uri: str) -> None:
        files, name = self._at(uri)
        files.rm_file(name)

    def mkdirs(self, uri: str) -> None:
        files, name = self._at(uri)
        files.makedirs(name, exist_ok=True)

    def read_whole(self, uri: str) -> tuple[bytes, str]:
        files, name = self._at(uri)
        version = self.info(uri).version
        return files.cat_file(name), version

    def write_if(self, uri: str, file: BinaryIO, version: str | None) -> None:
        """fsspec has exclusive creation alone: in place of a version comes another in two steps."""
        if version:
            if self.info(uri).version != version:
                raise FileExistsError(uri)
            self.delete(uri)
        self.write(uri, file, mode="create")


def _expect_public(uri: str) -> None:
    """Where private addresses are refused (`pipeline.settings.Crawl`), looks at that of a server, too."""
    if options.current().get("http", {}).get("private", True):
        return
    if "::" in uri.partition("?")[0] and any(f"{scheme}://" in uri for scheme in ("http", "https", *_SERVERS)):
        what = "a file within a file of a server is not read: where that is cannot be looked at"
        raise StorageError(uri, what, "Name the file itself, or run with --allow_private_hosts if you trust the list")
    if uri.partition("://")[0].lower() in _SERVERS:
        try:
            host = urlsplit(uri).hostname
        except ValueError as error:
            raise StorageError(uri, f"{uri!r} is no address: {error}", "Correct it") from error
        hosts.expect_public(uri, host or "localhost")


def _info(uri: str, found: Mapping[str, Any]) -> FileInfo:
    version = next((str(found[name]) for name in _VERSIONS if found.get(name)), "")
    return FileInfo(uri, int(found.get("size") or 0), version)
