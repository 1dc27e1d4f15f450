"""A run's plan as files: units of work, failures found while planning, clips to drop, what there is of the shards.

A graph that held a corpus' list would be as large as the list, and engines bound the size of a graph (Dataflow: 10 MB).
So the list lies in the output's state, in parts, and the graph holds the parts' names. Of a unit only its place in the
plan travels.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from pipeline import storage
from pipeline.types import (
    Clip,
    DecodeRequest,
    Failure,
    Removal,
    RowsRef,
    Segment,
    ShardEntry,
    StagedShard,
    Unit,
    UnitRef,
)

LINES_OF_A_PART = 10_000
BYTES_OF_A_PART = 64_000_000

Written = Unit | Failure | Removal | RowsRef | ShardEntry
"""An item of a plan's file as it is written."""
Item = UnitRef | Failure | Removal | RowsRef | ShardEntry
"""The same as it is read: `UnitRef`s stand for units."""
Line = Written | UnitRef | DecodeRequest | StagedShard
"""What can be a line: of a plan's file, and of what travels between workers (`pipeline.running.coders`)."""


def write(directory: str, items: Iterable[Written], lines: int = LINES_OF_A_PART, name: str = "part") -> list[str]:
    """Items -> the URIs of JSON-lines files that hold them, up to `lines` a file, called NAME-00000.jsonl and so on."""
    storage.mkdirs(directory)
    iterator = iter(items)
    parts: list[str] = []
    while part := _part(iterator, lines):
        uri = storage.join(directory, f"{name}-{len(parts):05d}.jsonl")
        storage.write_atomic(uri, part)
        parts.append(uri)
    return parts


def _part(items: Iterator[Written], lines: int) -> bytes:
    found, size = [], 0
    for item in islice(items, lines):
        found.append(_encode(item).encode() + b"\n")
        size += len(found[-1])
        if size > BYTES_OF_A_PART:
            break
    return b"".join(found)


def read(uri: str) -> Iterator[Item]:
    """The URI of a part -> its items."""
    with storage.open_read(uri) as file:
        offset = 0
        for line in file:
            if line.startswith(_UNIT):
                yield UnitRef(uri, offset, len(line), line.startswith(_ASKING))
            else:
                item = _decode(json.loads(line))
                assert not isinstance(item, Unit)
                yield item
            offset += len(line)


def load(ref: UnitRef) -> Unit:
    """A reference -> the unit."""
    with storage.open_read(ref.part) as file:
        file.seek(ref.offset_bytes)
        unit = _decode(json.loads(file.read(ref.size_bytes)))
    assert isinstance(unit, Unit)
    return unit


def to_line(item: Line) -> bytes:
    """An item -> JSON without a line's end.

    Raises:
      TypeError: it is none.
    """
    if not isinstance(item, Line):
        raise TypeError(f"{type(item).__name__} is nothing that travels between workers")
    return _encode(item).encode()


def from_line(line: bytes) -> Any:
    """The inverse of `to_line`."""
    return _decode(json.loads(line))


_UNIT = b'{"kind": "Unit"'
_ASKING = b'{"kind": "Unit", "asks": true'
_KINDS = {kind.__name__: kind for kind in (RowsRef, ShardEntry, UnitRef)}


def _encode(item: Line) -> str:
    kind = type(item).__name__
    if isinstance(item, Unit):
        return json.dumps({"kind": kind, "asks": item.asks, "requests": list(map(_request_fields, item.requests))})
    if isinstance(item, DecodeRequest):
        return json.dumps({"kind": kind, "request": _request_fields(item)})
    if isinstance(item, StagedShard):
        return json.dumps({"kind": kind, **vars(item), "entry": vars(item.entry)})
    if isinstance(item, Failure | Removal):
        others = {name: getattr(item, name) for name in item.__dataclass_fields__ if name != "clip"}
        return json.dumps({"kind": kind, **others, "clip": clip_fields(item.clip)})
    return json.dumps({"kind": kind, **vars(item)})


def _decode(fields: dict[str, Any]) -> Any:
    kind = fields.pop("kind")
    if kind == "Unit":
        return Unit(tuple(_request(*each) for each in fields["requests"]), fields["asks"])
    if kind == "DecodeRequest":
        return _request(*fields["request"])
    if kind == "StagedShard":
        return StagedShard(**{**fields, "entry": ShardEntry(**fields["entry"])})
    if kind in _KINDS:
        return _KINDS[kind](**fields)
    return (Failure if kind == "Failure" else Removal)(**{**fields, "clip": clip_of(fields["clip"])})


def _request(uri: str, segments: list[list[Any]]) -> DecodeRequest:
    return DecodeRequest(uri, tuple(segment_of(uri, *fields) for fields in segments))


def _request_fields(request: DecodeRequest) -> list[Any]:
    return [request.uri, [segment_fields(segment, request.uri) for segment in request.segments]]


def segment_fields(segment: Segment, uri: str) -> list[Any]:
    """A segment of a request of some file as a list, for JSON."""
    clip = clip_fields(segment.clip)
    if clip[1] == uri:  # said once, 64 clips fit into an element
        clip[1] = None
    return [
        clip,
        segment.index,
        segment.count,
        segment.first_example,
        segment.examples,
        segment.held,
        segment.ended,
        segment.last,
    ]


def segment_of(
    uri: str,
    clip: list[Any],
    index: int,
    count: int,
    first: int,
    examples: int | None,
    held: list[list[int]],
    ended: list[list[int]],
    last: bool = True,
) -> Segment:
    """The inverse of `segment_fields`."""
    if clip[1] is None:
        clip[1] = uri
    spans, ends = (tuple((start, stop) for start, stop in pairs) for pairs in (held, ended))
    return Segment(clip_of(clip), index, count, first, examples, spans, ends, last)


def clip_fields(clip: Clip) -> list[Any]:
    """A clip as a list, for JSON."""
    fields = [
        clip.id, clip.uri, clip.start_s, clip.end_s, clip.labels, clip.cut, clip.size_bytes, clip.version, clip.listed
    ]  # fmt: skip
    if clip.rated:
        return [*fields, clip.place, clip.rated]
    return [*fields, clip.place] if clip.place else fields


def clip_of(fields: Sequence[Any]) -> Clip:
    """The inverse of `clip_fields`."""
    identity, uri, start_s, end_s, labels, cut, size_bytes, version, *others = (
        fields  # `listed`, which rows of earlier versions lack, `place` and `rated`
    )
    clip = Clip(identity, uri, start_s, end_s, tuple(labels), cut, size_bytes, version, *others[:2])
    return replace(clip, rated=tuple(map(tuple, others[2]))) if len(others) > 2 else clip
