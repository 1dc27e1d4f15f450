"""Files of object stores, and of all else that fsspec opens, as `pipeline.storage` needs them."""

from __future__ import annotations

import errno
import os
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BytesIO
from typing import Any, BinaryIO, Literal, Protocol, cast

from pipeline.storage import options
from pipeline.storage.errors import CredentialsError, MissingError, StorageError, retried
from pipeline.storage.globs import Glob, below
from pipeline.storage.info import FileInfo
from pipeline.storage.reader import reading

IN_MEMORY_BYTES = 32 << 20
"""Content to be written is held in memory up to this size, beyond it in a temporary file, until it is sent."""
PAGE = 1000
"""Objects that a store lists in one answer."""
_FAMILIES = {"gcs": "gs", "s3a": "s3", "az": "abfs", "https": "http"}
"""Schemes that are other names of one."""
_EXCLUSIVE = frozenset({"gs", "s3", "memory"})


class Store(Protocol):
    """The operations of each storage, tried once, by URIs; errors are its library's own.

    `page` lists objects whose URIs begin with a text: so many of them, after what an earlier page said (None: from the
    start). `read` is a `reader.Fetch` of each. `write_if` fails with EEXIST or status 412 where the object is not of
    that version, or, with None, where there is one.
    """

    def info(self, uri: str) -> FileInfo: ...
    def page(self, prefix: str, after: str | None, most: int) -> tuple[list[FileInfo], str | None]: ...
    def read(self, uri: str, start: int, end: int) -> tuple[bytes, int]: ...
    def write(self, uri: str, file: BinaryIO) -> None: ...
    def copy(self, source: str, target: str) -> None: ...
    def delete(self, uri: str) -> None: ...
    def mkdirs(self, uri: str) -> None: ...
    def read_whole(self, uri: str) -> tuple[bytes, str]: ...
    def write_if(self, uri: str, file: BinaryIO, version: str | None) -> None: ...


_stores: dict[tuple[int, str, str], Store] = {}
_lock = threading.Lock()


def store(uri: str) -> Store:
    """A URI -> the store that it is in: one a process and scheme, since connections are costly.

    Raises:
      StorageError: there is none, or there are no credentials for it.
    """
    scheme = family(uri)
    given = options.current().get(scheme, {})
    key = (os.getpid(), scheme, repr(given))  # a fork has none of fsspec's threads
    with _lock:
        if key not in _stores:
            _stores[key] = _made(scheme, uri, given)
        return _stores[key]


def _made(scheme: str, uri: str, given: Mapping[str, Any]) -> Store:
    if scheme == "gs":
        from pipeline.storage import gcs

        return gcs.GoogleStore(uri, **given)
    if scheme == "s3":
        from pipeline.storage import s3

        return s3.S3Store(uri, **given)
    if scheme == "http":
        from pipeline.storage import web

        return web.WebStore(**given)
    from pipeline.storage import others

    return others.OtherStore(uri, **given)


def family(uri: str) -> str:
    """A URI -> its scheme; of those that are one storage, always the same."""
    scheme = uri.partition("://")[0].lower()
    return _FAMILIES.get(scheme, scheme)


def prepare(uri: str) -> None:
    """Imports what opening a URI needs, and starts its threads; what is wrong shows when it is opened."""
    with suppress(Exception):
        store(uri)
        from fsspec.asyn import get_loop, sync

        sync(get_loop(), lambda: get_loop().getaddrinfo("localhost", None))  # a thread of its own looks names up


def why_not_exclusive(uri: str) -> str:
    """Why two runs could both write an output of this scheme; "" where files can be created exclusively."""
    scheme = uri.partition("://")[0].lower()
    return "" if family(uri) in _EXCLUSIVE else f"{scheme}:// cannot create a file only if there is none"


def expect_bucket(uri: str) -> None:
    """See `pipeline.storage.expect_bucket`."""
    if family(uri) not in _EXCLUSIVE:
        return
    try:
        _page("/".join(uri.split("/")[:3]) + "/", None, 1)
    except CredentialsError:
        raise
    except StorageError as error:
        if error.errno != errno.EACCES:
            raise


def kind(uri: str) -> Literal["file", "folder"] | None:
    """Whether a URI names an object, is what objects' names begin with as if it were a folder, or neither."""
    if uri.count("/") > 2 and not uri.endswith("/"):
        with suppress(MissingError):
            info(uri)
            return "file"
    return "folder" if _page(below(uri), None, 1)[0] else None


def info(uri: str) -> FileInfo:
    """An object's size and version; raises MissingError."""
    return retried(uri, "looking it up", lambda: store(uri).info(uri))


def walk(top: str, glob: Glob, closed: list[StorageError] | None = None) -> Iterator[FileInfo]:
    """The objects below a folder whose relative names match; no store has folders that are closed by themselves."""
    prefix, after = below(top), None
    while True:
        found, after = _page(prefix, after, PAGE)
        for file in found:
            relative = file.uri[len(prefix) :]
            # "name/" without content is what consoles make of a new folder, which may be the one that is listed.
            placeholder = relative == "" or (relative.endswith("/") and not file.size_bytes)
            if not placeholder and glob.matches(relative):
                yield file
        if not after:
            return


def _page(prefix: str, after: str | None, most: int) -> tuple[list[FileInfo], str | None]:
    """Some of the objects whose URIs begin so, and after what the next come (None: there are no more)."""
    try:
        return retried(prefix, "listing", lambda: store(prefix).page(prefix, after, most))
    except MissingError as error:
        bucket = prefix.split("/")[2]
        raise MissingError(prefix, f"there is no bucket {bucket}", "Check its name", errno.ENOENT) from error


def open_read(uri: str, start: int = 0, stop: int | None = None) -> BinaryIO:
    """An object, for reading by ranges."""
    return reading(uri, lambda first, end: store(uri).read(uri, first, end), start, stop)


@contextmanager
def open_write(uri: str) -> Iterator[BinaryIO]:
    """A buffer that becomes an object when the `with` block ends well; otherwise nothing is sent."""
    with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES) as spool:
        yield cast(BinaryIO, spool)
        retried(uri, "writing", lambda: store(uri).write(uri, cast(BinaryIO, spool)))


def read_whole(uri: str) -> tuple[bytes, str]:
    """A small object's content and version; raises MissingError."""
    return retried(uri, "reading", lambda: store(uri).read_whole(uri))


def write_if(uri: str, data: bytes, version: str | None) -> bool:
    """See `pipeline.storage.write_if`."""
    try:
        retried(uri, "writing", lambda: store(uri).write_if(uri, BytesIO(data), version))
    except StorageError as error:
        if error.errno == errno.EEXIST or (version and error.errno == errno.ENOENT):
            return False
        raise
    return True


def delete(uri: str) -> None:
    """Removes an object, if it is there."""
    with suppress(MissingError):
        retried(uri, "deleting", lambda: store(uri).delete(uri))


def rename(source: str, target: str) -> None:
    """Copies an object to another name, then removes the first; replaces what was there."""
    if family(source) != family(target):
        raise StorageError(source, f"cannot be renamed to {target}, which is another storage", "Copy it instead")
    retried(source, f"copying to {target}", lambda: store(source).copy(source, target))
    delete(source)


def mkdirs(uri: str) -> None:
    """Makes a folder where the storage has folders."""
    retried(uri, "making the folder", lambda: store(uri).mkdirs(uri))
