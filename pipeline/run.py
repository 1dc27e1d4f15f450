"""The command: `python -m pipeline.run`. Parses, plans, runs, reports; the work is in the modules that it names."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from pipeline import options, stores, template
from pipeline.beam_flags import check_beam_flags
from pipeline.flags import FlagError, failures_allowed

if TYPE_CHECKING:
    from pipeline.corpus import Corpus, Work
    from pipeline.engine import Engine
    from pipeline.lock import Lock
    from pipeline.manifest import Manifest
    from pipeline.settings import Job, Model
    from pipeline.task_run import Execute
    from pipeline.watch import Watch

OK, FAILED, UNUSABLE = 0, 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """The command's arguments -> its exit status.

    0; 1 if the job failed; 2 for unusable flags, inputs or output; 130 after Ctrl-C, 143 after SIGTERM.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    verbose = "--verbose" in arguments
    with _interruptible(verbose) as interrupted:
        try:
            return _run(*options.parse(arguments))
        except FlagError as error:
            return _say(error, UNUSABLE, verbose)
        except (KeyboardInterrupt, Exception) as error:
            if not interrupted and not isinstance(error, KeyboardInterrupt):
                return _say(error, FAILED, verbose)
        print("\nStopped. What was committed is kept: the same command continues.", file=sys.stderr)
        return 128 + (interrupted or [signal.SIGINT])[0]


def _run(flags: argparse.Namespace, beam_flags: list[str]) -> int:
    # Heavy imports come after the flags were found to be sound.
    from pipeline import (
        commit,
        corpus,
        engine,
        history,
        job,
        lock,
        preflight,
        progress,
        quiet,
        resume,
        sources,
        summary,
        task_run,
        watch,
    )

    started = time.monotonic()
    quiet.logs(flags.verbose)
    check_beam_flags(beam_flags, options.names())
    stores.set_flags(beam_flags)
    on = engine.choose(flags.runner, beam_flags)
    preflight.look(on)
    with _about("--input", flags.manifest, flags.segments, flags.class_labels):
        found = sources.find(flags)
    if template.is_dry(on):
        flags.overwrite = True  # the output is not even looked at
    task = _job(flags, found, _model(flags, on), on)
    directory = task.output.directory
    with _about("--output"):
        before = resume.inspect(directory, task, flags.overwrite)
    if not on.local:
        _announce(on, task, found, flags.piece_seconds)
    if flags.task:
        return _task(flags, found, task, on, started)
    _load(task.model)
    if flags.check:
        return _check(flags, found, task, on, before)
    if template.asked(on):
        print(template.write(flags, found, task, on))
        return OK
    with _about("--output"):
        held = lock.Lock(directory)
    with held:
        opened = resume.start(directory, task, flags.overwrite, on.describe())
        opened = task_run.adopted(directory, opened)
        for line in summary.recovered(opened):
            print(line, file=sys.stderr)
        work = corpus.compare(found, commit.committed_ledger(directory), flags.retry_failed, flags.prune)
        before_s = opened.manifest.totals["audio_seconds"]
        with tempfile.TemporaryDirectory(prefix="vggish-tallies-") as tallies:
            seen = watch.Watch()
            counts = (lambda: progress.total(tallies)) if on.local else seen.counts
            with progress.ProgressLine(len(work.clips), counts, flags.progress, watch=seen):
                shown = tallies if on.local else None
                log = history.Log(task, on.describe(), started)
                confirm = partial(_confirm, seen, held)
                job.execute(
                    task, work, replace(on, watch=seen), opened.manifest, shown, flags.piece_seconds, confirm, log
                )
        held.confirm()
        manifest = commit.finish(directory, work.clips_in)
    computed_s = manifest.totals["audio_seconds"] - before_s
    print(summary.summary(directory, manifest, computed_s, time.monotonic() - started, work.kept))
    _report(flags, directory)
    return _verdict(flags.max_failures, directory, manifest)


def _confirm(seen: Watch, held: Lock) -> None:
    """Before each commit."""
    seen.committing()
    held.confirm()


