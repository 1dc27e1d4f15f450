"""Row files: what has become of clips and is not yet in a shard, so that nothing that is finished is lost.

While a job runs, its workers leave what they have finished in `_state/rows/`, a file every few seconds: embeddings,
endings of segments, failures. Whatever ends the job, the next run embeds only what is in no file. Once all of a corpus
is there, shards are made from these files, and the commit removes them.

A file's name is the job's fingerprint and a hash of the file's content, so foreign files are never read. A bundle that
is tried again writes the same rows, in other files. The first line is a JSON object: who made the file, and where each
shard's clips are. Then follow the clips, by shard and key: a JSON line each, and its embeddings as bytes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, BinaryIO

import numpy as np

from pipeline import storage
from pipeline.corpus import plan
from pipeline.corpus.plan_file import clip_fields, clip_of
from pipeline.output.layout import STATE, OutputError, files_in, join
from pipeline.storage.hashed import HashedReader
from pipeline.types import Clip, ClipKey, Embedding, Failure, Outcome, RowsRef, SegmentEnd

ROWS = f"{STATE}/rows"
FORMAT_VERSION = 1
NAME = re.compile(r"([0-9a-f]{12})-[0-9a-f]{20}\.rows")
MAX_LINE_BYTES = 1 << 24
CHANGED = "it has changed since it was written"


class DamagedRowsError(OutputError):
    """A row file, or a part of one, is gone or not what was written: what it held has to be computed again."""


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
            raise _damaged(directory, name, f"its format is {head['format']}, not {FORMAT_VERSION}")
        if _name(head["fingerprint"], line) != name:
            raise _damaged(directory, name, CHANGED)
        return RowFile(name, head["fingerprint"], head["made_with"], _parts(name, head["parts"], len(line)))
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(directory, name, f"it is none: {error!r}") from None


def read(directory: str, *parts: RowsRef) -> Iterator[ClipRows]:
    """Shards' parts of one row file, in its order -> their clips, by shard and key, one after another.

    Raises:
      DamagedRowsError: it is gone, or not what was written, known for sure after a part's last clip.
    """
    try:
        with opened(directory, parts) as file:
            for part in parts:
                yield from clips_of(directory, file, part)
    except FileNotFoundError:
        raise _damaged(directory, parts[0].name, "it is gone") from None


def opened(directory: str, parts: Sequence[RowsRef]) -> BinaryIO:
    """Parts of one row file, in their order -> the file for reading them: a request for all of them, up to 8 MB."""
    first, last = parts[0], parts[-1]
    uri = join(directory, f"{ROWS}/{first.name}")
    return storage.open_read(uri, first.offset_bytes, last.offset_bytes + last.size_bytes)


def clips_of(directory: str, file: BinaryIO, part: RowsRef) -> Iterator[ClipRows]:
    """As `read`, of one part of a file that is open."""
    file.seek(part.offset_bytes)
    source = HashedReader(file)
    try:
        while source.size < part.size_bytes:
            yield _decode(source, part)
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(directory, part.name, f"it is damaged: {error!r}") from None
    if source.sha256.hexdigest() != part.sha256:
        raise _damaged(directory, part.name, CHANGED)


def _damaged(directory: str, name: str, why: str) -> DamagedRowsError:
    found = f"{directory}: the row file {name} cannot be used: {why}"
    return DamagedRowsError(found, "Run the same command again: what it held is computed again.")


def _name(fingerprint: str, line: bytes) -> str:
    """A file's first line, which holds hashes of all the others -> the file's name."""
    return f"{fingerprint[:12]}-{hashlib.sha256(line).hexdigest()[:20]}.rows"


def _parts(name: str, parts: Iterable[Any], start: int) -> tuple[RowsRef, ...]:
    return tuple(RowsRef(int(shard), name, start + offset, size, sha256) for shard, offset, size, sha256 in parts)


_ENDING = tuple(item.name for item in fields(SegmentEnd) if item.compare)[1:]
"""All that is kept but the clip, in their order."""


def _encode(rows: ClipRows) -> bytes:
    """A clip's pieces -> its line, and its embeddings."""
    pieces = sorted(rows.embeddings, key=lambda piece: (piece.segment, piece.first_example))
    data = b"".join(np.ascontiguousarray(piece.values).tobytes() for piece in pieces)
    head: dict[str, Any] = {"clip": clip_fields(rows.clip)}
    if pieces:
        head["rows"] = [(piece.segment, piece.first_example, len(piece.values)) for piece in pieces]
        head["dtype"], head["width"] = pieces[0].values.dtype.str, pieces[0].values.shape[1]
    if rows.endings:
        endings = sorted(rows.endings, key=lambda ending: (ending.segments, ending.segment))
        head["endings"] = [[getattr(end, name) for name in _ENDING] for end in endings]
    if rows.failures:
        failures = sorted((end.stage, end.reason, end.message, end.skipped) for end in rows.failures)
        head["failures"] = failures
    return json.dumps(head, separators=(",", ":")).encode() + b"\n" + data


def _decode(source: HashedReader, part: RowsRef) -> ClipRows:
    """The inverse of `_encode`; ValueError, KeyError or TypeError where it is not one's result."""
    head = json.loads(source.readline(part.size_bytes - source.size))
    clip = clip_of(head["clip"])
    rows = ClipRows(clip)
    if pieces := head.get("rows"):
        dtype, width = np.dtype(head["dtype"]), int(head["width"])
        count = sum(count for _, _, count in pieces)
        data = source.read(min(count * width * dtype.itemsize, part.size_bytes - source.size))
        values, at = np.frombuffer(data, dtype).reshape(count, width), 0
        for segment, first, count in pieces:
            rows.embeddings.append(Embedding(clip, segment, first, values[at : at + count]))
            at += count
    for numbers in head.get("endings", ()):
        rows.endings.append(SegmentEnd(clip, *numbers))
    for failure in head.get("failures", ()):
        rows.failures.append(Failure(clip, *failure))
    return rows
