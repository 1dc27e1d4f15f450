"""The decoder process by itself: how it starts, what limits it has, and how it ends."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import IO

import psutil
import pytest

from pipeline.decoding import protocol
from pipeline.settings import FrontEnd
from pipeline.types import Clip, DecodeRequest, Segment
from vggish_core.subprocesses import PACKAGES

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits are Linux's")


@contextmanager
def process(
    memory_mb: int = 256, timeout_s: float = 60.0
) -> Iterator[tuple[subprocess.Popen[bytes], Connection, IO[bytes]]]:
    """A hostile decoder process that is ready, its socket, and what it wrote to its log."""
    ours, theirs = socket.socketpair()
    with tempfile.TemporaryFile(buffering=0) as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.hostile.decoder", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stderr=log,
            cwd=PACKAGES,
        )
        theirs.close()
        connection = Connection(ours.detach())
        try:
            connection.send(protocol.DecoderSettings(FrontEnd(), memory_mb, timeout_s, "/"))
            assert isinstance(protocol.receive(connection), protocol.Ready)
            yield child, connection, log
        finally:
            connection.close()
            child.kill()
            child.wait()


def ask(connection: Connection, clip_id: str) -> None:
    connection.send(DecodeRequest("file", (Segment(Clip(clip_id, "file")),)))


def test_it_imports_neither_beam_nor_tensorflow() -> None:
    check = "import sys, pipeline.decoding.process; print({'apache_beam', 'tensorflow'} & {*sys.modules})"
    said = subprocess.run([sys.executable, "-c", check], cwd=PACKAGES, capture_output=True, text=True, check=True)
    assert said.stdout == "set()\n"


def test_it_ends_when_its_socket_closes_while_it_waits() -> None:
    with process() as (child, connection, _):
        connection.close()
        assert child.wait(10) == 0


def test_it_ends_when_its_socket_closes_while_it_sends() -> None:
    with process() as (child, connection, _):
        ask(connection, "100000")
        assert isinstance(protocol.receive(connection), protocol.Started)
        connection.close()
        assert child.wait(10) == 0


@pytest.mark.ci
def test_its_watchdog_ends_a_hang_that_holds_the_interpreter_s_lock() -> None:
    with process(timeout_s=0.1) as (child, connection, log):
        ask(connection, "1 hang in C")
        assert child.wait(30) == 1
        log.seek(0)
        assert log.read().startswith(b"Timeout (0:00:05")


def test_ctrl_c_is_left_to_the_pool() -> None:
    with process() as (child, connection, _):
        child.send_signal(signal.SIGINT)
        ask(connection, "1")
        assert isinstance(protocol.receive(connection), protocol.Started)
        block = protocol.receive(connection)
        assert isinstance(block, protocol.Block)
        assert protocol.receive_examples(connection, block).shape == (1, 96, 64)


def test_running_out_of_memory_has_a_status_of_its_own() -> None:
    with process() as (child, connection, _):
        ask(connection, "1 balloon")
        assert child.wait(30) == protocol.TOO_LARGE_STATUS


@LINUX
def test_its_memory_is_limited_beyond_its_imports_and_it_leaves_no_core() -> None:
    with process(memory_mb=300) as (child, _, _):
        proc = psutil.Process(child.pid)
        limit, _ = proc.rlimit(psutil.RLIMIT_AS)
        assert 250 << 20 < limit - proc.memory_info().vms <= 301 << 20
        assert proc.rlimit(psutil.RLIMIT_CORE) == (0, 0)
