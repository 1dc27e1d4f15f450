"""A Parquet file -> a clip for each row. Only the footer, ids and labels are read, never the audio."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

from pipeline import storage
from pipeline.corpus.class_labels import ClassLabels, Label
from pipeline.corpus.ids import as_utf8, id_of
from pipeline.corpus.parquet.columns import PATH, ColumnNames, Columns, NoAudioColumnError, find
from pipeline.storage import containers
from pipeline.storage.containers import parquet
from pipeline.types import Clip, Failure

ROWS = 4096
"""Whose ids and labels are read at a time."""

Labels = tuple[Label, ...]


@dataclass
class Table:
    """The rows of a file.

    Attributes:
      uri: of the file.
      columns: what was found; None where it could not be looked at, or has no column of audio.
      clips: without labels.
      labels: of each clip, as the file has them, or as the table of classes does.
      failures: rows, row groups, or the file, that cannot be used.
      without: why it has no column of audio.
    """

    uri: str
    columns: Columns | None = None
    clips: list[Clip] = field(default_factory=list)
    labels: list[Labels] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    without: NoAudioColumnError | None = None


def read(file: storage.FileInfo, path: str, wanted: ColumnNames, classes: ClassLabels | None) -> Table:
    """A file as it was listed -> its rows; a file or a row group that is damaged is one failure.

    Args:
      file: which.
      path: below the pattern's fixed part; ids are made of it where the rows have none.
      wanted: the columns that were asked for.
      classes: the table that labels are of, if there is one.

    Raises:
      SourceError: columns are not as they should be.
      CredentialsError: no file of its storage can be read.
    """
    table = Table(file.uri)
    path = as_utf8(path) if storage.is_local(file.uri) else path
    try:
        with parquet.opened(file.uri, file.size_bytes) as opened:
            table.columns = find(file.uri, opened.schema_arrow, wanted)
            name = path[: -len(parquet.SUFFIX)]
            _add_groups(table, table.columns, opened, file, name, classes)
    except storage.CredentialsError:
        raise
    except NoAudioColumnError as error:
        table.without = error
    except storage.StorageError as error:
        table.failures.append(_failure(path, file, error))
    return table


def _add_groups(
    table: Table, columns: Columns, opened: Any, file: storage.FileInfo, name: str, classes: ClassLabels | None
) -> None:
    first = 0
    for group in range(opened.metadata.num_row_groups):
        meta = opened.metadata.row_group(group)
        where = parquet.name_of(group, first, meta.num_rows)
        try:
            if meta.num_rows > 8 * file.size_bytes:  # not even a bit for each
                raise storage.DamagedError(file.uri, f"{where}: more than the file can hold", "Fetch the file again")
            size = max(1, parquet.bytes_of(meta, columns.leaf) // max(1, meta.num_rows))
            found = _ids_and_labels(opened, file.uri, group, meta.num_rows, columns, where)
            for row, (clip_id, labels) in enumerate(found):
                clip = Clip(
                    clip_id or f"{name}/{first + row}",
                    containers.uri_of(file.uri, str(first + row)),
                    size_bytes=size,
                    version=file.version,
                    place=str(parquet.Row(columns.audio, group, row)),
                )
                if not clip_id and columns.ids:
                    table.failures.append(Failure(clip, "find", "bad_row", f"{columns.ids} of the row is empty"))
                    continue
                table.clips.append(clip)
                table.labels.append(_translated(labels, columns, classes))
        except storage.DamagedError as error:
            table.failures.append(_failure(f"{name}, {where}", file, error))
        first += meta.num_rows


def _failure(clip_id: str, file: storage.FileInfo, error: storage.StorageError) -> Failure:
    if isinstance(error, storage.DamagedError):
        reason = "corrupt" if file.size_bytes else "empty"
    else:
        reason = "missing" if isinstance(error, storage.MissingError) else "unreadable"
    clip = Clip(clip_id, file.uri, size_bytes=file.size_bytes, version=file.version)
    return Failure(clip, "find", reason, error.what)


def _ids_and_labels(
    opened: Any, uri: str, group: int, rows: int, columns: Columns, where: str
) -> Iterator[tuple[str, Labels]]:
    """A row group -> the id of each row, "" where it has none, and its labels. Raises DamagedError."""
    names = list(dict.fromkeys(filter(None, (columns.ids or columns.path, columns.labels))))
    if not names:
        yield from repeat(("", ()), rows)
        return
    found = parquet.batches(opened, group, names, ROWS)
    while True:
        with parquet.explained(uri, f"{where}: "):
            batch = next(found, None)
            if batch is None:
                return
            labels = map(_labels, batch.column(columns.labels).to_pylist()) if columns.labels else repeat(())
            pairs: Iterable[tuple[str, Labels]] = list(zip(_ids(batch, columns), labels, strict=False))
        yield from pairs


def _ids(batch: Any, columns: Columns) -> list[str]:
    if columns.ids:
        return ["" if value is None else str(value).strip() for value in batch.column(columns.ids).to_pylist()]
    if not columns.path:
        return [""] * batch.num_rows
    paths = [(value or {}).get(PATH) or "" for value in batch.column(columns.audio).to_pylist()]
    return [id_of(path.rpartition("/")[2]) for path in paths]


def _labels(value: Any) -> Labels:
    """A value of a column of labels -> the labels."""
    values = value if isinstance(value, list) else [value]
    return tuple(dict.fromkeys(each for each in values if each is not None and each != ""))


def _translated(labels: Labels, columns: Columns, classes: ClassLabels | None) -> Labels:
    """Labels as the table of classes has them; -1, which Hugging Face gives rows without a label, is none."""
    if columns.names:
        labels = tuple(label for label in labels if label != -1)
    if classes is None:
        return labels
    named = [columns.names.get(label, label) if isinstance(label, int) else label for label in labels]
    parts = [classes.split(label) if isinstance(label, str) else [label] for label in named]
    return tuple(label for each in parts for label in each)
