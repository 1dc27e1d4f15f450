"""The table of class labels: MIDs and display names -> class indices."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.inputs.tables import at, csv_lines, expect_header

COLUMNS = ["index", "mid", "display_name"]

Label = str | int
"""A MID, a display name or a class index."""


@dataclass
class ClassLabels:
    """MIDs and display names -> class indices.

    Attributes:
      uri: where the table was read.
      indices: index by MID and by display name.
      known: the indices themselves.
    """

    uri: str
    indices: dict[str, int] = field(default_factory=dict)
    known: set[int] = field(default_factory=set)

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


def as_index(label: Label) -> int | None:
    """A label -> the number that it is, None where it is a MID or a name."""
    if isinstance(label, int):
        return label
    return int(label) if label.isascii() and label.isdigit() else None


def read_class_labels(uri: str) -> ClassLabels:
    """AudioSet's `class_labels_indices.csv`, or one like it -> the table.

    Raises:
      SourceError: other columns, an index that is no number, an index or MID twice.
    """
    result = ClassLabels(uri)
    lines = csv_lines(uri)
    expect_header(uri, *next(lines, (1, [])), COLUMNS)
    for line, cells in lines:
        if len(cells) != len(COLUMNS) or not (cells[0].isascii() and cells[0].isdigit()):
            raise at(uri, line, f"{cells} is not an index, a MID and a display name", "Use AudioSet's file")
        index, mid, name = int(cells[0]), cells[1], cells[2]
        if index in result.known or mid in result.indices:
            raise at(uri, line, f"index {index} or MID {mid} was there before", "Keep one of the lines")
        result.known.add(index)
        result.indices[mid] = index
        result.indices.setdefault(name, index)
    return result