def _announce(on: Engine, task: Job, found: Corpus, piece_s: float) -> None:
    """Tell what was chosen for an engine, and have one of its workers say whether it can do the job."""
    from pipeline import preflight

    print(on.announced(task.decoding.processes, task.model.threads, piece_s), file=sys.stderr)
    if line := preflight.ask_worker(on, task, [clip.uri for clip in found.clips[:1]]):
        print(line, file=sys.stderr)


def _task(flags: argparse.Namespace, found: Corpus, job: Job, on: Engine, started: float) -> int:
    """`--task`: one task's shards, and the end of the array if it is the last; or that end alone."""
    from pipeline import summary, task_run, task_state
    from pipeline.tasks import Task

    count = flags.task.count if isinstance(flags.task, Task) else 0
    array = task_run.Array(job, found, task_state.terms(found, flags.retry_failed, flags.prune, count), on)
    computed_s, kept = 0.0, len(found.clips) + len(found.failures)
    if isinstance(flags.task, Task):
        _load(job.model)
        with _unless_busy():
            part = task_run.compute(array, flags.task, _executor(flags, on))
        computed_s, kept = part.computed_s, part.kept
        print(summary.task(flags.task, part, time.monotonic() - started))
        manifest = None if part.missing else task_run.finish_if_last(array)
        if manifest is None:
            return OK
    else:
        with _unless_busy():
            manifest = task_run.finish(array)
    print(summary.summary(array.directory, manifest, computed_s, time.monotonic() - started, kept))
    _report(flags, array.directory)
    return _verdict(flags.max_failures, array.directory, manifest)


def _executor(flags: argparse.Namespace, on: Engine) -> Execute:
    """What does a task's work, and shows how far it is."""
    from pipeline import job, progress

    def execute(staged: Job, work: Work, manifest: Manifest, confirm: Callable[[], None], keep: job.Keep) -> None:
        with tempfile.TemporaryDirectory(prefix="vggish-tallies-") as tallies:
            with progress.ProgressLine(len(work.clips), lambda: progress.total(tallies), flags.progress):
                shown = tallies if on.local else None
                job.execute(staged, work, on, manifest, shown, flags.piece_seconds, confirm, keep=keep)

    return execute


def _check(flags: argparse.Namespace, found: Corpus, task: Job, on: Engine, before: Manifest | None) -> int:
    """Tell what the run would do; change nothing."""
    from pipeline import commit, corpus, trial

    with _about("--output"):
        held = commit.committed_ledger(task.output.directory) if before else ()
        work = corpus.compare(found, held, flags.retry_failed, flags.prune)
        print(trial.report(task, work, before is not None, flags.piece_seconds, on))
    return OK


def _model(flags: argparse.Namespace, on: Engine) -> Model:
    """Flags -> the model, its weights found and verified."""
    from pipeline import accelerator, engine, models, settings

    model = settings.Model(
        checkpoint=flags.checkpoint,
        pca_params=flags.pca_params,
        precision=flags.precision,
        convolutions=flags.convolutions,
        embeddings=flags.embeddings,
        threads=flags.threads or engine.cores_a_worker(on),
    )
    # Workers elsewhere have processors of their own, and several processes would share the GPU's memory.
    if flags.any_kernel and on.local and on.workers == 1 and (gpu := accelerator.gpu()):
        print(accelerator.announced(gpu), file=sys.stderr)
        model = accelerator.on_gpu(model)
    with _about("--checkpoint"):
        model = models.resolve_checkpoint(model)
    with _about("--pca_params"):
        return models.resolve_pca(model)


def _job(flags: argparse.Namespace, found: Corpus, model: Model, on: Engine) -> Job:
    """Flags, the corpus and the model -> all settings of the job."""
    from pipeline import engine, manifest, plan, settings, storage

    directory = storage.absolute(flags.output)
    with _about("--output"):
        before = None if flags.overwrite else manifest.read(directory)
    size = sum(map(plan.cost_bytes, found.clips))
    # An output that grows keeps its number of shards: a clip's shard depends on it.
    by_default = before.num_shards if before else plan.default_num_shards(len(found.clips) + len(found.failures), size)
    return settings.Job(
        front_end=settings.FrontEnd(flags.hop_seconds, flags.short_clips, flags.max_duration_seconds),
        model=model,
        output=settings.Output(directory, flags.num_shards or by_default, flags.record_format),
        decoding=settings.Decoding(
            processes=flags.decoders or engine.cores_a_worker(on),
            timeout_s=flags.decode_timeout_seconds,
            memory_mb=flags.decode_memory_mb,
            segment_seconds=flags.segment_seconds,
        ),
    )


