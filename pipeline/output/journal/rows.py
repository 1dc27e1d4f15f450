"""Row files: what has become of clips and is not yet in a shard, so that nothing that is finished is lost.

While a job runs, its workers leave what they have finished in `_state/rows/`, a file every few seconds: embeddings,
endings of segments, failures. Whatever ends the job, the next run embeds only what is in no file. Once all of a corpus
is there, shards are made from these files, and the commit removes them.

A file's name is the job's fingerprint and a hash of the file's content, so a bundle that is tried again writes the same
file, and foreign ones are never read. The first line is a JSON object: who made the file, and where each shard's clips
are. Then follow the clips, by shard and key: a JSON line each, and its embeddings as bytes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np

from pipeline import storage
from pipeline.corpus import plan
from pipeline.output.layout import STATE, files_in, join
from pipeline.types import Clip, ClipKey, Embedding, Failure, Outcome, RowsRef, SegmentEnd

ROWS = f"{STATE}/rows"
FORMAT_VERSION = 1
NAME = re.compile(r"([0-9a-f]{12})-[0-9a-f]{20}\.rows")
MAX_LINE_BYTES = 1 << 24


class DamagedRowsError(ValueError):
    """A row file, or a part of one, is not what was written."""


@dataclass(frozen=True)
class RowFile:
    """A row file's first line.

    Attributes:
      name: of the file.
      fingerprint: of the job.
      made_with: versions, processor and engine, as the manifest names them.
      parts: the shards' parts of the file.
    """

    name: str
    fingerprint: str
    made_with: dict[str, Any]
    parts: tuple[RowsRef, ...]


@dataclass
class ClipRows:
    """What a row file holds of a clip: some or all pieces of its outcome."""

    clip: Clip
    embeddings: list[Embedding] = field(default_factory=list)
    endings: list[SegmentEnd] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Adds a piece."""
        if isinstance(outcome, Embedding):
            self.embeddings.append(outcome)
        elif isinstance(outcome, SegmentEnd):
            self.endings.append(outcome)
        else:
            self.failures.append(outcome)

    def outcomes(self) -> Iterator[Outcome]:
        """All pieces."""
        yield from self.embeddings
        yield from self.endings
        yield from self.failures


def gathered(outcomes: Iterable[Outcome]) -> list[ClipRows]:
    """Pieces in any order -> the clips that they are of, in the order of their first pieces."""
    clips: dict[ClipKey, ClipRows] = {}
    for outcome in outcomes:
        key = outcome.clip.key
        if key not in clips:
            clips[key] = ClipRows(outcome.clip)
        clips[key].add(outcome)
    return list(clips.values())


def write(
    directory: str, fingerprint: str, num_shards: int, clips: Iterable[ClipRows], made_with: dict[str, Any]
) -> tuple[RowsRef, ...]:
    """Writes clips to a new row file of an output, whole or not at all -> its parts.

    Raises:
      OSError: storage fails.
    """
    by_shard: dict[int, list[ClipRows]] = defaultdict(list)
    for clip in clips:
        by_shard[plan.shard_of(clip.clip.id, num_shards)].append(clip)
    parts, content, offset = [], [], 0
    for shard, found in sorted(by_shard.items()):
        data = b"".join(map(_encode, sorted(found, key=lambda rows: rows.clip.key)))
        parts.append((shard, offset, len(data), hashlib.sha256(data).hexdigest()))
        content.append(data)
        offset += len(data)
    head = {"format": FORMAT_VERSION, "fingerprint": fingerprint, "made_with": made_with, "parts": parts}
    line = json.dumps(head).encode() + b"\n"
    name = _name(fingerprint, line)
    storage.write_atomic(join(directory, f"{ROWS}/{name}"), b"".join([line, *content]))
    return _parts(name, parts, len(line))


def names(directory: str) -> list[str]:
    """Names of everything in an output's folder of row files, drafts of killed writers among them."""
    return list(files_in(join(directory, ROWS)))


def read_head(directory: str, name: str) -> RowFile:
    """A row file's first line.

    Raises:
      DamagedRowsError: there is none.
    """
    with storage.open_read(join(directory, f"{ROWS}/{name}")) as file:
        line = file.readline(MAX_LINE_BYTES)
    try:
        head = json.loads(line)
        if head["format"] != FORMAT_VERSION:
            raise DamagedRowsError(f"{name} has format {head['format']}, not {FORMAT_VERSION}")
        if _name(head["fingerprint"], line) != name:
            raise DamagedRowsError(f"{name} has changed since it was written")
        return RowFile(name, head["fingerprint"], head["made_with"], _parts(name, head["parts"], len(line)))
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedRowsError(f"{name} is not a row file: {error!r}") from None


