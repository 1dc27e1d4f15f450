"""Readings of long files -> readings of their parts, which workers take up in parallel.

How long a file is stands in its header, and headers are hostile too: decoder processes read them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from pipeline import plan
from pipeline.decoding import decoders
from pipeline.decoding.orders import Probing
from pipeline.inputs import plan_file
from pipeline.settings import Decoding, FrontEnd
from pipeline.types import Failure, Reading, ReadingRef


class Splitter:
    """Readings go in, and come out as they were or in parts; the next headers are read meanwhile.

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
        self._asked: deque[tuple[Reading | ReadingRef, Reading, Probing]] = deque()

    def push(self, element: Reading | ReadingRef) -> Iterator[Reading | ReadingRef]:
        """A reading -> what is ready: itself if it is short, else parts of those that were pushed before."""
        reading = plan_file.load(element) if isinstance(element, ReadingRef) else element
        long = any(plan.needs_probe(segment.clip, self._segment_seconds) for segment in reading.segments)
        if not (long or plan.is_scattered(reading, self._segment_seconds)):
            yield element
            return
        self._asked.append((element, reading, self._pool.probe(reading.uri)))
        yield from self._take(self._depth)

    def drain(self) -> Iterator[Reading | ReadingRef]:
        """The rest."""
        yield from self._take(0)

    def close(self) -> None:
        """Give up what was not taken."""
        while self._asked:
            self._asked.popleft()[2].close()

    def _take(self, keep: int) -> Iterator[Reading | ReadingRef]:
        while len(self._asked) > keep:
            element, reading, probing = self._asked.popleft()
            for part in plan.split(reading, probing.result(), self._segment_seconds, self._hop_frames):
                yield element if part is reading else part


class SplitDoFn(beam.DoFn):
    """`Reading`s -> `Reading`s of at most `segment_seconds` each, where files can be split; failures pass unchanged.

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

    def process(self, element: Reading | ReadingRef | Failure) -> Iterator[Reading | ReadingRef | Failure]:
        if not isinstance(element, Reading | ReadingRef):
            yield element
            return
        assert self._splitter is not None
        yield from self._splitter.push(element)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        assert self._splitter is not None
        for reading in self._splitter.drain():
            yield WindowedValue(reading, MIN_TIMESTAMP, [GlobalWindow()])

    def _give_up(self) -> None:
        if self._splitter is not None:
            self._splitter.close()
            self._splitter = None
