"""A run's plan as files: requests, failures found while planning, clips to drop.

A graph that held a corpus' list would be as large as the list, and engines bound the size of a graph (Dataflow: 10 MB).
So the list lies in the output's state, in parts, and the graph holds the parts' names.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from itertools import islice
from typing import Any

from pipeline import storage
from pipeline.types import Clip, DecodeRequest, DecodeRequestRef, Failure, Removal, Segment

LINES_OF_A_PART = 10_000
REFERRED_BYTES = 50_000
"""A request of a longer line travels as a reference: elements stay below 64 KB."""

Item = DecodeRequest | DecodeRequestRef | Failure | Removal
"""An item of a plan's file; `DecodeRequestRef`s stand for long requests."""


def write(
    directory: str, items: Iterable[DecodeRequest | Failure | Removal], lines: int = LINES_OF_A_PART, name: str = "part"
) -> list[str]:
    """Items -> the URIs of JSON-lines files that hold them, up to `lines` a file, called NAME-00000.jsonl and so on."""
    storage.mkdirs(directory)
    iterator = iter(items)
    parts: list[str] = []
    while part := list(islice(iterator, lines)):
        uri = storage.join(directory, f"{name}-{len(parts):05d}.jsonl")
        storage.write_atomic(uri, "".join(f"{_encode(item)}\n" for item in part).encode())
        parts.append(uri)
    return parts


def read(uri: str) -> Iterator[Item]:
    """The URI of a part -> its items."""
    with storage.open_read(uri) as file:
        lines = file.read().splitlines(keepends=True)
    offset = 0
    for line in lines:
        if len(line) > REFERRED_BYTES and line.startswith(_REQUEST):
            yield DecodeRequestRef(uri, offset, len(line))
        else:
            yield _decode(json.loads(line))
        offset += len(line)


def load(ref: DecodeRequestRef) -> DecodeRequest:
    """A reference -> the request."""
    with storage.open_read(ref.part) as file:
        file.seek(ref.offset_bytes)
        request = _decode(json.loads(file.read(ref.size_bytes)))
    assert isinstance(request, DecodeRequest)
    return request


_REQUEST = b'{"kind": "DecodeRequest"'


def _encode(item: DecodeRequest | Failure | Removal) -> str:
    return json.dumps({"kind": type(item).__name__, **asdict(item)})


def _decode(fields: dict[str, Any]) -> DecodeRequest | Failure | Removal:
    kind = fields.pop("kind")
    if kind == "DecodeRequest":
        return DecodeRequest(fields["uri"], tuple(_segments(fields["segments"], fields["uri"])))
    return (Failure if kind == "Failure" else Removal)(**{**fields, "clip": _clip(fields["clip"])})


def _segments(fields: Sequence[dict[str, Any]], uri: str) -> Iterator[Segment]:
    for segment in fields:
        clip = _clip(segment["clip"])
        # The same string, not just an equal one, is pickled once: 64 clips of a long name fit into an element.
        yield Segment(**{**segment, "clip": replace(clip, uri=uri) if clip.uri == uri else clip})


def _clip(fields: dict[str, Any]) -> Clip:
    return Clip(**{**fields, "labels": tuple(fields["labels"])})
