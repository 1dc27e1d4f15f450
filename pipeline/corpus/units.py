"""Requests -> units of work: what one worker decodes and embeds before it takes the next. Pure, like `plan`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from pipeline.corpus import buckets, plan
from pipeline.storage import containers
from pipeline.types import Clip, ClipKey, DecodeRequest, Segment, Unit

BYTES_OF_A_UNIT = 64_000_000
"""Of audio, by `plan.cost_bytes`: an hour of MP3 at 128 kbit/s or six minutes of 16-bit stereo at 44.1 kHz."""
CLIPS_OF_A_UNIT = 500
PASSES = 8
"""Over compressed archives, if they are fewer: units of one that unpack what lies before them, each its own part."""
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

    The clips of a unit lie next to each other in the output, so that what it leaves concerns a shard or two; or in a
    compressed archive, so that it is read once. What asks its file first is a unit by itself.

    Args:
      clips: any order.
      num_shards: of the output.
      segment_seconds, hop_frames: as in `plan.requests`.
      partly: by key, clips of which some rows are there: segments that say which.
    """
    most_bytes = min(BYTES_OF_A_UNIT, 1 + sum(map(plan.cost_bytes, clips)) // UNITS_AT_LEAST)
    for ordered in buckets.in_order(clips, num_shards):
        others, streams = _apart(ordered)
        requests = plan.requests(others, None, segment_seconds, hop_frames)
        yield from _units((_marked(request, partly or {}) for request in requests), most_bytes, segment_seconds)
        for stream in streams:
            requests = plan.requests(stream, None, segment_seconds, hop_frames)
            yield from _passes([_marked(request, partly or {}) for request in requests], PASSES // len(streams))


def _apart(clips: Sequence[Clip]) -> tuple[list[Clip], list[list[Clip]]]:
    """Clips -> those that can be read in any order, and by archive those of compressed ones, in the archives' order."""
    others: list[Clip] = []
    streams: dict[str, list[tuple[int, Clip]]] = defaultdict(list)
    for clip in clips:
        where = containers.in_turn(clip.place)
        if where is None:
            others.append(clip)
        else:
            streams[containers.file_of(clip.uri, clip.place)].append((where, clip))
    return others, [[clip for _, clip in sorted(found, key=lambda each: each[0])] for found in streams.values()]


def _passes(requests: list[DecodeRequest], most: int) -> Iterator[Unit]:
    """The requests of a compressed archive -> as many units as are wanted; each unpacks what lies before it."""
    cost = sum(plan.cost_bytes(segment.clip) for request in requests for segment in request.segments)
    count = max(1, min(most, cost // BYTES_OF_A_UNIT), -(-len(requests) // plan.CLIPS_OF_A_RECORDING))
    for index in range(count):
        if part := requests[index * len(requests) // count : (index + 1) * len(requests) // count]:
            yield Unit(tuple(part))


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