def _load(model: Model) -> None:
    """Load the model once here: what is wrong with it shows before anything is written, the kernel's accuracy too."""
    from pipeline import embed, messages
    from vggish_core.processor import UnsupportedProcessorError

    try:
        with _about("--checkpoint"):
            embed.shared_worker(model, check=True)
    except UnsupportedProcessorError as error:
        found, remedy = messages.parts(error)
        raise FlagError(f"--precision {model.precision}: {found}", remedy) from error


def _report(flags: argparse.Namespace, directory: str) -> None:
    """Write `report.html`, unless `--report off`. The data set is done: what goes wrong here is told, no more."""
    if flags.report == "off":
        return
    from pipeline import messages, report

    try:
        print(f"  report     {report.write(directory, flags.class_labels)}")
    except Exception as error:
        found, _ = messages.parts(error)
        print(f"The report was not made: {found}. The data set is whole.", file=sys.stderr)
        print(f"  python -m pipeline.report {directory} tries again.", file=sys.stderr)


def _verdict(limit: str, directory: str, manifest: Manifest) -> int:
    """The exit status: 1 if more clips failed than --max_failures allows."""
    from pipeline import summary

    totals = manifest.totals
    allowed = failures_allowed(limit, int(totals["clips_in"]))
    if totals["failed"] <= allowed:
        return OK
    found = f"{totals['failed']:,} of {totals['clips_in']:,} clips failed"
    print(
        f"error: {found}, more than --max_failures {limit} ({allowed:,})",
        *summary.top_failures(directory, manifest.failures),
        sep="\n",
        file=sys.stderr,
    )
    print("  All others are written. Mend the files and run again with --retry_failed, or allow more.", file=sys.stderr)
    return FAILED


@contextmanager
def _interruptible(verbose: bool) -> Iterator[list[int]]:
    """Ctrl-C and SIGTERM end the run in order, so that locks and temporary files go; the second one ends it at once.

    Yields the list of signals that came: an engine that runs our code wraps exceptions, KeyboardInterrupt too.
    """
    came: list[int] = []

    def interrupt(number: int, frame: object) -> None:
        if came:
            os._exit(128 + number)
        came.append(number)
        if not verbose:  # what an engine's threads say when they are stopped is no news
            logging.disable(logging.CRITICAL)
            threading.excepthook = lambda _: None
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    hook = threading.excepthook
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        threading.excepthook = hook
        logging.disable(logging.NOTSET)


@contextmanager
def _about(flag: str, *lists: str | None) -> Iterator[None]:
    """What is wrong within is about a flag's value or in one of the lists: shown with its name, exit status 2."""
    from pipeline import messages, storage
    from pipeline.layout import OutputError
    from pipeline.sources import SourceError
    from vggish_core.weights import WeightsError

    try:
        yield
    except (OutputError, SourceError, WeightsError, ValueError, OSError) as error:
        found, remedy = messages.parts(error)
        listed = any(file and found.startswith(storage.absolute(file)) for file in lists)  # says itself where
        raise FlagError(found if listed else f"{flag}: {found}", remedy) from error


@contextmanager
def _unless_busy() -> Iterator[None]:
    """Another command at work is an output that cannot be used, as for a whole run."""
    from pipeline.lock import OutputBusy

    try:
        yield
    except OutputBusy as error:
        raise FlagError(f"--output: {error.found}", error.remedy) from error


def _say(error: Exception, status: int, verbose: bool) -> int:
    """Print an error as a user needs it; its traceback only where it was asked for."""
    from pipeline import messages

    messages.show(error, verbose)
    return status


if __name__ == "__main__":
    sys.exit(main())
