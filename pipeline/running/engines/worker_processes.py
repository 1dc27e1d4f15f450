"""Worker processes of this machine, for Beam's in-process runner: each serves one graph.

Beam starts such processes too, but they print its tracebacks, get none of the stores' options, and when one is lost the
runner waits without end. `worker_process` is what runs in ours, `beam_workers` hands them to the runner.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress

from vggish_core.subprocesses import PACKAGES

COMMAND = (sys.executable, "-m", "pipeline.running.engines.worker_process")
STORE_OPTIONS = "STORE_OPTIONS"
"""Environment variable with `pipeline.storage.options`, beside those that Beam's worker expects."""
END_TIMEOUT_S = 10.0
"""Seconds that a process has to end by itself, before it is killed."""


class WorkerProcess:
    """A worker process and its graph.

    Args:
      environment: what Beam's worker expects in environment variables, by their names.
      lost: called with the exit status, in another thread, if the process ends before it is to.
    """

    def __init__(self, environment: Mapping[str, str], lost: Callable[[int], None]) -> None:
        here = os.getcwd()  # noqa: PTH109
        self._process = subprocess.Popen([*COMMAND, here], cwd=PACKAGES, stdin=subprocess.PIPE, text=True)
        assert self._process.stdin
        self._stdin = self._process.stdin
        self._lost = lost
        self._closing = False
        with suppress(OSError):  # it has ended
            self._stdin.write(json.dumps(dict(environment)) + "\n")
            self._stdin.flush()
        self._waiting = threading.Thread(target=self._wait, name=f"worker-{self._process.pid}", daemon=True)
        self._waiting.start()
        _running.add(self)

    @property
    def pid(self) -> int:
        return self._process.pid

    def stop(self) -> None:
        """Has it write what it has finished, and end; may be called from a signal's handler."""
        self._process.terminate()

    def kill(self) -> None:
        """Ends it at once."""
        self._process.kill()

    def close(self) -> None:
        """Ends it, its graph having ended: by itself, if it does so in time."""
        self._closing = True
        try:
            self._process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._waiting.join()
        with suppress(OSError):  # something is unread
            self._stdin.close()

    def _wait(self) -> None:
        status = self._process.wait()
        if not self._closing:
            self._lost(status)


_running: weakref.WeakSet[WorkerProcess] = weakref.WeakSet()


def stop_all() -> None:
    """Has all write what they have finished, and end within `END_TIMEOUT_S`; may be called from a signal's handler."""
    for process in list(_running):
        process.stop()
        killer = threading.Timer(END_TIMEOUT_S, process.kill)
        killer.daemon = True
        killer.start()
