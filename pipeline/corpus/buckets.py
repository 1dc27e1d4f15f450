"""A corpus by ranges of shards, so that millions of clips are compared and cut into units in little memory."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np

from pipeline.corpus import plan
from pipeline.corpus.packed import Packed
from pipeline.storage import containers
from pipeline.types import Clip, ClipKey

T = TypeVar("T")

CLIPS_OF_A_BUCKET = 50_000
"""Some 50 MB with all that is known of them."""


def number_of(clips: int, num_shards: int) -> int:
    """The number of buckets for so many clips."""
    return max(1, min(num_shards, math.ceil(clips / CLIPS_OF_A_BUCKET)))


def bucket_of(shard: int, num_shards: int, buckets: int) -> int:
    """A shard -> the index of its bucket: each is a range of shards, in their order."""
    return shard * buckets // num_shards


def shards_of(bucket: int, num_shards: int, buckets: int) -> range:
    """The shards of a bucket.

    >>> [list(shards_of(bucket, 5, 2)) for bucket in range(2)]
    [[0, 1, 2], [3, 4]]
    """
    return range(-(-bucket * num_shards // buckets), -(-(bucket + 1) * num_shards // buckets))


def by_shard(values: Sequence[T], clip_of: Callable[[T], Clip], num_shards: int, buckets: int) -> list[Sequence[T]]:
    """Values that are each about a clip -> the same in buckets, in their order."""
    if buckets == 1:
        return [values]
    found: list[Packed[T]] = [Packed() for _ in range(buckets)]
    for value in values:
        found[bucket_of(plan.shard_of(clip_of(value).id, num_shards), num_shards, buckets)].append(value)
    return list(found)


def in_order(clips: Sequence[Clip], num_shards: int) -> Iterator[list[Clip]]:
    """Clips -> lists of them in the order of the output; but all that are read together (`plan.read_with`) are in one.

    A list has some `CLIPS_OF_A_BUCKET` clips, more where files have more.
    """
    buckets = number_of(len(clips), num_shards)
    if buckets == 1:
        yield _sorted(clips, num_shards)
        return
    shards = np.fromiter((plan.shard_of(clip.id, num_shards) for clip in clips), np.int64, len(clips))
    # A clip that is read by itself has a number of its own; files' are their hashes.
    together = map(plan.read_with, clips)
    files = np.fromiter((hash(file) | 1 if file else 2 * at for at, file in enumerate(together)), np.int64)
    _, first, numbers = np.unique(files, return_index=True, return_inverse=True)
    lowest = np.full(len(first), num_shards)
    np.minimum.at(lowest, numbers, shards)
    found: list[Packed[Clip]] = [Packed() for _ in range(buckets)]
    for clip, shard in zip(clips, lowest[numbers].tolist(), strict=True):
        found[bucket_of(shard, num_shards, buckets)].append(clip)
    del shards, files, first, numbers, lowest
    while found:
        yield _sorted(found.pop(0), num_shards)


def by_file(clips: Sequence[Clip]) -> Iterator[list[Clip]]:
    """Clips in containers that are read in groups -> lists of them in their order there, a file's all in one.

    A list has some `CLIPS_OF_A_BUCKET` clips, more where files have more.
    """
    clips_of: Counter[str] = Counter(containers.file_of(clip.uri, clip.place) for clip in clips)
    bucket_of_file: dict[str, int] = {}
    before = 0
    for file, count in sorted(clips_of.items()):
        bucket_of_file[file] = before // CLIPS_OF_A_BUCKET
        before += count
    found: list[Packed[Clip]] = [Packed() for _ in range(1 + max(bucket_of_file.values(), default=-1))]
    for clip in clips:
        found[bucket_of_file[containers.file_of(clip.uri, clip.place)]].append(clip)
    while found:
        yield sorted(found.pop(0), key=_order_in_file)


def _order_in_file(clip: Clip) -> tuple[str, tuple[int, int], ClipKey]:
    return containers.file_of(clip.uri, clip.place), containers.in_group(clip.place) or (0, 0), clip.key


def _sorted(clips: Iterable[Clip], num_shards: int) -> list[Clip]:
    return sorted(clips, key=lambda clip: plan.place_of(clip, num_shards))
