"""One decoder process as its pool sees it: start, request, results, end, and the reason of a crash."""

from __future__ import annotations

import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO

import numpy as np

from pipeline.decoding import protocol
from pipeline.errors import UserError
from pipeline.settings import Decoding, FrontEnd
from pipeline.storage import options
from vggish_core.subprocesses import PACKAGES

COMMAND = (sys.executable, "-m", "pipeline.decoding.process")
START_TIMEOUT_S = 120.0
"""Seconds for a decoder to import its libraries, on a slow file system too."""
SLICE_S = 0.25
KILLED_S = 0.5
"""Seconds from a decoder's SIGKILL to the verdict that its file was the cause: whoever kills all processes of a run,
one after another, has killed this one by then."""

ENVIRONMENT = {
    # One thread a decoder: there are as many decoders as cores.
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # Each arena of the C library reserves 64 MB of address space, which is what the memory limit counts.
    "MALLOC_ARENA_MAX": "2",
}


class DecoderStartError(UserError):
    """A decoder process does not start: nothing can be decoded on this machine, whatever the file."""


class CancelledError(Exception):
    """Nobody waits for what the decoder was asked for."""


class DecoderError(Exception):
    """A decoder process failed at a request: reason and message of the `Failure` that comes of it."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.message = message


class Decoder:
    """A decoder process.

    Args:
      front_end: sent once.
      decoding: its limits.
      command: what to start; gets the socket's number as its last argument.

    Raises:
      DecoderStartError: with what the process printed.
    """

    def __init__(self, front_end: FrontEnd, decoding: Decoding, command: Sequence[str] = COMMAND) -> None:
        self._decoding = decoding
        self._log = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = _start(command, theirs, self._log)
        # A decoder that stalls within a message must not hold the pool's thread.
        seconds, microseconds = divmod(round(decoding.timeout_s * 1e6), 1_000_000)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", seconds, microseconds))
        self._connection = Connection(ours.detach())
        _open.add(self)
        here = os.getcwd()  # noqa: PTH109
        session = protocol.DecoderSettings(
            front_end,
            decoding.memory_mb,
            decoding.timeout_s,
            here,
            decoding.processes,
            {**options.current(), "http": asdict(decoding.crawl)},
        )
        try:
            self._connection.send(session)
            self._await(START_TIMEOUT_S, lambda: False)
            protocol.receive(self._connection)
        except (DecoderError, EOFError, OSError, protocol.ProtocolError) as error:
            self.kill()
            raise DecoderStartError(
                f"no decoder process: {' '.join(command)} ended with status {self._process.returncode}. "
                f"It printed:\n{self._log_text() or error}"
            ) from error

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def ask(self, request: protocol.Request) -> None:
        """Hand over a request; `receive` its results until `Done`.

        Raises:
          DecoderError: if the process has died meanwhile.
        """
        self._log.seek(0)
        self._log.truncate()  # both ends share the position
        try:
            self._connection.send(request)
        except OSError as error:
            raise self._death() from error

    def receive(self, cancelled: Callable[[], bool]) -> protocol.Message:
        """The next message. The time-out counts while this call waits, so not while the results' consumer is busy.

        Args:
          cancelled: asked now and then.

        Raises:
          DecoderError: if the process dies, makes no progress for `timeout_s` (it is killed then) or sends nonsense.
          CancelledError: if nobody waits any more.
        """
        self._await(self._decoding.timeout_s, cancelled)
        with self._failures_explained():
            return protocol.receive(self._connection)

    def receive_examples(self, block: protocol.Block) -> np.ndarray:
        """The examples float32 [k, 96, 64] that a block's header announces. Raises `DecoderError` as `receive`."""
        with self._failures_explained():
            return protocol.receive_examples(self._connection, block)

    @contextmanager
    def _failures_explained(self) -> Iterator[None]:
        """Errors of the connection are raised as the reason that the process died."""
        try:
            yield
        except BlockingIOError as error:
            raise self._time_out() from error
        except (EOFError, OSError) as error:
            raise self._death() from error
        except protocol.ProtocolError as error:
            self.kill()
            raise DecoderError("crashed", str(error)) from error

    def end(self) -> None:
        """Lets an idle process end, or ends it."""
        self._close()
        try:
            self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Ends the process now, whatever it does."""
        self._process.kill()
        self._process.wait()
        self._close()

    def _close(self) -> None:
        _open.discard(self)
        self._connection.close()

    def _await(self, timeout_s: float, cancelled: Callable[[], bool]) -> None:
        # Slices are counted rather than a clock read: the time that this process or machine is suspended is nobody's.
        waited = 0.0
        while not self._connection.poll(min(SLICE_S, timeout_s)):
            if cancelled():
                raise CancelledError
            waited += SLICE_S
            if waited >= timeout_s:
                raise self._time_out()

    def _time_out(self) -> DecoderError:
        self.kill()
        return DecoderError("timed_out", f"the decoder made no progress for {self._decoding.timeout_s:g} s")

    def _death(self) -> DecoderError:
        try:
            status = self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:  # it closed its socket, which only a process with damaged memory does
            self.kill()
            return DecoderError("crashed", "the decoder process closed its connection")
        self._close()
        log = self._log_text()
        if status == protocol.TOO_LARGE_STATUS:
            return DecoderError("too_large", f"decoding needed more than {self._decoding.memory_mb} MB")
        if "Timeout (" in log:
            return DecoderError("timed_out", "the decoder made no progress, and ended itself")
        if status == -signal.SIGKILL:
            time.sleep(KILLED_S)
        if status < 0:
            return DecoderError("crashed", f"the decoder process died of {signal_name(-status)}{_place(log)}")
        last = log.splitlines()[-1] if log else "it printed nothing"
        return DecoderError("crashed", f"the decoder process ended with status {status}: {last}")

    def _log_text(self) -> str:
        self._log.seek(0)
        return self._log.read(1 << 16).decode(errors="replace").strip()


def _start(command: Sequence[str], theirs: socket.socket, log: IO[bytes]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            [*command, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            cwd=PACKAGES,
            env={**os.environ, **ENVIRONMENT},
            # Out of the terminal's reach: Ctrl-C and Ctrl-Z are for the pool, which ends its decoders itself.
            start_new_session=True,
        )
    except OSError as error:
        raise DecoderStartError(f"no decoder process: {' '.join(command)} cannot be started: {error}") from error


def signal_name(number: int) -> str:
    """A signal's name: 11 -> "SIGSEGV"."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _place(log: str) -> str:
    """The output of `faulthandler` -> " in read (audio.py:120)", or nothing."""
    match = re.search(r'\(most recent call first\):\s+File "(.*)", line (\d+) in (\S+)', log)
    return f" in {match[3]} ({Path(match[1]).name}:{match[2]})" if match else ""


_open: weakref.WeakSet[Decoder] = weakref.WeakSet()


def _close_in_fork() -> None:
    # A forked copy of this process would keep the decoders' sockets open, and so the decoders alive.
    for decoder in list(_open):
        decoder._connection.close()
    _open.clear()


os.register_at_fork(after_in_child=_close_in_fork)
