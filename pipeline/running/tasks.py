"""`--task I/N`: one of several commands that share an output without talking to each other.

A task is a run over its share of the clips that leaves row files and commits nothing. Whichever command finds that
nothing is left to compute makes the shards from all row files and commits them.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain

from pipeline import storage
from pipeline.corpus import buckets
from pipeline.corpus.packed import Packed
from pipeline.output import classes, commit, history, resume
from pipeline.output import manifest as manifests
from pipeline.output.holder import RUN
from pipeline.output.journal.held import Files, files_of, look
from pipeline.output.layout import OutputError
from pipeline.output.lock import FINISHING, OPENING, Lock, OutputBusy
from pipeline.output.manifest import Manifest
from pipeline.output.tasks import Task, share_of
from pipeline.output.work import Work
from pipeline.running import embed_corpus
from pipeline.running import job as jobs
from pipeline.running.counts import Counts
from pipeline.running.embed_corpus import Finished
from pipeline.running.engines import live
from pipeline.running.engines.watch import counts_of
from pipeline.running.execution import Execution, begun
from pipeline.running.progress import sums_of
from pipeline.settings import Job, Update
from pipeline.types import Corpus

POLL_S = 0.5
"""Seconds between two looks at what somebody else holds."""
PATIENCE_S = 60.0
"""How long a task that is done waits for others that are at their end, to see which is the last."""


class TasksMissing(OutputError):  # noqa: N818  (a state, not a fault)
    """The array cannot be finished: some clips were not computed."""


class CorpusDiffers(OutputError):  # noqa: N818  (a state, not a fault)
    """Tasks of the array found other clips than this command does."""


@dataclass(frozen=True)
class Part:
    """The result of a task, and what is still missing.

    Attributes:
      clips, failed: that it computed.
      computed_s: seconds of audio that it embedded.
      kept: clips of its share that were there already.
      missing: clips that are not computed, by the task whose share they are in.
      working_s: seconds that the engine had the job.
    """

    clips: int
    failed: int
    computed_s: float
    kept: int
    missing: dict[Task, int]
    working_s: float = 0.0


def compute(corpus: Corpus, job: Job, task: Task, execution: Execution, update: Update) -> Part:
    """Computes what is left of a task's share, and leaves it in row files.

    Raises:
      OutputBusy: somebody computes the same share, or a whole run is at work.
      SettingsDiffer: the output was begun with other settings.
      JobError, OutputError: if it cannot go on. What is finished stays.
    """
    done = Counts()
    with _claim(job, task, execution) as found:
        with begun():
            own = _own(_work(corpus, job, update)[0], task)
        if own.clips:
            with execution.watched(own) as seen:
                attempt, plan_parts = jobs.write_plan(job, own, found)
                result = execution.run(job, plan_parts, attempt, seen, task=task)
                for part in plan_parts:
                    storage.delete(part)
            done = (counts_of(result) or _in_rows(job, own)).of_clips(len(own.clips))
            if execution.log:
                execution.log.end(sums_of(done), seen.idle_s(), result)
        with begun():
            left = _work(corpus, job, update)[0].clips
        missing = Counter(Task(share_of(clip, task.count), task.count) for clip in left)
    kept = sum(task.owns(clip) for clip in corpus.clips) - len(own.clips)
    working_s = execution.log.working_s if execution.log else 0.0
    return Part(done.clips, done.failed, done.audio_s, kept, dict(sorted(missing.items())), working_s)


def finish(corpus: Corpus, job: Job, execution: Execution, update: Update, count: int = 0) -> Finished:
    """Commits what the tasks left, once all of it is there; a finished data set is left as it is.

    Args:
      corpus, job, execution, update: as of `compute`.
      count: how many tasks there are; 0: not known.

    Raises:
      OutputBusy: a task or a run is at work.
      TasksMissing: clips were not computed; says how many.
      CorpusDiffers: row files hold clips that are not in the corpus.
    """
    directory, engine, restart = job.output.directory, execution.engine, execution.restart
    live.settle(directory, engine, restart)
    with Lock(directory, role=FINISHING) as lock:
        live.settle(directory, engine, restart, held=True)
        opened = resume.start(directory, job, engine=execution.engine.describe())
        classes.keep(directory, corpus)
        work, there = _work(corpus, job, update)
        if work.clips:
            raise TasksMissing(*_missing(work, count or _count(directory)))
        _expect_same_corpus(directory, work, corpus)
        return embed_corpus.finish(job, work, there, opened.manifest, replace(execution, log=None), lock)


def finish_if_last(corpus: Corpus, job: Job, execution: Execution, update: Update, count: int) -> Finished | None:
    """As `finish`; None where clips are missing, or another command finishes the array, or is about to.

    Of tasks that end together each sees the others at their end; the last one to let go of its lock succeeds.
    """
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            return finish(corpus, job, execution, update, count)
        except TasksMissing:
            return None
        except OutputBusy:
            if time.monotonic() > until:
                return None
            time.sleep(POLL_S)


@contextmanager
def _claim(job: Job, task: Task, execution: Execution) -> Iterator[Manifest]:
    """The task's lock, in an output that is begun: by the first task, if need be. Waits for short holders."""
    directory, engine, restart = job.output.directory, execution.engine, execution.restart
    live.settle(directory, engine, restart, task)
    while True:
        found = resume.inspect(directory, job)
        if found is None or found.pending or found.clearing or found.resharding:
            # Tasks that hold locks now are at their end, or others that have just begun the output.
            opening = _lock(lambda: Lock(directory, role=OPENING), waits=lambda busy: busy.role != RUN)
            if opening:
                with opening:
                    resume.start(directory, job, engine=execution.engine.describe())
            continue
        lock = _lock(lambda: Lock(directory, task), waits=lambda busy: busy.role in (OPENING, FINISHING, ""))
        if lock is not None:
            with lock:
                live.settle(directory, engine, restart, task, held=True)
                yield resume.inspect(directory, job) or found
                return


