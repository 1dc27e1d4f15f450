"""The one door to files: local paths, and through Beam's file systems `gs://`, `s3://` and what else it knows.

Local files need no Beam. Files that are written appear whole or not at all: local ones under a temporary name that is
renamed, objects of a store when they are closed. What fails is an OSError that names the file.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from pipeline import patterns

ATTEMPTS = 5
"""Tries of an operation on remote storage; the waits between them double from `FIRST_WAIT_S`."""
FIRST_WAIT_S = 0.5

T = TypeVar("T")


@dataclass(frozen=True)
class FileInfo:
    """A file that a pattern matches.

    Attributes:
      uri: path or URI.
      size_bytes: its length.
      version: changes when the file does: time of the last change, local ones in nanoseconds.
    """

    uri: str
    size_bytes: int
    version: str


class StorageError(OSError):
    """An operation on a file failed: which file, what happened."""

    def __init__(self, uri: str, found: str) -> None:
        super().__init__(f"{uri}: {found}")
        self.uri = uri


def is_local(uri: str) -> bool:
    """Whether a URI is a path of this machine (`file://` included)."""
    return "://" not in uri or uri.startswith("file://")


def local_path(uri: str) -> str:
    """A local URI -> its path."""
    return uri.removeprefix("file://")


def join(directory: str, name: str) -> str:
    """A directory and a name below it -> the path or URI."""
    return f"{directory.rstrip('/') if directory != '/' else ''}/{name}" if directory else name


def open_read(uri: str) -> BinaryIO:
    """A file, open for reading and seekable; remote ones are read in ranges, as they are needed.

    Raises:
      FileNotFoundError: if it is not there.
      OSError: if it cannot be read.
    """
    if is_local(uri):
        return open(local_path(uri), "rb")
    filesystems, uncompressed = _beam()
    return cast(BinaryIO, _remote(uri, lambda: filesystems.open(uri, compression_type=uncompressed)))


@contextmanager
def open_write(uri: str) -> Iterator[BinaryIO]:
    """A file to write, as a context; it takes its place when the context ends without an exception, and only then."""
    if not is_local(uri):
        filesystems, uncompressed = _beam()
        file = _remote(uri, lambda: filesystems.create(uri, compression_type=uncompressed))
        yield file
        _remote(uri, file.close, tries=1)
        return
    path = local_path(uri)
    draft = f"{path}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        with open(draft, "wb") as local:
            yield local
            local.flush()
            os.fsync(local.fileno())
        os.replace(draft, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(draft)
        raise


def write_atomic(uri: str, data: bytes) -> None:
    """Write a whole file."""
    if is_local(uri):
        with open_write(uri) as file:
            file.write(data)
    else:
        _remote(uri, lambda: _create(uri, data))


def exists(uri: str) -> bool:
    """Whether there is a file (or a local directory) of this name."""
    if is_local(uri):
        return os.path.exists(local_path(uri))
    return bool(_remote(uri, lambda: _beam()[0].exists(uri)))


def size(uri: str) -> int:
    """A file's length in bytes."""
    if is_local(uri):
        return os.stat(local_path(uri)).st_size
    return int(_remote(uri, lambda: _beam()[0].match([uri])[0].metadata_list[0].size_in_bytes))


def match(pattern: str) -> list[FileInfo]:
    """A pattern (`pipeline.patterns`) -> the files that it matches, sorted by URI; [] where there are none.

    A directory stands for all that is below it. A file whose name holds special characters is matched by its own name.
    Directories are not matched, nor are names below the fixed part that begin with a dot, with all that is below them.

    Raises:
      OSError: if the place cannot be listed.
    """
    found = _match_local(local_path(pattern)) if is_local(pattern) else _match_remote(pattern)
    return sorted(found, key=lambda file: file.uri)


def rename(source: str, target: str) -> None:
    """Give a file another name, in place of what may have had it."""
    if is_local(source):
        os.replace(local_path(source), local_path(target))
    else:
        _remote(source, lambda: _beam()[0].rename([source], [target]))


def delete(uri: str) -> None:
    """Remove a file; one that is not there needs no removing."""
    if is_local(uri):
        Path(local_path(uri)).unlink(missing_ok=True)
    elif exists(uri):
        _remote(uri, lambda: _beam()[0].delete([uri]))