def read(directory: str, part: RowsRef) -> Iterator[ClipRows]:
    """A shard's part of a row file -> its clips by key, one after another.

    Raises:
      DamagedRowsError: it is not what was written, known for sure after the last clip.
    """
    with storage.open_read(join(directory, f"{ROWS}/{part.name}")) as file:
        file.seek(part.offset_bytes)
        source = _Hashed(file, part.size_bytes)
        while source.left:
            yield _decode(source, part.name)
    if source.sha256.hexdigest() != part.sha256:
        raise DamagedRowsError(f"{part.name} has changed since it was written")


class _Hashed:
    """So many bytes of a file, hashed while they are read."""

    def __init__(self, file: BinaryIO, size_bytes: int) -> None:
        self._file = file
        self.left = size_bytes
        self.sha256 = hashlib.sha256()

    def line(self) -> bytes:
        return self._seen(self._file.readline(min(self.left, MAX_LINE_BYTES)))

    def read(self, size_bytes: int) -> bytes:
        data = self._file.read(size_bytes)
        if len(data) < size_bytes:
            self.left = 0
        return self._seen(data)

    def _seen(self, data: bytes) -> bytes:
        self.left = max(0, self.left - len(data)) if data else 0
        self.sha256.update(data)
        return data


def _name(fingerprint: str, line: bytes) -> str:
    """A file's first line, which holds hashes of all the others -> the file's name."""
    return f"{fingerprint[:12]}-{hashlib.sha256(line).hexdigest()[:20]}.rows"


def _parts(name: str, parts: Iterable[Any], start: int) -> tuple[RowsRef, ...]:
    return tuple(RowsRef(int(shard), name, start + offset, size, sha256) for shard, offset, size, sha256 in parts)


_ENDING = ("segment", "segments", "examples", "audio_s", "sample_rate_hz", "channels", "format")
_ENDING_RARE = ("silent", "damaged", "first_example")


def _encode(rows: ClipRows) -> bytes:
    """A clip's pieces -> its line, and its embeddings."""
    clip = rows.clip
    pieces = sorted(rows.embeddings, key=lambda piece: (piece.segment, piece.first_example))
    data = b"".join(np.ascontiguousarray(piece.values).tobytes() for piece in pieces)
    head: dict[str, Any] = {
        "clip": [clip.id, clip.uri, clip.start_s, clip.end_s, clip.labels, clip.cut, clip.size_bytes, clip.version]
    }
    if pieces:
        head["rows"] = [(piece.segment, piece.first_example, len(piece.values)) for piece in pieces]
        head["dtype"], head["width"] = pieces[0].values.dtype.str, pieces[0].values.shape[1]
    if rows.endings:
        endings = sorted(rows.endings, key=lambda ending: (ending.segments, ending.segment))
        head["endings"] = [[getattr(end, name) for name in (*_ENDING, *_ENDING_RARE)] for end in endings]
    if rows.failures:
        failures = sorted((end.stage, end.reason, end.message, end.skipped) for end in rows.failures)
        head["failures"] = failures
    return json.dumps(head, separators=(",", ":")).encode() + b"\n" + data


def _decode(source: _Hashed, name: str) -> ClipRows:
    """The inverse of `_encode`."""
    try:
        head = json.loads(source.line())
        identity, uri, start_s, end_s, labels, cut, size_bytes, version = head["clip"]
        clip = Clip(identity, uri, start_s, end_s, tuple(labels), cut, size_bytes, version)
        rows = ClipRows(clip)
        if pieces := head.get("rows"):
            dtype, width = np.dtype(head["dtype"]), int(head["width"])
            count = sum(count for _, _, count in pieces)
            data = source.read(count * width * dtype.itemsize)
            values, at = np.frombuffer(data, dtype).reshape(count, width), 0
            for segment, first, count in pieces:
                rows.embeddings.append(Embedding(clip, segment, first, values[at : at + count]))
                at += count
        fields = (*_ENDING, *_ENDING_RARE)
        rows.endings = [SegmentEnd(clip, **dict(zip(fields, end, strict=True))) for end in head.get("endings", ())]
        rows.failures = [Failure(clip, *failure) for failure in head.get("failures", ())]
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedRowsError(f"{name} is damaged: {error!r}") from None
    return rows
