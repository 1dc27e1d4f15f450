"""A run's plan as files: units of work, failures found while planning, clips to drop, what there is of the shards.

A graph that held a corpus' list would be as large as the list, and engines bound the size of a graph (Dataflow: 10 MB).
So the list lies in the output's state, in parts, and the graph holds the parts' names. Of a unit only its place in the
plan travels.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from itertools import islice
from typing import Any

from pipeline import storage
from pipeline.types import Clip, DecodeRequest, Failure, Removal, RowsRef, Segment, ShardEntry, Unit, UnitRef

LINES_OF_A_PART = 10_000
BYTES_OF_A_PART = 64_000_000

Written = Unit | Failure | Removal | RowsRef | ShardEntry
"""An item of a plan's file as it is written."""
Item = UnitRef | Failure | Removal | RowsRef | ShardEntry
"""The same as it is read: `UnitRef`s stand for units."""


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


_UNIT = b'{"kind": "Unit"'
_ASKING = b'{"kind": "Unit", "asks": true'
_KINDS = {kind.__name__: kind for kind in (RowsRef, ShardEntry)}


def _encode(item: Written) -> str:
    kind = type(item).__name__
    if isinstance(item, Unit):
        return json.dumps({"kind": kind, "asks": item.asks, "requests": [asdict(each) for each in item.requests]})
    return json.dumps({"kind": kind, **asdict(item)})


def _decode(fields: dict[str, Any]) -> Written:
    kind = fields.pop("kind")
    if kind == "Unit":
        requests = (DecodeRequest(each["uri"], tuple(_segments(each))) for each in fields["requests"])
        return Unit(tuple(requests), fields["asks"])
    if kind in _KINDS:
        return _KINDS[kind](**fields)
    return (Failure if kind == "Failure" else Removal)(**{**fields, "clip": _clip(fields["clip"])})


def _segments(request: dict[str, Any]) -> Iterator[Segment]:
    uri = request["uri"]
    for segment in request["segments"]:
        clip = _clip(segment["clip"])
        there = {name: tuple(map(tuple, segment[name])) for name in ("held", "ended")}
        # The same string, not just an equal one, is pickled once: 64 clips of a long name fit into an element.
        yield Segment(**{**segment, **there, "clip": replace(clip, uri=uri) if clip.uri == uri else clip})


def _clip(fields: dict[str, Any]) -> Clip:
    return Clip(**{**fields, "labels": tuple(fields["labels"])})
