"""The composites of the pipeline: wiring only. What they wire is in the modules they name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import apache_beam as beam

from pipeline import settings, storage
from pipeline.corpus import plan, plan_file
from pipeline.decoding.extract import ExtractDoFn
from pipeline.decoding.split import SplitDoFn
from pipeline.output import commit, lock, shards
from pipeline.output.at_work import submitted
from pipeline.output.journal.writer import RowPlace
from pipeline.output.shards import ShardInput
from pipeline.running import display
from pipeline.running.clips.elements import Totals
from pipeline.running.coders import Local, Travelling
from pipeline.running.steps import EmbedDoFn, WriteRowsDoFn
from pipeline.types import RowsRef, ShardEntry, StagedShard


class ExtractExamples(beam.PTransform):
    """PCollection of units, and of what passes unchanged -> the same, with log-mel examples in place of units.

    Files that may be long are asked first and decoded in parts; only references cross the shuffles.
    """

    def __init__(self, front_end: settings.FrontEnd, decoding: settings.Decoding) -> None:
        super().__init__()
        self.front_end = front_end
        self.decoding = decoding

    def display_data(self) -> display.Shown:
        return display.of_front_end(self.front_end)

    def expand(self, units: beam.PCollection) -> beam.PCollection:
        extract = beam.ParDo(ExtractDoFn(self.front_end, self.decoding))
        return (
            units
            | "Shuffle headers" >> beam.Reshuffle()
            | "Split long" >> beam.ParDo(SplitDoFn(self.front_end, self.decoding)).with_output_types(Travelling)
            | "Shuffle units" >> beam.Reshuffle()
            | "Extract" >> extract.with_output_types(Local)
        )


class EmbedExamples(beam.PTransform):
    """PCollection of extracted items -> PCollection of outcomes; anything else passes."""

    def __init__(
        self,
        model: settings.Model,
        hop_seconds: float = settings.FrontEnd.hop_seconds,
        progress_dir: str | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.hop_seconds = hop_seconds
        self.progress_dir = progress_dir

    def display_data(self) -> display.Shown:
        return display.of_model(self.model)

    def expand(self, items: beam.PCollection) -> beam.PCollection:
        step = beam.ParDo(EmbedDoFn(self.model, self.hop_seconds, self.progress_dir))
        return items | "Embed" >> step.with_output_types(Local)


class WriteShards(beam.PTransform):
    """PCollection of what shards are made of -> PCollection of `StagedShard`s."""

    def __init__(self, output: settings.Output, attempt: str) -> None:
        super().__init__()
        self.output = output
        self.attempt = attempt

    def display_data(self) -> display.Shown:
        return display.of_output(self.output)

    def expand(self, pieces: beam.PCollection) -> beam.PCollection:
        return (
            pieces
            | "Key by shard" >> beam.Map(with_shard, self.output.num_shards).with_output_types(tuple[int, Travelling])
            | "Group by shard" >> beam.GroupByKey()
            | "Write shard" >> beam.Map(write_shard, self.output, self.attempt).with_output_types(Travelling)
        )


def with_shard(piece: ShardInput, num_shards: int) -> tuple[int, ShardInput]:
    """A piece -> (index of its shard, the piece)."""
    if isinstance(piece, RowsRef):
        return piece.shard, piece
    if isinstance(piece, ShardEntry):
        return piece.index, piece
    return plan.shard_of(piece.clip.id, num_shards), piece


def write_shard(group: tuple[int, Iterable[ShardInput]], output: settings.Output, attempt: str) -> StagedShard:
    """All pieces of a shard -> what was staged of it."""
    shard, pieces = group
    return shards.write_shard(output, shard, pieces, attempt)


@dataclass(frozen=True)
class Commit:
    """What the last step of a job needs to know.

    Attributes:
      clips_in: clips that the output will account for.
      token: of the lock that the job was started under.
      made_with: versions, processors and engines of earlier runs whose rows are used.
      noted: the job has a note in the output, which goes when it ends.
    """

    clips_in: int
    token: str
    made_with: tuple[dict[str, Any], ...] = ()
    noted: bool = False


class CommitShards(beam.PTransform):
    """PCollection of all `StagedShard`s -> the finished data set; gives the totals of its manifest."""

    def __init__(self, output: settings.Output, end: Commit) -> None:
        super().__init__()
        self.output = output
        self.end = end

    def display_data(self) -> display.Shown:
        return {**display.of_output(self.output), "clips": self.end.clips_in}

    def expand(self, staged: beam.PCollection) -> beam.PCollection:
        return (
            staged
            | "All together" >> beam.Map(lambda shard: (0, shard)).with_output_types(tuple[int, Travelling])
            | "Group all" >> beam.GroupByKey()
            | "Commit" >> beam.Map(commit_shards, self.output.directory, self.end).with_output_types(Totals)
        )


def commit_shards(group: tuple[int, Iterable[StagedShard]], directory: str, end: Commit) -> Totals:
    """All staged shards of a job -> the totals of the data set that they complete.

    An engine that tries this again finds it done, or does the rest of it.
    """
    lock.expect(directory, end.token)
    totals = commit.finish(directory, group[1], end.clips_in, end.made_with).totals
    if end.noted:
        with suppress(OSError):  # whoever reads the note later asks the engine
            submitted.remove(directory)
    return Totals(**totals)  # type: ignore[arg-type]


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
    rows: RowPlace,
    end: Commit | None,
    progress_dir: str | None = None,
) -> beam.PCollection:
    """The whole graph: URIs of the plan's parts (`pipeline.corpus.plan_file`) -> the finished data set.

    With no `end`, of a task of an array: row files.
    """
    parts = list(map(storage.to_bytes, plan_parts))
    pieces = (
        root
        | "Start" >> beam.Impulse()
        | "Parts of the plan" >> beam.FlatMap(parts_of, parts).with_output_types(bytes)
        | "Shuffle parts" >> beam.Reshuffle()
        | "Read the plan" >> beam.FlatMap(read_part).with_output_types(Travelling)
        | ExtractExamples(job.front_end, job.decoding)
        | EmbedExamples(job.model, job.front_end.hop_seconds, progress_dir)
        | "Write rows" >> beam.ParDo(WriteRowsDoFn(rows)).with_output_types(Travelling)
    )
    if end is None:
        return pieces
    return pieces | WriteShards(job.output, attempt) | CommitShards(job.output, end)
