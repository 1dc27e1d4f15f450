"""A job on an engine, which goes on without its command: it is noted, asked for its state, and cancelled.

Engines answer in Beam's names of states (`PipelineState`). Two more are ours: `GONE` of a job that its service does not
know any more, and "" where nobody answers.
"""

from __future__ import annotations

import copy
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from pipeline import storage
from pipeline.embedding import embed
from pipeline.output import lock
from pipeline.output.at_work import submitted
from pipeline.output.at_work.submitted import Submitted
from pipeline.output.layout import OutputError
from pipeline.output.tasks import Task
from pipeline.running.engines.portable import ASK_S, Handed, names_of
from pipeline.running.engines.runners import DATAFLOW, Engine
from pipeline.running.engines.watch import page_of

CANCEL_S = 20.0
"""How long a cancelled job has to end, as its engine sees it."""
POLL_S = 0.5
GONE = "GONE"
UNKNOWN_JOB = ("NOT_FOUND", "UNKNOWN")
"""gRPC's codes for a job that a service does not know: Python's and Prism say UNKNOWN. Any other says nothing of it."""
OVER = ("DONE", "FAILED", "CANCELLED", "UPDATED", "DRAINED", GONE)

_log = logging.getLogger(__name__)


class JobRunsError(OutputError):
    """An engine is at work on the output, and no command waits for it."""


def taken(engine: Engine, result: Any) -> Submitted:
    """What an engine took: the `PipelineResult` of `graphs.submit` -> the job as it is noted."""
    page = page_of(result, engine.options())
    if engine.runner.lower() == DATAFLOW:
        return Submitted(engine.runner, result.job_id(), page=page)
    job: Handed = result.handed
    return Submitted(engine.runner, job.id, engine.environment, job.endpoint, job.own, page, name=job.name)


@contextmanager
def noted(
    directory: str, engine: Engine, result: Any, plan_parts: Sequence[str], task: Task | None = None
) -> Iterator[None]:
    """A job that the engine took is noted in its output until it has ended; an interrupt of the block cancels it.

    Args:
      directory: the output.
      engine: where the job is.
      result: Beam's `PipelineResult`.
      plan_parts: the job's plan: workers of an engine that cannot cancel stop where it is gone.
      task: the job is a task's.

    Raises:
      KeyboardInterrupt: says what has become of the job.
    """
    job = taken(engine, result)
    submitted.write(directory, job, task)
    try:
        with attended(engine, result, "; --restart cancels it first"):
            yield
    except KeyboardInterrupt:
        for part in plan_parts:
            with suppress(OSError):
                storage.delete(part)
        raise
    finally:
        if is_over(job, state_of(result)):
            with suppress(OSError):  # the next command asks for the job's state
                submitted.remove(directory, task)


@contextmanager
def attended(engine: Engine, result: Any, remedy: str = "") -> Iterator[None]:
    """An interrupt of the block cancels the job that the block waits for.

    Args:
      engine, result: as of `noted`.
      remedy: what is said of a job that goes on.

    Raises:
      KeyboardInterrupt: says what has become of the job.
    """
    try:
        yield
    except KeyboardInterrupt:
        job = taken(engine, result)
        state = cancel(job, result)
        embed.drop_waiting()  # of workers in this process, which would wait for it when it ends
        if is_over(job, state):
            raise KeyboardInterrupt(f"The job {job} is {state if state not in (GONE, '') else 'over'}") from None
        said = f"is still {state}" if state else "cannot be asked for its state"
        raise KeyboardInterrupt(f"The job {job} was cancelled, and {said} after {CANCEL_S:g} s{remedy}") from None


def is_over(job: Submitted, state: str) -> bool:
    """Whether a job that is in this state does nothing any more."""
    return state in OVER or (not state and job.own_service and job.runner.lower() == "prismrunner")


def state_of(result: Any) -> str:
    """Beam's `PipelineResult` -> the job's state."""
    try:
        return str(_within(ASK_S, lambda: copy.copy(result).state) or "")
    except Exception as error:  # engines raise what they like
        _log.debug("the engine does not tell the job's state", exc_info=True)
        code = getattr(error, "code", None)  # of gRPC
        return GONE if callable(code) and code().name in UNKNOWN_JOB else ""


