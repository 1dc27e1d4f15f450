"""A request -> the examples, endings and failures of its segments, decoded in one pass in this process.

A clip that is cut out of a recording is processed as a waveform of its own, as if it had been cut into its own file;
segments of a long clip are computed on the clip's absolute grid (docs/design.md).
"""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain
from typing import BinaryIO

import numpy as np

from pipeline import storage
from pipeline.corpus import not_audio
from pipeline.decoding import protocol
from pipeline.decoding.opening import Progress, open_file
from pipeline.decoding.segment_decoder import (
    Examples,
    Result,
    SegmentDecoder,
    Source,
    begin,
    ends_split_clip,
    min_known,
)
from pipeline.settings import FrontEnd
from pipeline.storage import containers
from pipeline.types import DecodeRequest, Probe
from vggish_core.audio import AudioError, AudioReader, GapError, open_audio

BLOCK_FRAMES = 1 << 16
"""Sample frames that are decoded at a time."""
DAMAGE = ("corrupt", "truncated")
"""Reasons for which there may be sound before the damage."""
TRIED_SAMPLES = 1 << 20
"""At a file's start, of all channels, in which seeking is tried: two of FLAC's blocks at their largest."""

Item = Result | protocol.Started


def read(request: DecodeRequest, front_end: FrontEnd, progress: Progress) -> Iterator[Item]:
    """A request -> for each segment, named by its position: `Started`, its `Examples`, and `Ended` or `Failed`.

    Segments that overlap in time come interleaved. What is wrong with a file fails the segments that were being read
    at that place; those that come later in a file that seeks exactly are read on their own, behind it. A file in which
    seeking fails, for its table of places is damaged say, is read on from its start instead.
    """
    left = list(range(len(request.segments)))
    started: set[int] = set()
    seeks = True
    while left:
        attempt = _Pass(request, left, front_end, progress, seeks)
        try:
            for item in attempt.read():
                if not isinstance(item, protocol.Started) or item.segment not in started:
                    yield item
                if isinstance(item, protocol.Started):
                    started.add(item.segment)
            return
        except _SeekError:
            left, seeks = attempt.left, False
            continue
        except Exception as error:
            reason, message = explain(error)
            file = containers.file_of(request.uri, request.place)
            if reason == "missing" and (other := storage.look_alike(file)):
                message += f"; {other} looks alike, but its name is another Unicode form"
        failed = attempt.active or left  # none: the file could not even be opened
        if not attempt.exact:
            failed = attempt.left
        yield from attempt.rescue(reason, message)
        failed = [position for position in failed if position in attempt.left]
        yield from (_failed(position, request, reason, message) for position in failed)
        left = [position for position in attempt.left if position not in failed]


def _failed(position: int, request: DecodeRequest, reason: str, message: str) -> protocol.Failed:
    """A fault of the file as a segment's outcome; that text or a picture beside the audio is none is no failure."""
    clip = request.segments[position].clip
    if clip.listed and reason in not_audio.REASONS and not_audio.says_no_audio(clip.uri):
        return protocol.Failed(position, "not_audio", message, skipped=True)
    return protocol.Failed(position, reason, message)


def probe(uri: str, progress: Progress, place: str = "") -> Probe | None:
    """A file -> its header's content; None if it does not open or give its length: reading it will show why.

    `place`: as of `open_file`.
    """
    try:
        with ExitStack() as stack:
            audio = stack.enter_context(open_audio(open_file(uri, stack, progress, place=place)))
            if audio.frames is None:
                return None
            frames, rate = audio.frames, audio.sample_rate_hz
            return Probe(frames, rate, audio.seekable_exactly and _seeks_truly(audio))
    except Exception as error:
        explain(error)
        return None


