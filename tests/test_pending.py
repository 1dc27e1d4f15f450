"""The queue between a decoder's thread and a consumer: nothing that happens to the consumer may hold the thread."""

from __future__ import annotations

import random
import signal
import sys
import threading
import time
from types import FrameType

import numpy as np
import pytest

from pipeline.decoding.decoder_client import CancelledError
from pipeline.decoding.pending import ResultQueue
from pipeline.types import Clip, ExampleBlock, Segment

BLOCK = ExampleBlock(Segment(Clip("a", "a")), 0, np.empty((64, 0), np.float32))


class Interruption(BaseException):
    """Stands for Ctrl-C."""


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 can leave any lock held when a signal comes")
def test_a_signal_at_any_moment_leaves_the_lock_free() -> None:
    def interrupt(number: int, frame: FrameType | None) -> None:
        raise Interruption

    rng = random.Random(0)
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        interrupted = 0
        until = time.monotonic() + 2
        while time.monotonic() < until:
            results = ResultQueue()
            producer = threading.Thread(target=_put_until_cancelled, args=[results], daemon=True)
            producer.start()
            try:
                try:
                    signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-5, 2e-3))
                    while True:
                        results.get()
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
            except (Interruption, RuntimeError):  # a lock that was let go for a wait
                interrupted += 1
            results.cancel()
            producer.join(20)
            assert not producer.is_alive(), f"after {interrupted} signals"
    finally:
        signal.signal(signal.SIGALRM, before)
    assert interrupted > 100


def _put_until_cancelled(results: ResultQueue) -> None:
    try:
        while True:
            results.put(BLOCK)
    except CancelledError:
        pass
