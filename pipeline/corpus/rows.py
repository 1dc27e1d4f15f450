"""Rows of lists: AudioSet's segment CSVs, and manifests as CSV or JSON lines.

Rows are read one by one: a list may hold millions. What is wrong with a list as such is a `SourceError` that names line
and value; what a row says that cannot be used is that row's own `fault`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pipeline import storage
from pipeline.corpus.class_labels import ClassLabels, Label
from pipeline.corpus.ids import as_path
from pipeline.corpus.tables import (
    Cells,
    RowError,
    at,
    csv_rows,
    expect_commas,
    expect_header,
    expect_width,
    json_object,
    opens_like_json,
    text_lines,
)

SEGMENT_COLUMNS = ["YTID", "start_seconds", "end_seconds", "positive_labels"]
MANIFEST_COLUMNS = ("uri", "id", "start_seconds", "end_seconds", "labels")


@dataclass(slots=True)  # to freeze it would take as long again as all else about a row of a CSV
class Row:
    """A line of a list.

    Attributes:
      line: its number, from 1.
      id: of the clip; "" where the list gives none. Of a row with a fault perhaps "clips.csv, line 7".
      uri: of the audio, absolute; "" in a segment list, which names none.
      start_s, end_s: in seconds, any number (NaN, infinity and negative ones too); None where the list gives none.
      labels: MIDs, display names or class indices.
      fault: why the row cannot be used, if so.
    """

    line: int
    id: str
    uri: str = ""
    start_s: float | None = None
    end_s: float | None = None
    labels: tuple[Label, ...] = ()
    fault: RowError | None = None


def read_segments(uri: str) -> Iterator[Row]:
    """A segment list in AudioSet's format (`# YTID, start_seconds, end_seconds, positive_labels`) -> its rows.

    Raises:
      SourceError: other columns, or a quote that is not closed.
    """
    headed = False
    with text_lines(uri) as lines:
        for row in csv_rows(uri, lines):
            cells = row.values
            comment = cells[0].startswith("#")
            first = cells[0].lstrip("# ")
            if first == SEGMENT_COLUMNS[0] or not (comment or headed):
                expect_commas(uri, Cells(row.line, row.last_line, [first, *cells[1:]]), SEGMENT_COLUMNS[0])
                expect_header(uri, row.line, [first, *cells[1:]], SEGMENT_COLUMNS)
                headed = True
            elif not comment:
                try:
                    expect_width(uri, row, SEGMENT_COLUMNS)
                    yield _segment(row.line, cells)
                except RowError as fault:
                    yield Row(row.line, _name(uri, row.line), fault=fault)


def _segment(line: int, cells: Sequence[str]) -> Row:
    clip_id = _text("YTID", cells[0])
    if not clip_id:
        raise RowError("YTID is empty", "Give an id")
    labels = _segment_labels(cells[3])
    try:
        start_s = _seconds("start_seconds", cells[1])
        end_s = _seconds("end_seconds", cells[2])
        if start_s is None or end_s is None:
            raise RowError(f"{clip_id} has no start or no end", "Give both times in seconds", "bad_times")
    except RowError as fault:
        return Row(line, clip_id, labels=labels, fault=fault)
    return Row(line, clip_id, "", start_s, end_s, labels)


@lru_cache(1000)
def _segment_labels(text: str) -> tuple[str, ...]:
    return tuple(label.strip() for label in text.split(",") if label.strip())


def read_manifest(uri: str, classes: ClassLabels | None = None) -> Iterator[Row]:
    """A manifest (CSV with a header, or JSON lines) with `uri` and perhaps id, start_seconds, end_seconds, labels.

    Relative URIs are relative to `folder_of` the manifest. Several labels in one text are separated by "," or ";".

    Raises:
      SourceError: a CSV without `uri`, with columns that are misspelt, or with a quote that is not closed.
    """
    folder = storage.join(folder_of(uri), "")
    known = classes or ClassLabels("")
    with text_lines(uri) as lines:
        json, lines = opens_like_json(lines)
        for line, values in _objects(lines) if json else _table(uri, lines):
            try:
                if isinstance(values, RowError):
                    raise values
                yield _listed(line, values, folder, known)
            except RowError as fault:
                yield Row(line, _name(uri, line), fault=fault)


def folder_of(uri: str) -> str:
    """A list -> the folder that its URIs are relative to: its own; of a pipe or device, where the command was run."""
    return str(Path.cwd()) if uri.startswith(("/dev/", "/proc/")) else storage.parent(uri)


def _listed(line: int, values: dict[str, Any], folder: str, classes: ClassLabels) -> Row:
    target, clip_id = _text("uri", values.get("uri")), values.get("id")
    if not target:
        raise RowError(f"uri is {values.get('uri')!r}", "Name the audio file")
    if "\0" in target:
        raise RowError(f"uri is {target!r}, which holds a zero byte", "Name the audio file")
    if isinstance(clip_id, int) and not isinstance(clip_id, bool):
        clip_id = str(clip_id)
    clip_id = "" if clip_id is None else _text("id", clip_id)
    if "://" in target or not folder.startswith("/"):
        audio = storage.absolute(storage.join(folder, as_path(target) if storage.is_local(target) else target))
    else:  # the same in a quarter of the time
        path = as_path(target)
        audio = os.path.normpath(path if path.startswith("/") else folder + path)
    try:
        start_s = _seconds("start_seconds", values.get("start_seconds"))
        end_s = _seconds("end_seconds", values.get("end_seconds"))
        return Row(line, clip_id, audio, start_s, end_s, tuple(_labels(values.get("labels"), classes)))
    except RowError as fault:
        return Row(line, clip_id, audio, fault=fault)


def _name(uri: str, line: int) -> str:
    """The name of a row that gives none itself."""
    return f"{uri.rpartition('/')[2]}, line {line}"


def _text(column: str, value: object) -> str:
    """A value -> itself, if it is text that can be encoded. Raises RowError."""
    if not isinstance(value, str):
        raise RowError(f"{column} is {_shown(value)}", "Give text")
    if value.isascii():
        return value
    try:
        value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise RowError(f"{column} is {_shown(value)}, which is cut in the middle of a character", "Repair it") from None
    return value


def _shown(value: object) -> str:
    """A value of any length for a message, in ASCII."""
    text = ascii(value)
    return text if len(text) <= 100 else f"{text[:100]}…"


def _labels(value: object, classes: ClassLabels) -> Sequence[Label]:
    if value is None:
        return ()
    if isinstance(value, str):
        return classes.split(value)
    labels: list[Label] = []
    for label in value if isinstance(value, list) else [value]:
        if not isinstance(label, str | int) or isinstance(label, bool):
            break
        labels.append(label)
    else:
        return labels
    raise RowError(f"labels are {_shown(value)}", "Give indices, MIDs or display names: a list, or a text with commas")


_NUMBERS = (str, int, float)


def _seconds(column: str, value: object) -> float | None:
    if value is None or value == "":
        return None
    try:
        if isinstance(value, bool) or not isinstance(value, _NUMBERS):
            raise ValueError
        return float(value)
    except OverflowError:  # a whole number that no float holds
        return math.inf
    except ValueError:
        raise RowError(f"{column} is {_shown(value)}", "Give a number of seconds", "bad_times") from None


def _table(uri: str, lines: Iterator[str]) -> Iterator[tuple[int, dict[str, Any] | RowError]]:
    """A CSV with a header -> values by column; cells that are empty are left out."""
    rows = csv_rows(uri, lines)
    header = next(rows, None)
    line, columns = (header.line, header.values) if header else (1, [])
    if header:
        expect_commas(uri, header, "uri")
    try:
        _check_columns(columns)
        if "uri" not in columns:
            raise RowError(f"the header has no uri: {', '.join(columns) or 'the file is empty'}", _COLUMNS_REMEDY)
    except RowError as fault:
        raise at(uri, line, fault.found, fault.remedy) from None
    for row in rows:
        try:
            expect_width(uri, row, columns)
        except RowError as fault:
            yield row.line, fault
            continue
        values = dict(zip(columns, row.values, strict=True))
        yield row.line, {column: cell for column, cell in values.items() if cell} if "" in row.values else values


def _objects(lines: Iterator[str]) -> Iterator[tuple[int, dict[str, Any] | RowError]]:
    """JSON lines -> their values."""
    checked: set[tuple[str, ...]] = set()
    for line, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            values = json_object(text)
            names = tuple(values)
            if names not in checked:
                _check_columns(names)
                if len(checked) < _SETS_OF_NAMES:
                    checked.add(names)
        except RowError as fault:
            yield line, fault
            continue
        yield line, values


_SETS_OF_NAMES = 1000
_COLUMNS_REMEDY = f"The columns are {', '.join(MANIFEST_COLUMNS)}; only uri is required"


def _check_columns(columns: Sequence[str]) -> None:
    """Columns of other names are for other programs; but one that was meant for this one is a mistake: a RowError."""
    for column in columns:
        if column not in MANIFEST_COLUMNS and column.lower().startswith(("uri", "start", "end", "label", "video_id")):
            raise RowError(f"column {_shown(column)} is not known", _COLUMNS_REMEDY)
        if columns.count(column) > 1:
            raise RowError(f"column {column!r} is there twice", "Keep one of them")
