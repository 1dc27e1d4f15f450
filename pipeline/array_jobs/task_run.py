"""`--task`: one of several commands that share an output without talking to each other, and the end of them all.

The first task makes the output ready and writes down the terms; each computes its shards piece by piece and holds them;
whichever finds that all shards are held commits them, as `--task finish` does.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from pipeline import job, plan
from pipeline import manifest as manifests
from pipeline.array_jobs import task_state
from pipeline.array_jobs.task_state import Terms
from pipeline.array_jobs.tasks import Task, tasks_of
from pipeline.engines.engine import Engine
from pipeline.inputs import corpus
from pipeline.inputs.corpus import Corpus, Work
from pipeline.manifest import Manifest
from pipeline.output import commit, partials, resume
from pipeline.output.layout import OutputError, explained
from pipeline.output.lock import FINISHING, OPENING, RUN, Lock, OutputBusy
from pipeline.output.staged import HeldShard, ShardEntry, ShardResult
from pipeline.settings import Job
from pipeline.types import Clip, Drop, Failure

POLL_S = 0.5
PATIENCE_S = 60.0
"""How long a task that is done waits for others that are at their end, to see which is the last."""


class TasksMissing(OutputError):  # noqa: N818  (a state, not a fault)
    """The array cannot be finished: some shards were not computed."""


@dataclass(frozen=True)
class Array:
    """What every command of an array knows.

    Attributes:
      job: its settings.
      found: the inputs.
      terms: what the others have to have found alike.
      on: the engine.
    """

    job: Job
    found: Corpus
    terms: Terms
    on: Engine

    @property
    def directory(self) -> str:
        return self.job.output.directory

    def work(self, manifest: Manifest, retry_failed: bool) -> Work:
        """What there is to do on the whole output, as it is committed."""
        with explained(self.directory, "reading the ledgers"):
            every = range(manifest.num_shards)
            entries = task_state.ledger_of(self.directory, manifest, {}, every)
            return corpus.compare(self.found, entries, retry_failed, self.terms.prune)

    def shards_of(self, work: Work) -> list[int]:
        """Indices of the shards that some of the work falls into."""
        clips = [*work.clips, *(failure.clip for failure in work.failures), *work.drops]
        return sorted({plan.shard_of(clip.id, self.job.output.num_shards) for clip in clips})


@dataclass(frozen=True)
class Part:
    """What a task did, and what is still missing.

    Attributes:
      shards: what the task's shards hold now, of those on which there was something to do.
      computed_s: seconds of audio that this command embedded.
      kept: clips that were there already.
      missing: indices of shards that are not finished, of any task.
      tasks: how many there are.
    """

    shards: tuple[ShardEntry, ...]
    computed_s: float
    kept: int
    missing: tuple[int, ...]
    tasks: int


Execute = Callable[[Job, Work, Manifest, Callable[[], None], job.Keep | None], None]
"""(job, work, manifest, confirm, keep): does the work piece by piece, as `job.execute`."""


def compute(array: Array, task: Task, execute: Execute) -> Part:
    """Computes what is left of a task's shards and holds it for the commit.

    Raises:
      OutputBusy: somebody computes the same shards, or a whole run is at work.
      ArrayDiffers: the array was begun with other inputs or flags.
      JobError, OutputError: if it cannot go on. What is held stays.
    """
    with _claim(array, task) as (lock, terms):
        found = _expect(array.directory)
        needed = array.shards_of(array.work(found, array.terms.retry_failed))
        made_with = manifests.made_with(array.on.describe())
        task_state.resume(array.directory, found, task, made_with)
        own = [index for index in needed if task.owns(index)]
        held = task_state.held_shards(array.directory, found, own)
        before_s = _audio_s(held.values())
        work = _work_of(array, found, held, [index for index in own if index not in _finished(held)])
        left = Counter(plan.shard_of(job.clip_of(item).id, found.num_shards) for item in _items(work))
        task_state.close(array.directory, [index for index in own if not left[index]])

        def keep(piece: Sequence[Clip | Failure | Drop], results: list[ShardResult]) -> None:
            left.subtract(plan.shard_of(job.clip_of(item).id, found.num_shards) for item in piece)
            done = [result.entry.index for result in results if not left[result.entry.index]]
            task_state.hold(array.directory, results, done, made_with)

        staged = replace(array.job, output=replace(array.job.output, array=True))
        execute(staged, work, found, lock.confirm, keep)
        held = task_state.held_shards(array.directory, found, needed)
        entries = tuple(held[index].result.entry for index in own if index in held)
        computed_s = _audio_s(held[index] for index in own if index in held) - before_s
        missing = tuple(index for index in needed if index not in _finished(held))
    return Part(entries, computed_s, sum(map(_clips, entries)) - len(list(_items(work))), missing, terms.tasks)


def finish(array: Array) -> Manifest:
    """Commits what the tasks hold, once all of it is there; what was finished before is left as it is.

    Raises:
      OutputBusy: a task or a run is at work.
      TasksMissing: shards were not computed; says which.
      ArrayDiffers: the inputs or flags are others than the tasks'.
    """
    directory = array.directory
    with Lock(directory, role=FINISHING) as lock:
        opened = resume.start(directory, array.job, engine=array.on.describe())
        found, terms = opened.manifest, task_state.read_terms(directory)
        if terms and terms.finishing:
            found, terms = adopt(directory, found)[0], None
        work = array.work(found, retry_failed=array.terms.retry_failed and terms is not None)
        needed = array.shards_of(work)
        if terms:
            terms.expect(array.terms)
        held = task_state.held_shards(directory, found, needed) if terms else {}
        if missing := [index for index in needed if index not in _finished(held)]:
            raise TasksMissing(*_missing(missing, terms.tasks if terms else 0))
        if terms:
            task_state.write_terms(directory, replace(terms, finishing=True))
            adopt(directory, found)
        partials.keep_only(partials.Place(directory, found.fingerprint), ())
        lock.confirm()
        return commit.finish(directory, work.clips_in)


def finish_if_last(array: Array) -> Manifest | None:
    """Finishes an array of which no shard is missing; None if another command does, or is about to.

    Of tasks that end together each sees the others at their end; the last one to let go of its lock succeeds.
    """
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            return finish(array)
        except OutputBusy:
            if time.monotonic() > until:
                return None
            time.sleep(POLL_S)
        if task_state.read_terms(array.directory) is None:
            return manifests.read(array.directory)


def adopt(directory: str, manifest: Manifest) -> tuple[Manifest, int]:
    """Commits whatever tasks hold, finished or not, and ends their array -> the manifest, how many shards that were.

    The output has to be locked. What is not finished is left to the next run, like any work.
    """
    held = task_state.held_shards(directory, manifest)
    results = [replace(item.result, base_ledger_sha256=item.committed_ledger_sha256) for item in held.values()]
    with explained(directory, "committing what tasks hold"):
        if results:
            made = manifests.made_also(manifest, [item.made_with for item in held.values()])
            if made != manifest:
                manifests.write(directory, made)
            manifest = commit.commit(directory, results)
        task_state.remove(directory)
    return manifest, len(results)


def adopted(directory: str, opened: resume.Opened) -> resume.Opened:
    """As `adopt`, for a whole run that has just opened the output."""
    manifest, shards = adopt(directory, opened.manifest)
    return replace(opened, manifest=manifest, of_tasks=shards)


@contextmanager
def _claim(array: Array, task: Task) -> Iterator[tuple[Lock, Terms]]:
    """The task's lock, in an array that was begun with the same terms: by the first task, which makes the output ready.

    Waits while others begin or finish one.
    """
    while True:
        terms = task_state.read_terms(array.directory)
        if terms is None or terms.finishing:
            # Tasks that hold locks now are at their end, or others that have just begun the array.
            opening = _lock(lambda: Lock(array.directory, role=OPENING), waits=lambda busy: busy.role != RUN)
            if opening:
                with opening:
                    _open(array)
            continue
        lock = _lock(lambda: Lock(array.directory, task), waits=lambda busy: busy.role in (OPENING, FINISHING, ""))
        if lock is None:
            continue
        with lock:
            terms = task_state.read_terms(array.directory)
            if terms is not None and not terms.finishing:  # it was not finished meanwhile
                resume.inspect(array.directory, array.job)
                terms.expect(array.terms)
                yield lock, terms
                return


def _lock(take: Callable[[], Lock], waits: Callable[[OutputBusy], bool]) -> Lock | None:
    """A lock, or None after a moment in which somebody held it for whom one waits."""
    try:
        return take()
    except OutputBusy as busy:
        if not waits(busy):
            raise
        time.sleep(POLL_S)
        return None


def _open(array: Array) -> None:
    """Makes the output ready and writes the terms down, unless another task did so in the meantime."""
    terms = task_state.read_terms(array.directory)
    if terms is not None and not terms.finishing:
        return
    opened = resume.start(array.directory, array.job, engine=array.on.describe())
    adopt(array.directory, opened.manifest)  # of an array whose end was interrupted
    task_state.write_terms(array.directory, array.terms)


def _work_of(array: Array, manifest: Manifest, held: dict[int, HeldShard], shards: Sequence[int]) -> Work:
    """What is left to do on some shards, given what is held of them."""
    among = set(shards)

    def here(clip: Clip) -> bool:
        return plan.shard_of(clip.id, manifest.num_shards) in among

    inputs = Corpus(
        [clip for clip in array.found.clips if here(clip)],
        [failure for failure in array.found.failures if here(failure.clip)],
    )
    entries = task_state.ledger_of(array.directory, manifest, held, shards)
    return corpus.compare(inputs, entries, array.terms.retry_failed, array.terms.prune)


def _items(work: Work) -> list[Clip | Failure | Drop]:
    return [*work.clips, *work.failures, *map(Drop, work.drops)]


def _finished(held: dict[int, HeldShard]) -> set[int]:
    return {index for index, item in held.items() if item.finished}


def _audio_s(held: Any) -> float:
    return float(sum(item.result.entry.audio_seconds for item in held))


def _clips(entry: ShardEntry) -> int:
    return entry.records + entry.failed + entry.skipped


def _missing(shards: Sequence[int], tasks: int) -> tuple[str, str]:
    if tasks < 1:
        return (
            f"no task has begun; missing are {tasks_of(shards, tasks)}",
            "Run --task 0/N to N-1/N first, with N of your choice.",
        )
    return (
        f"not all tasks are done: missing are {tasks_of(shards, tasks)}",
        "Run these tasks again, then --task finish; or the command without --task, which keeps what there is.",
    )


def _expect(directory: str) -> Manifest:
    found = manifests.read(directory)
    if found is None:
        raise OutputError(f"{directory} has no manifest", "It was removed during the run; run the command again.")
    return found