def mkdirs(uri: str) -> None:
    """Make a directory and what is above it; object stores have none."""
    if is_local(uri):
        os.makedirs(local_path(uri), exist_ok=True)
    elif not uri.startswith(("gs://", "s3://")) and not exists(uri):
        _remote(uri, lambda: _beam()[0].mkdirs(uri))


def _match_local(pattern: str) -> Iterator[FileInfo]:
    if os.path.isfile(pattern):
        yield _info(pattern, os.stat(pattern))
        return
    if os.path.isdir(pattern):
        pattern = join(pattern, "**")
    start = patterns.fixed_part(pattern)
    wanted = patterns.expression(pattern[len(start) :])
    depth = None if "**" in pattern else pattern.count("/", len(start))
    for path, stat in _walk(start or ".", start, depth):
        if wanted.fullmatch(path[len(start) :]):
            yield _info(path, stat)


def _walk(directory: str, prefix: str, depth: int | None) -> Iterator[tuple[str, os.stat_result]]:
    """Files below a directory, hidden ones left out, at most `depth` levels down; each directory once (links)."""
    seen: set[tuple[int, int]] = set()
    waiting = [(directory, prefix, 0)]
    while waiting:
        place, name, level = waiting.pop()
        try:
            stat = os.stat(place)
            if (stat.st_dev, stat.st_ino) in seen:
                continue
            seen.add((stat.st_dev, stat.st_ino))
            entries = list(os.scandir(place))
        except (FileNotFoundError, NotADirectoryError):
            continue
        for entry in entries:
            if entry.name.startswith("."):
                continue
            path = name + entry.name
            try:
                if entry.is_dir():
                    if depth is None or level < depth:
                        waiting.append((path, path + "/", level + 1))
                elif entry.is_file():
                    yield path, entry.stat()
            except FileNotFoundError:  # removed meanwhile
                continue


def _info(path: str, stat: os.stat_result) -> FileInfo:
    return FileInfo(path, stat.st_size, str(stat.st_mtime_ns))


def _match_remote(pattern: str) -> Iterator[FileInfo]:
    if not patterns.SPECIAL.search(pattern):
        if exact := _list(pattern):
            yield from exact
            return
        pattern = join(pattern, "**")
    start = patterns.fixed_part(pattern)
    wanted = patterns.expression(pattern[len(start) :])
    # Beam's own `**/` misses the top level; stores list by prefix anyway: list all that is below, and choose.
    for file in _list(start + "**"):
        relative = file.uri[len(start) :]
        if relative and not relative.endswith("/") and not patterns.hidden(relative) and wanted.fullmatch(relative):
            yield file


def _list(pattern: str) -> list[FileInfo]:
    """A pattern as Beam reads them -> the objects."""
    return [
        FileInfo(file.path, file.size_in_bytes, str(file.last_updated_in_seconds))
        for result in _remote(pattern, lambda: _beam()[0].match([pattern]))
        for file in result.metadata_list
    ]


def _create(uri: str, data: bytes) -> None:
    filesystems, uncompressed = _beam()
    with filesystems.create(uri, compression_type=uncompressed) as file:
        file.write(data)


def _beam() -> tuple[Any, Any]:
    from apache_beam.io.filesystem import CompressionTypes
    from apache_beam.io.filesystems import FileSystems

    return FileSystems, CompressionTypes.UNCOMPRESSED


def _remote(uri: str, operation: Callable[[], T], tries: int = ATTEMPTS) -> T:
    """The operation's result; tried again, after longer and longer waits, where that may help."""
    wait = FIRST_WAIT_S
    for attempt in range(1, tries + 1):
        try:
            return operation()
        except Exception as error:  # every store raises exceptions of its own
            status = _status(error)
            if status == 404 or isinstance(error, FileNotFoundError):
                raise FileNotFoundError(2, "there is no such file", uri) from error
            if attempt == tries or status in (400, 401, 403):
                raise StorageError(uri, " ".join(str(error).split()) or type(error).__name__) from error
        time.sleep(wait)
        wait *= 2
    raise AssertionError("unreachable")


def _status(error: BaseException) -> int | None:
    """The HTTP status that an exception of a store's client, or one that it was raised from, speaks of."""
    seen: BaseException | None = error
    while seen is not None:
        for name in ("code", "status", "status_code"):
            if isinstance(code := getattr(seen, name, None), int):
                return code
        seen = seen.__cause__ or seen.__context__
    return None
