"""All access to files: local paths, `gs://`, `s3://`, web servers, and whatever else fsspec opens (hf, abfs, memory).

Local files need nothing but the standard library; fsspec is imported with the first URI that needs it. Every failure is
a `StorageError`, which is an `OSError`; where nothing is found it is a `MissingError`, a `FileNotFoundError` too.
Errors that pass (a busy server, a stale handle) are tried again a few times with growing pauses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import BinaryIO

from pipeline import extras
from pipeline.settings import Crawl
from pipeline.storage import compression, local
from pipeline.storage.backends import at
from pipeline.storage.errors import (
    CredentialsError,
    DamagedError,
    MissingError,
    StorageError,
    TooLargeError,
    TruncatedError,
)
from pipeline.storage.globs import EVERY_NAME
from pipeline.storage.info import FileInfo
from pipeline.storage.patterns import fixed_part, match, named_by
from pipeline.storage.uris import (
    absolute,
    from_bytes,
    is_local,
    join,
    local_path,
    parent,
    to_bytes,
)

__all__ = [
    "CredentialsError",
    "DamagedError",
    "FileInfo",
    "MissingError",
    "StorageError",
    "TooLargeError",
    "TruncatedError",
    "absolute",
    "fixed_part",
    "from_bytes",
    "is_local",
    "join",
    "local_path",
    "match",
    "named_by",
    "parent",
    "to_bytes",
]


def list_folder(uri: str) -> list[FileInfo]:
    """The files directly in a folder, hidden ones too, sorted by URI; nothing where there is no such folder."""
    files, path = at(uri)
    return sorted(files.walk(path, EVERY_NAME), key=lambda file: file.uri)


def local_look() -> Callable[[str], FileInfo | None]:
    """Looks for very many local files: as `info`, of absolute paths; None where a file cannot be seen."""
    return local.Look()


def info(uri: str) -> FileInfo:
    """A file's URI, size and version; raises MissingError."""
    files, path = at(uri)
    return files.info(path)


def is_url(uri: str) -> bool:
    """Whether a server of http:// or https:// has a file."""
    return uri[:8].lower().startswith(("http://", "https://"))


def look_up(uris: Sequence[str], crawl: Crawl) -> dict[str, FileInfo]:
    """What servers of http:// and https:// say of files, without those of which they say nothing of use."""
    if not uris:
        return {}
    from pipeline.storage import web

    return web.look_up(uris, crawl)


def size(uri: str) -> int:
    """A file's size in bytes; raises MissingError."""
    return info(uri).size_bytes


def exists(uri: str) -> bool:
    """Whether there is such a file or folder (on object stores: object)."""
    files, path = at(uri)
    return files.kind(path) is not None


def look_alike(uri: str) -> str:
    """A local file that is not there -> one whose name is another Unicode form of the same; "" for none."""
    return local.look_alike(local_path(uri)) if is_local(uri) else ""


def why_not_a_file(uri: str) -> str:
    """The kind of a local path that cannot be read as a file: "a pipe", say; "" for files and remote URIs."""
    return local.why_not_a_file(local_path(uri)) if is_local(uri) else ""


def open_read(uri: str, start: int = 0, stop: int | None = None) -> BinaryIO:
    """A file for reading, seekable; of a remote one only the ranges that are read are fetched.

    Args:
      uri: path or URI.
      start: where reading begins.
      stop: where it will end, if that is known: all before it is then one request, or one for each 8 MB.

    Raises:
      MissingError: there is no such file.
      StorageError: it cannot be opened.
    """
    files, path = at(uri)
    return files.open_read(path, start, stop)


def is_wrapped(uri: str) -> bool:
    """Whether a file's name says that it is compressed: .gz, .bz2, .xz, .lzma, .zst, .zstd or .deflate."""
    return compression.kind_of(uri) is not None


def open_unwrapped(uri: str) -> BinaryIO:
    """As `open_read`, but of a compressed file its content.

    Raises:
      TruncatedError, DamagedError: the compressed data are cut off or damaged.
      MissingError, StorageError: as `open_read`.
    """
    file = open_read(uri)
    return compression.unpacked(file, uri) if is_wrapped(uri) else file


def open_write(uri: str) -> AbstractContextManager[BinaryIO]:
    """`with open_write(uri) as file:` a file that appears, whole, when the block ends without an exception.

    Until then, and for ever after an exception, whatever was there before stays. What a remote file will hold is
    kept in memory up to 32 MB, then in a temporary file, until it is sent.
    """
    files, path = at(uri)
    return files.open_write(path)


def write_atomic(uri: str, data: bytes) -> None:
    """Bytes -> a file: readers see what was there before or all of it."""
    with open_write(uri) as file:
        file.write(data)


def delete(uri: str) -> None:
    """Removes a file; one that is not there is no error."""
    files, path = at(uri)
    files.delete(path)


def rename(source: str, target: str) -> None:
    """Moves a file to another name in the same storage, replacing what is there: in one step, or on object stores by a
    copy that appears whole."""
    files, path = at(source)
    others, goal = at(target)
    if files is not others:
        raise StorageError(source, f"cannot be renamed to {target}, which is another storage", "Copy it instead")
    files.rename(path, goal)


def read_whole(uri: str) -> tuple[bytes, str]:
    """A small file's content and version; raises MissingError."""
    files, path = at(uri)
    return files.read_whole(path)


def write_if(uri: str, data: bytes, version: str | None) -> bool:
    """Writes a remote file if it is of a version still (None: if there is none) -> whether it was written.

    It may have been even so: where the answer was lost, the next try found what the first had written. For local files
    there is `flock`.
    """
    from pipeline.storage import remote

    return remote.write_if(uri, data, version)


def why_not_an_output(uri: str) -> str:
    """Why a run cannot write to a folder, or could not keep another run out of it; "" if it can."""
    if is_local(uri):
        return local.why_not_a_folder(absolute(uri))
    from pipeline.storage import remote

    return remote.why_not_exclusive(uri)


def expect_bucket(uri: str) -> None:
    """Looks whether the bucket of a gs:// or s3:// URI is there; nothing is looked at of other places.

    Raises:
      MissingError: it is not.
      CredentialsError: there are no credentials.
      StorageError: the store does not answer. That objects may not be listed is no fault.
    """
    if not is_local(uri):
        extras.needs_store(uri.partition("://")[0])
        from pipeline.storage import remote

        remote.expect_bucket(uri)


def mkdirs(uri: str) -> None:
    """Makes a folder and those above it; object stores need none."""
    files, path = at(uri)
    files.mkdirs(path)
