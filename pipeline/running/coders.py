"""The coders of what passes between the steps of our graphs: JSON, and arrays as they lie in memory.

Steps declare one of two types. `Travelling` is what may leave a worker: its coder takes nothing large, and what it
writes has names for its fields, so that another version reads it. `Local` is what passes between fused steps, examples
and embeddings among it; runners encode it only where they copy elements, or where a step was not fused.
`Plain` is what jobs add up over the files of data sets.
"""

from __future__ import annotations

import json
from typing import Any

import apache_beam as beam
import numpy as np

from pipeline.corpus import plan_file
from pipeline.corpus.plan_file import clip_fields, clip_of, segment_fields, segment_of
from pipeline.running import plain
from pipeline.types import Embedding, ExampleBlock, SegmentEnd

_SMALL_BYTES = 300
"""Assumed of what is not an array, when a runner asks how large an element is."""
_ENDING = tuple(name for name in SegmentEnd.__dataclass_fields__ if name != "clip")


class Travelling:
    """The declared type of references and outcomes: `pipeline.corpus.plan_file.Line`."""


class Local:
    """The declared type of anything that passes between fused steps: `Travelling`, examples, embeddings, endings."""


class Plain:
    """The declared type of what `pipeline.running.plain` takes."""


class TravellingCoder(beam.coders.Coder):
    """A line of JSON an element; TypeError for what must not leave a worker."""

    def encode(self, value: plan_file.Line) -> bytes:
        return plan_file.to_line(value)

    def decode(self, encoded: bytes) -> Any:
        return plan_file.from_line(encoded)

    def to_type_hint(self) -> type:
        return Travelling

    def is_deterministic(self) -> bool:
        return True


class LocalCoder(beam.coders.Coder):
    """As `TravellingCoder`, and with a line of JSON before the bytes of an array."""

    def encode(self, value: Any) -> bytes:
        if isinstance(value, ExampleBlock):
            place = [value.segment.clip.uri, segment_fields(value.segment, value.segment.clip.uri)]
            return _with_array({"kind": "ExampleBlock", "segment": place, "first": value.first_example}, value.examples)
        if isinstance(value, Embedding):
            head = {"kind": "Embedding", "clip": clip_fields(value.clip)}
            return _with_array({**head, "segment": value.segment, "first": value.first_example}, value.values)
        if isinstance(value, SegmentEnd):
            fields = {name: getattr(value, name) for name in _ENDING}
            return json.dumps({"kind": "SegmentEnd", "clip": clip_fields(value.clip), "fields": fields}).encode()
        return plan_file.to_line(value)

    def decode(self, encoded: bytes) -> Any:
        line, _, data = encoded.partition(b"\n")
        head = json.loads(line)
        if head["kind"] == "ExampleBlock":
            uri, segment = head["segment"]
            return ExampleBlock(segment_of(uri, *segment), head["first"], _array(head, data))
        if head["kind"] == "Embedding":
            return Embedding(clip_of(head["clip"]), head["segment"], head["first"], _array(head, data))
        if head["kind"] == "SegmentEnd":
            return SegmentEnd(clip_of(head["clip"]), **head["fields"])
        return plan_file.from_line(line)

    def estimate_size(self, value: Any) -> int:
        if isinstance(value, ExampleBlock):
            return _SMALL_BYTES + value.examples.nbytes
        return _SMALL_BYTES + (value.values.nbytes if isinstance(value, Embedding) else 0)

    def to_type_hint(self) -> type:
        return Local

    def is_deterministic(self) -> bool:
        return True


class PlainCoder(beam.coders.Coder):
    """Values by `pipeline.running.plain`."""

    def encode(self, value: Any) -> bytes:
        return plain.dumps(value)

    def decode(self, encoded: bytes) -> Any:
        return plain.loads(encoded)

    def to_type_hint(self) -> type:
        return Plain

    def is_deterministic(self) -> bool:
        return True


def _with_array(head: dict[str, Any], array: np.ndarray) -> bytes:
    head = {**head, "dtype": array.dtype.str, "shape": array.shape}
    return json.dumps(head).encode() + b"\n" + np.ascontiguousarray(array).tobytes()


def _array(head: dict[str, Any], data: bytes) -> np.ndarray:
    return np.frombuffer(data, head["dtype"]).reshape(head["shape"])


beam.coders.registry.register_coder(Travelling, TravellingCoder)
beam.coders.registry.register_coder(Local, LocalCoder)
beam.coders.registry.register_coder(Plain, PlainCoder)
