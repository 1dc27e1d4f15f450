"""Embeddings of long clips that are not yet done, kept in the output's state: a killed run does not lose them.

A clip is committed whole, so a recording of many hours would be lost whole. While it is embedded, every
`ROWS_OF_A_PART` finished rows of it are written to a file; the next run decodes the recording again, which costs a part
of what the network does, and passes over the examples whose rows it finds. So it works for every format, whether it can
be split or not, and whatever the segments are: rows are known by their position in the clip, and a row depends on
nothing but its example. Files are named by the settings' fingerprint and by what makes the clip's file the same file:
of others none is used.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from pipeline import storage
from pipeline.output.layout import STATE, explained, files_in, join
from pipeline.types import Clip, ClipKey, Embedding, ExampleBlock

PARTIAL = f"{STATE}/partial"
ROWS_OF_A_PART = 2048
"""Half an hour of audio, some ten seconds of the network on two cores; clips of fewer rows never come here."""
ROWS_OF_AN_EMBEDDING = 64
"""At most, in one element: 32 KB as floats."""
_NAME = re.compile(r"([0-9a-f]{12})-([0-9a-f]{20})-[0-9a-f]{8}\.part")


@dataclass(frozen=True)
class Place:
    """Where parts are kept.

    Attributes:
      directory: the output.
      fingerprint: of the job.
    """

    directory: str
    fingerprint: str

    @property
    def folder(self) -> str:
        return join(self.directory, PARTIAL)

    def prefix(self, clip: Clip) -> str:
        """The prefix of the names of a clip's parts: its key, and its file's size and version."""
        identity = json.dumps([clip.key, clip.cut, clip.size_bytes, clip.version]).encode()
        return f"{self.fingerprint[:12]}-{hashlib.sha256(identity).hexdigest()[:20]}-"


class Parts:
    """The finished rows of long clips that a worker finds and leaves; one per bundle.

    Args:
      place: where.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._known: dict[ClipKey, tuple[np.ndarray, np.ndarray] | None] = {}
        self._pending: dict[ClipKey, list[Embedding]] = defaultdict(list)
        with explained(place.directory, "looking for parts of long clips"):
            self._names = list(files_in(place.folder, place.fingerprint[:12]))

    def take(self, block: ExampleBlock) -> tuple[list[Embedding], list[ExampleBlock]]:
        """A block -> the embeddings that are there of it, and what has to be embedded."""
        clip = block.segment.clip
        if not self._names or (known := self._rows(clip)) is None:
            return [], [block]
        values, filled = known
        there = np.zeros(len(block.examples), bool)
        some = filled[block.first_example : block.first_example + len(there)]
        there[: len(some)] = some
        found, missing = [], []
        for start, stop in _runs(there):
            first = block.first_example + start
            if there[start]:
                for begin in range(first, block.first_example + stop, ROWS_OF_AN_EMBEDDING):
                    end = min(begin + ROWS_OF_AN_EMBEDDING, block.first_example + stop)
                    found.append(Embedding(clip, block.segment.index, begin, values[begin:end].copy()))
            else:
                missing.append(replace(block, first_example=first, examples=block.examples[start:stop]))
        return found, missing

    def add(self, embedding: Embedding) -> None:
        """Embeddings that the network gave: written, once there are enough of a clip."""
        pending = self._pending[embedding.clip.key]
        pending.append(embedding)
        if sum(len(item.values) for item in pending) >= ROWS_OF_A_PART:
            uri = join(self._place.folder, f"{self._place.prefix(embedding.clip)}{uuid.uuid4().hex[:8]}.part")
            with explained(self._place.directory, "keeping a part of a long clip"):
                storage.mkdirs(self._place.folder)
                storage.write_atomic(uri, _encode(pending))
            pending.clear()

    def _rows(self, clip: Clip) -> tuple[np.ndarray, np.ndarray] | None:
        """All rows that are there of a clip: values [n, 128], and which of them are filled."""
        if clip.key not in self._known:
            prefix = self._place.prefix(clip)
            names = [name for name in self._names if name.startswith(prefix) and _NAME.fullmatch(name)]
            with explained(self._place.directory, "reading parts of a long clip"):
                parts = [part for name in names for part in _read(join(self._place.folder, name))]
            self._known.clear()  # a bundle takes one clip after another
            self._known[clip.key] = _filled(parts) if parts else None
        return self._known[clip.key]


def keep_only(place: Place, clips: Iterable[Clip]) -> None:
    """Removes parts of other settings, of files that changed, of clips that are done; those of these clips stay."""
    with explained(place.directory, "removing parts of clips"):
        if names := files_in(place.folder):
            prefixes = {place.prefix(clip) for clip in clips}
            for name in names:
                if not (_NAME.fullmatch(name) and name[:34] in prefixes):
                    storage.delete(join(place.folder, name))


def remove(place: Place, clips: Iterable[Clip]) -> None:
    """Removes parts of clips that were committed."""
    with explained(place.directory, "removing parts of clips"):
        if names := files_in(place.folder):
            prefixes = {place.prefix(clip) for clip in clips}
            for name in names:
                if name[:34] in prefixes:
                    storage.delete(join(place.folder, name))


def _encode(pending: list[Embedding]) -> bytes:
    """Embeddings -> a line that says what follows and its sha256, then their values."""
    data = b"".join(np.ascontiguousarray(item.values).tobytes() for item in pending)
    first = pending[0].values
    head = {
        "sha256": hashlib.sha256(data).hexdigest(),
        "dtype": first.dtype.str,
        "width": first.shape[1],
        "runs": [[item.first_example, len(item.values)] for item in pending],
    }
    return json.dumps(head).encode() + b"\n" + data


def _read(uri: str) -> list[tuple[int, np.ndarray]]:
    """A part's file -> runs of rows with the position of the first; nothing where it is damaged: it is done again."""
    with storage.open_read(uri) as file:
        head_line, _, data = file.read().partition(b"\n")
    with suppress(ValueError, KeyError, TypeError):
        head = json.loads(head_line)
        if hashlib.sha256(data).hexdigest() == head["sha256"]:
            values = np.frombuffer(data, np.dtype(head["dtype"])).reshape(-1, head["width"])
            ends = np.cumsum([count for _, count in head["runs"]])
            return [(first, values[end - count : end]) for (first, count), end in zip(head["runs"], ends, strict=True)]
    storage.delete(uri)
    return []


def _filled(parts: list[tuple[int, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    total = max(first + len(rows) for first, rows in parts)
    values = np.zeros((total, parts[0][1].shape[1]), parts[0][1].dtype)
    filled = np.zeros(total, bool)
    for first, rows in parts:
        values[first : first + len(rows)] = rows
        filled[first : first + len(rows)] = True
    return values, filled


def _runs(flags: np.ndarray) -> Iterator[tuple[int, int]]:
    """Flags -> [start, stop) of each run of equal ones."""
    bounds = [0, *(np.flatnonzero(flags[1:] != flags[:-1]) + 1).tolist(), len(flags)]
    yield from pairwise(bounds)
