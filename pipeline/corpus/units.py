"""Requests -> units of work: what one worker decodes and embeds before it takes the next. Pure, like `plan`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from pipeline.corpus import buckets, plan
from pipeline.corpus.packed import Packed
from pipeline.storage import containers
from pipeline.types import Clip, ClipKey, DecodeRequest, Segment, Unit

BYTES_OF_A_UNIT = 64_000_000
"""Of audio, by `plan.cost_bytes`: an hour of MP3 at 128 kbit/s or six minutes of 16-bit stereo at 44.1 kHz."""
CLIPS_OF_A_UNIT = 500
PASSES = 8
"""Over compressed archives, if they are fewer: units of one that unpack what lies before them, each its own part."""
UNITS_AT_LEAST = 256
"""Small corpora are cut finer, so that there is something for every worker, and all end at about the same time."""
READINGS = 4
"""A row group that is larger than a unit is cut into so many at most: each begins by passing over what lies before."""


def units(
    clips: Sequence[Clip],
    num_shards: int,
    segment_seconds: float,
    hop_frames: int,
    partly: Mapping[ClipKey, Segment] | None = None,
) -> Iterator[Unit]:
    """Clips -> units, which depend on nothing but these arguments.

    The clips of a unit lie next to each other in the output, so that what it leaves concerns a shard or two; or in a
    compressed archive, so that it is read once, or in groups of rows. What asks its file first is a unit by itself.

    Args:
      clips: any order.
      num_shards: of the output.
      segment_seconds, hop_frames: as in `plan.requests`.
      partly: by key, clips of which some rows are there: segments that say which.
    """
    most_bytes = min(BYTES_OF_A_UNIT, 1 + sum(map(plan.cost_bytes, clips)) // UNITS_AT_LEAST)
    grouped = Packed(clip for clip in clips if containers.in_group(clip.place))
    if grouped:
        clips = Packed(clip for clip in clips if not containers.in_group(clip.place))

    def requests(of: Sequence[Clip]) -> Iterator[DecodeRequest]:
        made = plan.requests(of, None, segment_seconds, hop_frames)
        return (_marked(request, partly) for request in made) if partly else made

    for ordered in buckets.in_order(clips, num_shards):
        others, streams = _apart(ordered)
        yield from _units(requests(others), most_bytes, segment_seconds)
        for stream in streams:
            yield from _parts(list(requests(stream)), PASSES // len(streams), BYTES_OF_A_UNIT)
    for rows in buckets.by_file(grouped):
        yield from _of_groups((list(requests(list(group))) for _, group in groupby(rows, plan.read_with)), most_bytes)


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


def _parts(requests: list[DecodeRequest], most: int, most_bytes: int) -> Iterator[Unit]:
    """Requests that are read from a common start on -> units, so many at most: each passes over what lies before it."""
    wanted = sum(map(_cost, requests)) // most_bytes
    count = max(1, min(most, wanted), -(-len(requests) // plan.CLIPS_OF_A_RECORDING))
    for index in range(count):
        if part := requests[index * len(requests) // count : (index + 1) * len(requests) // count]:
            yield Unit(tuple(part))


def _of_groups(groups: Iterable[list[DecodeRequest]], most_bytes: int) -> Iterator[Unit]:
    """Requests of each row group -> units: small groups together, large ones cut."""
    batch: list[DecodeRequest] = []
    spent = 0
    for requests in groups:
        cost = sum(map(_cost, requests))
        large = cost > most_bytes or len(requests) > CLIPS_OF_A_UNIT
        if batch and (large or spent + cost > most_bytes or len(batch) + len(requests) > CLIPS_OF_A_UNIT):
            yield Unit(tuple(batch))
            batch, spent = [], 0
        if large:
            yield from _parts(requests, READINGS, most_bytes)
            continue
        batch += requests
        spent += cost
    if batch:
        yield Unit(tuple(batch))


def _units(requests: Iterable[DecodeRequest], most_bytes: int, segment_seconds: float) -> Iterator[Unit]:
    batch: list[DecodeRequest] = []
    spent = count = 0
    for request in requests:
        if asks(request, segment_seconds):
            yield Unit((request,), asks=True)
            continue
        cost = _cost(request)
        if batch and (spent + cost > most_bytes or count + len(request.segments) > CLIPS_OF_A_UNIT):
            yield Unit(tuple(batch))
            batch, spent, count = [], 0, 0
        batch.append(request)
        spent += cost
        count += len(request.segments)
    if batch:
        yield Unit(tuple(batch))


def _cost(request: DecodeRequest) -> int:
    return sum(plan.cost_bytes(segment.clip) for segment in request.segments)


def asks(request: DecodeRequest, segment_seconds: float) -> bool:
    """Whether a request's file is asked before it is decoded, because it may be decoded in parts."""
    long = any(plan.needs_probe(segment.clip, segment_seconds) for segment in request.segments)
    return long or plan.is_scattered(request, segment_seconds)


def _marked(request: DecodeRequest, partly: Mapping[ClipKey, Segment]) -> DecodeRequest:
    segments: Iterable[Segment] = (
        replace(segment, held=known.held, ended=known.ended) if (known := partly.get(segment.clip.key)) else segment
        for segment in request.segments
    )
    return replace(request, segments=tuple(segments))
