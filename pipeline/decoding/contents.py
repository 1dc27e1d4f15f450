"""The audio of rows of Parquet files, for requests that come in the order of the rows: a row group is read once.

A page of a column holds the audio of many rows, packed together, so that decoders that looked for a row each would all
read the same again. What is read here goes to the decoder with the request.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pipeline import storage
from pipeline.storage import containers
from pipeline.storage.containers import parquet
from pipeline.types import DecodeRequest, Failure
from vggish_core.audio import AudioError

Stretch = tuple[str, str, int]
"""URI, column and row group."""


class Contents:
    """The row group that is being read."""

    def __init__(self) -> None:
        self._stretch: Stretch | None = None
        self._values: Iterator[bytes | None] = iter(())
        self._next = 0
        self._fault: AudioError | None = None

    def with_content(self, request: DecodeRequest) -> DecodeRequest | tuple[Failure, ...]:
        """A request -> itself, with the audio if that lies in a row; or why it has none."""
        row = parquet.row_of(request.place)
        if row is None:
            return request
        try:
            return replace(request, content=self.audio(containers.file_of(request.uri, request.place), row))
        except AudioError as error:
            return tuple(Failure(each.clip, "extract", error.reason, error.message) for each in request.segments)

    def audio(self, uri: str, row: parquet.Row) -> bytes:
        """The audio of a row of a file. Raises AudioError; after damage, for the rest of the row group."""
        stretch = (uri, row.column, row.group)
        if stretch != self._stretch or row.row < self._next:
            self.close()
            self._stretch, self._values = stretch, parquet.values(*stretch)
        if self._fault is not None:
            raise self._fault
        value: bytes | None = None
        try:
            while self._next <= row.row:
                value = next(self._values, None)
                self._next += 1
        except (storage.StorageError, MemoryError) as error:
            self._fault = _explained(error, row.group)
            raise self._fault from error
        if value is None:
            raise AudioError("missing", f"the row has no audio: {row.column} is null")
        return value

    def close(self) -> None:
        """Forgets the row group."""
        self._stretch, self._values, self._next, self._fault = None, iter(()), 0, None


def _explained(error: storage.StorageError | MemoryError, group: int) -> AudioError:
    if isinstance(error, MemoryError):
        return AudioError("too_large", f"row group {group}: a page of it does not fit into memory")
    damaged, missing = isinstance(error, storage.DamagedError), isinstance(error, storage.MissingError)
    return AudioError("corrupt" if damaged else "missing" if missing else "unreadable", error.what)
