"""A command's end as a process: in order at a signal, and at once when everything is done and printed."""

from __future__ import annotations

import atexit
import faulthandler
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NoReturn

from pipeline.cli.console import streams
from pipeline.running.engines import worker_processes

CRASHED = 1
"""Python's exit status after an exception that nobody caught."""
LATEST_END_S = 60.0
"""A process that was to stop ends after so long, whatever it hangs in, and says where that was. Storage that fails is
tried again for half of it."""

_owns_process = False
"""Whether `run` was called: the process is the command's, not a notebook's."""


@contextmanager
def interruptible(verbose: bool) -> Iterator[list[int]]:
    """Ctrl-C, SIGTERM and SIGHUP end the run in order: what is finished is written, for `writer.KEEP_S` at most, and
    locks and temporary files go. A second one ends it at once.

    SIGHUP may come twice, from the terminal and from the shell, and is then no sign of impatience. Under nohup, which
    ignores it, it stays ignored.

    Yields the list of signals that came: an engine that runs our code wraps exceptions, KeyboardInterrupt too.
    """
    came: list[int] = []
    terminals = [number for number in (1, 2) if os.isatty(number)]

    def interrupt(number: int, frame: object) -> None:
        if number == signal.SIGHUP:
            _write_nowhere(terminals)
        if came:
            if number != signal.SIGHUP:
                os._exit(128 + number)
            return
        came.append(number)
        if _owns_process:
            faulthandler.dump_traceback_later(LATEST_END_S, exit=True)
        worker_processes.stop_all()  # the engine would wait until they have done what they are at
        if not verbose:  # what an engine's threads say when they are stopped is no news
            logging.disable(logging.CRITICAL)
            threading.excepthook = lambda _: None
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    hook = threading.excepthook
    caught = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        caught.append(signal.SIGHUP)
    before = {number: signal.signal(number, interrupt) for number in caught}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        threading.excepthook = hook
        logging.disable(logging.NOTSET)


def _write_nowhere(descriptors: Sequence[int]) -> None:
    """Writing to a closed terminal would raise and break the orderly end of the run, so it is discarded."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in descriptors:
        os.dup2(nowhere, descriptor)
    os.close(nowhere)


def run(program: Callable[[], int]) -> NoReturn:
    """Runs a program, ends the process with the status that it returns, whatever its standard streams are.

    Threads are waited for as always, and the exit functions called that the program registered. What Python does after
    that is left out: it takes modules and objects apart when the threads that serve them are already stopped. A command
    that had talked to a job service was seen to hang there after its last word, once in hundreds of runs; and with
    TensorFlow and Beam loaded it takes more than a second.
    """
    global _owns_process
    _owns_process = True
    streams.prepare()
    status = CRASHED

    def leave() -> None:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(status)

    atexit.register(leave)  # the first that is registered is called last
    try:
        status = program()
    except SystemExit as end:  # argparse's
        if end.code is None or isinstance(end.code, int):
            status = end.code or 0
        raise
    sys.exit(status)
