"""Planning, as pure functions: no Beam, no I/O. Clips -> shards, readings and segments; what is already done."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Protocol

from pipeline.types import Clip, ClipKey, Reading, Segment

CLIPS_A_SHARD = 1_000
BYTES_A_SHARD = 256 << 20
"""Some forty minutes of 44.1 kHz stereo FLAC, five hours of MP3: under five minutes of work on two cores."""
NEAR_S = 30.0
"""Clips of one recording that are no further apart are decoded in one pass: skipping costs about as much as opening."""
CLIPS_A_READING = 64
PROBE_BYTES_A_SECOND = 1_000
"""The least that a second of a seekable recording takes (silence in FLAC aside): 8 kHz, mono, one bit a sample."""


def shard_of(clip_id: str, num_shards: int) -> int:
    """A clip's id -> the index of its shard: the first 8 bytes of the id's SHA-256, modulo the number of shards.

    Stable across processes, machines and versions.

    >>> shard_of("dog/1-100032-A", 8)
    3
    """
    digest = hashlib.sha256(clip_id.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") % num_shards


def place_of(clip: Clip, num_shards: int) -> tuple[int, ClipKey]:
    """A clip -> where it stands in the output: shard, then key. Jobs go through a corpus in this order."""
    return shard_of(clip.id, num_shards), clip.key


def default_num_shards(clips: int, total_bytes: int) -> int:
    """A corpus' size -> a number of shards: at most about 1,000 clips and 256 MB of audio each.

    >>> default_num_shards(400, 40_000_000), default_num_shards(2_000_000, 1 << 40)
    (1, 4096)
    """
    return max(1, -(-clips // CLIPS_A_SHARD), -(-total_bytes // BYTES_A_SHARD))


def piece_length(sizes: Iterable[float], budget: float) -> int:
    """Sizes of clips in order -> how many of the first fit into a budget; at least one.

    >>> piece_length([4, 4, 4], 9), piece_length([40, 4], 9)
    (2, 1)
    """
    total, count = 0.0, 0
    for size in sizes:
        total += size
        if count and total > budget:
            break
        count += 1
    return count


def readings(clips: Iterable[Clip]) -> Iterator[Reading]:
    """Clips -> readings of one segment each, but of several where clips are cut out of one recording near each other."""
    ordered = sorted(clips, key=lambda clip: (clip.uri, clip.start_s, clip.key))
    for uri, of_file in groupby(ordered, key=lambda clip: clip.uri):
        group: list[Clip] = []
        reach = 0.0
        for clip in of_file:
            near = bool(group) and clip.cut and group[-1].cut and clip.start_s - reach <= NEAR_S
            if group and not (near and len(group) < CLIPS_A_READING):
                yield Reading(uri, tuple(map(Segment, group)))
                group, reach = [], 0.0
            group.append(clip)
            reach = max(reach, clip.end_s if clip.end_s is not None else float("inf"))
        yield Reading(uri, tuple(map(Segment, group)))


def may_be_long(clip: Clip, segment_seconds: float) -> bool:
    """Whether a clip's file is large enough to be worth asking how long it is, before it is read by one worker.

    A file that packs more than a second into 1,000 bytes, silence say, is then read in one go: slower, not wrong.
    """
    if clip.end_s is not None and clip.end_s - clip.start_s <= segment_seconds:
        return False
    return clip.size_bytes > segment_seconds * PROBE_BYTES_A_SECOND


def split(clip: Clip, examples: int, examples_a_segment: int) -> list[Reading]:
    """A clip of so many examples -> readings of one segment each, every example in exactly one of them.

    The last segment is open: it takes what the clip holds, should that be more than was announced.

    >>> [(r.segments[0].first_example, r.segments[0].examples) for r in split(Clip("a", "a.wav"), 25, 10)]
    [(0, 10), (10, 10), (20, None)]
    """
    firsts = range(0, max(examples, 1), examples_a_segment)
    return [
        Reading(
            clip.uri,
            (Segment(clip, index, len(firsts), first, examples_a_segment if index < len(firsts) - 1 else None),),
        )
        for index, first in enumerate(firsts)
    ]


class Known(Protocol):
    """What a ledger says of a clip; `pipeline.ledger.LedgerEntry` is one."""

    @property
    def key(self) -> ClipKey: ...
    @property
    def clip(self) -> Clip: ...
    @property
    def outcome(self) -> str: ...
    @property
    def stage(self) -> str: ...


@dataclass(frozen=True)
class Todo:
    """What a run has to do.

    Attributes:
      run: clips to compute: new, changed, or failed and to be tried again.
      kept: how many are there and stay.
      gone: clips whose files are no longer among the inputs.
    """

    run: tuple[Clip, ...]
    kept: int
    gone: tuple[Clip, ...]


def todo(
    clips: Sequence[Clip], ledger: Iterable[Known], retry_failed: bool = False, others: Collection[ClipKey] = ()
) -> Todo:
    """The corpus now and what the output holds -> what to do.

    Args:
      clips: of the corpus, each key once.
      ledger: an entry for each clip that the output accounts for.
      retry_failed: whether clips that failed before are tried again.
      others: keys that the corpus still names though there is nothing to read: rows with bad times, say.
    """
    wanted: Mapping[ClipKey, Clip] = {clip.key: clip for clip in clips}
    done: set[ClipKey] = set()
    gone = []
    for entry in ledger:
        clip = wanted.get(entry.key)
        if clip is None:
            if entry.key not in others:
                gone.append(entry.clip)
        elif same(clip, entry.clip) and not (retry_failed and entry.outcome == "failed") and entry.stage != "find":
            done.add(entry.key)
    return Todo(tuple(clip for clip in clips if clip.key not in done), len(done), tuple(gone))


def same(now: Clip, before: Clip) -> bool:
    """Whether a clip's record is still its record: the same content at the same times, with the same labels.

    Where the file lies is no part of it: a corpus may be moved as a whole.
    """
    return replace(now, uri="") == replace(before, uri="")
