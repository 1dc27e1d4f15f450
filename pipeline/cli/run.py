"""The command: `python -m pipeline.run`. Parses, plans, runs, reports; the work is in the modules that it names."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from pipeline.cli import from_flags, options
from pipeline.cli.console import ending
from pipeline.cli.flags import check_beam_flags
from pipeline.errors import OK, FlagError, UserError
from pipeline.formatting import clips
from pipeline.running.engines import template
from pipeline.storage import containers, scratch
from pipeline.storage import options as store_options

if TYPE_CHECKING:
    from pipeline.cli.console.progress import ProgressLine
    from pipeline.output.history import Log
    from pipeline.output.manifest import Manifest
    from pipeline.output.resume import OpenedOutput
    from pipeline.output.work import Work
    from pipeline.running.engines.runners import Engine
    from pipeline.running.execution import Execution
    from pipeline.settings import Job
    from pipeline.types import Corpus


def main(argv: Sequence[str] | None = None) -> int:
    """The command's arguments -> its exit status.

    0; 1 if the job failed; 2 for unusable flags, inputs or output; 128 and the signal's number after Ctrl-C, SIGTERM
    or SIGHUP.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    verbose = "--verbose" in arguments
    with ending.interruptible(verbose) as interrupted:
        said, line = "What was finished is kept", None
        try:
            parsed = options.parse(arguments)
            with scratch.temporary_files(), _progress(parsed[0]) as line:
                return _run(*parsed, line)
        except (KeyboardInterrupt, Exception) as error:
            if not interrupted and not isinstance(error, KeyboardInterrupt):
                from pipeline.cli.console import messages

                return messages.show(error, verbose)
            if isinstance(error, KeyboardInterrupt) and str(error):
                said = f"{error}. {said}"
            elif line:
                said = _how_far(line) or said
        print(f"\nStopped. {said}: the same command continues.", file=sys.stderr)
        return 128 + (interrupted or [signal.SIGINT])[0]


def _how_far(line: ProgressLine) -> str:
    """What a stopped command has done: what it kept, where that is soon counted, else what was seen of it."""
    with suppress(OSError, UserError):
        if line.kept and (found := line.kept()):
            return found
    if not line.seen:
        return ""
    return f"{line.seen.done.clips:,} of {clips(line.seen.clips)} done. What was finished is kept"


def _progress(flags: argparse.Namespace) -> ProgressLine:
    from pipeline.cli.console.progress import ProgressLine

    return ProgressLine(flags.progress)


def _run(flags: argparse.Namespace, beam_flags: list[str], line: ProgressLine) -> int:
    # Heavy imports come after the flags were found to be sound.
    from pipeline.cli import summary
    from pipeline.cli.console import quiet
    from pipeline.output import resume
    from pipeline.running import garbage, resolve
    from pipeline.running.engines import places, preflight, runners

    started = time.monotonic()
    garbage.collect_seldom()
    quiet.logs(flags.verbose)
    check_beam_flags(beam_flags, options.names())
    store_options.set_flags(beam_flags)
    if flags.runner.lower() == runners.DATAFLOW:  # whose page shows them
        from pipeline.cli.beam import options as beam_options

        beam_flags = [*beam_flags, *beam_options.shown(flags)]
    engine = runners.choose(flags.runner, beam_flags)
    if flags.also and (flags.no_wait or template.asked(engine)):
        raise FlagError(
            f"--also {flags.also}: a job that nobody waits for writes records only",
            "Leave it out, and run the same command without --no_wait, or the template's flags, when the job has ended",
        )
    if flags.no_wait:
        _expect_to_outlive(flags.runner, engine)
    preflight.look(engine)
    given = [*(("--input", pattern) for pattern in flags.input), ("--output", flags.output)]
    places.look(engine, given, flags.shared_filesystem)
    places.look_at_temporary(engine, flags.shared_filesystem)
    line.stage("listing the audio")
    with garbage.uncollected():
        found = from_flags.corpus_of(flags, line.count)
    places.look(engine, (("audio", clip.uri) for clip in found.clips), flags.shared_filesystem)
    if template.is_dry(engine):
        flags.overwrite = True  # the output is not even looked at
    line.stage("finding the weights")
    job = from_flags.job_of(flags, found, engine)
    line.stage("looking at the output")
    with from_flags.about("--output"):
        before = resume.inspect(job.output.directory, job, flags.overwrite)
    if before and (fitting := resolve.fitting_num_shards(found, before.num_shards)):
        print(summary.crowded(job.output.directory, before.num_shards, fitting), file=sys.stderr)
    if not engine.local:
        _announce(engine, job, found, flags.piece_seconds)
    if flags.task:
        return _task(flags, found, job, engine, started, line)
    if flags.check:
        return _check(flags, found, job, before, line)
    if template.asked(engine) or not (before and before.complete):
        line.stage("loading the network")
        from_flags.load(job.model, engine)  # its errors show before anything is written
    if template.asked(engine):
        print(template.write(found, job, engine, from_flags.update_of(flags)))
        return OK
    return _whole(flags, found, job, engine, started, line)


