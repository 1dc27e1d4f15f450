"""This project's own manifests: uri, id, start_seconds, end_seconds, labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipeline.corpus.lists.found import Found, Numbered
from pipeline.corpus.rows import shown
from pipeline.corpus.tables import RowError, at, csv_rows, expect_commas, expect_once, expect_width

COLUMNS = ("uri", "id", "start_seconds", "end_seconds", "labels")
SCORES = "segment_scores"
"""A further column, for records that hold segments."""
_REMEDY = f"The columns are {', '.join(COLUMNS)}; only uri is required"


def table(lines: Iterator[str], found: Found) -> Iterator[Numbered]:
    """A CSV with a header -> values by column; cells that are empty are left out."""
    rows = csv_rows(found.uri, lines)
    header = next(rows, None)
    line, columns = (header.line, header.values) if header else (1, [])
    if header:
        expect_commas(found.uri, header, "uri")
        expect_once(found.uri, header, COLUMNS)
    try:
        check_columns(columns)
        if "uri" not in columns:
            said = ", ".join(columns) or "the file is empty"
            raise RowError(f"the header has no uri: {said}", _REMEDY)
    except RowError as fault:
        raise at(found.uri, line, fault.found, fault.remedy) from None
    found.leave(columns, columns_of(found))
    for row in rows:
        try:
            expect_width(found.uri, row, columns)
        except RowError as fault:
            yield row.line, fault
            continue
        values = dict(zip(columns, row.values, strict=True))
        yield row.line, {column: cell for column, cell in values.items() if cell} if "" in row.values else values


def columns_of(found: Found) -> tuple[str, ...]:
    """The columns of a manifest that are made use of."""
    return (*COLUMNS, SCORES) if found.scores else COLUMNS


def check_columns(columns: Sequence[str]) -> None:
    """Columns of other names are for other programs; but one that was meant for this one is a mistake: a RowError."""
    for column in columns:
        if column not in COLUMNS and column.lower().startswith(("uri", "start", "end", "label", "video_id")):
            raise RowError(f"column {shown(column)} is not known", _REMEDY)
