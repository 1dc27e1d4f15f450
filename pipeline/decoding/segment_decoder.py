"""A segment of a file: the samples that it needs, and the examples made from them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.corpus.plan import MOST_S, examples_in
from pipeline.decoding import protocol
from pipeline.decoding.protocol import MAX_BLOCK_EXAMPLES
from pipeline.settings import FrontEnd
from pipeline.types import Clip, Segment
from vggish_core import params
from vggish_core.features import examples

TOLERANCE_S = 0.02
"""Seconds by which a padded clip may be shorter than its times say: less than two frames."""


@dataclass(frozen=True)
class Examples:
    """Consecutive examples float32 [k, 96, 64], 1 <= k <= 64, of a segment named by its position in the request."""

    segment: int
    first_example: int
    examples: np.ndarray


Result = Examples | protocol.Ended | protocol.Failed


@dataclass(frozen=True)
class Source:
    """The known properties of an open file; `frames` only where its header can be trusted.

    Times count from the container's start, `lead` frames before the first sample.
    """

    sample_rate_hz: int
    channels: int
    format: str
    frames: int | None
    lead: int = 0


def ends_split_clip(segment: Segment) -> bool:
    """Whether it is the last of several segments."""
    return 0 < segment.index == segment.count - 1


def begin(segment: Segment, source: Source, hop_frames: int) -> int:
    """The first frame of the file that a segment's stretch looks at."""
    start, _ = examples.input_range(source.sample_rate_hz, hop_frames, segment.first_example)
    return _origin(segment.clip, source)[0] + start


def _origin(clip: Clip, source: Source) -> tuple[int, float]:
    """A clip -> the frame at which it starts, and by how many seconds the sound starts after it."""
    if not clip.cut:
        return 0, 0.0
    frame = _frame(clip.start_s, source.sample_rate_hz) - source.lead
    return max(0, frame), -frame / source.sample_rate_hz