def _whole(
    flags: argparse.Namespace, found: Corpus, job: Job, engine: Engine, started: float, line: ProgressLine
) -> int:
    """The whole job in one run."""
    from pipeline.cli import summary
    from pipeline.cli.finish import finish_run
    from pipeline.decoding import decoders
    from pipeline.output import history
    from pipeline.output.at_work.submitted import Submitted
    from pipeline.running import embed_corpus
    from pipeline.running.engines import light_import

    def opened(output: OpenedOutput, work: Work) -> None:
        line.kept = partial(summary.kept, job, work)
        if not work.done:
            line.stage("loading the network")
            from_flags.load(job.model, engine)
            line.stage("starting the engine")
            if engine.local:
                light_import.beam()
        for text in summary.recovered(output, work):
            print(text, file=sys.stderr)

    log = history.Log(job, engine.describe(), started)
    line.stage("comparing the corpus with the output")
    with decoders.kept():  # for the report's pictures, too
        with from_flags.unless_busy():
            execution = _execution(flags, engine, log, line)
            embed = embed_corpus.submit if flags.no_wait else embed_corpus.run
            done = embed(found, job, execution, from_flags.update_of(flags), opened)
        if isinstance(done, Submitted):
            line.stage("")
            print(summary.submitted(job.output.directory, done), flush=True)
            return OK
        return finish_run(flags, found.names, job.output.directory, done, started, line)


def _expect_to_outlive(runner: str, engine: Engine) -> None:
    """Raises FlagError for an engine whose job would end with the command."""
    if engine.outlives:
        return
    if engine.local:
        why = f"{runner} runs in this command, and ends with it"
        remedy = "Leave it out, or choose an engine that goes on alone, such as DataflowRunner or a job service"
    elif engine.environment == "LOOPBACK":
        why = f"the workers of {runner} are this command's own (--environment_type LOOPBACK), and end with it"
        remedy = "Leave it out, or choose other workers, such as --environment_type EXTERNAL or DOCKER"
    else:
        why = f"{runner}'s job service would be this command's own, and end with it"
        remedy = "Leave it out, or start a job service and name it: --job_endpoint HOST:PORT"
    raise FlagError(f"--no_wait: {why}", remedy)


def _announce(engine: Engine, job: Job, found: Corpus, piece_s: float) -> None:
    """Prints what was chosen for an engine, and asks one of its workers whether it can do the job."""
    from pipeline.running.engines import first_job, hints

    print(engine.announced(job.decoding.processes, job.model.threads, piece_s), file=sys.stderr)
    if asked := hints.announced(engine):
        print(asked, file=sys.stderr)
    inputs = [containers.file_of(clip.uri, clip.place) for clip in found.clips[:1]]
    if line := first_job.ask_worker(engine, job, inputs):
        print(line, file=sys.stderr)


def _task(
    flags: argparse.Namespace, found: Corpus, job: Job, engine: Engine, started: float, line: ProgressLine
) -> int:
    """`--task`: one task's share, and the end of the array if it is the last; or that end alone."""
    from pipeline.cli import summary
    from pipeline.cli.finish import finish_run
    from pipeline.output import history
    from pipeline.output.tasks import Task
    from pipeline.running import tasks
    from pipeline.running.embed_corpus import Finished

    update = from_flags.update_of(flags)
    if isinstance(flags.task, Task):
        line.stage("loading the network")
        from_flags.load(job.model, engine)
        log = history.Log(job, engine.describe(), started, str(flags.task))
        with from_flags.unless_busy():
            execution = _execution(flags, engine, log, line)
            part = tasks.compute(found, job, flags.task, execution, update)
            line.stage("")
            print(summary.task(flags.task, part, time.monotonic() - started), flush=True)
            done = None if part.missing else tasks.finish_if_last(found, job, execution, update, flags.task.count)
        if done is None:
            return OK
        done = Finished(done.manifest, part.computed_s, part.kept, part.working_s)
    else:
        with from_flags.unless_busy():
            done = tasks.finish(found, job, _execution(flags, engine, None, line), update)
    return finish_run(flags, found.names, job.output.directory, done, started, line)


def _execution(flags: argparse.Namespace, engine: Engine, log: Log | None, line: ProgressLine) -> Execution:
    """The execution of a run's or a task's work, with its progress shown."""
    from pipeline.running.execution import Execution

    return Execution(engine, flags.piece_seconds, None if line.off else line.show, log, flags.restart)


def _check(flags: argparse.Namespace, found: Corpus, job: Job, before: Manifest | None, line: ProgressLine) -> int:
    """Prints what the run would do; changes nothing."""
    from pipeline.cli import trial
    from pipeline.cli.console import streams
    from pipeline.corpus.sample import draw
    from pipeline.output.journal import held
    from pipeline.running import job as jobs

    with from_flags.about("--output"):
        there = held.files_of(job.output.directory, job.fingerprint()) if before else held.Files()
        work = jobs.work_on(job, found, from_flags.update_of(flags), there, before)
    line.stage("trying a sample")
    sample = draw(work.clips)  # takes memory, of millions of clips: before the network does
    from_flags.load(job.model)
    with from_flags.about("--output"):
        said = trial.report(job, work, sample, before is not None)
    line.stage("")
    print(said)
    streams.expect_printed()
    return OK


def program() -> NoReturn:
    """The command as a process, which it ends."""
    ending.run(main)
