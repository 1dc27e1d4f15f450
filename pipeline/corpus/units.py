"""Requests -> units of work: what one worker decodes and embeds before it takes the next. Pure, like `plan`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from pipeline.corpus import buckets, plan
from pipeline.types import Clip, ClipKey, DecodeRequest, Segment, Unit

BYTES_OF_A_UNIT = 64_000_000
"""Of audio, by `plan.cost_bytes`: an hour of MP3 at 128 kbit/s or six minutes of 16-bit stereo at 44.1 kHz."""
CLIPS_OF_A_UNIT = 500
UNITS_AT_LEAST = 256
"""Small corpora are cut finer, so that there is something for every worker, and all end at about the same time."""


def units(
    clips: Sequence[Clip],
    num_shards: int,
    segment_seconds: float,
    hop_frames: int,
    partly: Mapping[ClipKey, Segment] | None = None,
) -> Iterator[Unit]:
    """Clips -> units, which depend on nothing but these arguments.

    The clips of a unit lie next to each other in the output, so that what it leaves concerns a shard or two. What asks
    its file first is a unit by itself.

    Args:
      clips: any order.
      num_shards: of the output.
      segment_seconds, hop_frames: as in `plan.requests`.
      partly: by key, clips of which some rows are there: segments that say which.
    """
    most_bytes = min(BYTES_OF_A_UNIT, 1 + sum(map(plan.cost_bytes, clips)) // UNITS_AT_LEAST)
    for ordered in buckets.in_order(clips, num_shards):
        requests = plan.requests(ordered, None, segment_seconds, hop_frames)
        yield from _units((_marked(request, partly or {}) for request in requests), most_bytes, segment_seconds)


def _units(requests: Iterable[DecodeRequest], most_bytes: int, segment_seconds: float) -> Iterator[Unit]:
    batch: list[DecodeRequest] = []
    spent = count = 0
    for request in requests:
        if asks(request, segment_seconds):
            yield Unit((request,), asks=True)
            continue
        cost = sum(plan.cost_bytes(segment.clip) for segment in request.segments)
        if batch and (spent + cost > most_bytes or count + len(request.segments) > CLIPS_OF_A_UNIT):
            yield Unit(tuple(batch))
            batch, spent, count = [], 0, 0
        batch.append(request)
        spent += cost
        count += len(request.segments)
    if batch:
        yield Unit(tuple(batch))


def asks(request: DecodeRequest, segment_seconds: float) -> bool:
    """Whether a request's file is asked before it is decoded, because it may be decoded in parts."""
    long = any(plan.needs_probe(segment.clip, segment_seconds) for segment in request.segments)
    return long or plan.is_scattered(request, segment_seconds)


def _marked(request: DecodeRequest, partly: Mapping[ClipKey, Segment]) -> DecodeRequest:
    if not partly:
        return request
    segments: Iterable[Segment] = (
        replace(segment, held=known.held, ended=known.ended) if (known := partly.get(segment.clip.key)) else segment
        for segment in request.segments
    )
    return replace(request, segments=tuple(segments))
