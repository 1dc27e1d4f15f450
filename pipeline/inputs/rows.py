"""Rows of lists: AudioSet's segment CSVs, and manifests as CSV or JSON lines.

Rows are read one by one: a list may hold millions. What is wrong with a file as such is a `SourceError` that names line
and value; what is wrong with a single clip is left to `pipeline.inputs.listings`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline import storage
from pipeline.inputs.class_labels import ClassLabels, Label
from pipeline.inputs.tables import at, csv_lines, expect_header, is_json, json_lines

SEGMENT_COLUMNS = ["YTID", "start_seconds", "end_seconds", "positive_labels"]
MANIFEST_COLUMNS = ("uri", "id", "start_seconds", "end_seconds", "labels")


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a list.

    Attributes:
      line: its number, from 1.
      id: of the clip; "" where the list gives none.
      uri: of the audio, absolute; "" in a segment list, which names none.
      start_s, end_s: in seconds, any number (NaN, infinity and negative ones too); None where the list gives none.
      labels: MIDs, display names or class indices.
    """

    line: int
    id: str
    uri: str
    start_s: float | None
    end_s: float | None
    labels: tuple[Label, ...]


def read_segments(uri: str) -> Iterator[Row]:
    """A segment list in AudioSet's format (`# YTID, start_seconds, end_seconds, positive_labels`) -> its rows.

    Raises:
      SourceError: other columns, or a line that is not four values with times that are numbers.
    """
    headed = False
    for line, cells in csv_lines(uri):
        comment = cells[0].startswith("#")
        first = cells[0].lstrip("# ")
        if first == SEGMENT_COLUMNS[0] or not (comment or headed):
            expect_header(uri, line, [first, *cells[1:]], SEGMENT_COLUMNS)
            headed = True
        elif not comment:
            if len(cells) != len(SEGMENT_COLUMNS) or not cells[0]:
                raise at(
                    uri,
                    line,
                    f"{len(cells)} values ({', '.join(cells)}) are not {', '.join(SEGMENT_COLUMNS)}",
                    "Put positive_labels in quotes, as AudioSet does",
                )
            start_s, end_s = (
                _seconds(uri, line, "start_seconds", cells[1]),
                _seconds(uri, line, "end_seconds", cells[2]),
            )
            if start_s is None or end_s is None:
                raise at(uri, line, f"{cells[0]} has no start or no end", "Give both times in seconds")
            labels = tuple(label.strip() for label in cells[3].split(",") if label.strip())
            yield Row(line, cells[0], "", start_s, end_s, labels)


def read_manifest(uri: str, classes: ClassLabels | None = None) -> Iterator[Row]:
    """A manifest (CSV with a header, or JSON lines) with `uri` and perhaps id, start_seconds, end_seconds, labels.

    Relative URIs are relative to the manifest's folder. Several labels in one text are separated by "," or ";".

    Raises:
      SourceError: `uri` missing, misspelt columns, times that are no numbers, lines that are no JSON objects.
    """
    folder = storage.parent(uri)
    known = classes or ClassLabels("")
    for line, values in _objects(uri) if is_json(uri) else _table(uri):
        target = values.get("uri")
        if not isinstance(target, str) or not target:
            raise at(uri, line, f"uri is {target!r}", "Name the audio file")
        clip_id = values.get("id")
        if clip_id is not None and not isinstance(clip_id, str | int):
            raise at(uri, line, f"id is {clip_id!r}", "Give a text")
        yield Row(
            line,
            "" if clip_id is None else str(clip_id),
            storage.absolute(storage.join(folder, target)),
            _seconds(uri, line, "start_seconds", values.get("start_seconds")),
            _seconds(uri, line, "end_seconds", values.get("end_seconds")),
            tuple(_labels(uri, line, values.get("labels"), known)),
        )


def _labels(uri: str, line: int, value: Any, classes: ClassLabels) -> Iterable[Label]:
    if value is None:
        return ()
    if isinstance(value, str):
        return classes.split(value)
    values = value if isinstance(value, list) else [value]
    if all(isinstance(label, str | int) and not isinstance(label, bool) for label in values):
        return values
    raise at(uri, line, f"labels are {value!r}", "Give indices, MIDs or display names: a list, or a text with commas")


def _seconds(uri: str, line: int, column: str, value: Any) -> float | None:
    if value is None or value == "":
        return None
    try:
        if isinstance(value, bool):
            raise ValueError
        return float(value)
    except (ValueError, TypeError):
        raise at(uri, line, f"{column} is {value!r}", "Give a number of seconds") from None


def _table(uri: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """A CSV with a header -> values by column; cells that are empty are left out."""
    lines = csv_lines(uri)
    line, columns = next(lines, (1, []))
    _check_columns(uri, line, columns)
    if "uri" not in columns:
        raise at(uri, line, f"the header has no uri: {', '.join(columns) or 'the file is empty'}", _COLUMNS_REMEDY)
    for line, cells in lines:
        if len(cells) != len(columns):
            raise at(uri, line, f"{len(cells)} values for {len(columns)} columns", "Quote values that hold commas")
        yield line, {column: cell for column, cell in zip(columns, cells, strict=True) if cell}


def _objects(uri: str) -> Iterator[tuple[int, dict[str, Any]]]:
    checked: set[tuple[str, ...]] = set()
    for line, values in json_lines(uri):
        names = tuple(values)
        if names not in checked:
            _check_columns(uri, line, names)
            checked.add(names)
        yield line, values


_COLUMNS_REMEDY = f"The columns are {', '.join(MANIFEST_COLUMNS)}; only uri has to be there"


def _check_columns(uri: str, line: int, columns: Sequence[str]) -> None:
    """Columns of other names are for other programs; but one that was meant for this one is a mistake."""
    for column in columns:
        if column not in MANIFEST_COLUMNS and column.lower().startswith(("uri", "start", "end", "label", "video_id")):
            raise at(uri, line, f"column {column!r} is not known", _COLUMNS_REMEDY)
        if columns.count(column) > 1:
            raise at(uri, line, f"column {column!r} is there twice", "Keep one of them")