def _lock(take: Callable[[], Lock], waits: Callable[[OutputBusy], bool]) -> Lock | None:
    """A lock, or None after waiting a moment for a short holder."""
    try:
        return take()
    except OutputBusy as busy:
        if not waits(busy):
            raise
        time.sleep(POLL_S)
        return None


def _work(corpus: Corpus, job: Job, update: Update) -> tuple[Work, Files]:
    """The work on the whole output, and its row files; what a task has tried again is not tried once more."""
    there = files_of(job.output.directory, job.fingerprint())
    found = manifests.read(job.output.directory)
    return jobs.work_on(job, corpus, update, there, found, retry_held=False), there


def _in_rows(job: Job, own: Work) -> Counts:
    """What row files hold of clips that were just computed, less what they had held: for engines without counters."""
    directory, num_shards = job.output.directory, job.output.num_shards
    there, wanted, done = files_of(directory, job.fingerprint()), {clip.key: clip for clip in own.clips}, Counts()
    number = buckets.number_of(len(wanted), num_shards)
    for bucket in range(number):
        found = look(directory, there.parts(buckets.shards_of(bucket, num_shards, number)))
        for held in chain.from_iterable(found.clips.values()):
            if wanted.get(held.clip.key) == held.clip:
                done.add(Counts(failed=int(held.failed), examples=held.examples))
    examples = done.examples - sum(known.examples for known in own.partly.values())
    return replace(done, examples=examples, audio_s=examples * job.front_end.hop_seconds)


def _own(work: Work, task: Task) -> Work:
    """A task's share of the work."""
    clips = Packed(clip for clip in work.clips if task.owns(clip))
    partly = {key: known for key, known in work.partly.items() if task.owns(known.clip)}
    return replace(work, clips=clips, failures=(), drops=(), partly=partly)


def _missing(work: Work, count: int) -> tuple[str, str]:
    """What is said of clips that no task has computed: what is wrong, what to do."""
    number, some = len(work.clips), next(iter(work.clips))
    clips = f"{number:,} clip{'s are' if number > 1 else ' is'} missing, such as {some.id}"
    if not count:
        return f"no task has begun: {clips}", "Run --task 0/N to N-1/N first, with N of your choice."
    shares = sorted({share_of(clip, count) for clip in work.clips})
    names = ", ".join(f"{share}/{count}" for share in shares[:8])
    names += f" and {len(shares) - 8} more" if len(shares) > 8 else ""
    tasks = f"task{'s' if len(shares) > 1 else ''} {names}"
    return (
        f"not all tasks are done: {clips} ({tasks})",
        "Run these tasks again, then --task finish; or the command without --task, which keeps what there is.",
    )


def _count(directory: str) -> int:
    """How many tasks the last one said there are; 0 where none has run."""
    numbers = [run.task.partition("/")[2] for run in history.read(directory) if run.task]
    return int(numbers[-1]) if numbers else 0


def _expect_same_corpus(directory: str, work: Work, corpus: Corpus) -> None:
    """Raises CorpusDiffers if row files hold clips that neither the corpus nor a shard does: committing loses them."""
    keys = {clip.key for clips in work.stale.values() for clip in clips}
    if keys:
        keys -= {clip.key for clip in corpus.clips}
    if keys:  # a commit that was killed before it removed them has left the others
        keys -= {entry.key for entry in commit.committed_ledger(directory) if entry.key in keys}
    if keys:
        count = f"{len(keys):,} clip" + ("s that are" if len(keys) > 1 else " that is")
        raise CorpusDiffers(
            f"tasks of this output computed {count} not among the {len(corpus.clips):,} found now, such as "
            f"{min(keys)[0]}",
            "All tasks need the same inputs and the same flags. To go on with what there is now, run the command once "
            "without --task.",
        )