class SegmentDecoder:
    """One segment on its way from samples to examples.

    Positions in time are frames (one sample of each channel) of the file. Samples have to be pushed from `begin` on,
    without a gap, up to `end` or the file's end, which `finish` is given.

    Attributes:
      position: the segment's place in its request.
      begin: the first frame it looks at.
      end: where it needs no more; None: the end of the file.
    """

    def __init__(self, position: int, segment: Segment, source: Source, front_end: FrontEnd) -> None:
        clip, rate, hop = segment.clip, source.sample_rate_hz, front_end.hop_frames
        self.position = position
        self._segment = segment
        self._source = source
        self._hop = hop
        self._hop_s = hop * params.STFT_HOP_LENGTH_SECONDS
        self._max_s = front_end.max_duration_seconds
        self._skip_short = front_end.short_clips == "skip"
        self._pad = front_end.short_clips == "pad" and segment.count == 1
        self._lead = source.lead if clip.cut else 0
        self._origin, self._late_s = _origin(clip, source)
        self._duration_s: float | None = None
        self._clip_stop: int | None = None
        self._limit = segment.examples
        if clip.end_s is not None:
            self._duration_s = clip.end_s - clip.start_s
            self._clip_stop = _frame(clip.end_s if clip.cut else self._duration_s, rate) - self._lead
            if self._limit is None:
                self._limit = max(0, examples_in(self._duration_s, hop) - segment.first_example)
        stop = None if segment.examples is None else segment.first_example + segment.examples
        start, end = examples.input_range(rate, hop, segment.first_example, stop)
        if stop is not None and end is not None:  # up to the next one, though a long hop leaves out what is between
            end = max(end, -(-stop * hop * rate // 100))
        self.begin = self._origin + start
        self.end = min_known(self._clip_stop, None if end is None else self._origin + end)
        wanted = 1 if self._limit == 0 and self._pad else self._limit
        self._stream = examples.ExampleStream(rate, hop, segment.first_example, wanted)
        self._held: deque[np.ndarray] = deque()
        self._held_count = 0
        self._made = 0

    def refusal(self) -> protocol.Failed | None:
        """The failure that is known before a sample is read, if there is one."""
        if self._late_s > TOLERANCE_S:
            starts_s, sound_s = self._segment.clip.start_s, self._lead / self._source.sample_rate_hz
            return self._failed(
                "before_sound", f"the clip starts at {show(starts_s)}, its file's sound at {show(sound_s)}"
            )
        known_s = self._duration_s
        if known_s is None and self._source.frames is not None:
            known_s = self._seconds(self._source.frames)
        if known_s is not None and (failure := self._too_long(known_s)):
            return failure
        if self._duration_s is not None and self._limit == 0 and self._segment.count == 1 and not self._pad:
            return self._too_short(self._duration_s)
        return None

    def push(self, samples: np.ndarray, stop: int) -> Iterator[Result]:
        """Samples float32 [n, channels] up to frame `stop` -> the examples that fill a block; or the failure."""
        made = self._stream.push(samples)
        self._hold(made)
        if failure := self._not_finite(made):
            yield failure
            return
        if self._clip_stop is None and (failure := self._too_long(self._seconds(stop))):
            yield failure
            return
        while self._held_count >= MAX_BLOCK_EXAMPLES:
            yield self._block(MAX_BLOCK_EXAMPLES)

    def finish(self, stop: int, damaged: str = "") -> Iterator[Result]:
        """Reading got to frame `stop`, `end` or the file's -> the examples that are left, and the outcome.

        With `damaged`, which says why there is no more, what is there is enough.
        """
        made = self._stream.finish(pad_short=self._pad)
        self._hold(made)
        failure = self._not_finite(made) or (None if damaged else self._fault(stop)) or self._short(stop, damaged)
        if failure is not None:
            yield failure
            return
        while self._held_count:
            yield self._block(min(self._held_count, MAX_BLOCK_EXAMPLES))
        source = self._source
        yield protocol.Ended(
            self.position,
            self._made,
            self._audio_s(stop),
            source.sample_rate_hz,
            source.channels,
            source.format,
            self._stream.silent,
            damaged,
        )

    def holds_examples(self) -> bool:
        """Whether there are examples already, or those of segments before this one."""
        return self._made > 0 or self._segment.first_example > 0

    def failed(self, reason: str, message: str) -> protocol.Failed:
        """The failure of the segment for a reason of its file's."""
        return self._failed(reason, message)

    def _fault(self, stop: int) -> protocol.Failed | None:
        """The fault in a stretch that was read up to frame `stop`, if there is one."""
        seconds = self._seconds(stop)
        if self._duration_s is not None:
            missing = self._duration_s - seconds > TOLERANCE_S if self._limit == 0 else self._made < (self._limit or 0)
            if missing:
                return self._past_end(stop)
        elif self._segment.first_example == 0 and self._made == 0:
            if seconds > 0:
                return self._too_short(seconds)
            return self._past_end(stop) if stop > 0 else self._failed("no_samples", "the file holds no sample")
        return None

    def _short(self, stop: int, damaged: str) -> protocol.Failed | None:
        """The failure of a clip that ends before its rated segments do: there has to be a frame for each second."""
        segment, needed = self._segment, self._segment.clip.rated_s
        ends = segment.examples is None or bool(damaged)
        if not ends or segment.first_example + self._made >= needed:
            return None
        return self._failed("past_end", f"a segment ends at {show(needed)}, its file at {show(self._seconds(stop))}")

    def _not_finite(self, made: np.ndarray) -> protocol.Failed | None:
        """The failure if the examples that were held last hold what is no number."""
        place = examples.first_not_finite(made)
        if place is None:
            return None
        first = self._segment.first_example + self._made - len(made)
        return self._failed("not_finite", examples.not_finite_at(place, first, self._hop))

    def _hold(self, made: np.ndarray) -> None:
        """Keep examples until they fill a block."""
        if len(made):
            self._held.append(made)
            self._held_count += len(made)
            self._made += len(made)

    def _block(self, count: int) -> Examples:
        """The first `count` of the examples that are kept."""
        first = self._segment.first_example + self._made - self._held_count
        self._held_count -= count
        parts = []
        while count:
            part = self._held.popleft()
            if len(part) > count:
                self._held.appendleft(part[count:])
                part = part[:count]
            parts.append(part)
            count -= len(part)
        return Examples(self.position, first, parts[0] if len(parts) == 1 else np.concatenate(parts))

    def _seconds(self, stop: int) -> float:
        """Of the clip, up to a frame of the file."""
        return max(0, stop - self._origin) / self._source.sample_rate_hz

    def _audio_s(self, stop: int) -> float:
        seconds = max(0.0, self._seconds(stop) - self._segment.first_example * self._hop_s)
        if self._segment.examples is not None:
            seconds = min(seconds, self._segment.examples * self._hop_s)
        return seconds

    def _failed(self, reason: str, message: str, skipped: bool = False) -> protocol.Failed:
        return protocol.Failed(self.position, reason, message, skipped)

    def _too_long(self, seconds: float) -> protocol.Failed | None:
        if self._max_s is None or seconds <= self._max_s:
            return None
        return self._failed(
            "too_long", f"the clip lasts {show(seconds)} or more, above the limit of {show(self._max_s)}"
        )

    def _too_short(self, seconds: float) -> protocol.Failed:
        message = (
            f"the clip lasts {show(seconds)}, an example needs {show(params.EXAMPLE_SAMPLES / params.SAMPLE_RATE)}"
        )
        return self._failed("too_short", message, self._skip_short)

    def _past_end(self, stop: int) -> protocol.Failed:
        clip = self._segment.clip
        audio_s = (stop + self._lead) / self._source.sample_rate_hz
        if clip.end_s is None:
            message = f"the clip starts at {show(clip.start_s)}, its file ends at {show(audio_s)}"
        elif clip.cut:
            message = f"the clip ends at {show(clip.end_s)}, its file at {show(audio_s)}"
        else:
            message = f"the clip should last {show(clip.end_s - clip.start_s)}, its file holds {show(audio_s)}"
        return self._failed("past_end", message)


def _frame(seconds: float, rate: int) -> int:
    """A time that may be beyond any file's end -> the sample frame."""
    return round(min(seconds, MOST_S) * rate)


def show(seconds: float) -> str:
    """Seconds for people, to the millisecond."""
    return f"{round(seconds, 3):.12g} s"


def min_known(*values: int | None) -> int | None:
    """The least of those that are known."""
    return min((value for value in values if value is not None), default=None)
