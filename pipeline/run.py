"""The command: `python -m pipeline.run`. Parses, plans, runs, reports; the work is in the modules that it names."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

from pipeline import options
from pipeline.cli import asked, ending
from pipeline.cli.flags import FlagError, check_beam_flags
from pipeline.engines import template
from pipeline.files import scratch, stores

if TYPE_CHECKING:
    from pipeline.array_jobs.task_run import Execute
    from pipeline.engines.engine import Engine
    from pipeline.inputs.corpus import Corpus, Work
    from pipeline.manifest import Manifest
    from pipeline.output.history import Log
    from pipeline.settings import Job

OK, FAILED, UNUSABLE = 0, 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """The command's arguments -> its exit status.

    0; 1 if the job failed; 2 for unusable flags, inputs or output; 128 and the signal's number after Ctrl-C, SIGTERM
    or SIGHUP.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    verbose = "--verbose" in arguments
    with ending.interruptible(verbose) as interrupted:
        try:
            parsed = options.parse(arguments)
            with scratch.temporary_files():
                return _run(*parsed)
        except FlagError as error:
            return _say(error, UNUSABLE, verbose)
        except (KeyboardInterrupt, Exception) as error:
            if not interrupted and not isinstance(error, KeyboardInterrupt):
                return _say(error, FAILED, verbose)
        print("\nStopped. What was committed is kept: the same command continues.", file=sys.stderr)
        return 128 + (interrupted or [signal.SIGINT])[0]


def _run(flags: argparse.Namespace, beam_flags: list[str]) -> int:
    # Heavy imports come after the flags were found to be sound.
    from pipeline import sources
    from pipeline.cli import garbage, quiet
    from pipeline.engines import engine, preflight
    from pipeline.output import resume

    started = time.monotonic()
    garbage.collect_seldom()
    quiet.logs(flags.verbose)
    check_beam_flags(beam_flags, options.names())
    stores.set_flags(beam_flags)
    on = engine.choose(flags.runner, beam_flags)
    preflight.look(on)
    with asked.about("--input", flags.manifest, flags.segments, flags.class_labels):
        found = sources.find(flags)
    if template.is_dry(on):
        flags.overwrite = True  # the output is not even looked at
    task = asked.job_of(flags, found, asked.model_of(flags, on), on)
    with asked.about("--output"):
        before = resume.inspect(task.output.directory, task, flags.overwrite)
    if not on.local:
        _announce(on, task, found, flags.piece_seconds)
    if flags.task:
        return _task(flags, found, task, on, started)
    asked.load(task.model)
    if flags.check:
        return _check(flags, found, task, on, before)
    if template.asked(on):
        print(template.write(flags, found, task, on))
        return OK
    return _whole(flags, found, task, on, started)


def _whole(flags: argparse.Namespace, found: Corpus, task: Job, on: Engine, started: float) -> int:
    """The whole job in one run, which holds the output's lock."""
    from pipeline.array_jobs import task_end
    from pipeline.cli import summary
    from pipeline.cli.conclusion import conclude
    from pipeline.inputs import corpus
    from pipeline.output import commit, history, lock, resume

    directory = task.output.directory
    with asked.about("--output"):
        held = lock.Lock(directory)
    with held:
        opened = task_end.adopted(directory, resume.start(directory, task, flags.overwrite, on.describe()))
        for line in summary.recovered(opened):
            print(line, file=sys.stderr)
        work = corpus.compare(found, commit.committed_ledger(directory), flags.retry_failed, flags.prune)
        execute = _executor(flags, on, history.Log(task, on.describe(), started))
        execute(task, work, opened.manifest, held.confirm, None)
        held.confirm()
        manifest = commit.finish(directory, work.clips_in)
    computed_s = manifest.totals["audio_seconds"] - opened.manifest.totals["audio_seconds"]
    return conclude(flags, found.names, directory, manifest, computed_s, time.monotonic() - started, work.kept)


def _announce(on: Engine, task: Job, found: Corpus, piece_s: float) -> None:
    """Tell what was chosen for an engine, and have one of its workers say whether it can do the job."""
    from pipeline.engines import first_job

    print(on.announced(task.decoding.processes, task.model.threads, piece_s), file=sys.stderr)
    if line := first_job.ask_worker(on, task, [clip.uri for clip in found.clips[:1]]):
        print(line, file=sys.stderr)


def _task(flags: argparse.Namespace, found: Corpus, job: Job, on: Engine, started: float) -> int:
    """`--task`: one task's shards, and the end of the array if it is the last; or that end alone."""
    from pipeline.array_jobs import task_end, task_run, task_state
    from pipeline.array_jobs.array import Array
    from pipeline.array_jobs.tasks import Task
    from pipeline.cli import summary
    from pipeline.cli.conclusion import conclude
    from pipeline.output import history

    count = flags.task.count if isinstance(flags.task, Task) else 0
    array = Array(job, found, task_state.terms(found, flags.retry_failed, flags.prune, count), on)
    computed_s, kept = 0.0, len(found.clips) + len(found.failures)
    if isinstance(flags.task, Task):
        asked.load(job.model)
        with asked.unless_busy():
            log = history.Log(job, on.describe(), started, str(flags.task))
            part = task_run.compute(array, flags.task, _executor(flags, on, log))
        computed_s, kept = part.computed_s, part.kept
        print(summary.task(flags.task, part, time.monotonic() - started))
        manifest = None if part.missing else task_end.finish_if_last(array)
        if manifest is None:
            return OK
    else:
        with asked.unless_busy():
            manifest = task_end.finish(array)
    return conclude(flags, found.names, array.directory, manifest, computed_s, time.monotonic() - started, kept)


def _executor(flags: argparse.Namespace, on: Engine, log: Log | None = None) -> Execute:
    """What does the work of a run or a task, and shows how far it is."""
    from pipeline import job, progress
    from pipeline.engines import watch

    def execute(task: Job, work: Work, manifest: Manifest, confirm: Callable[[], None], keep: job.Keep | None) -> None:
        seen = watch.Watch()

        def committing() -> None:
            seen.committing()
            confirm()

        with tempfile.TemporaryDirectory(prefix="vggish-tallies-") as tallies:
            counts = (lambda: progress.total(tallies)) if on.local else seen.counts
            with progress.ProgressLine(len(work.clips), counts, flags.progress, watch=seen):
                shown, watched = tallies if on.local else None, replace(on, watch=seen)
                job.execute(task, work, watched, manifest, shown, flags.piece_seconds, committing, log, keep)

    return execute


def _check(flags: argparse.Namespace, found: Corpus, task: Job, on: Engine, before: Manifest | None) -> int:
    """Tell what the run would do; change nothing."""
    from pipeline.cli import streams, trial
    from pipeline.inputs import corpus
    from pipeline.output import commit

    with asked.about("--output"):
        held = commit.committed_ledger(task.output.directory) if before else ()
        work = corpus.compare(found, held, flags.retry_failed, flags.prune)
        print(trial.report(task, work, before is not None, flags.piece_seconds, on))
    streams.expect_printed()
    return OK


def _say(error: Exception, status: int, verbose: bool) -> int:
    """Print an error as a user needs it; its traceback only where it was asked for."""
    from pipeline.cli import messages

    messages.show(error, verbose)
    return status


def program() -> NoReturn:
    """The command as a process, which it ends."""
    ending.run(main)


if __name__ == "__main__":
    program()
