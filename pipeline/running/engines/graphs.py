"""Graphs on engines: handed over, and waited for."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from pipeline.running.engines import live, portable
from pipeline.running.engines.runners import DATAFLOW, LOST, Engine, WorkerLostError, explained
from pipeline.running.engines.watch import page_of


def run(
    engine: Engine,
    construct: Callable[[Any], Any],
    resource_hints: Sequence[str] = (),
    attended: Callable[[Engine, Any], AbstractContextManager[None]] = live.attended,
) -> Any:
    """An engine and a function that builds a graph on its argument, the pipeline -> the finished run's result.

    Args:
      engine: where.
      construct: gets the pipeline.
      resource_hints: what all steps ask for of a worker, as values of Beam's `--resource_hint`; the user's go first.
      attended: the context of the wait for an engine that goes on without this process; gets it and Beam's result.

    Raises:
      WorkerLostError: a worker process is gone, and the engine gave up.
      Exception: whatever the engine or a step of the graph raised.
    """
    with _explained(engine):
        result = _submit(engine, construct, resource_hints)
        if engine.local:
            result.wait_until_finish()
        else:
            with attended(engine, result):
                result.wait_until_finish()
    return result


def submit(engine: Engine, construct: Callable[[Any], Any], resource_hints: Sequence[str] = ()) -> Any:
    """As `run`, of an engine that goes on without this process -> the result of a job that has just begun."""
    with _explained(engine):
        return _submit(engine, construct, resource_hints)


@contextmanager
def _explained(engine: Engine) -> Iterator[None]:
    """Errors of the engine and of steps become those for the user."""
    try:
        yield
    except Exception as error:
        if lost := LOST.search(str(error)):
            raise WorkerLostError(str(engine), lost[0]) from error
        found = explained(error)
        if found is error:
            raise
        raise found from error


def _submit(engine: Engine, construct: Callable[[Any], Any], resource_hints: Sequence[str]) -> Any:
    import apache_beam as beam

    options = engine.options(resource_hints)
    runner, handed = _runner(engine, options)
    pipeline = beam.Pipeline(runner, options)
    construct(pipeline)
    if engine.watch:
        engine.watch.begin()
    with _own_signals():
        try:
            result = pipeline.run()
        except KeyboardInterrupt:
            if not engine.outlives:
                raise
            said = f"{engine.runner} was just being given the job, and may have taken it: look at its jobs"
            raise KeyboardInterrupt(said) from None
    if handed:
        result.handed = handed
    if engine.watch:
        engine.watch.running(result, page_of(result, pipeline.options))
    return result


@contextmanager
def _own_signals() -> Iterator[None]:
    """Beam's handler of Ctrl-C, which stops its job server before the job could be cancelled, gives way to the one that
    was there before."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGINT, before)


def _runner(engine: Engine, options: Any) -> tuple[Any, portable.Handed | None]:
    """An engine and a graph's options -> the runner (None: Beam's own of that name), and what will be known of a job on
    a portable engine."""
    if engine.processes:
        from pipeline.running.engines import beam_workers

        return beam_workers.runner(), None
    if engine.local or engine.runner.lower() == DATAFLOW:
        return None, None
    return portable.runner_of(engine, options)
