"""What earlier runs left in row files: read, and cleared of what is of no use."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, groupby
from typing import Any, BinaryIO

import numpy as np

from pipeline import storage
from pipeline.output.journal import rows
from pipeline.output.journal.rows import ClipRows, DamagedRowsError, RowFile
from pipeline.output.layout import each, explained, join
from pipeline.types import Clip, ClipKey, RowsRef

Range = tuple[int, int]


@dataclass
class HeldClip:
    """What row files hold of a clip.

    Attributes:
      clip: as it was planned then.
      files: names of the files.
      failed: it has failed.
      ranges: [start, stop) of examples whose embeddings are there, in the order of the files.
      endings: (segments, index) -> [start, stop) of the examples of segments that were read to their end.
    """

    clip: Clip
    files: list[str] = field(default_factory=list)
    failed: bool = False
    ranges: list[Range] = field(default_factory=list)
    endings: dict[tuple[int, int], Range] = field(default_factory=dict)

    def add(self, name: str, found: ClipRows) -> None:
        """Adds what one file holds."""
        self.files.append(name)
        self.failed |= bool(found.failures)
        self.ranges += [(piece.first_example, piece.first_example + len(piece.values)) for piece in found.embeddings]
        for end in found.endings:
            self.endings[end.segments, end.segment] = (end.first_example, end.first_example + end.examples)

    def filled(self) -> list[Range]:
        """The ranges, ascending and joined."""
        return joined(self.ranges)

    @property
    def examples(self) -> int:
        """How many embeddings are there."""
        return sum(stop - start for start, stop in self.filled())

    def ended(self) -> list[tuple[int, int]]:
        """(index, count) of segments of which all is there."""
        filled = self.filled()
        return [(index, count) for (count, index), span in sorted(self.endings.items()) if covers(filled, span)]

    def whole(self) -> bool:
        """Whether nothing is left to do."""
        if self.failed:
            return True
        counts: dict[int, int] = defaultdict(int)
        for _, count in self.ended():
            counts[count] += 1
        return any(found == count for count, found in counts.items())


@dataclass(frozen=True)
class Files:
    """The row files of an output.

    Attributes:
      files: first lines of those that were written with its settings.
      foreign: names of the others: of other settings, damaged in their first lines, or drafts of killed writers.
    """

    files: tuple[RowFile, ...] = ()
    foreign: tuple[str, ...] = ()

    @property
    def made_with(self) -> list[dict[str, Any]]:
        """Versions, processors and engines that took part, each once."""
        found: list[dict[str, Any]] = []
        for file in self.files:
            if file.made_with not in found:
                found.append(file.made_with)
        return found

    def parts(self, shards: range) -> list[RowsRef]:
        """What they hold of some shards."""
        return [part for file in self.files for part in file.parts if part.shard in shards]


@dataclass(frozen=True)
class Held:
    """What row files hold of some shards.

    Attributes:
      clips: by key; several where the corpus changed from one run to the next.
      damaged: parts that are not what was written.
    """

    clips: Mapping[ClipKey, Sequence[HeldClip]] = field(default_factory=dict)
    damaged: tuple[RowsRef, ...] = ()

    def succeeded(self) -> set[ClipKey]:
        """Clips of which all embeddings are there."""
        return {key for key, found in self.clips.items() if any(one.whole() and not one.failed for one in found)}


def files_of(directory: str, fingerprint: str) -> Files:
    """Reads the first lines of the row files of an output.

    Raises:
      OutputError: storage fails.
    """

    def read(name: str) -> RowFile | None:
        try:
            return rows.read_head(directory, name)
        except (DamagedRowsError, FileNotFoundError):  # or another task's, which has just been used up
            return None

    with explained(directory, "reading finished rows"):
        names = rows.names(directory)
        ours = [name for name in names if (match := rows.NAME.fullmatch(name)) and match[1] == fingerprint[:12]]
        found = tuple(file for file in each(directory, read, ours) if file is not None)
    known = {file.name for file in found}
    return Files(found, tuple(name for name in names if name not in known))


def look(directory: str, parts: Sequence[RowsRef]) -> Held:
    """Reads parts of row files -> what they hold; values are checked, not kept.

    Parts of a file that come one after another are read in one go.

    Raises:
      OutputError: storage fails.
    """

    def read(of_file: Sequence[RowsRef]) -> list[list[ClipRows] | None]:
        try:
            with rows.opened(directory, of_file) as file:
                return [_undamaged(directory, file, part) for part in of_file]
        except FileNotFoundError:
            return [[] for _ in of_file]

    by_file = [list(of_file) for _, of_file in groupby(parts, key=lambda part: part.name)]
    with explained(directory, "reading finished rows"):
        found = list(chain.from_iterable(each(directory, read, by_file)))
    clips: dict[ClipKey, list[HeldClip]] = {}
    for part, of_part in zip(parts, found, strict=True):
        for clip_rows in of_part or ():
            variants = clips.setdefault(clip_rows.clip.key, [])
            held = next((held for held in variants if held.clip == clip_rows.clip), None)
            if held is None:
                held = HeldClip(clip_rows.clip)
                variants.append(held)
            held.add(part.name, clip_rows)
    return Held(clips, tuple(part for part, of_part in zip(parts, found, strict=True) if of_part is None))


def _undamaged(directory: str, file: BinaryIO, part: RowsRef) -> list[ClipRows] | None:
    """A part's clips, bare; None where it is damaged."""
    try:
        return list(map(_bare, rows.clips_of(directory, file, part)))
    except DamagedRowsError:
        return None


