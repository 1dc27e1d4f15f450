"""Lists as files: CSV and JSON lines -> values with their line numbers, and what is wrong with such a file.

A list is opened once and read from its start to its end, so it may be a pipe.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any, NamedTuple

from pipeline import storage
from pipeline.errors import UserError

csv.field_size_limit(2**31 - 1)
"""A row is never too long to be read, and to fail by itself."""


class SourceError(UserError, ValueError):
    """The inputs cannot be used as given."""


class RowError(UserError):
    """A row of a list cannot be used; the others can.

    Attributes:
      reason: one of `pipeline.reasons.REASONS`.
      clip_id: that the row gives; "" if it gives none.
    """

    def __init__(self, found: str, remedy: str = "", reason: str = "bad_row", clip_id: str = "") -> None:
        super().__init__(found, remedy)
        self.reason = reason
        self.clip_id = clip_id


class Cells(NamedTuple):
    """A row of a CSV, without the space around its cells; a quoted cell may span lines."""

    line: int
    last_line: int
    values: list[str]


def at(uri: str, line: int, found: str, remedy: str) -> SourceError:
    """A problem in a line of a file -> the error."""
    return SourceError(f"{uri}, line {line}: {found}", remedy)


@contextmanager
def text_lines(uri: str) -> Iterator[Iterator[str]]:
    """The lines of a text file, with their ends; unpacked if its name says that it is compressed.

    What is not UTF-8 below the first line keeps its bytes, as surrogates: files' names need not be UTF-8.

    Raises:
      SourceError: the first line that is not empty is not UTF-8 text; what it is instead is named where it is known.
    """
    with (
        storage.open_unwrapped(uri) as file,
        io.TextIOWrapper(file, "utf-8-sig", errors="surrogateescape", newline="") as text,
    ):
        start: list[str] = []
        for line in text:
            start.append(line)
            if line.strip():
                _expect_text(uri, "".join(start))
                break
        yield chain(start, text)


_AUDIO = ("audio", "Name a list here; audio goes to --input")
_KINDS = {
    b"PAR1": ("a Parquet file", "Write the list as CSV or JSON lines; tables that hold the audio itself go to --input"),
    b"PK\3\4": ("a spreadsheet or a ZIP archive", "Save the list as CSV, in UTF-8"),
    **dict.fromkeys((b"RIFF", b"RF64", b"fLaC", b"OggS", b"ID3", b"FORM"), _AUDIO),
}
"""How files begin that are given as lists: what they are, and what to do."""


def _expect_text(uri: str, start: str) -> None:
    fault = "it holds a zero byte" if "\0" in start else ""
    content = start.encode("utf-8", "surrogateescape")
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        fault = str(error)
    for magic, (what, remedy) in _KINDS.items():
        if fault and content.startswith(magic):
            raise SourceError(f"{uri} is {what}, not text", remedy)
    if fault:
        raise SourceError(f"{uri} is not UTF-8 text: {fault}", "Check which file it is, or convert it")


def csv_rows(uri: str, lines: Iterable[str]) -> Iterator[Cells]:
    """Lines of a CSV -> its rows that hold something: spreadsheets write empty ones as commas.

    Raises:
      SourceError: a quote is not closed, or text follows one that is closed in a later line: rows are lost in it.
    """
    last = ""

    def noted() -> Iterator[str]:
        nonlocal last
        for last in lines:  # noqa: UP028 - it is kept
            yield last

    reader = csv.reader(noted(), skipinitialspace=True, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if reader.line_num > line:
                found = f"an unclosed quote runs to line {reader.line_num} ({error})"
                raise at(uri, line, found, "Close the quote, or check which file it is") from None
            cells = next(csv.reader([last], skipinitialspace=True))
        values = [cell.strip() for cell in cells]
        if any(values):
            yield Cells(line, reader.line_num, values)


def expect_commas(uri: str, row: Cells, column: str) -> None:
    """Looks at a header, or a row, that is not as expected. Raises SourceError if other characters separate its cells.

    Args:
      uri: of the list.
      row: the header.
      column: one that has to be there by itself.
    """
    text = ",".join(row.values)
    for separator, name in (";", "';'"), ("\t", "tabs"), ("|", "'|'"):
        if column not in row.values and column in [cell.strip() for cell in text.split(separator)]:
            what = f"the columns are separated by {name}: {text[:200]!r}"
            raise at(uri, row.line, what, "Separate them by commas, and write numbers with a point")


def expect_once(uri: str, header: Cells, used: Iterable[str]) -> None:
    """Raises SourceError if a column that is used is there twice; of others nothing is expected, not even a name."""
    for column in used:
        if header.values.count(column) > 1:
            raise at(uri, header.line, f"column {column!r} is there twice", "Keep one of them")


def expect_width(uri: str, row: Cells, columns: list[str]) -> None:
    """Looks at the number of a row's cells.

    Raises:
      RowError: it is not that of the columns.
      SourceError: neither is it, and the row spans lines: they are lost in a quote that was not closed.
    """
    if len(row.values) == len(columns):
        return
    found = (
        f"{len(row.values)} values ({', '.join(row.values)[:200]}) for {len(columns)} columns ({', '.join(columns)})"
    )
    if row.last_line > row.line:
        raise at(uri, row.line, f"an unclosed quote runs to line {row.last_line}: {found[:200]}", "Close the quote")
    raise RowError(found, "Put quotes around values that hold commas")


def json_object(text: str) -> dict[str, Any]:
    """A line of JSON lines -> its object. Raises RowError."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RowError(f"no JSON ({error}): {text.strip()[:80]}", "Put one object in a line") from None
    if not isinstance(values, dict):
        raise RowError(f"no JSON object: {text.strip()[:80]}", 'Put {"uri": …} in each line')
    return values


def expect_header(uri: str, line: int, found: list[str], wanted: list[str]) -> None:
    """Raises SourceError unless a header is the one that is wanted."""
    if found != wanted:
        said = ", ".join(found) or "empty"
        raise at(uri, line, f"the header is {said}, not {', '.join(wanted)}", "Check which file it is")
