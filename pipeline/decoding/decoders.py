"""A pool of decoder processes that may crash, hang or take too much memory: only what they were reading fails.

A thread a decoder takes the oldest request, hands it to its process and moves what comes back into the request's own
bounded queue. So memory is bounded by the number of requests under way, whatever their length.

Why consumers cannot block each other for good, if each takes everything from its oldest request before it waits for the
next: requests start in the order of their submission. Take the oldest of all unfinished requests. Everything that was
submitted before it is finished, so it has a decoder, or gets the next one; and its consumer's older requests are
finished as well, so that consumer reaches it without waiting, and empties its queue. So it ends; the next is oldest.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from pipeline.decoding.decoder_client import COMMAND, CancelledError, Decoder
from pipeline.decoding.pending import PendingExcerpt, PendingProbe, PendingRequest, ResultQueue
from pipeline.decoding.protocol import ExcerptRequest, ProbeRequest, Request
from pipeline.decoding.worker_slot import RequestRun, WorkerSlot, answer
from pipeline.machine import cores_a_process
from pipeline.settings import Decoding, FrontEnd
from pipeline.types import DecodeRequest


class PoolClosedError(RuntimeError):
    """The pool was closed while somebody waited for a request."""


class DecoderPool:
    """Decoder processes, started when there is work, replaced when they fail.

    Args:
      front_end: how audio becomes examples.
      decoding: how many processes, and their limits.
      command: what a decoder process is; another one in tests.
    """

    def __init__(self, front_end: FrontEnd, decoding: Decoding, command: Sequence[str] = COMMAND) -> None:
        self.front_end = front_end
        self.decoding = decoding
        self._command = command
        self._waiting: deque[tuple[Request, ResultQueue]] = deque()
        self._current: set[ResultQueue] = set()
        self._lock = threading.RLock()  # taken by name: see `ResultQueue`
        self._changed = threading.Condition(self._lock)
        self._closed = False
        self._threads: list[threading.Thread] = []
        self._idle = 0
        _live.add(self)

    def submit(self, request: DecodeRequest) -> PendingRequest:
        """Queue a request behind all that were submitted before."""
        job = PendingRequest(request)
        self._submit(request, job.results)
        return job

    def probe(self, uri: str, otherwise: bool = False, place: str = "") -> PendingProbe:
        """Queue a question about the header of a file, likewise: headers are as hostile as what follows them.

        `otherwise`: about its length by another route. `place`: where in its container it is (`Clip`).
        """
        probing = PendingProbe()
        self._submit(ProbeRequest(uri, otherwise, place), probing.results)
        return probing

    def excerpt(self, uri: str, start_s: float, seconds: float, place: str = "") -> PendingExcerpt:
        """Queue a question for some seconds of a file to listen to, likewise. `place`: as of `probe`."""
        asked = PendingExcerpt()
        self._submit(ExcerptRequest(uri, start_s, seconds, place), asked.results)
        return asked

    @property
    def started(self) -> int:
        """Decoders that have been needed so far: more requests than these at a time start another."""
        with self._lock:
            return len(self._threads)

    def _submit(self, request: Request, results: ResultQueue) -> None:
        with self._lock:
            if self._closed:
                raise PoolClosedError("the decoder pool is closed")
            self._waiting.append((request, results))
            if len(self._waiting) > self._idle and len(self._threads) < self.decoding.processes:
                # Daemon threads: the interpreter's end does not wait for them; `atexit` closes shared pools.
                thread = threading.Thread(target=self._serve, name="decoder", daemon=True)
                self._threads.append(thread)
                thread.start()
            self._changed.notify()

    def close(self) -> None:
        """End all processes. Consumers that still wait get a `PoolClosedError`."""
        with self._lock:
            self._closed = True
            for results in [*(results for _, results in self._waiting), *self._current]:
                results.end(0.0, PoolClosedError("the decoder pool was closed before this request's end"))
                results.cancel()
            self._waiting.clear()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> DecoderPool:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _serve(self) -> None:
        """A decoder's thread."""
        slot = WorkerSlot(lambda: Decoder(self.front_end, self.decoding, self._command))
        while (task := self._take()) is not None:
            request, results = task
            try:
                if isinstance(request, DecodeRequest):
                    run = RequestRun(request, slot, results)
                    run.read()
                    results.end(run.busy_s)
                else:
                    answer(request, slot, results)
                    results.end(0.0)
            except CancelledError:
                slot.kill()
            except BaseException as error:  # for the consumer to see; this thread goes on
                slot.kill()
                results.end(0.0, error)
            finally:
                with self._lock:
                    self._current.discard(results)
        slot.end()

    def _take(self) -> tuple[Request, ResultQueue] | None:
        with self._lock:
            self._idle += 1
            self._changed.wait_for(lambda: self._waiting or self._closed)
            self._idle -= 1
            if self._closed:
                return None
            task = self._waiting.popleft()
            self._current.add(task[1])
            return task


_lock = threading.Lock()
_pools: dict[tuple[FrontEnd, Decoding], tuple[DecoderPool, int]] = {}
_keepers = 0


def shared_pool(front_end: FrontEnd, decoding: Decoding) -> DecoderPool:
    """This process's one pool of these settings, for all threads; `release_pool` it as often as it was asked for."""
    decoding = replace(decoding, processes=decoding.processes or cores_a_process())
    with _lock:
        key = (front_end, decoding)
        pool, users = _pools.get(key) or (DecoderPool(front_end, decoding), 0)
        _pools[key] = (pool, users + 1)
        return pool


def release_pool(pool: DecoderPool) -> None:
    """Releases a shared pool for one user; the last one closes it, unless pools are `kept`."""
    key = (pool.front_end, pool.decoding)
    with _lock:
        if _pools.get(key, (None, 0))[0] is pool:
            _pools[key] = (pool, _pools[key][1] - 1)
    _close_unused()


def kept_pool(hop_seconds: float) -> DecoderPool | None:
    """A shared pool of this hop that is kept, while nobody else needs it; None where there is none."""
    with _lock:
        free = (pool for pool, users in _pools.values() if _keepers and not users)
        return next((pool for pool in free if pool.front_end.hop_seconds == hop_seconds), None)


@contextmanager
def kept() -> Iterator[None]:
    """Shared pools that nobody needs any more stay until the end of this block, for graphs that follow in it.

    A decoder takes half a second of a processor to start.
    """
    global _keepers
    with _lock:
        _keepers += 1
    try:
        yield
    finally:
        with _lock:
            _keepers -= 1
        _close_unused()


def _close_unused() -> None:
    with _lock:
        unused = [] if _keepers else [pool for pool, users in _pools.values() if not users]
        for pool in unused:
            del _pools[pool.front_end, pool.decoding]
    for pool in unused:
        pool.close()


_live: weakref.WeakSet[DecoderPool] = weakref.WeakSet()


def _close_all() -> None:
    for pool in list(_live):
        pool.close()


def _forget_in_fork() -> None:
    global _lock, _keepers
    _lock = threading.Lock()
    _keepers = 0
    _pools.clear()
    _live.clear()


atexit.register(_close_all)
os.register_at_fork(after_in_child=_forget_in_fork)
