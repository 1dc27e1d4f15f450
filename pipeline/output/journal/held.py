"""What earlier runs left in row files: read, and cleared of what is of no use."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

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
      audio_s: likewise their seconds.
    """

    clip: Clip
    files: list[str] = field(default_factory=list)
    failed: bool = False
    ranges: list[Range] = field(default_factory=list)
    endings: dict[tuple[int, int], Range] = field(default_factory=dict)
    audio_s: dict[tuple[int, int], float] = field(default_factory=dict)

    def add(self, name: str, found: ClipRows) -> None:
        """Adds what one file holds."""
        self.files.append(name)
        self.failed |= bool(found.failures)
        self.ranges += [(piece.first_example, piece.first_example + len(piece.values)) for piece in found.embeddings]
        for end in found.endings:
            self.endings[end.segments, end.segment] = (end.first_example, end.first_example + end.examples)
            self.audio_s[end.segments, end.segment] = end.audio_s

    def filled(self) -> list[Range]:
        """The ranges, ascending and joined."""
        return joined(self.ranges)

    def ended(self) -> list[tuple[int, int]]:
        """(index, count) of segments of which all is there."""
        filled = self.filled()
        whole = [(index, count) for (count, index), span in sorted(self.endings.items()) if covers(filled, span)]
        return whole

    def whole(self) -> bool:
        """Whether nothing is left to do."""
        if self.failed:
            return True
        return self._whole_cut() is not None

    def seconds(self, hop_seconds: float) -> float:
        """Seconds of audio whose embeddings are there; of a clip that is not whole, as many hops."""
        if (cut := self._whole_cut()) is not None:
            return sum(seconds for (count, _), seconds in self.audio_s.items() if count == cut)
        return hop_seconds * sum(stop - start for start, stop in self.filled())

    def _whole_cut(self) -> int | None:
        """Into how many segments the clip was cut when all of them were done; None: they were not."""
        counts: dict[int, int] = defaultdict(int)
        for _, count in self.ended():
            counts[count] += 1
        return next((count for count, found in counts.items() if found == count), None)


@dataclass(frozen=True)
class Held:
    """All that an output's row files hold.

    Attributes:
      files: their first lines, by name.
      clips: by key; several where the corpus changed from one run to the next.
      unusable: names of files that are damaged.
      foreign: names of files of other settings, and of drafts of killed writers.
    """

    files: Mapping[str, RowFile] = field(default_factory=dict)
    clips: Mapping[ClipKey, Sequence[HeldClip]] = field(default_factory=dict)
    unusable: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()

    @property
    def made_with(self) -> list[dict[str, Any]]:
        """Versions, processors and engines that took part."""
        return [file.made_with for file in self.files.values()]

    def succeeded(self) -> set[ClipKey]:
        """Clips of which all embeddings are there."""
        return {key for key, found in self.clips.items() if any(each.whole() and not each.failed for each in found)}


def look(directory: str, fingerprint: str) -> Held:
    """Reads the row files of an output that were written with these settings; others are only named.

    Raises:
      OutputError: storage fails.
    """

    def read(name: str) -> tuple[RowFile, list[tuple[str, ClipRows]]] | None:
        try:
            file = rows.read_head(directory, name)
            # Values are checked, not kept.
            return file, [(name, found) for part in file.parts for found in map(_bare, rows.read(directory, part))]
        except FileNotFoundError:  # another task's, which has just been used up
            return None
        except DamagedRowsError:
            unusable.append(name)
            return None

    unusable: list[str] = []
    with explained(directory, "reading finished rows"):
        names = rows.names(directory)
        ours = [name for name in names if (match := rows.NAME.fullmatch(name)) and match[1] == fingerprint[:12]]
        read_files = [found for found in each(directory, read, ours) if found is not None]
    clips: dict[ClipKey, list[HeldClip]] = {}
    for _, of_file in read_files:
        for name, found in of_file:
            variants = clips.setdefault(found.clip.key, [])
            held = next((held for held in variants if held.clip == found.clip), None)
            if held is None:
                held = HeldClip(found.clip)
                variants.append(held)
            held.add(name, found)
    files = {file.name: file for file, _ in read_files}
    return Held(files, clips, tuple(sorted(unusable)), tuple(name for name in names if name not in ours))


def _bare(found: ClipRows) -> ClipRows:
    """A clip's rows without what takes memory: values of no width."""
    return replace(
        found, embeddings=[replace(item, values=np.empty((len(item.values), 0))) for item in found.embeddings]
    )


def settle(
    directory: str, fingerprint: str, num_shards: int, held: Held, stale: Mapping[str, Collection[Clip]]
) -> list[RowsRef]:
    """Removes from the row files what is of no use -> parts of what stays. The output has to be locked.

    Args:
      directory, fingerprint, num_shards: of the output.
      held: all that is there.
      stale: names of files -> clips that are not to be used.

    Raises:
      OutputError: storage fails.
    """

    def keep(name: str) -> Iterable[RowsRef]:
        file = held.files[name]
        if name not in stale:
            return file.parts
        found = [each for part in file.parts for each in rows.read(directory, part) if each.clip not in stale[name]]
        parts = rows.write(directory, fingerprint, num_shards, found, file.made_with) if found else ()
        _remove(directory, [name])
        return parts

    with explained(directory, "removing rows of no use"):
        _remove(directory, [*held.unusable, *held.foreign])
        return [part for parts in each(directory, keep, sorted(held.files)) for part in parts]


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