def cancel(job: Submitted, result: Any, patience_s: float = CANCEL_S) -> str:
    """Cancels a job, and waits until it is over -> its state then, or that after `patience_s`."""
    until, state = time.monotonic() + patience_s, ""

    def ask() -> None:
        with suppress(Exception):  # its state says what came of it
            result.cancel()

    _within(patience_s, ask)
    while True:
        state = state_of(result)
        if is_over(job, state) or time.monotonic() >= until:
            return state
        time.sleep(POLL_S)


def _within(seconds: float, ask: Callable[[], Any]) -> Any:
    """The function's result; None if it takes longer: a call to an engine may hang. Raises what it raises."""
    answers: list[Any] = []
    errors: list[Exception] = []

    def answer() -> None:
        try:
            answers.append(ask())
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=answer, name="engine", daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    return answers[0] if answers else None


def settle(directory: str, engine: Engine, restart: bool = False, task: Task | None = None, held: bool = False) -> None:
    """Whatever job an engine was given for an output before: it is over, or cancelled now, or an error.

    To be called before the output's lock is taken, so that the commit of a job that runs finds no lock, and with it.

    Args:
      directory: the output.
      engine: of this command.
      restart: a job that runs is cancelled.
      task: a part of the output is meant.
      held: the caller holds the lock.

    Raises:
      OutputBusy: the job's command is at work.
      JobRunsError: the job runs, or nobody knows whether it does.
    """
    for uri, job in submitted.noted(directory, task).items():
        if task and not held and uri != submitted.uri_of(directory):
            continue  # other tasks' commands may be at work; this one's lock is taken first
        if job.environment == "LOOPBACK":  # its workers were the command's own, and are gone with it
            if held and (result := _result_of(job, engine)):
                cancel(job, result, POLL_S)
        else:
            _expect_over(directory, uri, job, engine, restart, held)
        if held:
            storage.delete(uri)


def _expect_over(directory: str, uri: str, job: Submitted, engine: Engine, restart: bool, held: bool) -> None:
    """The job of this note is over, or cancelled; errors as of `settle`."""
    result = _result_of(job, engine)
    state = state_of(result) if result else ""
    if is_over(job, state):
        return
    if not held:
        lock.expect(directory, "")
    if restart and state:
        state = cancel(job, result)
        if is_over(job, state):
            return
    if not state:
        where = f"the job service {job.endpoint} does not answer" if job.endpoint else "it cannot be asked from here"
        raise JobRunsError(
            f"{directory} was given to the job {job}, which may still run: {where}",
            f"Run this command where the engine can be asked; if you know that the job has ended, remove {uri}.",
        )
    if restart:
        raise JobRunsError(
            f"{directory} is written by the job {job}, which was cancelled and is still {state} after {CANCEL_S:g} s",
            "Run the same command again a little later",
        )
    raise JobRunsError(
        f"{directory} is being written by the job {job}, which is {state}",
        "Wait for it, or run the same command with --restart, which cancels it first and keeps what it finished.",
    )


class _Anothers:
    """The `PipelineResult` of a job whose service was started again, and has given its id to another one."""

    state = GONE

    def cancel(self) -> None: ...


def _result_of(job: Submitted, engine: Engine) -> Any:
    """A noted job -> a `PipelineResult` that asks for it; None where there is nobody to ask."""
    if job.endpoint:
        import grpc
        from apache_beam.portability.api import beam_job_api_pb2_grpc
        from apache_beam.runners.portability.portable_runner import PipelineResult

        service = beam_job_api_pb2_grpc.JobServiceStub(grpc.insecure_channel(job.endpoint))
        names = names_of(service, job.id) if job.name else []
        if names and job.name not in names:
            return _Anothers()
        return PipelineResult(service, job.id, None, None)
    if engine.runner.lower() == job.runner.lower() == DATAFLOW:
        return _on_dataflow(job, engine)
    return None


def _on_dataflow(job: Submitted, engine: Engine) -> Any:
    from apache_beam.runners.dataflow.dataflow_runner import DataflowPipelineResult, DataflowRunner
    from apache_beam.runners.dataflow.internal import apiclient

    runner = DataflowRunner()
    try:
        runner.dataflow_client = apiclient.DataflowApplicationClient(engine.options())
        return DataflowPipelineResult(runner.dataflow_client.get_job(job.id), runner)
    except Exception:  # of another project or region, say
        _log.debug("Dataflow does not tell of the job", exc_info=True)
        return None
