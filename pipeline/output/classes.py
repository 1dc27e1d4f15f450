"""`classes.csv` in an output: the names of its classes, where they were numbered here."""

from __future__ import annotations

import csv
import io

from pipeline import storage
from pipeline.corpus.class_labels import read_class_labels
from pipeline.output.layout import CLASSES, explained, join, write_if_changed
from pipeline.types import Corpus


def numbered(directory: str) -> dict[int, str]:
    """The names that an output has numbered, by index; none where it has no such table.

    Raises:
      SourceError: the table is damaged.
    """
    uri = join(directory, CLASSES)
    return read_class_labels(uri).names if storage.exists(uri) else {}


def keep(directory: str, corpus: Corpus) -> None:
    """Writes the table of a corpus whose labels were made of names, if it is not there yet; raises OutputError."""
    if not corpus.numbers_classes:
        return
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["index", "display_name"])
    rows.writerows(sorted(corpus.names.items()))
    with explained(directory, "writing the table of classes"):
        write_if_changed(join(directory, CLASSES), text.getvalue().encode("utf-8", "surrogateescape"))
