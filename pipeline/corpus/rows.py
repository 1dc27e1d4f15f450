"""Rows of lists, and those of AudioSet's segment CSVs; manifests are in `pipeline.corpus.lists`.

Rows are read one by one: a list may hold millions. What is wrong with a list as such is a `SourceError` that names line
and value; what a row says that cannot be used is that row's own `fault`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pipeline import storage
from pipeline.corpus.class_labels import ClassLabels, Label
from pipeline.corpus.tables import Cells, RowError, csv_rows, expect_commas, expect_header, expect_width, text_lines

SEGMENT_COLUMNS = ["YTID", "start_seconds", "end_seconds", "positive_labels"]


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
      scores: of the labels, one each; () where the list gives none.
    """

    line: int
    id: str
    uri: str = ""
    start_s: float | None = None
    end_s: float | None = None
    labels: tuple[Label, ...] = ()
    fault: RowError | None = None
    scores: tuple[float, ...] = ()


def read_segments(uri: str) -> Iterator[Row]:
    """A segment list in AudioSet's format (`# YTID, start_seconds, end_seconds, positive_labels`) -> its rows.

    Raises:
      SourceError: other columns, or a quote that is not closed.
    """
    headed = False
    with text_lines(uri) as lines:
        for row in csv_rows(uri, lines):
            cells = row.values
            while len(cells) > len(SEGMENT_COLUMNS) and not cells[-1]:  # columns without a name, as spreadsheets write
                cells.pop()
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
                    yield Row(row.line, name_of(uri, row.line), fault=fault)


def _segment(line: int, cells: Sequence[str]) -> Row:
    clip_id = text_of("YTID", cells[0])
    if not clip_id:
        raise RowError("YTID is empty", "Give an id")
    labels = _segment_labels(cells[3])
    try:
        start_s = seconds_of("start_seconds", cells[1])
        end_s = seconds_of("end_seconds", cells[2])
        if start_s is None or end_s is None:
            raise RowError(f"{clip_id} has no start or no end", "Give both times in seconds", "bad_times")
    except RowError as fault:
        return Row(line, clip_id, labels=labels, fault=fault)
    return Row(line, clip_id, "", start_s, end_s, labels)


@lru_cache(1000)
def _segment_labels(text: str) -> tuple[str, ...]:
    return tuple(label.strip() for label in text.split(",") if label.strip())


def folder_of(uri: str) -> str:
    """A list -> the folder that its URIs are relative to: its own; of a pipe or device, where the command was run."""
    return str(Path.cwd()) if uri.startswith(("/dev/", "/proc/")) else storage.parent(uri)


def name_of(uri: str, line: int) -> str:
    """The name of a row that gives none itself."""
    return f"{uri.rpartition('/')[2]}, line {line}"


def text_of(column: str, value: object) -> str:
    """A value -> itself, if it is text that can be encoded. Raises RowError."""
    if not isinstance(value, str):
        raise RowError(f"{column} is {shown(value)}", "Give text")
    if value.isascii():
        return value
    try:
        value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise RowError(f"{column} is {shown(value)}, which is cut in the middle of a character", "Repair it") from None
    return value


def shown(value: object) -> str:
    """A value of any length for a message, in ASCII."""
    text = ascii(value)
    return text if len(text) <= 100 else f"{text[:100]}…"


def labels_of(value: object, classes: ClassLabels) -> Sequence[Label]:
    """Labels as lists give them: one, a list, or a text that `classes` splits. Raises RowError."""
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
    raise RowError(f"labels are {shown(value)}", "Give indices, MIDs or display names: a list, or a text with commas")


def scores_of(value: object, count: int) -> tuple[float, ...]:
    """Scores of so many labels as lists give them: one for all, or a list, or a text of several. Raises RowError."""
    if value is None or value == "":
        return ()
    parts: Any = value.replace(";", ",").split(",") if isinstance(value, str) else value
    try:
        scores = [float(part) for part in (parts if isinstance(parts, list) else [parts])]
    except (TypeError, ValueError, OverflowError):
        scores = [math.nan]
    if not all(map(math.isfinite, scores)) or len(scores) not in (1, count):
        raise RowError(f"segment_scores are {shown(value)}", f"Give a number, or one for each of the {count} labels")
    return tuple(scores * count if len(scores) == 1 else scores)


_NUMBERS = (str, int, float)


def seconds_of(column: str, value: object) -> float | None:
    """A time as lists give it -> seconds, which need not be finite; None for nothing. Raises RowError."""
    if value is None or value == "":
        return None
    try:
        if isinstance(value, bool) or not isinstance(value, _NUMBERS):
            raise ValueError
        return float(value)
    except OverflowError:  # a whole number that no float holds
        return math.inf
    except ValueError:
        raise RowError(f"{column} is {shown(value)}", "Give a number of seconds", "bad_times") from None
