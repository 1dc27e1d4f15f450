"""The steps from examples to row files, as DoFns: they set up, call what they name, and count."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from pipeline import counters, settings
from pipeline.embedding import embed
from pipeline.output.journal.held import within
from pipeline.output.journal.writer import KEEP_S, RowPlace, RowWriter
from pipeline.output.made_with import made_with
from pipeline.output.shards import ShardInput
from pipeline.running import counts
from pipeline.types import Embedding, ExampleBlock, Extracted, Failure, Outcome, RowsRef, SegmentEnd

FOUND = ("find", "plan")
"""Stages of failures that the plan holds: they go to their shards as they are."""


class EmbedDoFn(beam.DoFn):
    """Extracted items -> outcomes; batches are filled across the clips of a bundle; anything else passes.

    Args:
      model, hop_seconds: of the job.
      progress_dir: where tallies are left; None: nowhere.
    """

    def __init__(self, model: settings.Model, hop_seconds: float, progress_dir: str | None) -> None:
        self._model = model
        self._hop_seconds = hop_seconds
        self._progress_dir = progress_dir
        self._batches = counters.BATCHES.metric()
        self._examples = counters.EMBEDDED.metric()
        self._fill = counters.BATCH_FILL.metric()
        self._milliseconds = counters.INFERENCE_MS.metric()

    def setup(self) -> None:
        self._worker = embed.shared_worker(self._model)
        self._tally = counts.WorkerTally(self._progress_dir)

    def start_bundle(self) -> None:
        self._session = embed.EmbeddingStream(self._worker, self._count)

    def process(self, item: Extracted | ShardInput) -> Iterator[Outcome | ShardInput]:
        self._note(item)
        if isinstance(item, ExampleBlock):
            for block in missing(item):
                yield from self._session.push(block)
        elif isinstance(item, SegmentEnd | Failure):
            yield from self._session.push(item)
        else:
            yield item

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for outcome in self._session.finish():
            yield WindowedValue(outcome, MIN_TIMESTAMP, [GlobalWindow()])
        self._tally.flush()

    def _note(self, item: Extracted | ShardInput) -> None:
        if isinstance(item, Failure):
            self._tally.add(clips=1, failed=0 if item.skipped else 1)
        elif isinstance(item, SegmentEnd):
            self._tally.add(clips=int(item.last))

    def _count(self, rows: int, seconds: float) -> None:
        self._tally.add(examples=rows, audio_s=rows * self._hop_seconds)
        self._batches.inc()
        self._examples.inc(rows)
        self._fill.update(rows)
        self._milliseconds.update(round(seconds * 1000))


def missing(block: ExampleBlock) -> Iterator[ExampleBlock]:
    """A block -> what of it is not in row files."""
    first, stop = block.first_example, block.first_example + len(block.examples)
    begin = first
    for start, end in within(block.segment.held, first, stop):
        if begin < start:
            yield replace(block, first_example=begin, examples=block.examples[begin - first : start - first])
        begin = end
    if begin == first:
        yield block
    elif begin < stop:
        yield replace(block, first_example=begin, examples=block.examples[begin - first :])


class WriteRowsDoFn(beam.DoFn):
    """Outcomes -> parts of row files that hold them; what else a shard is made of passes.

    Args:
      place: where they go.
    """

    def __init__(self, place: RowPlace) -> None:
        self._place = place
        self._writer: RowWriter | None = None
        self._files = counters.ROW_PARTS.metric()

    def setup(self) -> None:
        self._made_with = made_with(self._place.engine)
        self._began = time.monotonic()

    def teardown(self) -> None:
        self._give_up()

    def start_bundle(self) -> None:
        self._give_up()  # of a bundle that failed, if any
        self._writer = RowWriter(self._place, self._made_with, self._began)

    def process(self, item: Outcome | ShardInput) -> Iterator[ShardInput]:
        assert self._writer is not None
        if isinstance(item, Embedding | SegmentEnd) or (isinstance(item, Failure) and item.stage not in FOUND):
            yield from self._counted(self._writer.add(item))
        else:
            yield item

    def finish_bundle(self) -> Iterator[WindowedValue]:
        assert self._writer is not None
        for part in self._counted(self._writer.close()):
            yield WindowedValue(part, MIN_TIMESTAMP, [GlobalWindow()])
        self._writer = None

    def _counted(self, parts: Iterator[RowsRef]) -> Iterator[RowsRef]:
        for part in parts:
            self._files.inc()
            yield part

    def _give_up(self) -> None:
        if self._writer is not None:
            self._writer.leave().join(KEEP_S)
            self._writer = None
