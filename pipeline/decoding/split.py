"""Requests of long files -> requests of their parts, which workers take up in parallel.

How long a file is stands in its header, and headers are hostile too: decoder processes read them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from pipeline.corpus import plan, plan_file
from pipeline.decoding import decoders
from pipeline.decoding.pending import PendingProbe
from pipeline.settings import Decoding, FrontEnd
from pipeline.types import DecodeRequest, UnitRef


class Splitter:
    """Units go in, and come out as they were or in parts; the next headers are read meanwhile.

    Args:
      pool: reads headers.
      segment_seconds: the most audio of a part.
      hop_frames: from one example to the next.
      depth: how many headers are asked for beyond the one that is waited for.
    """

    def __init__(self, pool: decoders.DecoderPool, segment_seconds: float, hop_frames: int, depth: int) -> None:
        self._pool = pool
        self._segment_seconds = segment_seconds
        self._hop_frames = hop_frames
        self._depth = depth
        self._asked: deque[tuple[UnitRef, DecodeRequest, PendingProbe]] = deque()

    def push(self, element: UnitRef) -> Iterator[UnitRef | DecodeRequest]:
        """A unit -> what is ready: itself if there is nothing to ask, else parts of those that were pushed before."""
        if not element.asks:
            yield element
            return
        (request,) = plan_file.load(element).requests
        self._asked.append((element, request, self._pool.probe(request.uri, place=request.place)))
        yield from self._take(self._depth)

    def drain(self) -> Iterator[UnitRef | DecodeRequest]:
        """The rest."""
        yield from self._take(0)

    def close(self) -> None:
        """Discards results not yet taken."""
        while self._asked:
            self._asked.popleft()[2].close()

    def _take(self, keep: int) -> Iterator[UnitRef | DecodeRequest]:
        while len(self._asked) > keep:
            element, request, probing = self._asked.popleft()
            for part in plan.split(request, probing.result(), self._segment_seconds, self._hop_frames):
                yield element if part is request else part


class SplitDoFn(beam.DoFn):
    """Units -> the same, or requests of at most `segment_seconds` each where files can be split; all else passes.

    Args:
      front_end, decoding: as in a `Job`.
    """

    def __init__(self, front_end: FrontEnd, decoding: Decoding) -> None:
        self._front_end = front_end
        self._decoding = decoding
        self._splitter: Splitter | None = None

    def setup(self) -> None:
        self._pool = decoders.shared_pool(self._front_end, self._decoding)

    def teardown(self) -> None:
        self._give_up()
        decoders.release_pool(self._pool)

    def start_bundle(self) -> None:
        self._give_up()  # of a bundle that failed, if any
        depth = 2 * self._pool.decoding.processes
        self._splitter = Splitter(self._pool, self._decoding.segment_seconds, self._front_end.hop_frames, depth)

    def process(self, element: plan_file.Item) -> Iterator[plan_file.Item | DecodeRequest]:
        if not isinstance(element, UnitRef):
            yield element
            return
        assert self._splitter is not None
        yield from self._splitter.push(element)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        assert self._splitter is not None
        for request in self._splitter.drain():
            yield WindowedValue(request, MIN_TIMESTAMP, [GlobalWindow()])

    def _give_up(self) -> None:
        if self._splitter is not None:
            self._splitter.close()
            self._splitter = None
