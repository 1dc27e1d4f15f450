"""What a list turns out to be while it is read: its dialect, its classes, and what nothing was made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.corpus.class_labels import ClassLabels, Label, as_index, numbers_of
from pipeline.corpus.lists.audio import Audio
from pipeline.corpus.rows import shown
from pipeline.corpus.tables import RowError, SourceError

Values = dict[str, Any]
"""A row in the columns of this project's own manifests: uri, id, start_seconds, end_seconds, labels."""
Numbered = tuple[int, Values | RowError]
"""A row with its line."""

_MOST_NAMES = 20
"""Names of columns that a note lists."""


@dataclass
class Found:
    """What is known of a list; grows as its rows are read.

    Attributes:
      uri: of the list.
      folder: what its paths are relative to.
      audio: for lists that name files by something else than a path.
      classes: the table of classes; None: there is none.
      numbering: the names of classes in lists of other projects, where there is no table.
      scores: the column of segments' scores is made use of.
      dialect: what the list is called; "" for a manifest of this project's own, or while that is not known.
      stretches: times are a stretch of the file that is named, whatever --segment_audio says.
      remarks: further lines for the user.
      unused: names of columns that nothing was made of.
    """

    uri: str
    folder: str
    audio: Audio
    classes: ClassLabels | None = None
    numbering: Numbering = field(default_factory=lambda: Numbering({}))
    scores: bool = False
    dialect: str = ""
    stretches: bool = False
    remarks: list[str] = field(default_factory=list)
    unused: dict[str, None] = field(default_factory=dict)

    @property
    def table(self) -> ClassLabels | None:
        """The classes that the rows' labels are of; None: they are indices."""
        return self.classes or (self.numbering if self.dialect else None)

    def leave(self, columns: Iterable[str], known: Iterable[str] = ()) -> None:
        """Notes unused columns, but for those that are known to be of no use."""
        for column in columns:
            if column not in known and len(self.unused) <= _MOST_NAMES:
                self.unused[column] = None

    def notes(self) -> tuple[str, ...]:
        """The note about the list for the user, once it was read."""
        named = [
            name if name.isidentifier() else shown(name) if name else "those without a name" for name in self.unused
        ]
        if len(named) > _MOST_NAMES:
            named[_MOST_NAMES:] = ["more"]
        unused = f"unused columns: {', '.join(named)}" if named else ""
        said = f"read as {self.dialect}" if self.dialect else ""
        line = "; ".join(filter(None, (said, unused)))
        return (*([f"{self.uri}: {line}"] if line else ()), *(f"{self.uri}: {remark}" for remark in self.remarks))


class Numbering(ClassLabels):
    """Classes of a list without a table: by their names, numbered when all are known.

    Until then they have the numbers of their first appearance. Where all names are whole numbers, these are the
    indices.

    Args:
      before: the names that an output has numbered already, which keep their numbers; new ones follow.
    """

    def __init__(self, before: Mapping[int, str]) -> None:
        super().__init__("")
        self._before = before
        self._seen: dict[str, int] = {}
        self._given: dict[str, int] = {}

    def index(self, label: Label) -> int | None:
        name = str(label)
        try:
            name.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:  # cut in the middle of a character
            return None
        return self._seen.setdefault(name, len(self._seen)) if name else None

    def give(self, name: str, index: int) -> None:
        """The list itself numbers a class. Raises RowError where it did so otherwise before."""
        if self._given.setdefault(name, index) != index:
            remedy = "Give each class one number"
            raise RowError(f"{name} is class {index} here, and {self._given[name]} further up", remedy)

    def settled(self) -> tuple[dict[int, int], dict[int, str]]:
        """The numbers by which classes went until now -> their own; and the classes' names, none where these are the
        numbers themselves.

        Raises:
          SourceError: the list numbers its classes, and the output has another name for one of the numbers.
        """
        indices = {name: as_index(name) for name in self._seen}
        if all(index is not None for index in indices.values()):
            return {self._seen[name]: index for name, index in indices.items() if index is not None}, {}
        if self._seen.keys() <= self._given.keys() and len({*self._given.values()}) == len(self._given):
            numbers = self._given
            for name, index in numbers.items():
                if self._before.get(index, name) != name:
                    raise SourceError(
                        f"the list has {name} for class {index}, which is {self._before[index]} in --output",
                        "Choose another --output, or give a table with --class_labels",
                    )
            names = {**self._before, **{index: name for name, index in numbers.items()}}
        else:
            numbers = numbers_of(self._seen, self._before)
            names = {index: name for name, index in numbers.items()}
        return {self._seen[name]: numbers[name] for name in self._seen}, names