def _bare(found: ClipRows) -> ClipRows:
    """A clip's rows without what takes memory: values of no width."""
    bare = [replace(item, values=np.empty((len(item.values), 0))) for item in found.embeddings]
    return replace(found, embeddings=bare)


def settle(
    directory: str,
    fingerprint: str,
    num_shards: int,
    there: Files,
    stale: Mapping[str, Iterable[Clip]],
    damaged: Collection[RowsRef] = (),
) -> list[RowsRef]:
    """Removes from the row files what is of no use -> parts of what stays. The output has to be locked.

    Args:
      directory, fingerprint, num_shards: of the output.
      there: all that is there.
      stale: names of files -> clips that are not to be used.
      damaged: parts that cannot be.

    Raises:
      DamagedRowsError: a file has been damaged since its rows were counted on.
      OutputError: storage fails.
    """
    broken = {part.name for part in damaged}

    def keep(file: RowFile) -> Iterable[RowsRef]:
        if file.name not in stale and file.name not in broken:
            return file.parts
        good = [part for part in file.parts if part not in damaged]
        unwanted = set(stale.get(file.name, ()))
        found = [clip for clip in rows.read(directory, *good) if clip.clip not in unwanted] if good else ()
        parts = rows.write(directory, fingerprint, num_shards, found, file.made_with) if found else ()
        _remove(directory, [file.name])
        return parts

    with explained(directory, "removing rows of no use"):
        _remove(directory, there.foreign)
        return [part for parts in each(directory, keep, there.files) for part in parts]


def remove_all(directory: str) -> None:
    """Removes every row file of an output: after a commit, or because the output is begun again."""
    _remove(directory, rows.names(directory))


def _remove(directory: str, names: Sequence[str]) -> None:
    each(directory, storage.delete, [join(directory, f"{rows.ROWS}/{name}") for name in names])


def joined(ranges: Iterable[Range]) -> list[Range]:
    """Ranges in any order -> the same places as ascending ranges that do not touch.

    >>> joined([(5, 7), (0, 3), (3, 4)])
    [(0, 4), (5, 7)]
    """
    found: list[Range] = []
    for start, stop in sorted(ranges):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(stop, found[-1][1]))
        else:
            found.append((start, stop))
    return found


def covers(ranges: Sequence[Range], span: Range) -> bool:
    """Whether one of some joined ranges holds all of a span, which may be empty."""
    return span[0] == span[1] or any(start <= span[0] and span[1] <= stop for start, stop in ranges)


def within(ranges: Iterable[Range], start: int, stop: int | None) -> Iterator[Range]:
    """Ranges -> what of them lies in [start, stop).

    >>> list(within([(0, 4), (6, 9)], 2, 7))
    [(2, 4), (6, 7)]
    """
    for begin, end in ranges:
        low, high = max(begin, start), end if stop is None else min(end, stop)
        if low < high:
            yield low, high
