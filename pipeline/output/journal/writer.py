"""A worker's finished rows -> row files, written beside the work, every now and then."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from pipeline import storage
from pipeline.output.journal import rows
from pipeline.output.layout import OutputError, explained
from pipeline.types import Embedding, Outcome, RowsRef

FIRST_S = 0.5
"""Seconds from one file to the next, at least."""
SHARE = 0.02
"""Of the time since the work began: what a kill costs while that is still short."""
KEEP_S = 10.0
"""Seconds that writing what is left may take when the work is stopped."""
MOST_ROWS = 65_536
"""Of a file: 8 MB quantized, 33 MB as floats, 17 hours of audio."""


@dataclass(frozen=True)
class RowPlace:
    """Where row files go, and what they say of themselves.

    Attributes:
      directory: the output.
      fingerprint: of the job.
      num_shards: of the output.
      limit_s: seconds from one file to the next, at most.
      engine: as the manifest describes it.
      plan: URI of the job's plan; where it is gone the job was cancelled, or another command has taken the output over,
        and its workers stop. "": nobody looks.
    """

    directory: str
    fingerprint: str
    num_shards: int
    limit_s: float
    engine: dict[str, Any] = field(default_factory=dict)
    plan: str = ""


class RowWriter:
    """Outcomes go in; parts of row files come out once the files are whole.

    Rows that are added while a file is being written are for the next one: writing does not hold up the work.

    Args:
      place: where.
      made_with: see `rows.RowFile`.
      began: when the work began, on the monotonic clock.
    """

    def __init__(self, place: RowPlace, made_with: dict[str, Any], began: float) -> None:
        self._place = place
        self._made_with = made_with
        self._began = began
        self._pending: list[Outcome] = []
        self._rows = 0
        self._last = time.monotonic()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="rows")
        self._writing: Future[tuple[RowsRef, ...]] | None = None
        _at_work.add(self)

    def add(self, outcome: Outcome) -> Iterator[RowsRef]:
        """A piece of a clip -> parts of files that have become whole meanwhile.

        Raises:
          OutputError: a file cannot be written.
        """
        self._pending.append(outcome)
        if isinstance(outcome, Embedding):
            self._rows += len(outcome.values)
        full, now = self._rows >= MOST_ROWS, time.monotonic()
        if full or now >= self._last + self._interval_s(now):
            yield from self._written(wait=full)
            if self._writing is None:
                self._write()

    def close(self) -> Iterator[RowsRef]:
        """Writes what is left -> parts of all files not yet given. Errors as `add`."""
        yield from self._written(wait=True)
        if self._pending:
            self._write()
        yield from self._written(wait=True)
        self._executor.shutdown()
        _at_work.discard(self)

    def leave(self) -> threading.Thread:
        """Stops in the middle of the work -> the thread that writes what is left, unless storage has just failed.

        On engines that go on alone nothing is written: another worker may have the bundle already.
        """
        _at_work.discard(self)
        if self._place.plan:
            self._executor.shutdown()
        thread = threading.Thread(target=self._keep, name="rows left", daemon=True)
        thread.start()
        return thread

    def _keep(self) -> None:
        before = self._writing
        failed = before is not None and before.exception() is not None
        pending, self._pending = self._pending, []
        if pending and not failed and not self._place.plan:
            with suppress(OutputError):  # it is computed again
                self._write_file(pending)
        self._executor.shutdown()

    def _interval_s(self, now: float) -> float:
        return min(self._place.limit_s, max(FIRST_S, SHARE * (now - self._began)))

    def _write(self) -> None:
        pending, self._pending, self._rows = self._pending, [], 0
        self._last = time.monotonic()
        self._writing = self._executor.submit(self._write_file, pending)

    def _write_file(self, pending: list[Outcome]) -> tuple[RowsRef, ...]:
        place = self._place
        with explained(place.directory, "writing finished rows"):
            if place.plan and not storage.exists(place.plan):
                found = f"{place.directory}: this job was cancelled, or another command continues the output"
                raise OutputError(found, "Whatever it had finished is kept.")
            return rows.write(
                place.directory, place.fingerprint, place.num_shards, rows.gathered(pending), self._made_with
            )

    def _written(self, wait: bool) -> Iterator[RowsRef]:
        if self._writing is not None and (wait or self._writing.done()):
            found, self._writing = self._writing.result(), None
            yield from found


_at_work: set[RowWriter] = set()


def keep_all() -> None:
    """Has all writers of this process write what they hold, as far as that takes no longer than `KEEP_S`."""
    until = time.monotonic() + KEEP_S
    for thread in [writer.leave() for writer in list(_at_work)]:
        thread.join(max(0.0, until - time.monotonic()))
