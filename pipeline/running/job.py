"""Work on a corpus -> a finished data set, or an array task's row files: one graph, on any engine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from pipeline import storage
from pipeline.corpus import buckets, plan, plan_file, units
from pipeline.output import commit
from pipeline.output.journal import held
from pipeline.output.journal.held import HeldClip
from pipeline.output.journal.writer import RowPlace
from pipeline.output.layout import PLAN, explained, join
from pipeline.output.manifest import Manifest
from pipeline.output.work import Work, compare, together, without_held
from pipeline.running.engines.runners import Engine
from pipeline.settings import Job, Update
from pipeline.types import Clip, Corpus, Removal, RowsRef, Segment


def work_on(
    job: Job, corpus: Corpus, update: Update, there: held.Files, manifest: Manifest | None, retry_held: bool = True
) -> Work:
    """The corpus less what committed shards and row files hold; compared by ranges of shards, in little memory.

    Args:
      job, corpus, update: as `embed_corpus`.
      there: the output's row files.
      manifest: of the output; None: it is not begun.
      retry_held: failures in row files, too, are tried again if any are.

    Raises:
      OutputError: what is there cannot be read.
    """
    directory, num_shards = job.output.directory, job.output.num_shards
    timed = job.output.record_format == "audioset"
    if manifest is None:
        return compare(corpus, ())
    most = max(len(corpus.clips) + len(corpus.failures), int(manifest.totals["clips_in"]))
    number = buckets.number_of(most, num_shards)
    clips = buckets.by_shard(corpus.clips, lambda clip: clip, num_shards, number)
    failures = buckets.by_shard(corpus.failures, lambda failure: failure.clip, num_shards, number)

    def parts() -> Iterator[Work]:
        for bucket in range(number):
            among = buckets.shards_of(bucket, num_shards, number)
            found = held.look(directory, there.parts(among))
            entries = commit.committed_ledger(directory, manifest, among)
            part = Corpus(clips[bucket], failures[bucket])
            work = compare(part, entries, update.retry_failed, update.prune, found.succeeded(), timed)
            yield without_held(work, found, update.retry_failed and retry_held)

    with explained(directory, "reading the ledgers"):
        return together(parts())


COUNTED_BYTES = 1 << 28
"""Of row files that a stopped command reads again to say how many clips they hold: a second or two."""


def kept_now(job: Job, work: Work) -> int | None:
    """Of the clips that an output will account for, those that shards and row files hold by now, while a part of `work`
    is done; None where there are no row files, or counting would take long. Raises OutputError."""
    directory, shards = job.output.directory, range(job.output.num_shards)
    if not storage.is_local(directory):
        return None
    parts = held.files_of(directory, job.fingerprint()).parts(shards)
    if not 0 < sum(part.size_bytes for part in parts) <= COUNTED_BYTES:
        return None
    found = held.look(directory, parts).clips
    return work.kept + sum(any(one.whole() for one in found.get(clip.key, ())) for clip in work.clips)


def row_place(job: Job, engine: Engine, limit_s: float, plan_parts: Sequence[str] = ()) -> RowPlace:
    """Where a job's workers leave finished rows, as long as the job's plan is there: on engines that go on alone."""
    plan = "" if engine.local or not plan_parts else plan_parts[0]
    return RowPlace(job.output.directory, job.fingerprint(), job.output.num_shards, limit_s, engine.describe(), plan)


def write_plan(job: Job, work: Work, manifest: Manifest, there: held.Files | None = None) -> tuple[str, list[str]]:
    """Everything that there is to do -> a name for what is made of it, and URIs of the plan's files.

    Args:
      job, work: the job, and what is left of it.
      manifest: what is committed.
      there: the row files, which are used, and rid of what is of no use, under a lock of the whole output; None: for a
        task of an array, which leaves row files alone.

    Raises:
      OutputError: storage fails, or a row file is damaged.
    """
    output, attempt = job.output, commit.attempt_name(manifest)
    partly = {key: _segment(known) for key, known in work.partly.items()}
    segment_s, hop = job.decoding.segment_seconds, job.front_end.hop_frames
    items: Iterator[plan_file.Written] = units.units(work.clips, output.num_shards, segment_s, hop, partly)
    if there is not None:
        parts = held.settle(output.directory, job.fingerprint(), output.num_shards, there, work.stale, work.damaged)
        touched = _touched(work, parts, output.num_shards)
        committed = (entry for entry in manifest.shards if entry.index in touched)
        items = chain(items, work.failures, map(Removal, work.drops), parts, committed)
    with explained(output.directory, "writing the plan"):
        return attempt, plan_file.write(join(output.directory, PLAN), items, name=attempt)


def _segment(known: HeldClip) -> Segment:
    """What row files hold of a clip -> a segment that says so."""
    return Segment(known.clip, held=tuple(known.filled()), ended=tuple(known.ended()))


def _touched(work: Work, parts: Iterable[RowsRef], num_shards: int) -> set[int]:
    """The shards that change."""
    found = {part.shard for part in parts}
    clips: Iterable[Clip] = chain(work.clips, (failure.clip for failure in work.failures), work.drops)
    for clip in clips:
        if len(found) == num_shards:  # long before the last of millions
            break
        found.add(plan.shard_of(clip.id, num_shards))
    return found
