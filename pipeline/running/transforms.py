"""The composites of the pipeline: wiring only. What they wire is in the modules they name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from pipeline import settings, storage
from pipeline.corpus import plan, plan_file
from pipeline.decoding.extract import ExtractDoFn
from pipeline.decoding.split import SplitDoFn
from pipeline.embedding import embed
from pipeline.output import partial_rows, shards
from pipeline.output.staged import ShardResult
from pipeline.running import counts
from pipeline.types import Embedding, ExampleBlock, Extracted, Failure, Outcome, Removal, SegmentEnd

RESOURCE_HINTS = ("min_ram=4GB",)
"""The memory requested of engines that choose machines: 2.5 GB to prepare a checkpoint, decoders, Python and Beam.

The network needs it, but the whole graph says it: steps that ask for different things run in different processes, and
examples would cross from one to the other."""


class ExtractExamples(beam.PTransform):
    """Requests, and what passes unchanged -> log-mel examples.

    PCollection[DecodeRequest | Failure | Removal] -> PCollection[Extracted | Removal]. Long requests are split first;
    only references cross the shuffle.
    """

    def __init__(self, front_end: settings.FrontEnd, decoding: settings.Decoding) -> None:
        super().__init__()
        self.front_end = front_end
        self.decoding = decoding

    def expand(self, requests: beam.PCollection) -> beam.PCollection:
        return (
            requests
            | "Split long" >> beam.ParDo(SplitDoFn(self.front_end, self.decoding)).with_output_types(plan_file.Item)
            | "Shuffle references" >> beam.Reshuffle()
            | "Extract" >> beam.ParDo(ExtractDoFn(self.front_end, self.decoding)).with_output_types(Extracted | Removal)
        )


class EmbedDoFn(beam.DoFn):
    """Extracted items -> outcomes; batches are filled across the clips of a bundle.

    Args:
      model, hop_seconds: of the job.
      progress_dir: where tallies are left; None: nowhere.
      place: where finished rows of long clips are kept and found; None: nowhere.
    """

    def __init__(
        self,
        model: settings.Model,
        hop_seconds: float,
        progress_dir: str | None,
        place: partial_rows.Place | None = None,
    ) -> None:
        self._model = model
        self._hop_seconds = hop_seconds
        self._progress_dir = progress_dir
        self._place = place
        self._batches = Metrics.counter("embed", "batches")
        self._examples = Metrics.counter("embed", "examples")
        self._fill = Metrics.distribution("embed", "batch_fill")
        self._milliseconds = Metrics.distribution("embed", "inference_ms")

    def setup(self) -> None:
        self._worker = embed.shared_worker(self._model)
        self._tally = counts.WorkerTally(self._progress_dir)

    def start_bundle(self) -> None:
        self._session = embed.EmbeddingStream(self._worker, self._count)
        self._parts = partial_rows.Parts(self._place) if self._place else None

    def process(self, item: Extracted) -> Iterator[Outcome]:
        self._note(item)
        if self._parts is None or not isinstance(item, ExampleBlock):
            yield from self._kept(self._session.push(item))
            return
        found, missing = self._parts.take(item)
        yield from found
        for block in missing:
            yield from self._kept(self._session.push(block))

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for outcome in self._kept(self._session.finish()):
            yield WindowedValue(outcome, MIN_TIMESTAMP, [GlobalWindow()])
        self._tally.flush()

    def _kept(self, outcomes: Iterable[Outcome]) -> Iterator[Outcome]:
        for outcome in outcomes:
            if self._parts is not None and isinstance(outcome, Embedding):
                self._parts.add(outcome)
            yield outcome

    def _note(self, item: Extracted) -> None:
        if isinstance(item, Failure):
            self._tally.add(clips=1, failed=0 if item.skipped else 1)
        elif isinstance(item, SegmentEnd):
            self._tally.add(clips=int(item.segment == item.segments - 1))

    def _count(self, rows: int, seconds: float) -> None:
        self._tally.add(examples=rows, audio_s=rows * self._hop_seconds)
        self._batches.inc()
        self._examples.inc(rows)
        self._fill.update(rows)
        self._milliseconds.update(round(seconds * 1000))


class EmbedExamples(beam.PTransform):
    """PCollection[Extracted | Removal] -> PCollection[Outcome]."""

    def __init__(
        self,
        model: settings.Model,
        hop_seconds: float = settings.FrontEnd.hop_seconds,
        progress_dir: str | None = None,
        place: partial_rows.Place | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.hop_seconds = hop_seconds
        self.progress_dir = progress_dir
        self.place = place

    def expand(self, items: beam.PCollection) -> beam.PCollection:
        step = beam.ParDo(EmbedDoFn(self.model, self.hop_seconds, self.progress_dir, self.place))
        return items | "Embed" >> step.with_output_types(Outcome)


class WriteShards(beam.PTransform):
    """PCollection[Outcome] -> PCollection of the staged shards' `ShardResult`s."""

    def __init__(self, output: settings.Output, attempt: str) -> None:
        super().__init__()
        self.output = output
        self.attempt = attempt

    def expand(self, outcomes: beam.PCollection) -> beam.PCollection:
        return (
            outcomes
            | "Key by shard" >> beam.Map(with_shard, self.output.num_shards).with_output_types(tuple[int, Outcome])
            | "Group by shard" >> beam.GroupByKey()
            | "Write shard" >> beam.Map(write_shard, self.output, self.attempt)
        )


def with_shard(outcome: Outcome, num_shards: int) -> tuple[int, Outcome]:
    """An outcome -> (index of its clip's shard, the outcome)."""
    return plan.shard_of(outcome.clip.id, num_shards), outcome


def write_shard(group: tuple[int, Iterable[Outcome]], output: settings.Output, attempt: str) -> ShardResult:
    """All outcomes of a shard -> what was staged of it."""
    shard, outcomes = group
    return shards.write_shard(output, shard, outcomes, attempt)


def parts_of(_: bytes, plan_parts: list[bytes]) -> list[bytes]:
    """The pipeline's impulse -> URIs of the plan's parts, as bytes."""
    return plan_parts


def read_part(part: bytes) -> Iterator[plan_file.Item]:
    """A part of the plan -> its items."""
    return plan_file.read(storage.from_bytes(part))


def build(
    root: beam.Pipeline,
    plan_parts: Iterable[str],
    job: settings.Job,
    attempt: str,
    progress_dir: str | None = None,
    keeps_parts: bool = False,
) -> beam.PCollection:
    """The whole graph: URIs of the plan's parts (`pipeline.corpus.plan_file`) -> staged shards.

    `keeps_parts` is for engines that do not recover by themselves: finished rows of long clips outlive a killed run.
    """
    place = partial_rows.Place(job.output.directory, job.fingerprint()) if keeps_parts else None
    parts = list(map(storage.to_bytes, plan_parts))
    outcomes = (
        root
        | "Start" >> beam.Impulse()
        | "Parts of the plan" >> beam.FlatMap(parts_of, parts).with_output_types(bytes)
        | "Read the plan" >> beam.FlatMap(read_part).with_output_types(plan_file.Item)
        | ExtractExamples(job.front_end, job.decoding)
        | EmbedExamples(job.model, job.front_end.hop_seconds, progress_dir, place)
    )
    return outcomes | WriteShards(job.output, attempt)
