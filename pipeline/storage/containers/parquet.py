"""Parquet files that hold audio in a column: opened by way of `pipeline.storage`, read a row group at a time.

Of a column only its pages are fetched, one after another: memory is bounded by the largest page.
"""

from __future__ import annotations

import io
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from typing import Any, BinaryIO, NamedTuple, cast

from pipeline import storage
from pipeline.storage.containers.members import Check
from pipeline.storage.errors import DamagedError, MissingError, StorageError
from pipeline.storage.positioned import PositionedFile

SUFFIX = ".parquet"
KIND = "parquet"
"""With which a place in such a file begins."""
BYTES = "bytes"
"""The field of a struct that holds the audio, as Hugging Face `datasets` writes it."""
BUFFER_BYTES = 1 << 20
"""Read of a column at once; less than a page of audio."""
BATCH_BYTES = 1_000_000
"""Audio that is taken out of its page at once, by the mean size of the row group's rows; but a row at least."""
MOST_ROWS = 64


class Row(NamedTuple):
    """Where in a Parquet file a clip's audio is: column, row group, and row within that, from 0."""

    column: str
    group: int
    row: int

    def __str__(self) -> str:
        """As a clip's `place`."""
        return f"{KIND}:{self.group}:{self.row}:{self.column}"


def row_of(place: str) -> Row | None:
    """The inverse of `Row.__str__`; None for a clip's place that is in no Parquet file.

    >>> row_of(str(Row("audio:0", 3, 12)))
    Row(column='audio:0', group=3, row=12)
    """
    kind, _, where = place.partition(":")
    return _row(where) if kind == KIND else None


def _row(where: str) -> Row:
    group, row, column = where.split(":", 2)
    return Row(column, int(group), int(row))


def at_random(where: str) -> bool:
    """Never: a page has to be unpacked from its start on."""
    return False


def open_member(uri: str, where: str, check: Check, disk_bytes: int | None) -> BinaryIO:
    """A row by its place -> its audio, in memory; what of its row group lies before it is read, too.

    Raises:
      MissingError: it has none.
      StorageError: as `values`.
    """
    row = _row(where)
    with closing(values(uri, row.column, row.group)) as found:
        value = next(islice(found, row.row, None), None)
    if value is None:
        raise MissingError(uri, "the row has no audio", "Leave the row out")
    return io.BytesIO(value)


@contextmanager
def opened(uri: str, size_bytes: int | None = None) -> Iterator[Any]:
    """A Parquet file -> `pyarrow.parquet.ParquetFile`, its footer read.

    Args:
      uri: of the file.
      size_bytes: of the file, where small columns are wanted: of each row group they are fetched whole, and nothing
        else is; None: a large column is, in pages.

    Raises:
      StorageError: it cannot be read; a DamagedError if it is no Parquet file, or its footer is damaged.
    """
    import pyarrow as pa
    from pyarrow import parquet

    apart = size_bytes is not None and not storage.is_local(uri)
    with cast(BinaryIO, _Ranges(uri, size_bytes or 0)) if apart else storage.open_read(uri) as file:
        with explained(uri):
            # Arrow reads a path by itself: a page then is not in memory twice, as bytes of Python's and as its own.
            source: Any = pa.OSFile(os.fsencode(storage.absolute(uri))) if storage.is_local(uri) else file
            buffer_bytes = 0 if size_bytes is not None else BUFFER_BYTES
            found = parquet.ParquetFile(source, buffer_size=buffer_bytes, page_checksum_verification=True)
        try:
            yield found
        finally:
            found.close(force=True)


class _Ranges(PositionedFile):
    """A remote file of which each read is one request, for just what it asks."""

    def __init__(self, uri: str, size: int) -> None:
        super().__init__(size)
        self._uri = uri

    def read(self, size: int = -1) -> bytes:
        end = self._size if size < 0 else min(self._size, self._position + size)
        if end <= self._position:
            return b""
        with storage.open_read(self._uri, self._position, end) as file:
            found = file.read(end - self._position)
        self._position += len(found)
        return found


@contextmanager
def explained(uri: str, where: str = "") -> Iterator[None]:
    """Whatever the library raises in the block becomes a DamagedError, which begins with `where`."""
    import pyarrow as pa

    try:
        yield
    except (StorageError, MemoryError):
        raise
    except (pa.ArrowException, OSError, ValueError, KeyError, IndexError, OverflowError) as error:
        what = " ".join(str(error).split())[:300]
        raise DamagedError(uri, f"{where}no sound Parquet: {what}", "Fetch the file again") from error


def name_of(group: int, first: int, rows: int) -> str:
    """A row group for messages: "row group 3, rows 300 to 399"."""
    return f"row group {group}, rows {first} to {first + rows - 1}"


def batches(file: Any, group: int, columns: Sequence[str], rows: int) -> Iterator[Any]:
    """Columns of a row group -> `RecordBatch`es of so many rows."""
    yield from file.iter_batches(batch_size=rows, row_groups=[group], columns=list(columns), use_threads=False)


def values(uri: str, column: str, group: int) -> Generator[bytes | None, None, None]:
    """The audio of a row group's rows, in order; None where there is none.

    Raises:
      StorageError: it cannot be read; a DamagedError names the row group.
    """
    with opened(uri) as file:
        with explained(uri, f"row group {group}: "):
            field = file.schema_arrow.field(column)
            meta = file.metadata.row_group(group)
            first = sum(file.metadata.row_group(before).num_rows for before in range(group))
            leaf = f"{column}.{BYTES}" if _is_struct(field.type) else column
            rows = max(1, min(MOST_ROWS, BATCH_BYTES // (1 + bytes_of(meta, leaf) // max(1, meta.num_rows))))
        found = batches(file, group, [leaf], rows)
        while True:
            with explained(uri, f"{name_of(group, first, meta.num_rows)}: "):
                batch = next(found, None)
                taken = [] if batch is None else _taken(batch.column(column))
            if batch is None:
                return
            for value in taken:
                yield None if value is None else value.to_pybytes()


def bytes_of(meta: Any, leaf: str) -> int:
    """Metadata of a row group -> the bytes of a column in it, unpacked; 0 for one that it does not have."""
    for index in range(meta.num_columns):
        if meta.column(index).path_in_schema == leaf:
            return max(0, int(meta.column(index).total_uncompressed_size))
    return 0


def _taken(array: Any) -> list[Any]:
    """A batch's column -> a buffer or None for each row."""
    if _is_struct(array.type):
        array = array.flatten()[array.type.get_field_index(BYTES)]
    return [scalar.as_buffer() if scalar.is_valid else None for scalar in array]


def _is_struct(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_struct(kind))
