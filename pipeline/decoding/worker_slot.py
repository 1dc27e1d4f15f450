"""A slot for one decoder process after the other, which gets a request done whatever happens to them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from pipeline.decoding import protocol
from pipeline.decoding.decoder_client import Decoder, DecoderError
from pipeline.types import DecodeRequest, ExampleBlock, Excerpt, Extracted, Failure, Probe, Segment, SegmentEnd

READINGS_A_PROCESS = 1000
"""After so many a process is replaced, in case a decoding library leaks."""
TIME_OUTS_A_READING = 2
"""After so many the rest of a request is given up: each costs minutes, and they are one file."""


class ResultSink(Protocol):
    """Where results go."""

    cancelled: bool

    def put(self, item: Extracted | Probe | Excerpt) -> None:
        """Take a result; blocks while the queue is full; raises `CancelledError` if nobody wants it."""


class WorkerSlot:
    """A place for one decoder process after the other.

    Args:
      start: gives a new process.
    """

    def __init__(self, start: Callable[[], Decoder]) -> None:
        self._start = start
        self._decoder: Decoder | None = None
        self._readings = 0

    def decoder(self) -> Decoder:
        """The process for the next request. Raises `DecoderStartError`."""
        self._readings += 1
        if self._decoder is not None and (self._readings > READINGS_A_PROCESS or not self._decoder.running):
            self._decoder.end()
            self._decoder = None
        if self._decoder is None:
            self._decoder = self._start()
            self._readings = 1
        return self._decoder

    def end(self) -> None:
        """Let an idle process end."""
        if self._decoder is not None:
            self._decoder.end()
            self._decoder = None

    def kill(self) -> None:
        """End a process in the middle of a request."""
        if self._decoder is not None:
            self._decoder.kill()
            self._decoder = None


def answer(question: protocol.ProbeRequest | protocol.ExcerptRequest, slot: WorkerSlot, results: ResultSink) -> None:
    """Put what the header of a file says, or an excerpt; nothing, if that cannot be had, were it because the process
    dies of it.

    Raises:
      DecoderStartError, CancelledError: as `Run.read`.
    """
    try:
        decoder = slot.decoder()
        decoder.ask(question)
        while not isinstance(message := decoder.receive(lambda: results.cancelled), protocol.Done):
            if isinstance(message, protocol.Probed):
                results.put(Probe(message.frames, message.sample_rate_hz, message.seekable))
            elif isinstance(message, protocol.Excerpted):
                results.put(Excerpt(message.mp3, message.missing))
    except DecoderError:
        slot.kill()


class RequestRun:
    """One request on its way through a slot. Segments are named by their position in the request.

    A fault of the process costs the segments that it was request. Those that come later in the file go to a fresh
    process. Where several overlap at the fault, each is tried again alone, once; what was delivered of it is not
    delivered again, for decoding is deterministic. So there are at most two processes a segment.

    Attributes:
      busy_s: seconds that the processes worked.
    """

    def __init__(self, request: DecodeRequest, slot: WorkerSlot, results: ResultSink) -> None:
        self.busy_s = 0.0
        self._reading = request
        self._slot = slot
        self._results = results
        self._over: set[int] = set()
        self._delivered = [0] * len(request.segments)
        self._time_outs = 0

    def read(self) -> None:
        """Put all results.

        Raises:
          DecoderStartError: if there is no process to read with.
          CancelledError: if nobody wants the results; the process may be in the middle of the request.
        """
        parts = deque([list(range(len(self._reading.segments)))])
        while parts:
            part = parts.popleft()
            attempt = _Attempt(self._reading, part)
            try:
                self._follow(attempt)
            except DecoderError as fault:
                self._slot.kill()
                left = [position for position in part if position not in self._over]
                parts.extend(self._judge(fault, attempt, left, parts))

    def _judge(
        self, fault: DecoderError, attempt: _Attempt, left: list[int], parts: deque[list[int]]
    ) -> list[list[int]]:
        """Fail the segments at fault; returns what is to be tried again."""
        self._time_outs += fault.reason == "timed_out"
        if self._time_outs >= TIME_OUTS_A_READING:
            left += [position for part in parts for position in part]
            parts.clear()
            self._fail(left, fault)
            return []
        active = [position for position in left if position in attempt.active]
        if not active:  # before the first segment: the file itself
            self._fail(left, fault)
            return []
        rest = [position for position in left if position not in active]
        again = [rest] if rest else []
        if len(active) > 1:
            return [[position] for position in active] + again
        self._fail(active, fault)
        return again

    def _fail(self, positions: list[int], fault: DecoderError) -> None:
        for position in positions:
            self._over.add(position)
            self._results.put(Failure(self._reading.segments[position].clip, "extract", fault.reason, fault.message))

    def _follow(self, attempt: _Attempt) -> None:
        """Have a process read an attempt's segments, and put what it sends. Raises `DecoderError`."""
        decoder = self._slot.decoder()
        decoder.ask(attempt.request)
        while True:
            message = decoder.receive(lambda: self._results.cancelled)
            if isinstance(message, protocol.Done):
                self.busy_s += message.busy_s
                attempt.check_done()
                return
            if isinstance(message, protocol.Ready | protocol.Alive | protocol.Probed | protocol.Excerpted):
                continue
            position, segment = attempt.check(message)
            if isinstance(message, protocol.Block):
                examples = decoder.receive_examples(message)
                self._deliver(ExampleBlock(segment, message.first_example, examples), position)
            elif not isinstance(message, protocol.Started):
                self._over.add(position)
                self._results.put(_outcome(message, segment))

    def _deliver(self, block: ExampleBlock, position: int) -> None:
        """Put what of a block was not put before."""
        end = block.first_example + len(block.examples) - block.segment.first_example
        fresh = end - self._delivered[position]
        if fresh <= 0:
            return
        self._delivered[position] = end
        first = block.segment.first_example + end - fresh
        self._results.put(ExampleBlock(block.segment, first, block.examples[-fresh:]))


