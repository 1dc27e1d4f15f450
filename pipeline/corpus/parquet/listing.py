"""Parquet files among listed files: their rows as clips, and the labels of all of them by one numbering."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice

from pipeline import storage
from pipeline.corpus.class_labels import ClassLabels, Label, as_index, numbers_of
from pipeline.corpus.parquet.columns import ColumnNames, NoAudioColumnError
from pipeline.corpus.parquet.reading import Labels, Table, read
from pipeline.corpus.tables import SourceError
from pipeline.types import Clip, Failure

AT_A_TIME = 16
"""Files that are listed at a time: of remote ones it is the answers that take long."""
ONE_TABLE = "Give one table for all with --class_labels: labels are then found by their names"


class Tables:
    """The rows of Parquet files.

    Args:
      wanted: the columns that were asked for.
      classes: the table that labels are of; None: they are class indices, or numbered here.

    Attributes:
      failures: rows, row groups and files that cannot be used.
      without: why files have no column of audio.
    """

    def __init__(self, wanted: ColumnNames, classes: ClassLabels | None) -> None:
        self.failures: list[Failure] = []
        self.without: list[NoAudioColumnError] = []
        self._wanted, self._classes = wanted, classes
        self._clips: list[Clip] = []
        self._labels: list[Labels] = []
        self._names: dict[int, str] = {}
        self._files: Counter[str] = Counter()
        self._rows: Counter[str] = Counter()

    def add(self, files: Iterable[storage.FileInfo], below: int) -> Iterator[Clip]:
        """Adds files as they were listed; gives their clips, without labels.

        Args:
          files: which.
          below: the length of what their paths are below of.

        Raises:
          SourceError: columns, or names of classes, are not as they should be.
          CredentialsError: no file of their storage can be read.
        """
        remaining = iter(files)
        with ThreadPoolExecutor(AT_A_TIME, "parquet") as threads:
            while some := list(islice(remaining, 4 * AT_A_TIME)):
                for table in threads.map(lambda file: read(file, file.uri[below:], self._wanted, self._classes), some):
                    self._take(table)
                    yield from table.clips

    def _take(self, table: Table) -> None:
        self.failures += table.failures
        if table.without is not None:
            self.without.append(table.without)
        if table.columns is None:
            return
        self._clips += table.clips
        self._labels += table.labels
        described = table.columns.described()
        self._files[described] += 1
        self._rows[described] += len(table.clips)
        if self._classes is None:
            self._add_names(table.columns.names, table.uri)

    def _add_names(self, names: Mapping[int, str], uri: str) -> None:
        for number, name in names.items():
            if self._names.setdefault(number, name) != name:
                found = f"{uri}: class {number} is {name!r}, which is {self._names[number]!r} elsewhere"
                raise SourceError(found, ONE_TABLE)

    def labelled(self, before: Mapping[int, str]) -> tuple[list[Clip], list[Failure], Mapping[int, str]]:
        """The clips with their labels, failures for those that have unknown ones, and the names of classes by index.

        Names are given where the files, or this, number classes.

        Args:
          before: names that an output has numbered already, which keep their numbers.

        Raises:
          SourceError: names of classes contradict each other.
        """
        texts = {label for labels in self._labels for label in labels if isinstance(label, str)}
        names: Mapping[int, str] = {}
        index: Callable[[Label], int | None] = as_index
        if self._classes is not None:
            index = self._classes.index
        elif texts and self._names:
            found = f"labels in {self._wanted.labels!r} are named numbers in some files, and texts in others"
            raise SourceError(found, ONE_TABLE)
        elif texts:
            numbers = numbers_of({str(label) for labels in self._labels for label in labels}, before)
            names = {number: name for name, number in numbers.items()}
            index = _by_text(numbers)
        elif self._names:
            self._add_names(before, "the output's classes.csv")
            names = self._names
        clips: list[Clip] = []
        failures: list[Failure] = []
        where = f"in {self._classes.uri}" if self._classes else "a class index"
        for clip, labels in zip(self._clips, self._labels, strict=True):
            item = _with(clip, labels, index, where)
            (clips if isinstance(item, Clip) else failures).append(item)  # type: ignore[arg-type]
        return clips, failures, names

    def notes(self) -> list[str]:
        """What the files hold, a line for each kind of them, for the user."""
        lines = [
            f"Parquet: {files:,} file{'s' if files > 1 else ''}, {self._rows[described]:,} rows; {described}"
            for described, files in self._files.items()
        ]
        if self.without:
            count = len(self.without)
            what = f"{count:,} Parquet file{'s' if count > 1 else ''} without a column of audio"
            lines.append(f"Left out of the input: {what}; {self.without[0].found}")
        return lines


def _by_text(numbers: Mapping[str, int]) -> Callable[[Label], int | None]:
    return lambda label: numbers[str(label)]


def _with(clip: Clip, labels: Labels, index: Callable[[Label], int | None], where: str) -> Clip | Failure:
    """A clip with the indices of its labels, or why it cannot have them."""
    if not labels:
        return clip
    known: set[int] = set()
    unknown: list[str] = []
    for label in labels:
        number = index(label)
        if number is None or number < 0:
            unknown.append(str(label))
        else:
            known.add(number)
    if unknown:
        return Failure(clip, "find", "unknown_label", f"not {where}: {', '.join(unknown)}")
    return replace(clip, labels=tuple(sorted(known)))
