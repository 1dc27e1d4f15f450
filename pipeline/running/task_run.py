"""`--task`: one of several commands that share an output without talking to each other.

The first task makes the output ready and writes down the terms; each computes its shards piece by piece and holds them
for the end of all (`pipeline.running.task_end`).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from pipeline.corpus import plan
from pipeline.output import manifest as manifests
from pipeline.output import resume, task_state
from pipeline.output.holder import RUN
from pipeline.output.layout import OutputError
from pipeline.output.lock import FINISHING, OPENING, Lock, OutputBusy
from pipeline.output.manifest import Manifest
from pipeline.output.staged import HeldShard, ShardEntry, ShardResult
from pipeline.output.task_state import Terms
from pipeline.output.tasks import Task
from pipeline.output.work import Work, compare
from pipeline.running import job, task_end
from pipeline.running.array import POLL_S, Array
from pipeline.running.execution import Execution
from pipeline.types import Clip, Corpus, Failure, Removal


@dataclass(frozen=True)
class Part:
    """The result of a task, and what is still missing.

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


def compute(array: Array, task: Task, execution: Execution) -> Part:
    """Computes what is left of a task's shards and holds it for the commit.

    Raises:
      OutputBusy: somebody computes the same shards, or a whole run is at work.
      ArrayDiffers: the array was begun with other inputs or flags.
      JobError, OutputError: if it cannot go on. What is held stays.
    """
    with _claim(array, task) as (lock, terms):
        found = _expect(array.directory)
        needed = array.shards_of(array.work(found, array.terms.retry_failed))
        made_with = manifests.made_with(array.engine.describe())
        task_state.resume(array.directory, found, task, made_with)
        own = [index for index in needed if task.owns(index)]
        held = task_state.held_shards(array.directory, found, own)
        before_s = _audio_s(held.values())
        work = _work_of(array, found, held, [index for index in own if index not in task_state.finished(held)])
        left = Counter(plan.shard_of(job.clip_of(item).id, found.num_shards) for item in _items(work))
        task_state.close(array.directory, [index for index in own if not left[index]])
        entries = {entry.index: entry for entry in found.shards if task.owns(entry.index)}
        entries |= {index: item.result.entry for index, item in held.items()}

        def keep(
            piece: Sequence[Clip | Failure | Removal], results: list[ShardResult]
        ) -> tuple[job.Totals, job.Totals]:
            left.subtract(plan.shard_of(job.clip_of(item).id, found.num_shards) for item in piece)
            done = [result.entry.index for result in results if not left[result.entry.index]]
            task_state.hold(array.directory, results, done, made_with)
            before = manifests.totals(entries.values())
            # Of several results of one shard the first counts.
            entries.update((result.entry.index, result.entry) for result in reversed(results))
            return before, manifests.totals(entries.values())

        staged = replace(array.job, output=replace(array.job.output, array=True))
        execution.carry_out(staged, work, found, lock.confirm, keep)
        held = task_state.held_shards(array.directory, found, needed)
        computed = tuple(held[index].result.entry for index in own if index in held)
        computed_s = _audio_s(held[index] for index in own if index in held) - before_s
        missing = tuple(index for index in needed if index not in task_state.finished(held))
    return Part(computed, computed_s, sum(map(_clips, computed)) - len(list(_items(work))), missing, terms.tasks)


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
    """A lock, or None after waiting a moment for a short holder."""
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
    opened = resume.start(array.directory, array.job, engine=array.engine.describe())
    task_end.adopt(array.directory, opened.manifest)  # of an array whose end was interrupted
    task_state.write_terms(array.directory, array.terms)


def _work_of(array: Array, manifest: Manifest, held: dict[int, HeldShard], shards: Sequence[int]) -> Work:
    """The remaining work on some shards, given what tasks hold of them."""
    among = set(shards)

    def here(clip: Clip) -> bool:
        return plan.shard_of(clip.id, manifest.num_shards) in among

    inputs = Corpus(
        [clip for clip in array.found.clips if here(clip)],
        [failure for failure in array.found.failures if here(failure.clip)],
    )
    entries = task_state.ledger_of(array.directory, manifest, held, shards)
    return compare(inputs, entries, array.terms.retry_failed, array.terms.prune)


def _items(work: Work) -> list[Clip | Failure | Removal]:
    return [*work.clips, *work.failures, *map(Removal, work.drops)]


def _audio_s(held: Any) -> float:
    return float(sum(item.result.entry.audio_seconds for item in held))


def _clips(entry: ShardEntry) -> int:
    return entry.records + entry.failed + entry.skipped


def _expect(directory: str) -> Manifest:
    found = manifests.read(directory)
    if found is None:
        raise OutputError(f"{directory} has no manifest", "It was removed during the run; run the command again.")
    return found
