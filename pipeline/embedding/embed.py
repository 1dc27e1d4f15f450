"""Examples of many clips -> embeddings, in full batches, with one network a process for each that its steps use.

A batch holds rows of as many segments as it takes to fill it. Rows do not depend on their neighbours (the network runs
in one fixed shape), so how segments happen to be batched changes no byte.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from weakref import WeakValueDictionary

import numpy as np

from pipeline.embedding import models
from pipeline.embedding.models import EmbedFunction
from pipeline.machine import cores_a_process
from pipeline.settings import Model
from pipeline.types import Embedding, ExampleBlock, Extracted, Failure, Outcome, Segment


@dataclass(frozen=True)
class Span:
    """The consecutive examples of a segment that some rows of a batch hold."""

    segment: Segment
    first_example: int
    count: int


class Batcher:
    """Blocks in, full batches out; keeps what does not fill a batch yet.

    Args:
      batch_size: rows of a batch.
    """

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size
        self._blocks: deque[ExampleBlock] = deque()
        self._rows = 0

    def add(self, block: ExampleBlock) -> Iterator[tuple[list[Span], np.ndarray]]:
        """A block of any length -> the batches that it completes: spans, and float32 [batch_size, 96, 64]."""
        self._blocks.append(block)
        self._rows += len(block.examples)
        while self._rows >= self._batch_size:
            yield self._take(self._batch_size)

    def rest(self) -> Iterator[tuple[list[Span], np.ndarray]]:
        """The remaining rows, if any, as one smaller batch."""
        if self._rows:
            yield self._take(self._rows)

    def _take(self, rows: int) -> tuple[list[Span], np.ndarray]:
        self._rows -= rows
        spans, parts = [], []
        while rows:
            block = self._blocks.popleft()
            count = min(rows, len(block.examples))
            spans.append(Span(block.segment, block.first_example, count))
            parts.append(block.examples[:count])
            if count < len(block.examples):
                rest = replace(block, first_example=block.first_example + count, examples=block.examples[count:])
                self._blocks.appendleft(rest)
            rows -= count
        return spans, parts[0] if len(parts) == 1 else np.concatenate(parts)


@dataclass(frozen=True)
class EmbeddedBatch:
    """The network's output for a batch.

    Attributes:
      values: [k, 128].
      finite: bool [k], whether a row's are.
      seconds: that the call took.
    """

    values: np.ndarray
    finite: np.ndarray
    seconds: float


def outcomes_of(spans: Iterable[Span], batch: EmbeddedBatch) -> Iterator[Embedding | Failure]:
    """The spans of a batch and its result -> one `Embedding` per span, or its clip's failure."""
    row = 0
    for span in spans:
        rows = slice(row, row + span.count)
        clip = span.segment.clip
        if batch.finite[rows].all():
            # A copy: a view would keep, and pickle, the whole batch.
            yield Embedding(clip, span.segment.index, span.first_example, batch.values[rows].copy())
        else:
            example = span.first_example + int(batch.finite[rows].argmin())
            message = f"the network's values for example {example} are not finite: is the checkpoint damaged?"
            yield Failure(clip, "embed", "not_finite", message)
        row += span.count


_executors: MutableMapping[int, ThreadPoolExecutor] = WeakValueDictionary()


class Worker:
    """A model of one process and the threads that call it; shared by every DoFn of the process that uses it.

    Args:
      embed: what a call does.
      batch_size: rows of a full batch.
      threads: calls at the same time, together with other workers of as many threads.
    """

    def __init__(self, embed: EmbedFunction, batch_size: int, threads: int) -> None:
        self.embed = embed
        self.batch_size = batch_size
        self.threads = threads
        self._executor = _executors.setdefault(threads, ThreadPoolExecutor(threads, thread_name_prefix="embed"))

    def submit(self, examples: np.ndarray) -> Future[EmbeddedBatch]:
        """Examples [k, 96, 64] -> a future of the network's output for them."""
        return self._executor.submit(self._timed, examples)

    def _timed(self, examples: np.ndarray) -> EmbeddedBatch:
        start = time.perf_counter()
        values, finite = self.embed(examples)
        return EmbeddedBatch(values, finite, time.perf_counter() - start)


class EmbeddingStream:
    """One bundle's stream through a `Worker`: extracted items in, outcomes out, batches in flight between.

    Args:
      worker: the process' network.
      on_batch: called with (rows, seconds) for each batch; for counters.
    """

    def __init__(self, worker: Worker, on_batch: Callable[[int, float], None] = lambda rows, seconds: None) -> None:
        self._worker = worker
        self._on_batch = on_batch
        self._batcher = Batcher(worker.batch_size)
        self._flying: deque[tuple[list[Span], Future[EmbeddedBatch]]] = deque()

    def push(self, item: Extracted) -> Iterator[Outcome]:
        """An item -> the outcomes that are ready. Endings and failures pass at once."""
        if not isinstance(item, ExampleBlock):
            yield item
            return
        for spans, examples in self._batcher.add(item):
            self._flying.append((spans, self._worker.submit(examples)))
            # One batch more than there are threads: none waits for the decoders while a batch is at hand.
            yield from self._land(self._worker.threads + 1)

    def finish(self) -> Iterator[Outcome]:
        """The outcomes of everything that is left."""
        for spans, examples in self._batcher.rest():
            self._flying.append((spans, self._worker.submit(examples)))
        yield from self._land(0)

    def _land(self, keep: int) -> Iterator[Embedding | Failure]:
        while len(self._flying) > keep:
            spans, future = self._flying.popleft()
            batch = future.result()
            self._on_batch(len(batch.values), batch.seconds)
            yield from outcomes_of(spans, batch)


_lock = threading.Lock()
_workers: MutableMapping[Model, Worker] = WeakValueDictionary()
_latest: Worker | None = None


def shared_worker(model: Model, check: bool = False) -> Worker:
    """Model settings -> this process' worker, loaded at the first call. Errors as `models.load`.

    It is kept as long as somebody holds it, and the one that was asked for last until another is. Models with the same
    network share that, whatever becomes of its values.
    """
    global _latest
    with _lock:
        worker = _workers.get(model)
        if worker is None:
            threads = model.threads or cores_a_process()
            worker = _workers[model] = Worker(models.load(model, check), model.batch_size, threads)
        _latest = worker
        return worker


def drop_waiting() -> None:
    """What waits for a network in this process is not computed any more: its bundles fail, and the process can end.

    Whoever asks for a worker after that gets another one.
    """
    global _latest
    with _lock:
        stopped = list(_executors.values())
        _executors.clear()
        _workers.clear()
        _latest = None
    for executor in stopped:
        executor.shutdown(wait=False, cancel_futures=True)
