"""The table of class labels: MIDs and display names -> class indices. All programs read it here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from pipeline.corpus.tables import Cells, RowError, at, csv_rows, expect_commas, expect_once, expect_width, text_lines

COLUMNS = ("index", "mid", "display_name")
MOST = 2**63 - 1
"""The largest class index that a record can hold."""

Label = str | int
"""A MID, a display name or a class index."""


class Class(NamedTuple):
    """A row of the table; `mid` is "" where the table has none."""

    number: int
    mid: str
    name: str


@dataclass
class ClassLabels:
    """MIDs and display names -> class indices.

    Attributes:
      uri: where the table was read.
      indices: index by MID and by display name.
      known: the indices themselves.
      names: display names by index.
    """

    uri: str
    indices: dict[str, int] = field(default_factory=dict)
    known: set[int] = field(default_factory=set)
    names: dict[int, str] = field(default_factory=dict)

    def index(self, label: Label) -> int | None:
        """A label -> its class index, None where it is not in the table."""
        if isinstance(label, str) and label in self.indices:
            return self.indices[label]
        number = as_index(label)
        return number if number in self.known else None

    def split(self, text: str) -> list[str]:
        """Labels in one text, separated by ";" or ",", -> each; commas within display names do not separate."""
        result = []
        for part in (part.strip() for part in text.split(";")):
            words = [word.strip() for word in part.split(",")]
            while words:
                longest = next((n for n in range(len(words), 1, -1) if ", ".join(words[:n]) in self.indices), 1)
                result.append(", ".join(words[:longest]))
                words = words[longest:]
        return [label for label in result if label]


def numbers_of(names: Iterable[str], before: Mapping[int, str]) -> dict[str, int]:
    """Names -> their numbers, in the names' order, after those that an output has numbered already, which stay."""
    known = {name: number for number, name in before.items()}
    first = max(known.values(), default=-1) + 1
    return known | {name: first + n for n, name in enumerate(sorted({*names} - {"", *known}))}


def as_index(label: Label) -> int | None:
    """A label -> the number that it is, None where it is a MID or a name, or larger than a record can hold."""
    if isinstance(label, str):
        if not (label.isascii() and label.isdigit() and len(label.lstrip("0")) <= len(str(MOST))):
            return None
        label = int(label)
    return label if label <= MOST else None


def read_class_labels(uri: str) -> ClassLabels:
    """AudioSet's `class_labels_indices.csv`, or one like it -> the table. Errors as `read_classes`."""
    result = ClassLabels(uri)
    for index, mid, name in read_classes(uri):
        result.known.add(index)
        if mid:
            result.indices[mid] = index
        result.indices.setdefault(name, index)
        result.names[index] = name
    return result


def read_classes(uri: str) -> list[Class]:
    """A CSV with the columns index, display_name and perhaps mid, in any order -> its rows.

    Raises:
      SourceError: a column is missing, there is no row, a row is of another length, an index is no number that a
        record can hold, or an index or MID is there twice.
    """
    result: list[Class] = []
    with text_lines(uri) as lines:
        rows = csv_rows(uri, lines)
        header = next(rows, Cells(1, 1, []))
        expect_commas(uri, header, "index")
        if missing := {"index", "display_name"} - set(header.values):
            said = ", ".join(header.values)[:200] or "empty"
            remedy = "The columns are index, display_name and optionally mid"
            raise at(uri, header.line, f"the header is {said}, without {' and '.join(sorted(missing))}", remedy)
        expect_once(uri, header, COLUMNS)
        indices: set[int] = set()
        mids: set[str] = set()
        for row in rows:
            found = _class(uri, row, header.values)
            if found.number in indices or found.mid in mids:
                what = f"index {found.number}" if found.number in indices else f"MID {found.mid}"
                raise at(uri, row.line, f"{what} was there before", "Keep one of the lines")
            indices.add(found.number)
            mids.update(filter(None, [found.mid]))
            result.append(found)
    if not result:
        raise at(uri, header.line, "there is no row below the header", "Check which file it is")
    return result


def _class(uri: str, row: Cells, columns: list[str]) -> Class:
    try:
        expect_width(uri, row, columns)
    except RowError as fault:
        raise at(uri, row.line, fault.found, fault.remedy) from None
    cells = dict(zip(columns, row.values, strict=True))
    index = as_index(cells["index"])
    if index is None:
        remedy = f"Give a whole number from 0 to {MOST}"
        raise at(uri, row.line, f"{cells['index'][:100]!r} is not a class index", remedy)
    return Class(index, cells.get("mid", ""), cells["display_name"])
