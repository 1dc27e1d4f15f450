"""A decoder process: `DecodeRequest`s in, examples, ends and failures out, over a socket; headers and excerpts, too.

`pipeline.decoding.decoders` starts it as `python -m pipeline.decoding.process FD`, FD being one end of a socket pair.
It is expendable: what a file does to it concerns that file only. It ends when the socket closes; when a decoder hangs
and nobody is left to end it, its own watchdog does, which is C and needs no lock that the decoder may hold.
"""

from __future__ import annotations

import faulthandler
import importlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import BinaryIO

from pipeline import storage
from pipeline.decoding import decode, excerpts, opening, other_route, protocol
from pipeline.decoding.segment_decoder import Examples
from pipeline.settings import FrontEnd
from pipeline.storage import containers, errors, options, remote
from pipeline.types import DecodeRequest, Probe
from vggish_core.features import products

Read = Callable[[DecodeRequest, FrontEnd, decode.Progress], Iterator[decode.Item]]
Ask = Callable[[str, decode.Progress, str], Probe | None]
DECODERS = ("soundfile", "av")
"""Imported before the memory limit is set: their libraries take 100 MB of addresses, which is not the file's fault."""
HEARTBEAT_S = 1.0
"""Seconds between signs of life while a request gives nothing else."""


class GoneError(Exception):
    """The pool's end of the socket is closed: nobody waits for results."""


def main(read: Read = decode.read, ask: Ask = decode.probe) -> None:
    """Serve one socket until it closes.

    Args:
      read: what becomes of a request; another function in tests of decoders that misbehave.
      ask: what becomes of a question about a file's header; likewise.
    """
    connection = Connection(int(sys.argv[1]))
    log = _isolate()
    try:
        _serve(connection, read, ask, log)
    except (GoneError, EOFError):
        os._exit(0)  # at once: what a broken decoder left behind may not survive an orderly end
    except MemoryError:
        os._exit(protocol.TOO_LARGE_STATUS)
    except BaseException:
        log.write(traceback.format_exc().encode(errors="replace"))
        os._exit(1)


def _isolate() -> BinaryIO:
    """Isolates this process; returns the pool's log, a file that only it and `faulthandler` write.

    Decoders print warnings by the thousand to stderr, which is the user's terminal: it goes nowhere.
    """
    # What stops a run reaches all of its processes, and the pool ends this one: dying first would be the file's fault.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    log = os.fdopen(os.dup(2), "wb", buffering=0)
    os.set_inheritable(log.fileno(), False)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    faulthandler.enable(log)
    _die_with_parent()
    return log


def _die_with_parent() -> None:
    """Have Linux end this process when the pool's thread that started it ends, were it by SIGKILL."""
    if sys.platform.startswith("linux"):
        import ctypes

        PR_SET_PDEATHSIG = 1
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _serve(connection: Connection, read: Read, ask: Ask, log: BinaryIO) -> None:
    session: protocol.DecoderSettings = connection.recv()
    os.chdir(session.directory)
    for name in DECODERS:
        importlib.import_module(name)
    products.loops()  # compiled before the memory limit is set, too
    limit_memory(session.memory_mb)
    opening.share_room(session.decoders)
    protocol.send(connection, protocol.Ready())
    watchdog = Watchdog(session.timeout_s, log)
    while True:
        try:
            request: protocol.Request = connection.recv()
        except OSError as error:
            raise GoneError from error
        if not (isinstance(request, DecodeRequest) and request.content is not None):
            _import_readers(request.uri, request.place, session)
        answer = _Answer(connection, watchdog)
        errors.watched_by(answer.progress)
        if isinstance(request, DecodeRequest):
            answer.send(read(request, session.front_end, answer.progress))
        elif isinstance(request, protocol.ExcerptRequest):
            answer.send(_excerpted(request, answer.progress))
        else:
            answer.send(_probed(other_route.measure if request.otherwise else ask, request, answer.progress))


def _probed(ask: Ask, request: protocol.ProbeRequest, progress: decode.Progress) -> Iterator[protocol.Probed]:
    probe = ask(request.uri, progress, request.place)
    if probe is not None:
        yield protocol.Probed(probe.frames, probe.sample_rate_hz, probe.seekable)


def _excerpted(request: protocol.ExcerptRequest, progress: decode.Progress) -> Iterator[protocol.Excerpted]:
    yield excerpts.take(request, progress)


class _Answer:
    """Sends the results of one request. The watchdog sees the time that its work takes, not the wait to send."""

    def __init__(self, connection: Connection, watchdog: Watchdog) -> None:
        self._connection = connection
        self._watchdog = watchdog
        self._sent = time.monotonic()

    def send(self, items: Iterator[decode.Item | protocol.Probed | protocol.Excerpted]) -> None:
        """Send everything that comes, to the end."""
        busy = 0.0
        while True:
            self._watchdog.arm()
            start = time.monotonic()
            item = next(items, None)
            busy += time.monotonic() - start
            self._put(protocol.Done(busy) if item is None else item)
            if item is None:
                return

    def progress(self) -> None:
        """Work goes on, with nothing to send yet."""
        self._watchdog.arm()
        if time.monotonic() - self._sent >= HEARTBEAT_S:
            self._put(protocol.Alive())

    def _put(self, item: decode.Item | protocol.Alive | protocol.Probed | protocol.Excerpted | protocol.Done) -> None:
        self._watchdog.rest()
        try:
            if isinstance(item, Examples):
                protocol.send_block(self._connection, item.segment, item.first_example, item.examples)
            else:
                protocol.send(self._connection, item)
        except OSError as error:
            raise GoneError from error
        self._sent = time.monotonic()


class Watchdog:
    """Ends this process if it hangs in a decoder, holding the GIL or not, and the pool is no longer there to do it.

    Args:
      timeout_s: after which the pool acts; the watchdog clearly later.
      log: where it writes what hung.
    """

    def __init__(self, timeout_s: float, log: BinaryIO) -> None:
        self._seconds = timeout_s * 1.5 + 5
        self._log = log
        self._armed_at: float | None = None

    def arm(self) -> None:
        """Start or restart the time."""
        now = time.monotonic()
        if self._armed_at is not None and now - self._armed_at < 1:
            return  # each call starts a thread: not for every block
        try:
            faulthandler.dump_traceback_later(self._seconds, exit=True, file=self._log)
        except RuntimeError as error:  # no memory for the thread
            raise MemoryError from error
        self._armed_at = now

    def rest(self) -> None:
        """Stop the time while this process may rightly wait."""
        faulthandler.cancel_dump_traceback_later()
        self._armed_at = None


def limit_memory(memory_mb: int) -> None:
    """Limit this process to what it has now and `memory_mb` more; no core dumps. Linux; elsewhere there is no limit."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if not sys.platform.startswith("linux"):
        return
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = size + memory_mb * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def _import_readers(uri: str, place: str, session: protocol.DecoderSettings) -> None:
    """Import what opens a clip's file, outside the memory limit: such libraries are large, and not the file's fault."""
    scheme = "" if storage.is_local(uri) else uri.partition("://")[0]
    kind = place.partition(":")[0]
    if {scheme, kind} <= _imported:
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    if scheme and scheme not in _imported:
        options.adopt(session.store_options)
        remote.prepare(uri)
    if kind:
        containers.prepare(kind)
    _imported.update((scheme, kind))
    limit_memory(session.memory_mb)


_imported = {""}
"""Schemes and kinds of containers whose libraries are here."""


if __name__ == "__main__":
    main()
