"""Rated segments of a record of YouTube-8M's frames, as the release of 2019 has them (docs/records.md)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.output.sequence_example import values_of
from pipeline.output.tfrecord import RecordError
from pipeline.types import Rating

KINDS = {
    "segment_start_times": "int64_list",
    "segment_end_times": "int64_list",
    "segment_labels": "int64_list",
    "segment_scores": "float_list",
}
"""Features of the context, in the order of a `Rating`'s values: of equal length, an entry for each rating."""


def add(context: Any, rated: Sequence[Rating]) -> None:
    """Writes the segments into a record's context; nothing if there are none."""
    if not rated:
        return
    for (key, kind), values in zip(KINDS.items(), zip(*rated, strict=True), strict=True):
        getattr(context[key], kind).value.extend(values)


def of(context: Any, strict: bool) -> tuple[Rating, ...]:
    """The segments of a record. Where they are not as the release has them: none, or if `strict` RecordError."""
    if not any(key in context for key in KINDS):
        return ()
    try:
        found = [tuple(values_of(context, key, kind)) for key, kind in KINDS.items()]
        if len({len(values) for values in found}) > 1:
            raise RecordError(f"the lists of segments have {', '.join(str(len(values)) for values in found)} values")
    except RecordError:
        if strict:
            raise
        return ()
    return tuple(zip(*found, strict=True))
