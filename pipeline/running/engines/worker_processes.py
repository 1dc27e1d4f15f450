"""Worker processes of this machine that serve one graph after another.

A job here is a sequence of graphs, and Beam starts new worker processes for each: every one would import and load the
network again, some 12 s of a core with TensorFlow. These stay until the job is done. `beam_workers` hands them graphs;
`worker_process` is what runs in them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from vggish_core.subprocesses import PACKAGES

COMMAND = (sys.executable, "-m", "pipeline.running.engines.worker_process")
STORE_OPTIONS = "STORE_OPTIONS"
"""Environment variable with `pipeline.storage.options`, beside those that Beam's worker expects."""
END_TIMEOUT_S = 10.0
"""Seconds that a process has to end by itself, before it is killed."""


class WorkerProcess:
    """A worker process: serves graphs, one at a time."""

    def __init__(self) -> None:
        here = os.getcwd()  # noqa: PTH109
        self._process = subprocess.Popen(
            [*COMMAND, here], cwd=PACKAGES, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdin
        assert self._process.stdout
        self._orders, self._answers = self._process.stdin, self._process.stdout
        self._idle = threading.Event()
        self._idle.set()
        self._lost: Callable[[int], None] = lambda status: None
        self._reader = threading.Thread(target=self._read, name=f"worker-{self._process.pid}", daemon=True)
        self._reader.start()

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid

    def serve(self, environment: Mapping[str, str], lost: Callable[[int], None]) -> None:
        """Hand over a graph: what Beam's worker expects in its environment; returns at once.

        Args:
          environment: by the names of Beam's variables.
          lost: called with the exit status, perhaps in another thread, if the process ends before the graph has.
        """
        self._lost = lost
        self._idle.clear()
        try:
            self._orders.write(json.dumps(dict(environment)) + "\n")
            self._orders.flush()
        except OSError:  # it has ended; perhaps nobody reads any more
            lost(self._process.wait())
            self._idle.set()

    def wait(self) -> None:
        """Returns when the graph has ended, or the process."""
        self._idle.wait()

    def kill(self) -> None:
        """End it at once; may be called from a signal's handler."""
        self._process.kill()

    def close(self) -> None:
        """End it: by itself, if it does so in time."""
        with suppress(OSError):  # it has ended, with something unread
            self._orders.close()
        try:
            self._process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        self._answers.close()

    def _read(self) -> None:
        for _ in self._answers:  # a line for each graph that has ended
            self._idle.set()
        status = self._process.wait()
        if not self._idle.is_set():
            self._lost(status)
        self._idle.set()


class Pool:
    """Worker processes that nobody uses at the moment; made where there are too few."""

    def __init__(self) -> None:
        self._all: list[WorkerProcess] = []
        self._free: list[WorkerProcess] = []

    def lend(self) -> WorkerProcess:
        """A process that serves no graph."""
        while self._free:
            if (process := self._free.pop()).running:
                return process
        self._all.append(WorkerProcess())
        return self._all[-1]

    def give_back(self, process: WorkerProcess) -> None:
        """A process whose graph has ended."""
        self._free.append(process)

    def kill(self) -> None:
        """End all at once; may be called from a signal's handler."""
        for process in self._all:
            process.kill()

    def close(self) -> None:
        """End all."""
        for process in self._all:
            process.close()
        self._all, self._free = [], []


_pool = Pool()
_depth = 0


def pool() -> Pool:
    """The worker processes of this process; to be used within `kept`."""
    return _pool


@contextmanager
def kept() -> Iterator[None]:
    """Worker processes that graphs start within this block are kept for those that follow in it, then ended."""
    global _depth
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
        if not _depth:
            _pool.close()
