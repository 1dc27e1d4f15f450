"""The clips of a set as arrays: ids, times, labels, frames; what is found by id, beginning of id, and label."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from pipeline.output.loading.dataset import Level
from pipeline.output.records import Record


@dataclass(frozen=True, eq=False)
class Table:
    """The clips of a set, in the records' order.

    Attributes:
      ids: bytes of all ids, one after another, uint8.
      id_ends: where each id ends in them, int64 [clips].
      times: start and end in seconds, float64 [clips, 2]; NaN where the records have none.
      labels: class indices of all clips, one after another, int64.
      label_ends: where each clip's labels end in them, int64 [clips].
      frame_ends: the number of frames up to each clip's end, int64 [clips].
    """

    ids: np.ndarray
    id_ends: np.ndarray
    times: np.ndarray
    labels: np.ndarray
    label_ends: np.ndarray
    frame_ends: np.ndarray

    def __len__(self) -> int:
        return len(self.id_ends)

    def id_of(self, clip: int) -> str:
        """A clip's number -> its id."""
        return self.ids[_begin(self.id_ends, clip) : self.id_ends[clip]].tobytes().decode("utf-8", "surrogateescape")

    def labels_of(self, clip: int) -> tuple[int, ...]:
        """A clip's number -> its class indices."""
        return tuple(self.labels[_begin(self.label_ends, clip) : self.label_ends[clip]].tolist())

    def start_of(self, clip: int) -> float:
        """A clip's number -> where it starts, in seconds; 0 where the records have no times."""
        return float(np.nan_to_num(self.times[clip, 0]))

    def frames_of(self, clip: int) -> range:
        """A clip's number -> its frames' numbers."""
        return range(_begin(self.frame_ends, clip), int(self.frame_ends[clip]))

    def clips_of(self, frames: np.ndarray) -> np.ndarray:
        """Frames' numbers [k] -> the numbers of their clips [k]."""
        return np.searchsorted(self.frame_ends, frames, side="right")

    def clip_ends(self, level: Level) -> np.ndarray:
        """A level -> for each of its vectors, in their order, the number of vectors up to its clip's end, int64 [n]."""
        if level == "clip":
            return np.arange(1, len(self) + 1)
        return np.repeat(self.frame_ends, np.diff(self.frame_ends, prepend=0))

    def find(self, clip_id: str) -> np.ndarray:
        """An id -> the numbers of the clips that have it."""
        found = self.beginning(clip_id)
        return found[self._lengths()[found] == len(_bytes(clip_id))]

    def beginning(self, prefix: str) -> np.ndarray:
        """The beginning of an id -> the numbers of the clips whose ids begin with it, ascending."""
        lengths = self._lengths()
        key = _bytes(prefix)
        found = np.flatnonzero(lengths >= len(key))
        begins = (self.id_ends - lengths)[found]
        for place, byte in enumerate(key):
            kept = self.ids[begins + place] == byte
            found, begins = found[kept], begins[kept]
        return found

    def labelled(self, classes: Iterable[int]) -> np.ndarray:
        """Class indices -> the numbers of the clips that carry one of them, ascending."""
        at = np.flatnonzero(np.isin(self.labels, list(classes)))
        return np.unique(np.searchsorted(self.label_ends, at, side="right"))

    def _lengths(self) -> np.ndarray:
        return np.diff(self.id_ends, prepend=0)

    def save(self, folder: Path) -> None:
        """Writes each array as an .npy file into a folder."""
        for each in fields(self):
            np.save(folder / f"table-{each.name}.npy", getattr(self, each.name))


def load(folder: Path) -> Table:
    """The inverse of `Table.save`."""
    return Table(**{each.name: np.load(folder / f"table-{each.name}.npy") for each in fields(Table)})


class TableWriter:
    """Takes the records of a set one by one, and gives their table."""

    def __init__(self) -> None:
        self._ids = bytearray()
        self._times = array("d")
        self._labels = array("q")
        self._ends = (array("q"), array("q"), array("q"))
        self._frames = 0

    def add(self, record: Record) -> None:
        """Takes the next record."""
        self._ids += _bytes(record.id)
        self._times.extend(np.nan if time is None else time for time in (record.start_s, record.end_s))
        self._labels.extend(record.labels)
        self._frames += len(record.values)
        for ends, end in zip(self._ends, (len(self._ids), len(self._labels), self._frames), strict=True):
            ends.append(end)

    def table(self) -> Table:
        """The table of all that was taken."""
        id_ends, label_ends, frame_ends = (np.array(ends, np.int64) for ends in self._ends)
        times = np.array(self._times, np.float64).reshape(-1, 2)
        ids = np.frombuffer(bytes(self._ids), np.uint8)
        return Table(ids, id_ends, times, np.array(self._labels, np.int64), label_ends, frame_ends)


def _begin(ends: np.ndarray, number: int) -> int:
    return int(ends[number - 1]) if number else 0


def _bytes(clip_id: str) -> bytes:
    return clip_id.encode("utf-8", "surrogateescape")
