"""Planning, as pure functions: which clips are read together, and where records go. No Beam, no I/O."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from pipeline.errors import FlagError
from pipeline.settings import Decoding
from pipeline.storage import compression, containers
from pipeline.types import Clip, ClipKey, DecodeRequest, Probe, Segment
from vggish_core import params

CLIPS_OF_A_SHARD = 1000
BYTES_OF_A_SHARD = 256_000_000
"""A shard is what is rewritten when one of its clips changes, and computed again when it is damaged: it should be
minutes of work. 256 MB are 25 minutes of 16-bit stereo at 44.1 kHz or 4.5 hours of MP3 at 128 kbit/s, which two cores
embed within two minutes."""

EMPTY_SHARDS = 10_000
"""A corpus may begin with so many shards, whatever it holds: they take half a minute."""
CLIPS_TO_COME = 10
"""More shards it may have if it grows to so many times its clips."""

SPLIT_BYTES_PER_S = 8000
"""Files of fewer bytes for each second of a segment are not asked how long they are: in the formats that can be split,
they are shorter than that, or speech at 8 kHz packed below its 8 bits a sample; one decoder streams those."""

NEAR_S = 60.0
"""Cut clips of one file that seeks exactly, and that are no further apart, are decoded in one pass: decoding a minute
costs 0.03 to 0.15 s, as does opening a file."""
CLIPS_OF_A_READING = 64
"""At most, of a file that seeks exactly; such a request fits into an element of 64 KB."""
CLIPS_OF_A_RECORDING = 100_000
"""At most, in a request of another file, or of one that nothing is known of yet. What lies before a clip has to be
decoded on the way to it, so that there is one pass for all: a worker's memory bounds it."""

BELIEVED_BYTES_PER_S = 50
"""A header that promises more than a second for so many bytes is not planned by: it may be wrong, and one decoder that
reads on finds out. Silence as FLAC takes 100 to 200 bytes a second."""

MOST_S = 1e9
"""No file holds more seconds: places beyond lie behind its end, where no arithmetic has to be exact."""

MIN_COST_BYTES = 64_000
"""A clip's cost beside its bytes (opening, a batch that is not full), and the assumed size of one of unknown size."""
CUT_BYTES_PER_S = 16_000
"""Assumed bytes of a second of a clip that is cut out of a file: MP3 at 128 kbit/s."""
UNSEEN_S = 600.0
"""The longest assumed length of a clip whose file was not seen: its times may be anything."""


