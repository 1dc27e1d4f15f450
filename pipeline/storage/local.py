"""Files of the local file system, as `pipeline.storage` needs them. Standard library only."""

from __future__ import annotations

import errno
import os
import stat
import unicodedata
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, Literal

from pipeline.storage.errors import StorageError, raise_explained, retried
from pipeline.storage.globs import Glob
from pipeline.storage.info import FileInfo


def kind(path: str) -> Literal["file", "folder"] | None:
    """The kind of a path; links are followed."""
    try:
        mode = retried(path, "looking it up", lambda: Path(path).stat()).st_mode
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
            return "file" if Path(path).is_symlink() else None
        if error.errno == errno.ELOOP:
            return "file"
        raise
    return "folder" if stat.S_ISDIR(mode) else "file"


def why_not_a_folder(path: str) -> str:
    """A path that is to become a folder that is written to -> what is in the way of that; "" for nothing."""
    place = Path(path)
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        return "it is a file" if place == Path(path) else f"{place} is a file"
    return "" if os.access(place, os.W_OK | os.X_OK) else f"{place} may not be written to"


_KINDS = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))


def why_not_a_file(path: str) -> str:
    """A path that is to be read as a file, anywhere in it -> "a pipe", say; "" where nothing speaks against it."""
    try:
        mode = Path(path).stat().st_mode
    except OSError:  # opening it will tell
        return ""
    if stat.S_ISREG(mode):
        return ""
    return next((name for test, name in _KINDS if test(mode)), "a device")


def look_alike(path: str) -> str:
    """A path that is not there -> one that differs in its form of Unicode alone (é as one character, or two); or ""."""
    missing = Path(path)
    while missing != missing.parent and not missing.parent.exists():
        missing = missing.parent
    if missing.name.isascii():
        return ""
    with suppress(OSError):
        there = _by_composed_name(missing.parent, missing.parent.stat().st_mtime_ns)
        if (name := there.get(unicodedata.normalize("NFC", missing.name), missing.name)) != missing.name:
            return str(missing.with_name(name))
    return ""


@lru_cache(maxsize=1)  # a list may name thousands of files that are not in a folder of thousands
def _by_composed_name(folder: Path, mtime_ns: int) -> dict[str, str]:
    """A folder, and when it was changed last -> its names beyond ASCII, by how Unicode composes them."""
    names = (path.name for path in folder.iterdir())
    return {unicodedata.normalize("NFC", name): name for name in names if not name.isascii()}


def info(path: str) -> FileInfo:
    """A file's size and version: its modification time in ns; raises MissingError."""
    found = retried(path, "looking it up", lambda: Path(path).stat())
    return FileInfo(path, found.st_size, str(found.st_mtime_ns))


_ROWS_OF_A_FILE = 1000
"""Clips of one recording are within so many rows of a list, mostly."""


class Look:
    """Looks for the files of a list, which may be millions, all gone: then to explain each would take fifty times as
    long. What was seen once is not looked for again."""

    def __init__(self) -> None:
        self._is_gone = lru_cache(_ROWS_OF_A_FILE)(_is_gone)
        self._info = lru_cache(_ROWS_OF_A_FILE)(_info_if_seen)

    def __call__(self, path: str) -> FileInfo | None:
        """As `info`, of a path from the root; None where the file cannot be seen."""
        return None if self._is_gone(path.rpartition("/")[0]) else self._info(path)


def _is_gone(folder: str) -> bool:
    try:
        os.stat(folder or "/")  # noqa: PTH116  (a third of the time)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        pass
    return False


def _info_if_seen(path: str) -> FileInfo | None:
    try:
        found = os.stat(path)  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError):  # perhaps one that passes
        with suppress(StorageError):
            return info(path)
        return None
    return FileInfo(path, found.st_size, str(found.st_mtime_ns))