class _Attempt:
    """Requests to one process, whose answers are checked, because its memory may be damaged.

    Attributes:
      request: some of a request's segments.
      active: positions of the segments that it is reading.
    """

    def __init__(self, whole: DecodeRequest, part: list[int]) -> None:
        self.request = replace(whole, segments=tuple(whole.segments[position] for position in part))
        self.active: list[int] = []
        self._part = part
        self._seen = [0] * len(part)
        self._over: set[int] = set()

    def check(
        self, message: protocol.Started | protocol.Block | protocol.Ended | protocol.Failed
    ) -> tuple[int, Segment]:
        """A message -> the position in the whole request of the segment it is about, and the segment."""
        index = message.segment
        if index >= len(self._part) or index in self._over:
            raise _nonsense(message)
        if isinstance(message, protocol.Started):
            self.active.append(self._part[index])
        elif isinstance(message, protocol.Block):
            if message.first_example != self.request.segments[index].first_example + self._seen[index]:
                raise _nonsense(message)
            self._seen[index] += message.count
        else:
            if isinstance(message, protocol.Ended) and message.examples != self._seen[index]:
                raise _nonsense(message)
            self._over.add(index)
            self.active = [position for position in self.active if position != self._part[index]]
        return self._part[index], self.request.segments[index]

    def check_done(self) -> None:
        if len(self._over) < len(self._part):
            raise DecoderError("crashed", "the decoder process left out a segment")


def _nonsense(message: protocol.Message) -> DecoderError:
    return DecoderError("crashed", f"the decoder process sent what does not fit: {message}")


def _outcome(message: protocol.Ended | protocol.Failed, segment: Segment) -> SegmentEnd | Failure:
    """A decoder's final message about a segment -> what travels on."""
    if isinstance(message, protocol.Failed):
        return Failure(segment.clip, "extract", message.reason, message.message, message.skipped)
    return SegmentEnd(
        segment.clip,
        segment.index,
        segment.count,
        message.examples,
        message.audio_s,
        message.sample_rate_hz,
        message.channels,
        message.format,
        message.silent,
        message.damaged,
        segment.first_example,
        segment.last,
    )
