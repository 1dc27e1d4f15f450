"""Storage that stops working, or a process that dies, at an operation of one's choice."""

from __future__ import annotations

import errno
import random
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipeline import storage
from pipeline.output.layout import OutputError
from tests.command import REPOSITORY

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


def operations(patch: pytest.MonkeyPatch, action: Callable[[], object]) -> int:
    """How many operations an action is made of."""
    with Faults(patch).armed(-1) as faults:
        action()
    return faults.count


def at_each_operation(
    patch: pytest.MonkeyPatch,
    folder: Path,
    prepare: Callable[[Path], object],
    action: Callable[[Path], object],
    error: Callable[[], BaseException] = Killed,
    after: bool = False,
    also_later: bool = False,
) -> Iterator[tuple[Path, OutputError | None]]:
    """For each operation of an action: a directory in which it has failed at that one, and the error that it gave.

    Args:
      folder: where directories are made; in "count" nothing fails.
      prepare: makes one.
      action: is killed, or raises an OutputError; None: it went on.
      error, after, also_later: as of `Faults`.
    """
    prepare(folder / "count")
    for at in range(operations(patch, lambda: action(folder / "count"))):
        directory, caught = folder / str(at), None
        prepare(directory)
        with Faults(patch, error).armed(at, after, also_later):
            try:
                action(directory)
                assert error is not Killed
            except Killed:
                pass
            except OutputError as raised:
                caught = raised
        yield directory, caught


def killed_processes(script: str, directory: Path, times: int, seed: int) -> Iterator[None]:
    """Runs a script on a directory, again and again, and kills it at a random moment after its first line."""
    rng = random.Random(seed)
    for _ in range(times):
        with subprocess.Popen(
            [sys.executable, "-c", script, str(directory)], stdout=subprocess.PIPE, cwd=REPOSITORY
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(rng.uniform(0, 0.3))
            process.kill()
        yield
