"""A corpus -> a data set of embeddings: the library under the command, without flags, printing or exit codes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from pipeline.corpus import rated
from pipeline.errors import JobError
from pipeline.output import classes, commit, history, lock, resume
from pipeline.output import manifest as manifests
from pipeline.output.at_work.submitted import Submitted
from pipeline.output.journal import held
from pipeline.output.manifest import Manifest
from pipeline.output.resume import OpenedOutput
from pipeline.output.work import Work
from pipeline.running import job as jobs
from pipeline.running import resolve
from pipeline.running.counts import Counts
from pipeline.running.engines import first_job, live, places, preflight, runners
from pipeline.running.engines.watch import counts_of
from pipeline.running.execution import Execution, begun
from pipeline.running.progress import OnProgress, sums_of
from pipeline.settings import PIECE_S, Job, Update
from pipeline.storage import containers, options, scratch
from pipeline.types import Corpus

if TYPE_CHECKING:
    from pipeline.running.transforms import Commit


@dataclass(frozen=True)
class Finished:
    """The result of a run.

    Attributes:
      manifest: of the data set.
      computed_s: seconds of audio that this run embedded.
      kept: clips that the output held already.
      working_s: seconds that the engine had the job; 0 where there was nothing to do, or nobody took the time.
    """

    manifest: Manifest
    computed_s: float
    kept: int
    working_s: float = 0.0


def embed_corpus(
    corpus: Corpus,
    job: Job,
    runner: str = "DirectRunner",
    *,
    beam_flags: Sequence[str] = (),
    update: Update | None = None,
    piece_seconds: float = PIECE_S,
    shared_filesystem: bool = False,
    on_progress: OnProgress | None = None,
    restart: bool = False,
) -> Manifest:
    """Embeds what an output lacks of a corpus -> the manifest of the finished data set.

    The output is made, or continued if it was made with the same settings; clips that fail are in its `failures.jsonl`,
    not raised. Interrupted at any moment, the same call continues.

    Args:
      corpus: what to embed (`pipeline.find_corpus`).
      job: the settings. What they leave open (shards, processes, threads) is chosen.
      runner: Beam's name of it; "DirectRunner" is this machine.
      beam_flags: options of the runner, as on a command line: ["--flink_master", "localhost:8081"].
      update: what becomes of what the output holds already; None: it is kept.
      piece_seconds: workers write what they have finished at least so often; what a kill may cost.
      shared_filesystem: local paths are the same folders on all workers' machines; else they are refused where the
        runner's workers are elsewhere.
      on_progress: called twice a second, from another thread, with how far the job is.
      restart: a job that an engine still does for the output is cancelled first; else it is an error.

    Returns:
      The manifest; `manifest.totals` counts clips, examples and hours.

    Raises:
      UserError: something cannot be used as given, and nothing was begun: `found` says what, `remedy` what to do.
        `OutputError`, `StorageError`, `WeightsError` and others are kinds of it.
      JobError: the job stopped before its end; what was finished is kept.
    """
    started = time.monotonic()
    update = update or Update()
    options.set_flags(beam_flags)
    engine = runners.choose(runner, beam_flags)
    preflight.look(engine)
    places.look(engine, [("output", job.output.directory)], shared_filesystem)
    places.look(engine, (("audio", clip.uri) for clip in corpus.clips), shared_filesystem)
    places.look_at_temporary(engine, shared_filesystem)
    with scratch.temporary_files():
        corpus = rated.joined(corpus, job.output.record_format, job.front_end.hop_seconds)
        job = resolve.resolve(job, corpus, engine, update.overwrite)
        before = resume.inspect(job.output.directory, job, update.overwrite)
        first_job.ask_worker(engine, job, [containers.file_of(clip.uri, clip.place) for clip in corpus.clips[:1]])
        load = partial(resolve.load_network, job.model, engine)
        if not (before and before.complete):
            load()
        log = history.Log(job, engine.describe(), started)
        execution = Execution(engine, piece_seconds, on_progress, log, restart)
        return run(corpus, job, execution, update, lambda opened, work: None if work.done else load()).manifest


def run(
    corpus: Corpus,
    job: Job,
    execution: Execution,
    update: Update,
    opened: Callable[[OpenedOutput, Work], None] = lambda opened, work: None,
) -> Finished:
    """The whole job in one run, which holds the output's lock.

    Args:
      corpus, update: as `embed_corpus`.
      job: all settings, nothing left open.
      execution: how the work is carried out.
      opened: called with what an interrupted run had left, and what is to be done.

    Raises:
      OutputBusy: another run holds the output.
      JobRunsError: an engine does a job for it.
      JobError: the job stopped before its end.
    """
    with _begun(corpus, job, execution, update, opened) as (work, there, before, held_lock):
        return finish(job, work, there, before, execution, held_lock)


def submit(
    corpus: Corpus,
    job: Job,
    execution: Execution,
    update: Update,
    opened: Callable[[OpenedOutput, Work], None] = lambda opened, work: None,
) -> Submitted | Finished:
    """As `run`, of an engine that goes on alone -> the job that it took, which commits itself.

    The result of a run where there was nothing to compute.
    """
    with _begun(corpus, job, execution, update, opened) as (work, there, before, held_lock):
        if work.done:
            return finish(job, work, there, before, execution, held_lock)
        attempt, plan_parts = jobs.write_plan(job, work, before, there)
        return execution.submit(job, plan_parts, attempt, _end(work, there, execution, held_lock))


@contextmanager
def _begun(
    corpus: Corpus, job: Job, execution: Execution, update: Update, opened: Callable[[OpenedOutput, Work], None]
) -> Iterator[tuple[Work, held.Files, Manifest, lock.Lock]]:
    """Within the block the output is locked: what is to be done, its row files, its manifest, the lock; see `run`."""
    directory, engine, restart = job.output.directory, execution.engine, execution.restart
    live.settle(directory, engine, restart)
    with lock.Lock(directory) as held_lock:
        live.settle(directory, engine, restart, held=True)
        found = resume.start(directory, job, update.overwrite, engine.describe())
        with begun():
            classes.keep(directory, corpus)
            there = held.files_of(directory, job.fingerprint())
            work = jobs.work_on(job, corpus, update, there, found.manifest)
            opened(found, work)
            yield work, there, found.manifest, held_lock


def _end(work: Work, there: held.Files, execution: Execution, held_lock: lock.Lock) -> Commit:
    """What the last step of the job that does the work needs to know."""
    from pipeline.running.transforms import Commit

    return Commit(work.clips_in, held_lock.token, tuple(there.made_with), not execution.engine.local)


def finish(
    job: Job, work: Work, there: held.Files, before: Manifest, execution: Execution, held_lock: lock.Lock
) -> Finished:
    """Does what is left of the work and commits it, under a lock of the whole output; raises JobError, OutputError.

    Args:
      job: the settings.
      work: what is to be done.
      there: the row files that were there when it was found.
      before: the output's manifest.
      execution: how the work is carried out.
      held_lock: the lock.
    """
    directory = job.output.directory
    if work.done:
        held_lock.confirm()
        return Finished(commit.finish(directory, (), work.clips_in), 0.0, work.kept)
    end = _end(work, there, execution, held_lock)
    with execution.watched(work) as seen:
        attempt, plan_parts = jobs.write_plan(job, work, before, there)
        result = execution.run(job, plan_parts, attempt, seen, end)
    after = manifests.read(directory)
    if after is None or not after.complete or after.totals["clips_in"] != work.clips_in:
        raise JobError("the engine ended without committing what it computed. Run the same command again.")
    # By the output where the engine has no counters, rows of earlier runs among it.
    done = (counts_of(result) or _grown(before, after)).of_clips(len(work.clips)) if work.clips else Counts()
    done.add(Counts(len(work.failures), len(work.failures)))
    if execution.log:
        execution.log.end(sums_of(done), seen.idle_s(), result)
    return Finished(after, done.audio_s, work.kept, execution.log.working_s if execution.log else 0.0)


def _grown(before: Manifest, after: Manifest) -> Counts:
    """What an output has grown by."""
    failed, examples, audio_s = (
        after.totals[name] - before.totals[name] for name in ("failed", "examples", "audio_seconds")
    )
    return Counts(0, max(0, int(failed)), max(0, int(examples)), max(0.0, audio_s))
