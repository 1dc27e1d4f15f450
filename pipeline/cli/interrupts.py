"""Ctrl-C and SIGTERM as a run takes them."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.engines import worker_processes


@contextmanager
def interruptible(verbose: bool) -> Iterator[list[int]]:
    """Ctrl-C and SIGTERM end the run in order, so that locks and temporary files go; the second one ends it at once.

    Yields the list of signals that came: an engine that runs our code wraps exceptions, KeyboardInterrupt too.
    """
    came: list[int] = []

    def interrupt(number: int, frame: object) -> None:
        if came:
            os._exit(128 + number)
        came.append(number)
        worker_processes.pool().kill()  # the engine would wait until they have done what they are at
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
