"""`WriteEmbeddings`: a Beam pipeline's elements -> a finished data set, by the command's journal, shards and commit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindows
from apache_beam.typehints.decorators import TypeCheckError

from pipeline import storage
from pipeline.corpus import plan_file
from pipeline.output import commit, lock, resume, shards
from pipeline.output.journal import rows
from pipeline.output.journal.writer import RowPlace
from pipeline.output.layout import OutputError, explained
from pipeline.output.shards import ShardInput
from pipeline.running import display
from pipeline.running.clips.asked import fields_of, is_any, members
from pipeline.running.clips.elements import Totals
from pipeline.running.clips.origin import Origin, settings_of
from pipeline.running.clips.rows import GIVEN, ClipRowsDoFn
from pipeline.running.coders import Travelling
from pipeline.running.transforms import with_shard
from pipeline.settings import PIECE_S, Job, Output
from pipeline.types import RecordFormat, RowsRef, ShardEntry, StagedShard

Staged = tuple[int, tuple[bytes, int]]
"""0, and a staged shard as JSON with the number of elements in it; or no shard, with the number of those given."""
_BEGUN = "begun"


class WriteEmbeddings(beam.PTransform):
    """PCollection of `EmbeddedClip`s, or of them and of `FailedClip`s -> a finished data set; gives its `Totals`.

    Takes one PCollection, or several as a tuple or a dict, so what `EmbedAudio` gives. The data set is what the command
    makes: records in shards by their ids, ledgers, `failures.jsonl`, and a manifest, which the last step commits. Until
    then what was there before is read; a pipeline that fails leaves it as it was. For the same clips and settings,
    shards are the command's, byte for byte. In a directory that holds a data set of the same settings, clips of the
    same id and times are replaced, others stay.

    Each element is one record or one line of `failures.jsonl`: what is no clip, too. Labels are sorted. Clips without
    times begin at 0, and end where their embeddings do.

    Args:
      directory: the output's path or URI, as of the command.
      made_with: what made the embeddings: an `EmbedAudio`, its arguments by name, or the data set or released records
        that they were read from. The manifest says it, and a directory made with something else is refused.
      record_format: "audioset", "youtube8m" or "youtube8m_video".
      num_shards: the command takes one for 1,000 clips.
      piece_seconds: workers write what they have at least so often.

    Raises:
      ValueError: a setting that does not exist.
      OriginError, WeightsError, CheckpointError, PcaError: when applied: `made_with` cannot be used.
      OutputError: when applied: the directory cannot be written, holds something else, or was made otherwise.
      TypeCheckError, ValueError: when applied: a PCollection of something else, or an unbounded one.

    Errors that end the pipeline: `OutputError` and its kinds, for a directory that is in use, or as above by then; for
    embeddings of another kind than `made_with` says; for a clip that comes twice.
    """

    def __init__(
        self,
        directory: str,
        made_with: Origin,
        *,
        record_format: RecordFormat = "audioset",
        num_shards: int = 1,
        piece_seconds: float = PIECE_S,
    ) -> None:
        super().__init__()
        if num_shards < 1:
            raise ValueError(f"num_shards is {num_shards}, not a number above 0")
        self.output = Output(storage.absolute(directory), num_shards, record_format)
        self.made_with = made_with
        self.piece_seconds = piece_seconds

    def display_data(self) -> display.Shown:
        return display.of_output(self.output)

    def expand(self, clips: beam.PCollection | Iterable[beam.PCollection] | Mapping[str, beam.PCollection]) -> Any:
        given = _by_name(clips)
        for pcollection in given.values():
            _expect_clips(pcollection)
        front_end, model = settings_of(self.made_with)
        job = Job(self.output, model, front_end)
        resume.inspect(self.output.directory, job)
        place = RowPlace(self.output.directory, job.fingerprint(), self.output.num_shards, self.piece_seconds)
        root = next(iter(given.values())).pipeline
        begun = root | "Start" >> beam.Impulse() | "Begin" >> _typed(beam.FlatMap(begin, job), _BEGUN)
        parts, counts = [begun.entries], [begun[_BEGUN]]
        for name, pcollection in given.items():
            write = _typed(beam.ParDo(ClipRowsDoFn(place, front_end, model.embeddings)), GIVEN)
            found = (
                pcollection | f"Window {name}" >> beam.WindowInto(GlobalWindows()) | f"Write rows of {name}" >> write
            )
            parts.append(found.entries)
            counts.append(found[GIVEN])
        staged = (
            tuple(parts)
            | "Pieces" >> beam.Flatten()
            | "Key by shard" >> beam.Map(with_shard, job.output.num_shards).with_output_types(tuple[int, Travelling])
            | "Group by shard" >> beam.GroupByKey()
            | "Write shard"
            >> beam.Map(write_shard, job.output, commit.attempt_of(place.fingerprint)).with_output_types(Staged)
        )
        return (
            (staged, *counts)
            | "All together" >> beam.Flatten()
            | "Group all" >> beam.GroupByKey()
            | "Commit" >> beam.Map(commit_written, self.output.directory).with_output_types(Totals)
        )


def _typed(step: beam.ParDo, tag: str) -> Any:
    """A step -> the same with outputs `entries`, of what shards are made of, and a tagged one of `Staged`."""
    return step.with_output_types(Travelling, **{tag: Staged}).with_outputs(tag, main="entries")


def _by_name(clips: Any) -> Mapping[str, beam.PCollection]:
    if isinstance(clips, beam.PCollection):
        return {"clips": clips}
    if isinstance(clips, Mapping):
        return clips
    return {f"clips {number}": pcollection for number, pcollection in enumerate(clips)}


def _expect_clips(pcollection: beam.PCollection) -> None:
    if not pcollection.is_bounded:
        raise ValueError("WriteEmbeddings makes a finished data set, and an unbounded PCollection never ends")
    for kind in members(pcollection.element_type):
        fields = fields_of(kind)
        if not (is_any(kind) or {"id", "embeddings", "dtype"} <= fields or {"id", "reason"} <= fields):
            what = "WriteEmbeddings takes EmbeddedClips and FailedClips"
            raise TypeCheckError(f"{what}; this PCollection is declared, or inferred, to be of {kind}")


def begin(_: bytes, job: Job) -> Iterator[Any]:
    """The pipeline's impulse -> the shards that the output holds; it is ready to be written to then.

    Raises:
      OutputError: it cannot be written, is in use, or was made with other settings.
    """
    with lock.Lock(job.output.directory):
        try:
            found = resume.start(job.output.directory, job).manifest
        except resume.SettingsDiffer as error:  # Beam makes a step's errors again, of their two texts
            raise OutputError(error.found, error.remedy) from error
    yield from found.shards
    yield beam.pvalue.TaggedOutput(_BEGUN, (0, (b"", 0)))


def write_shard(group: tuple[int, Iterable[ShardInput]], output: Output, attempt: str) -> Staged:
    """All pieces of a shard -> what was staged of it, and how many elements it is of."""
    index, pieces = group
    found = list(pieces)
    count = expect_once(output, [piece for piece in found if isinstance(piece, RowsRef)])
    if count or not any(isinstance(piece, ShardEntry) for piece in found):
        return 0, (plan_file.to_line(shards.write_shard(output, index, found, attempt)), count)
    return 0, (b"", 0)  # nothing changes


def expect_once(output: Output, parts: Iterable[RowsRef]) -> int:
    """A shard's parts of row files -> how many clips they hold; each must be there once.

    Raises:
      OutputError: one was given twice; names it.
    """
    timeless = output.record_format != "audioset"
    seen: Counter[Any] = Counter()
    with explained(output.directory, "reading finished rows"):
        for _, of_file in groupby(sorted(parts, key=lambda part: (part.name, part.offset_bytes)), lambda ref: ref.name):
            for found in rows.read(output.directory, *of_file):
                key = found.clip.id if timeless and not found.failures else found.clip.key
                seen[key] += len(found.endings) + len(found.failures)
    twice = [key for key, times in seen.items() if times > 1]
    if twice:
        shown = f"{min(twice, key=str)!r}" + (f" and {len(twice) - 1} others" if len(twice) > 1 else "")
        times = ", whatever their times: these records have none" if timeless else " and times"
        raise OutputError(
            f"{output.directory}: {shown} was given more than once",
            f"Give each clip once: nothing tells clips of the same id{times} apart",
        )
    return len(seen)


def commit_written(group: tuple[int, Iterable[tuple[bytes, int]]], directory: str) -> Totals:
    """All staged shards, and how many elements were given -> the totals of the data set that they complete.

    An engine that tries this again finds it done, or does the rest of it.

    Raises:
      OutputError: not all that was given is there, or the output was changed meanwhile.
    """
    staged: dict[str, tuple[StagedShard, int]] = {}
    given = 0
    for line, count in group[1]:
        if line:
            shard = plan_file.from_line(line)
            staged.setdefault(shard.entry.name, (shard, count))
        else:
            given += count
    written = sum(count for _, count in staged.values())
    if given != written:
        raise OutputError(
            f"{directory}: {given} clips were given, the shards hold {written} of them",
            "Run the pipeline again. If this persists, report it.",
        )
    with lock.Lock(directory):
        done = commit.finish(directory, [shard for shard, _ in staged.values()])
    return Totals(**done.totals)  # type: ignore[arg-type]
