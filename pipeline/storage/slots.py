"""At most so many connections to a host at a time, of all processes that have one folder of temporary files.

That is the decoders of a command on a machine. A slot is a byte of an empty file, locked as long as its process lives
and holds it: what is killed leaves nothing behind.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import random
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from pipeline.storage import errors

MOST = 1 << 16
"""Slots of a host, at most."""
_LOOK_S = (0.01, 0.1)
"""Between two looks for a free slot."""

_held: set[int] = set()
_lock = threading.Lock()


@contextmanager
def taken(host: str, most: int) -> Iterator[None]:
    """Within the block, this is one of at most so many connections to a host; waits until it is. 0: no limit."""
    if not most:
        yield
        return
    slot = _awaited(host, min(most, MOST))
    try:
        yield
    finally:
        with _lock:
            fcntl.lockf(_file(tempfile.gettempdir(), os.getpid()), fcntl.LOCK_UN, 1, slot)
            _held.discard(slot)


def _awaited(host: str, most: int) -> int:
    first = int.from_bytes(hashlib.sha256(host.encode()).digest()[:4], "big") * MOST
    while True:
        for number in random.sample(range(most), most):
            if _take(first + number):
                return first + number
        errors.wait(random.uniform(*_LOOK_S))


def _take(slot: int) -> bool:
    """Takes a slot, if it is free. Locks tell processes apart, not the threads of one."""
    with _lock:
        file = _file(tempfile.gettempdir(), os.getpid())
        if slot in _held:
            return False
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, slot)
        except (BlockingIOError, PermissionError):  # another process has it
            return False
        _held.add(slot)
        return True


@lru_cache(1)
def _file(folder: str, process: int) -> int:
    """The file, open for the life of the process: closing it anywhere would give back all of its locks."""
    _held.clear()  # of another process, if this is a fork
    name = Path(folder) / f"vggish-connections-{os.getuid()}"
    return os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