def _seeks_truly(audio: AudioReader) -> bool:
    """Try, near the start, whether seeking finds what reading does: a damaged FLAC header can have it count wrongly."""
    through = _take(audio, TRIED_SAMPLES // audio.channels)
    middle = len(through) // 2 + 1
    audio.seek(middle)
    return np.array_equal(_take(audio, len(through) - middle), through[middle:])


def _take(audio: AudioReader, count: int) -> np.ndarray:
    """The next samples [<= count, channels], as `AudioReader.blocks` gives them; fewer only at the file's end."""
    parts = [np.empty((0, audio.channels), np.int16)]
    while count > 0 and (block := next(audio.blocks(min(count, BLOCK_FRAMES)), None)) is not None:
        parts.append(block)
        count -= len(block)
    return np.concatenate(parts)


class _SeekError(Exception):
    """A file that should seek does not."""


class _Pass:
    """One opening of the file for some segments of a request.

    Attributes:
      left: segments without an outcome.
      active: those of them that are being read.
      exact: whether the file seeks exactly; False until it is open.
    """

    def __init__(
        self, request: DecodeRequest, positions: list[int], front_end: FrontEnd, progress: Progress, seeks: bool
    ) -> None:
        self.left = positions
        self.active: list[int] = []
        self.exact = False
        self._stretches: list[SegmentDecoder] = []
        self._position = 0
        self._reading = request
        self._front_end = front_end
        self._progress = progress
        self._seeks = seeks

    def read(self) -> Iterator[Item]:
        """All results of the file. Raises its errors."""
        with ExitStack() as stack:
            audio = stack.enter_context(open_audio(self._open(stack)))
            audio.seekable_exactly = self.exact = audio.seekable_exactly and self._seeks
            frames = audio.frames if self.exact else None
            if self._cuts():
                audio.content_sum = None
                audio.keep_clock()
            audio.close_gaps = self._front_end.damaged == "keep" and not self._cuts()
            self._source = Source(audio.sample_rate_hz, audio.channels, audio.format, frames, audio.lead)
            self._look_at_sum(audio)
            yield from self._read(audio)

    def _look_at_sum(self, audio: AudioReader) -> None:
        """Decode the whole file, if its sum is to be found and a split clip ends here: no other part sees all of it.

        Other damage is left to the parts that it concerns.
        """
        ends = any(ends_split_clip(self._reading.segments[position]) for position in self.left)
        if not ends or audio.content_sum is None or not audio.seekable_exactly:
            return
        try:
            for _ in audio.blocks(BLOCK_FRAMES):
                self._progress()
        except AudioError:
            if audio.wrong_sum:
                raise

    def _open(self, stack: ExitStack) -> str | BinaryIO:
        """The request's file, as far as it is wanted."""
        if self._reading.content is not None:
            return io.BytesIO(self._reading.content)
        wanted = None if self._cuts() else self._front_end.max_duration_seconds  # clips may lie anywhere in it
        return open_file(self._reading.uri, stack, self._progress, wanted, self._reading.place)

    def _cuts(self) -> bool:
        return any(segment.clip.cut for segment in self._reading.segments)

    def rescue(self, reason: str, message: str) -> Iterator[Item]:
        """After damage, if what decodes is wanted: the segments that were being read, up to there."""
        if self._front_end.damaged == "fail" or reason not in DAMAGE:
            return
        for stretch in tuple(self._stretches):
            results = list(stretch.finish(self._position, f"{reason}: {message}"))
            if stretch.holds_examples():
                for item in results:
                    yield item if isinstance(item, Examples) else self._over(item)

    def _read(self, audio: AudioReader) -> Iterator[Item]:
        """Samples to whom they belong: each is decoded once, however many stretches it is part of.

        Stretches are made when they are reached: each holds memory, and there may be thousands.
        """
        hop = self._front_end.hop_frames
        begins = {position: begin(self._reading.segments[position], self._source, hop) for position in self.left}
        waiting = deque(sorted(self.left, key=begins.__getitem__))
        request = self._stretches
        while waiting or request:
            while waiting and (not request or begins[waiting[0]] <= audio.position):
                stretch = self._stretch(waiting.popleft())
                if (refusal := stretch.refusal()) is not None:
                    yield self._over(refusal)
                    continue
                # It counts as being read from here on: what is skipped on the way to it is skipped for it.
                yield self._start(stretch)
                if not request:
                    self._go_to(audio, stretch.begin)
                yield from self._take_up(stretch, audio)
            if not request:
                continue
            self._progress()
            # Up to where a stretch begins or ends: what is wrong with a block is wrong with all that are being read.
            nearest = begins[waiting[0]] if waiting else None
            stop = min_known(*(stretch.end for stretch in request), nearest)
            try:
                block = _next_block(audio, stop)
            except GapError as gap:
                for stretch in tuple(request):
                    yield self._drop(stretch, gap)
                continue
            self._position = audio.position
            damaged = audio.damage if audio.close_gaps else ""
            for stretch in tuple(request):
                results = [stretch.push(block, audio.position)] if block is not None else []
                if block is None or stretch.end == audio.position:
                    results.append(stretch.finish(audio.position, damaged))
                for item in chain.from_iterable(results):
                    yield item if isinstance(item, Examples) else self._over(item)
                    if not isinstance(item, Examples):
                        request.remove(stretch)
                        break

    def _stretch(self, position: int) -> SegmentDecoder:
        return SegmentDecoder(position, self._reading.segments[position], self._source, self._front_end)

    def _take_up(self, stretch: SegmentDecoder, audio: AudioReader) -> Iterator[Item]:
        """From here on samples are the stretch's; unless it begins where packets are missing."""
        self._stretches.append(stretch)
        if audio.gap is not None and stretch.begin < audio.position:
            yield self._drop(stretch, audio.gap)

    def _drop(self, stretch: SegmentDecoder, fault: AudioError) -> protocol.Ended | protocol.Failed:
        self._stretches.remove(stretch)
        return self._over(stretch.failed(fault.reason, fault.message))

    def _go_to(self, audio: AudioReader, frame: int) -> None:
        """Go on to a frame, or the file's end: by seeking where that is exact, else by decoding what lies before it."""
        if audio.seekable_exactly and frame != audio.position:
            try:
                audio.seek(frame)
            except AudioError as error:
                raise _SeekError from error
        while audio.position < frame:
            before = audio.position
            audio.seek(min(frame, before + BLOCK_FRAMES))
            if audio.position == before:
                return
            self._progress()

    def _start(self, stretch: SegmentDecoder) -> protocol.Started:
        self.active.append(stretch.position)
        return protocol.Started(stretch.position)

    def _over(self, outcome: protocol.Ended | protocol.Failed) -> protocol.Ended | protocol.Failed:
        self.left.remove(outcome.segment)
        if outcome.segment in self.active:
            self.active.remove(outcome.segment)
        return outcome


def _next_block(audio: AudioReader, stop: int | None) -> np.ndarray | None:
    """The next samples [n, channels] before frame `stop`; n = 0 if that is here; None at the file's end."""
    count = BLOCK_FRAMES if stop is None else min(BLOCK_FRAMES, stop - audio.position)
    if count <= 0:
        return np.empty((0, audio.channels), np.float32)
    return next(audio.blocks(count), None)


def explain(error: Exception) -> tuple[str, str]:
    """An exception -> reason and message of a failure; one that is no file's fault is raised."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MemoryError):  # FFmpeg's own is among the errors that it gives of damaged files
            raise cause
        cause = cause.__cause__
    if isinstance(error, AudioError):
        return error.reason, error.message
    if isinstance(error, storage.DamagedError):
        return "truncated" if error.truncated else "corrupt", error.what
    if isinstance(error, storage.StorageError) and error.not_served:
        return "missing", error.what
    if isinstance(error, storage.TooLargeError):
        return "too_large", error.what
    if isinstance(error, FileNotFoundError):
        return "missing", "no such file"
    if isinstance(error, storage.StorageError) or (isinstance(error, OSError) and error.errno is not None):
        return "unreadable", error.strerror or str(error)
    raise error
