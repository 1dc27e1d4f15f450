"""A folder of its own for all temporary files of a command: ours, Beam's, its worker processes'.

What is in it goes when the command ends. A command that was killed leaves it; the next one removes it: a folder is in
use as long as a process holds its lock, which the operating system releases with the process.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "vggish-run-"


@contextmanager
def temporary_files() -> Iterator[Path]:
    """Within the block, `tempfile` and child processes use a new folder; it goes at the end, with what it holds.

    Beam makes a folder for each graph that it stages and leaves it there: hundreds in a long run.
    """
    place = tempfile.gettempdir()
    _remove_abandoned(Path(place))
    before = tempfile.tempdir, os.environ.get("TMPDIR")
    folder, lock = _locked(place)
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
    try:
        yield folder
    finally:
        tempfile.tempdir = before[0]
        if before[1] is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before[1]
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _locked(place: str) -> tuple[Path, int]:
    """A new folder, and the descriptor that holds its lock."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
        lock = os.open(folder, os.O_RDONLY)
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