def walk(top: str, glob: Glob, closed: list[StorageError] | None = None) -> Iterator[FileInfo]:
    """The files below a folder whose relative paths match; nothing where there is no such folder.

    Errors about folders below it that may not be listed are raised, or go into `closed`. Hidden folders are not even
    looked into, unless the pattern has hidden names itself. Links are followed, also to folders, but not in circles. A
    link that leads nowhere is a file of no size: that it cannot be read is for its reader to say. Pipes, sockets and
    devices are no files.
    """
    if kind(top) == "folder":
        yield from _walk(top, "", 0, glob, (), closed)


def _walk(
    top: str,
    below: str,
    depth: int,
    glob: Glob,
    ancestors: tuple[tuple[int, int], ...],
    closed: list[StorageError] | None,
) -> Iterator[FileInfo]:
    folder = _path(top, below)
    found = retried(folder, "looking it up", lambda: Path(folder).stat())
    here = (found.st_dev, found.st_ino)
    if here in ancestors:
        return
    try:
        entries = retried(folder or ".", "listing the folder", lambda: list(os.scandir(folder or ".")))
    except StorageError as error:
        if closed is None or not below:
            raise
        closed.append(error)
        return
    for entry in sorted(entries, key=lambda entry: entry.name):
        relative = below + entry.name
        if _is_folder(entry):
            if glob.may_hold(entry.name, depth):
                yield from _walk(top, relative + "/", depth + 1, glob, (*ancestors, here), closed)
        elif glob.matches(relative):
            try:
                status = entry.stat()
            except OSError:
                yield FileInfo(_path(top, relative), 0, "")
                continue
            if stat.S_ISREG(status.st_mode):
                yield FileInfo(_path(top, relative), status.st_size, str(status.st_mtime_ns))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _path(top: str, relative: str) -> str:
    if not top and relative.startswith("~"):
        return f"./{relative}"  # by itself it would be somebody's home
    return f"{top}{relative}" if not top or top.endswith("/") else f"{top}/{relative}"


def open_read(path: str, start: int = 0, stop: int | None = None) -> BinaryIO:
    """A file, for reading."""
    file = retried(path, "opening", lambda: Path(path).open("rb"))  # noqa: SIM115
    if start:  # a pipe does not seek
        file.seek(start)
    return file


@contextmanager
def open_write(path: str) -> Iterator[BinaryIO]:
    """A file that is called `NAME.xxxxxxxx.tmp` until the `with` block ends well; otherwise it never appears.

    A link stays, and its file is replaced. A pipe or a device, which no file may take the place of, is written to.
    """
    goal = _behind_links(path)
    temporary = Path(f"{goal}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        if why_not_a_file(goal) not in ("", "a folder"):
            with Path(goal).open("ab") as file:
                yield file
            return
        try:
            with temporary.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(goal)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        _sync_folder(Path(goal).parent)
    except OSError as error:
        if error.filename not in (None, goal, str(temporary)):
            raise  # of another file, which the caller's block was about
        raise_explained(error, path, "writing")


def _behind_links(path: str) -> str:
    """The file that a link is for; raises StorageError for an open one, as /dev/stdout stands for with `> FILE`."""
    if not Path(path).is_symlink() or why_not_a_file(path):
        return path
    folders = (Path(path).parent, Path(path).parent.joinpath(Path(path).readlink()).parent)
    if any(os.path.realpath(folder).startswith("/proc/") for folder in folders):
        raise StorageError(path, "stands for a file that is open already", "Give the name of a file")
    return os.path.realpath(path)


def _sync_folder(folder: Path) -> None:
    """Make names last through a power failure; not every file system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read_whole(path: str) -> tuple[bytes, str]:
    """A file's content, and its version before it was read."""
    version = info(path).version
    return retried(path, "reading", lambda: Path(path).read_bytes()), version


def delete(path: str) -> None:
    """Removes a file, if it is there."""
    retried(path, "deleting", lambda: Path(path).unlink(missing_ok=True))


def rename(source: str, target: str) -> None:
    """Moves a file within its file system, in one step; replaces what was there."""
    retried(source, f"renaming to {target}", lambda: Path(source).replace(target))
    _sync_folder(Path(target).parent)


def mkdirs(path: str) -> None:
    """Makes a folder and those above it, where they are not there."""
    retried(path, "making the folder", lambda: Path(path).mkdir(parents=True, exist_ok=True))
