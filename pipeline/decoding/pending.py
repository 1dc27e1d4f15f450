"""Requests submitted to a pool of decoders, and their results in a bounded queue from a thread to a consumer."""

from __future__ import annotations

import threading
from collections import deque

from pipeline.decoding.decoder_client import CancelledError
from pipeline.types import DecodeRequest, ExampleBlock, Excerpt, Extracted, Probe

QUEUED_EXAMPLES = 256
"""Examples that a request may have waiting for its consumer: 6 MB."""
WAIT_S = 1.0
"""Seconds that a wait for a result lasts before it looks round."""


class _Pending:
    """Something that was submitted to a pool.

    Attributes:
      results: where a decoder's thread puts what comes of it.
    """

    def __init__(self) -> None:
        self.results = ResultQueue()

    def close(self) -> None:
        """Discards results not yet taken, so that the decoder is free for others."""
        self.results.cancel()

    def __del__(self) -> None:
        self.results.cancel()


class PendingRequest(_Pending):
    """The results of a submitted request: an iterator of `ExampleBlock`s, and one `SegmentEnd` or `Failure` each.

    Blocks of one segment come in order; those of segments that overlap in time come interleaved.

    Attributes:
      request: what was submitted.
      busy_s: seconds that decoding took, known at the end.
    """

    def __init__(self, request: DecodeRequest) -> None:
        super().__init__()
        self.request = request

    @property
    def busy_s(self) -> float:
        return self.results.busy_s

    def __iter__(self) -> PendingRequest:
        return self

    def __next__(self) -> Extracted:
        item = self.results.get()
        if item is None:
            raise StopIteration
        assert not isinstance(item, Probe | Excerpt)
        return item


class PendingProbe(_Pending):
    """The answer to a question about a file's header."""

    def result(self) -> Probe | None:
        """Waits for the header's content; None if it cannot be read. To be called once."""
        item = self.results.get()
        assert item is None or isinstance(item, Probe)
        return item


class PendingExcerpt(_Pending):
    """Some seconds of a file to listen to."""

    def result(self) -> Excerpt:
        """Waits for them; where a decoder dies or hangs of the file, this says so. To be called once."""
        item = self.results.get()
        assert item is None or isinstance(item, Excerpt)
        if item is not None:
            self.results.get()  # its end: until then its decoder is not free for the next
        return item or Excerpt("", "its decoder process ended")


class ResultQueue:
    """The bounded queue between a decoder's thread and a consumer."""

    def __init__(self) -> None:
        # Locks are taken by name: `with` on a condition is Python code, which a Ctrl-C in the main thread can leave
        # with the lock held, and a decoder's thread would wait for it for ever.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._items: deque[Extracted | Probe | Excerpt] = deque()
        self._examples = 0
        self._ended = False
        self._error: BaseException | None = None
        self.busy_s = 0.0
        self.cancelled = False

    def put(self, item: Extracted | Probe | Excerpt) -> None:
        """Add a result when there is space. Raises `CancelledError` if nobody will take it."""
        size = len(item.examples) if isinstance(item, ExampleBlock) else 0
        with self._lock:
            self._changed.wait_for(lambda: self.cancelled or not size or self._examples < QUEUED_EXAMPLES)
            if self.cancelled:
                raise CancelledError
            self._items.append(item)
            self._examples += size
            self._changed.notify_all()

    def end(self, busy_s: float, error: BaseException | None = None) -> None:
        """Nothing more comes; `error` is raised to the consumer."""
        with self._lock:
            if not self._ended:
                self._ended, self._error, self.busy_s = True, error, busy_s
                self._changed.notify_all()

    def get(self) -> Extracted | Probe | Excerpt | None:
        """The next result; None at the end."""
        with self._lock:
            # In slices: a wait without end would not see a Ctrl-C that comes in the moment before it begins.
            while not self._changed.wait_for(lambda: self._items or self._ended or self.cancelled, WAIT_S):
                pass
            if self._items:
                item = self._items.popleft()
                if isinstance(item, ExampleBlock):
                    self._examples -= len(item.examples)
                self._changed.notify_all()
                return item
            if self._error is not None:
                raise self._error
            return None

    def cancel(self) -> None:
        with self._lock:
            self.cancelled = True
            self._items.clear()
            self._changed.notify_all()
