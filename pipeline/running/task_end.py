"""The end of an array: its tasks' work is committed once it is complete, or when a whole run takes it over.

Whichever task finds that all shards are held commits them, as `--task finish` does.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from pipeline.output import commit, partial_rows, resume, task_state
from pipeline.output import manifest as manifests
from pipeline.output.layout import OutputError, explained
from pipeline.output.lock import FINISHING, Lock, OutputBusy
from pipeline.output.manifest import Manifest
from pipeline.output.tasks import tasks_of
from pipeline.running.array import POLL_S, Array

PATIENCE_S = 60.0
"""How long a task that is done waits for others that are at their end, to see which is the last."""


class TasksMissing(OutputError):  # noqa: N818  (a state, not a fault)
    """The array cannot be finished: some shards were not computed."""


def finish(array: Array) -> Manifest:
    """Commits what the tasks hold, once all of it is there; what was finished before is left as it is.

    Raises:
      OutputBusy: a task or a run is at work.
      TasksMissing: shards were not computed; says which.
      ArrayDiffers: the inputs or flags are others than the tasks'.
    """
    directory = array.directory
    with Lock(directory, role=FINISHING) as lock:
        opened = resume.start(directory, array.job, engine=array.engine.describe())
        found, terms = opened.manifest, task_state.read_terms(directory)
        if terms and terms.finishing:
            found, terms = adopt(directory, found)[0], None
        work = array.work(found, retry_failed=array.terms.retry_failed and terms is not None)
        needed = array.shards_of(work)
        if terms:
            terms.expect(array.terms)
        held = task_state.held_shards(directory, found, needed) if terms else {}
        if missing := [index for index in needed if index not in task_state.finished(held)]:
            raise TasksMissing(*_missing(missing, terms.tasks if terms else 0))
        if terms:
            task_state.write_terms(directory, replace(terms, finishing=True))
            adopt(directory, found)
        partial_rows.keep_only(partial_rows.Place(directory, found.fingerprint), ())
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


def adopted(directory: str, opened: resume.OpenedOutput) -> resume.OpenedOutput:
    """As `adopt`, for a whole run that has just opened the output."""
    manifest, shards = adopt(directory, opened.manifest)
    return replace(opened, manifest=manifest, of_tasks=shards)


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
