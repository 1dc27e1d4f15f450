"""A corpus -> a data set of embeddings: the library under the command, without flags, printing or exit codes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.output import commit, history, lock, resume
from pipeline.output.manifest import Manifest
from pipeline.output.resume import OpenedOutput
from pipeline.output.work import compare
from pipeline.running import resolve, task_end
from pipeline.running.engines import first_job, preflight, runners
from pipeline.running.execution import Execution, begun
from pipeline.running.progress import OnProgress
from pipeline.settings import PIECE_S, Job, Update
from pipeline.storage import options, scratch
from pipeline.types import Corpus


@dataclass(frozen=True)
class Finished:
    """The result of a run.

    Attributes:
      manifest: of the data set.
      computed_s: seconds of audio that this run embedded.
      kept: clips that the output held already.
    """

    manifest: Manifest
    computed_s: float
    kept: int


def embed_corpus(
    corpus: Corpus,
    job: Job,
    runner: str = "DirectRunner",
    *,
    beam_flags: Sequence[str] = (),
    update: Update | None = None,
    piece_seconds: float = PIECE_S,
    on_progress: OnProgress | None = None,
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
      piece_seconds: on this machine, what is done is committed about so often.
      on_progress: called twice a second, from another thread, with how far the job is.

    Returns:
      The manifest; `manifest.totals` counts clips, examples and hours.

    Raises:
      UserError: something cannot be used as given, and nothing was begun: `found` says what, `remedy` what to do.
        `OutputError`, `StorageError`, `WeightsError` and others are kinds of it.
      JobError: the job stopped before its end; what was committed before is kept.
    """
    started = time.monotonic()
    update = update or Update()
    options.set_flags(beam_flags)
    engine = runners.choose(runner, beam_flags)
    preflight.look(engine)
    with scratch.temporary_files():
        job = resolve.resolve(job, corpus, engine, update.overwrite)
        resume.inspect(job.output.directory, job, update.overwrite)
        first_job.ask_worker(engine, job, [clip.uri for clip in corpus.clips[:1]])
        _load(job)
        execution = Execution(engine, piece_seconds, on_progress, history.Log(job, engine.describe(), started))
        return run(corpus, job, execution, update).manifest


def _load(job: Job) -> None:
    """Loads the model once here, so that its errors show before anything is written."""
    from pipeline.embedding import embed

    embed.shared_worker(job.model, check=True)


def run(
    corpus: Corpus,
    job: Job,
    execution: Execution,
    update: Update,
    opened: Callable[[OpenedOutput], None] = lambda opened: None,
) -> Finished:
    """The whole job in one run, which holds the output's lock.

    Args:
      corpus, update: as `embed_corpus`.
      job: all settings, nothing left open.
      execution: how the work is carried out.
      opened: called with what an interrupted run had left.

    Raises:
      OutputBusy: another run holds the output.
      JobError: the job stopped before its end.
    """
    directory = job.output.directory
    with lock.Lock(directory) as held:
        found = task_end.adopted(directory, resume.start(directory, job, update.overwrite, execution.engine.describe()))
        opened(found)
        with begun():
            work = compare(corpus, commit.committed_ledger(directory), update.retry_failed, update.prune)
            execution.carry_out(job, work, found.manifest, held.confirm)
            held.confirm()
            manifest = commit.finish(directory, work.clips_in)
    computed_s = manifest.totals["audio_seconds"] - found.manifest.totals["audio_seconds"]
    return Finished(manifest, computed_s, work.kept)
