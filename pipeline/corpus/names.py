"""Names that the audio of a segment list's rows may have."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

from pipeline.corpus.rows import Row
from pipeline.corpus.tables import SourceError
from pipeline.types import Clip

YOUTUBE_ID = re.compile(r"[A-Za-z0-9_-]{11}")
"""An id of YouTube's."""
_PREFIX = "Y"
MOST_SECONDS = 1e9
"""Times beyond are in no file's name."""


def names_of(row: Row, timed: bool, prefix: str = "") -> Iterator[str]:
    """A row of a segment list -> possible names of its audio, without extension, the likeliest first.

    For files that were cut (`timed`) id_start_end and id_start, with times such as 30, 30.0, 30.000 (seconds) or 30000
    (milliseconds); then the id itself. Each with the prefix before it.
    """
    name = f"{prefix}{row.id}"
    if timed and row.start_s is not None and row.end_s is not None:
        if not (abs(row.start_s) < MOST_SECONDS and abs(row.end_s) < MOST_SECONDS):
            return
        for start, end in zip(_spellings(row.start_s), _spellings(row.end_s), strict=True):
            yield f"{name}_{start}_{end}"
            yield f"{name}_{start}"
    yield name


def _spellings(seconds: float) -> tuple[str, ...]:
    return (f"{seconds:g}", f"{seconds:.3f}", str(seconds), str(round(seconds * 1000)))


class Names:
    """Audio files by name."""

    def __init__(self, inputs: Iterable[Clip]) -> None:
        self._wanted: set[str] = set()
        self._files: dict[str, Clip] = {}
        self._others: dict[str, Clip] = {}
        self._normalized: dict[str, Clip] = {}
        for file in inputs:
            name = file.id.rpartition("/")[2]
            if self._files.setdefault(name, file) is not file:
                self._others[name] = file

    def want(self, row: Row, timed: bool) -> None:
        """Notes the files that a row names by itself; for all rows, before any is to `find` one."""
        if row.id.startswith(_PREFIX):
            self._wanted.update(name for name in names_of(row, timed) if name in self._files)

    def find(self, row: Row, timed: bool) -> Clip | None:
        """A row -> its file. SourceError if two have that name."""
        for name in self._names(row, timed):
            if (file := self._files.get(name)) is not None:
                if name in self._others:
                    raise SourceError(
                        f"two files are called as {row.id}: {file.uri} and {self._others[name].uri}",
                        "Give a pattern that matches only one of them",
                    )
                return file
        return None

    def _names(self, row: Row, timed: bool) -> Iterator[str]:
        """Names of a row's audio: some downloaders put a Y before YouTube's ids, so that no name begins with "-".

        Not a file's that another row names by itself.
        """
        yield from names_of(row, timed)
        if YOUTUBE_ID.fullmatch(row.id):
            yield from (name for name in names_of(row, timed, _PREFIX) if name not in self._wanted)

    def look_alike(self, row: Row) -> str:
        """A hint for a row without a file: a file whose name differs only in its Unicode form."""
        if not self._normalized:
            self._normalized = {unicodedata.normalize("NFC", name): file for name, file in self._files.items()}
        file = self._normalized.get(unicodedata.normalize("NFC", row.id))
        return f"; {file.uri} looks alike, but its name is another Unicode form" if file else ""
