"""A folder of its own for all temporary files of a command: ours, Beam's, its worker processes'.

What is in it goes when the process ends. A process that was killed leaves it; the next command removes it: a folder is
in use as long as a process holds its lock, which the operating system releases with the process.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

PREFIX = "vggish-run-"


@contextmanager
def temporary_files() -> Iterator[Path]:
    """Within the block, `tempfile` and child processes use a folder of this process.

    Beam makes a folder for each graph that it stages and leaves it there: hundreds in a long run. A job server that it
    started, Prism say, is stopped when the process ends, and wants its folder until then.
    """
    folder = _of_this_process(tempfile.gettempdir(), os.getpid())
    before = tempfile.tempdir, os.environ.get("TMPDIR")
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
    try:
        yield folder
    finally:
        tempfile.tempdir = before[0]
        if before[1] is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before[1]


@lru_cache
def _of_this_process(place: str, process: int) -> Path:
    """The process's folder below a folder of temporary files: made once, and removed after all that is registered later
    for the process's end."""
    _remove_abandoned(Path(place))
    folder, lock = _locked(place)

    def remove() -> None:
        if os.getpid() == process:  # not in a fork
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)

    atexit.register(remove)
    return folder


def _locked(place: str) -> tuple[Path, int]:
    """A new folder, and the descriptor that holds its lock."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
        try:
            lock = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:  # another command found it before it was locked, and removed it
            continue
        with suppress(OSError):  # a file system without locks: nobody else gets one there either
            fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():
            return folder, lock
        os.close(lock)  # another command took it for abandoned before it was locked


def _remove_abandoned(place: Path) -> None:
    """Removes the folders of commands that are no more."""
    for folder in place.glob(f"{PREFIX}*"):
        with suppress(OSError):  # another user's, or another command removes it
            lock = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
