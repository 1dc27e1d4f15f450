"""Requests -> log-mel examples; the next requests are decoded while the last ones are embedded."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from pipeline import counters, extras, storage
from pipeline.corpus import plan_file
from pipeline.decoding import decoders
from pipeline.decoding.contents import Contents
from pipeline.decoding.pending import PendingRequest
from pipeline.settings import Decoding, FrontEnd
from pipeline.types import DecodeRequest, ExampleBlock, Extracted, Failure, SegmentEnd, UnitRef

Element = plan_file.Item | DecodeRequest
"""What comes: of units only their places, and what is no audio."""


class _Known:
    """What is known of a request before any decoder sees it, in place of its results."""

    busy_s = 0.0

    def __init__(self, failures: Iterable[Failure]) -> None:
        self._failures = failures

    def __iter__(self) -> Iterator[Failure]:
        return iter(self._failures)

    def close(self) -> None:
        """Nothing waits."""


class LookAhead:
    """Requests go in, results come out in the order of the requests, up to `depth` requests later.

    Attributes:
      busy_s: seconds that decoders spent on requests that are finished.
    """

    def __init__(self, pool: decoders.DecoderPool, depth: int) -> None:
        self.busy_s = 0.0
        self._pool = pool
        self._depth = depth
        self._pending: deque[PendingRequest | _Known] = deque()
        self._contents = Contents()
        self._given_up = False

    def push(self, request: DecodeRequest) -> Iterator[Extracted]:
        """Submit a request; the results of those that are more than `depth` behind it."""
        filled = self._contents.with_content(request)
        self._pending.append(self._pool.submit(filled) if isinstance(filled, DecodeRequest) else _Known(filled))
        yield from self._take(self._depth)

    def drain(self) -> Iterator[Extracted]:
        """The results of everything that was submitted."""
        yield from self._take(0)

    def close(self) -> None:
        """Discards results not yet taken; another thread that is taking them gets a `PoolClosedError`."""
        self._given_up = True
        self._contents.close()
        while self._pending:
            self._pending.popleft().close()

    def _take(self, keep: int) -> Iterator[Extracted]:
        while len(self._pending) > keep:
            pending = self._pending[0]  # stays there while it is emptied: `close` has to find it
            yield from pending
            if self._given_up:
                break
            self.busy_s += pending.busy_s
            self._pending.popleft()
        if self._given_up:  # an engine that loses a worker ends the others in the middle of their bundles
            raise decoders.PoolClosedError("the requests were given up before their results were taken")


def extract(pool: decoders.DecoderPool, requests: Iterable[DecodeRequest], lookahead: int) -> Iterator[Extracted]:
    """Requests -> their results in order; `lookahead` further requests are being decoded meanwhile."""
    ahead = LookAhead(pool, lookahead)
    try:
        for request in requests:
            yield from ahead.push(request)
        yield from ahead.drain()
    finally:
        ahead.close()


class ExtractDoFn(beam.DoFn):
    """Units and requests -> `ExampleBlock`s, `SegmentEnd`s and `Failure`s; anything else passes unchanged.

    Results of a request leave with a later one or at the bundle's end, hence in the global window.

    Args:
      front_end, decoding: as in a `PendingRequest`.
      lookahead: requests submitted beyond the one whose results are taken; None: two a decoder process.
    """

    def __init__(self, front_end: FrontEnd, decoding: Decoding, lookahead: int | None = None) -> None:
        self._front_end = front_end
        self._decoding = decoding
        self._lookahead = lookahead
        self._ahead: LookAhead | None = None
        self._examples = counters.DECODED.metric()
        self._audio_ms = counters.AUDIO_MS.metric()
        self._decode_ms = counters.DECODE_MS.metric()
        self._clips = counters.CLIPS.metric()

    def setup(self) -> None:
        self._pool = decoders.shared_pool(self._front_end, self._decoding)
        self._depth = 2 * self._pool.decoding.processes if self._lookahead is None else self._lookahead

    def teardown(self) -> None:
        self._give_up()
        decoders.release_pool(self._pool)

    def start_bundle(self) -> None:
        self._give_up()  # of a bundle that failed, if any
        self._ahead = LookAhead(self._pool, self._depth)

    def process(self, element: Element | Extracted) -> Iterator[Any]:
        if isinstance(element, UnitRef):
            requests = plan_file.load(element).requests
        elif isinstance(element, DecodeRequest):
            requests = (element,)
        else:
            yield element
            return
        for request in requests:
            if not storage.is_local(request.uri):  # of a machine without a package no file is read
                extras.needs_store(request.uri.partition("://")[0])
            assert self._ahead is not None
            for item in self._ahead.push(request):
                self._count(item)
                yield item

    def finish_bundle(self) -> Iterator[WindowedValue]:
        assert self._ahead is not None
        for item in self._ahead.drain():
            self._count(item)
            yield WindowedValue(item, MIN_TIMESTAMP, [GlobalWindow()])
        self._decode_ms.inc(round(self._ahead.busy_s * 1000))

    def _give_up(self) -> None:
        if self._ahead is not None:
            self._ahead.close()
            self._ahead = None

    def _count(self, item: Extracted) -> None:
        """For the run's display; what is reported in the end is counted from what was written."""
        if isinstance(item, ExampleBlock):
            self._examples.inc(len(item.examples))
        elif isinstance(item, SegmentEnd):
            self._audio_ms.inc(round(item.audio_s * 1000))
            self._clips.inc(item.last)
        elif isinstance(item, Failure):
            self._clips.inc()
            counters.of_failure(item).metric().inc()