def shard_of(clip_id: str, num_shards: int) -> int:
    """A clip's id -> the index of its shard: the first 8 bytes of the id's SHA-256, modulo the number of shards.

    Stable across processes, machines and versions.

    >>> shard_of("dog/1-100032-A", 8)
    3
    """
    digest = hashlib.sha256(clip_id.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") % num_shards


def place_of(clip: Clip, num_shards: int) -> tuple[int, ClipKey]:
    """Where a clip's record lies: its shard, and its key, which is the order within the shard."""
    return shard_of(clip.id, num_shards), clip.key


def cost_bytes(clip: Clip) -> int:
    """A clip -> its cost when work is divided: roughly the bytes to read."""
    size = clip.size_bytes
    if clip.cut and clip.end_s is not None:
        most_s = size / CUT_BYTES_PER_S if size else UNSEEN_S
        size = int(min(clip.end_s - clip.start_s, most_s) * CUT_BYTES_PER_S)
    return max(size, MIN_COST_BYTES)


def most_seconds(clip: Clip) -> float:
    """A clip -> the most audio that its file may hold of it, whatever its times say; in seconds."""
    holds_s = clip.size_bytes / BELIEVED_BYTES_PER_S if clip.size_bytes else UNSEEN_S
    return holds_s if clip.end_s is None else min(clip.end_s - clip.start_s, holds_s)


def default_num_shards(clips: int, total_bytes: int) -> int:
    """Number of clips and their `cost_bytes` -> number of shards: 1,000 clips or 256 MB of audio each.

    >>> default_num_shards(400, 30_000_000), default_num_shards(2_000_000, 10**12)
    (1, 3907)
    """
    return max(1, math.ceil(clips / CLIPS_OF_A_SHARD), math.ceil(total_bytes / BYTES_OF_A_SHARD))


def expect_filled(num_shards: int, clips: int) -> None:
    """Looks at a number of shards that somebody asked for; a corpus that is to grow may have many that are empty.

    Raises:
      FlagError: it is far beyond the number of clips.
    """
    most = max(EMPTY_SHARDS, CLIPS_TO_COME * clips)
    if num_shards > most:
        of_clips = f"{clips:,} clip{'s' if clips != 1 else ''}"
        raise FlagError(
            f"--num_shards {num_shards:,} for {of_clips}: nearly all of these files would be empty",
            f"Leave it out, or give {most:,} at most; pipeline.reshard changes the number when there are more clips",
        )


def examples_in(duration_s: float, hop_frames: int) -> int:
    """Duration -> number of examples, as in the released records: every 96 frames of 10 ms, the last 25 ms long.

    Of more than `MOST_S`, as many as of that.

    >>> examples_in(10.0, 96), examples_in(0.97, 96)
    (10, 0)
    """
    frames = math.floor(round(100 * min(duration_s, MOST_S) - 2, 6))
    return 0 if frames < params.NUM_FRAMES else 1 + (frames - params.NUM_FRAMES) // hop_frames


def needs_probe(clip: Clip, segment_seconds: float) -> bool:
    """Whether a clip may be so long that it is worth asking its file for the length, and splitting it."""
    if _is_packed(clip.uri, clip.place):
        return False
    if clip.end_s is not None and clip.end_s - clip.start_s <= segment_seconds:
        return False
    return clip.size_bytes > SPLIT_BYTES_PER_S * segment_seconds


def read_with(clip: Clip) -> str:
    """What has to be read once for all clips that need it: the recording that they are cut out of, a compressed
    archive, or a row group; "" for a clip that is read by itself."""
    if group := containers.in_group(clip.place):
        return containers.uri_of(containers.file_of(clip.uri, clip.place), f"row group {group[0]}")
    if containers.in_turn(clip.place) is not None:
        return containers.file_of(clip.uri, clip.place)
    return clip.uri if clip.cut else ""


def _is_packed(uri: str, place: str) -> bool:
    """Whether every part of a file would have to unpack what lies before it."""
    return compression.kind_of(uri) is not None or not containers.at_random(place)


def is_scattered(request: DecodeRequest, segment_seconds: float) -> bool:
    """Whether a request would be split if its file seeks exactly, so that asking is worthwhile."""
    if _is_packed(request.uri, request.place) or not all(segment.clip.cut for segment in request.segments):
        return False
    groups = _near([segment.clip for segment in request.segments], segment_seconds)
    return next(groups, None) is not None and next(groups, None) is not None


def split(
    request: DecodeRequest, probe: Probe | None, segment_seconds: float, hop_frames: int = params.EXAMPLE_HOP_FRAMES
) -> Iterator[DecodeRequest]:
    """A request and what its file's header says, if it says anything -> the same segments, long ones as parts."""
    clips = [segment.clip for segment in request.segments]
    size_bytes = max(clip.size_bytes for clip in clips)
    believed = probe is not None and probe.frames / probe.sample_rate_hz <= size_bytes / BELIEVED_BYTES_PER_S
    if probe is None or not believed or not probe.seekable:
        yield request
        return
    known = {segment.clip.key: segment for segment in request.segments}
    for part in requests(clips, {request.uri: probe}, segment_seconds, hop_frames):
        segments = tuple(_left(segment, known[segment.clip.key]) for segment in part.segments)
        if left := tuple(segment for segment in segments if segment is not None):
            yield replace(part, segments=left)


def _left(segment: Segment, known: Segment) -> Segment | None:
    """A segment, and what is known of its clip -> the same with what is there of it; None where all is."""
    if (segment.index, segment.count) in known.ended:
        return None
    stop = math.inf if segment.examples is None else segment.first_example + segment.examples
    held = tuple(span for span in known.held if span[0] < stop and segment.first_example < span[1])
    last = all((index, segment.count) in known.ended for index in range(segment.index + 1, segment.count))
    return replace(segment, held=held, last=last)


def segments_of(clip: Clip, examples_total: int, segment_examples: int) -> tuple[Segment, ...]:
    """A clip of so many examples -> equal segments of at most `segment_examples`, each example in exactly one.

    The last segment is open: it takes what there is, should the file's header be wrong.

    >>> [(s.first_example, s.examples) for s in segments_of(Clip("a", "a.wav"), 1250, 625)]
    [(0, 625), (625, None)]
    """
    count = max(1, math.ceil(examples_total / max(1, segment_examples)))
    starts = [index * examples_total // count for index in range(count)]
    return tuple(
        Segment(
            clip,
            index,
            count,
            start,
            None if index == count - 1 else starts[index + 1] - start,
            last=index == count - 1,
        )
        for index, start in enumerate(starts)
    )


def requests(
    clips: Sequence[Clip],
    probes: Mapping[str, Probe] | None = None,
    segment_seconds: float = Decoding.segment_seconds,
    hop_frames: int = params.EXAMPLE_HOP_FRAMES,
) -> Iterator[DecodeRequest]:
    """Clips -> what is decoded in one pass: a file, a part of a long one, or clips of one recording.

    Clips of one recording come together, unless it is known to seek exactly: then those do that are near each other.

    Args:
      clips: any order; requests come in the order of their first clips.
      probes: by URI, what is known of long files (`needs_probe`); others are not split.
      segment_seconds: the most audio that one request gives, where it can be split.
      hop_frames: from one example to the next, in frames of 10 ms.
    """
    segment_examples = max(1, int(segment_seconds * 100) // hop_frames)
    by_recording: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        if clip.cut:
            by_recording[clip.uri].append(clip)
    for clip in clips:
        parts = _split(clip, (probes or {}).get(clip.uri), segment_examples, hop_frames)
        if len(parts) > 1:
            yield from (DecodeRequest(clip.uri, (part,)) for part in parts)
        elif not clip.cut:
            yield DecodeRequest(clip.uri, parts)
        elif clip.uri in by_recording:
            probe = (probes or {}).get(clip.uri)
            whole = [
                other
                for other in by_recording.pop(clip.uri)
                if len(_split(other, probe, segment_examples, hop_frames)) == 1
            ]
            groups = _near(whole, segment_seconds) if probe is not None and probe.seekable else _in_one_pass(whole)
            for group in groups:
                yield DecodeRequest(clip.uri, tuple(Segment(other) for other in group))


def _split(clip: Clip, probe: Probe | None, segment_examples: int, hop_frames: int) -> tuple[Segment, ...]:
    """A clip -> its segments; one, where its file cannot be split or nothing is known of it."""
    if probe is None or not probe.seekable:
        return (Segment(clip),)
    duration_s = max(0.0, probe.frames / probe.sample_rate_hz - (clip.start_s if clip.cut else 0.0))
    if clip.end_s is not None:
        duration_s = min(duration_s, clip.end_s - clip.start_s)
    return segments_of(clip, examples_in(duration_s, hop_frames), segment_examples)


def _in_one_pass(clips: list[Clip]) -> Iterator[list[Clip]]:
    """Cut clips of one file -> as few groups as may be, ascending in time."""
    ordered = sorted(clips, key=lambda clip: (clip.start_s, clip.key))
    for begin in range(0, len(ordered), CLIPS_OF_A_RECORDING):
        yield ordered[begin : begin + CLIPS_OF_A_RECORDING]


def _near(clips: list[Clip], segment_seconds: float) -> Iterator[list[Clip]]:
    """Cut clips of one file -> groups of neighbours, ascending in time."""
    group: list[Clip] = []
    end_s = audio_s = 0.0
    for clip in sorted(clips, key=lambda clip: (clip.start_s, clip.key)):
        clip_s = math.inf if clip.end_s is None else clip.end_s - clip.start_s
        full = len(group) == CLIPS_OF_A_READING or audio_s + clip_s > segment_seconds
        if group and (full or clip.start_s - end_s > NEAR_S):
            yield group
            group, end_s, audio_s = [], 0.0, 0.0
        group.append(clip)
        end_s = max(end_s, clip.start_s + clip_s)
        audio_s += clip_s
    if group:
        yield group
