"""Storage that stops working, or a process that dies, at an operation of one's choice."""

from __future__ import annotations

import errno
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipeline import storage

WRITES = ("open_write", "rename", "delete", "mkdirs")


class Killed(BaseException):
    """Stands for SIGKILL: nothing that handles errors handles it."""


def full() -> Exception:
    """The error of a full disk."""
    return OSError(errno.ENOSPC, "No space left on device")


class Faults:
    """Counts the operations that change files and raises at the one numbered `at`, before it or just after it.

    Args:
      error: makes what is raised; `Killed` also leaves the draft of a file that was being written.
      also_later: True: every operation from there on, as on a disk that stays full.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: Callable[[], BaseException] = Killed) -> None:
        self._patch, self._error = monkeypatch, error
        self.count, self.at, self.after, self.also_later = 0, -1, False, False
        self._originals = {name: getattr(storage, name) for name in WRITES}

    @contextmanager
    def armed(self, at: int, after: bool = False, also_later: bool = False) -> Iterator[Faults]:
        """Within this context operations are counted from 0, and the one numbered `at` fails."""
        self.count, self.at, self.after, self.also_later = 0, at, after, also_later
        with self._patch.context() as patch:
            for name in WRITES:
                patch.setattr(storage, name, self._wrapped(name))
            yield self

    def _wrapped(self, name: str) -> Callable[..., Any]:
        original = self._originals[name]
        if name == "open_write":

            @contextmanager
            def written(uri: str) -> Iterator[Any]:
                due = self._due()
                if due and not self.after:
                    if self._error is Killed:
                        Path(f"{uri}.{uuid.uuid4().hex[:8]}.tmp").write_bytes(b"half")
                    raise self._error()
                with original(uri) as file:
                    yield file
                if due:
                    raise self._error()

            return written

        def operation(*arguments: Any) -> Any:
            due = self._due()
            if due and not self.after:
                raise self._error()
            result = original(*arguments)
            if due:
                raise self._error()
            return result

        return operation

    def _due(self) -> bool:
        number, self.count = self.count, self.count + 1
        return number == self.at or (self.also_later and number > self.at >= 0)
