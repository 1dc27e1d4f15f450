"""A program's end as a process: its status, what it printed, what it left to do; and that nothing can hold it up."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import REPOSITORY

PROGRAM = """
import atexit, sys, threading, time
from pipeline.cli.console import ending

class Stuck:
    def __del__(self, wait=time.sleep):
        wait(1000)

def program():
    {program}

ending.run(program)
"""


def end(program: str, **pipes: int) -> subprocess.CompletedProcess[str]:
    """A program's lines -> the process that ran them."""
    code = PROGRAM.format(program="\n    ".join(program.splitlines()))
    pipes = pipes or {"stdout": subprocess.PIPE}
    environment = {**os.environ, "PYTHONUNBUFFERED": ""}  # what is printed waits for the end
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        **pipes,
    )


@pytest.mark.parametrize(
    ("last", "status"),
    [
        ("return 0", 0),
        ("return 2", 2),
        ("sys.exit()", 0),
        ("sys.exit(3)", 3),
        ("sys.exit('said why')", 1),
        ("raise RuntimeError('said why')", 1),
    ],
)
def test_the_status_and_all_that_was_printed(last: str, status: int) -> None:
    done = end(f"print('printed')\nprint('said', end='', file=sys.stderr)\n{last}")
    assert (done.returncode, done.stdout) == (status, "printed\n"), done.stderr
    assert done.stderr.startswith("said"), done.stderr
    assert ("said why" in done.stderr) == ("said why" in last)


def test_an_object_that_cannot_be_taken_apart_holds_nothing_up() -> None:
    done = end("global stuck\nstuck = Stuck()\nprint('printed')\nreturn 2")
    assert (done.returncode, done.stdout) == (2, "printed\n")


def test_threads_and_exit_functions_come_first() -> None:
    done = end(
        "atexit.register(print, 'exit function')\n"
        "threading.Thread(target=lambda: (time.sleep(0.3), print('thread'))).start()\n"
        "print('printed')\nreturn 0"
    )
    assert (done.returncode, done.stdout) == (0, "printed\nthread\nexit function\n")


def test_what_cannot_be_printed_changes_no_status() -> None:
    with Path("/dev/full").open("w") as full:
        done = end("print('printed')\nreturn 0", stdout=full.fileno())
    assert done.returncode == 0


def test_a_hang_after_a_signal_ends_and_says_where_it_was() -> None:
    done = end(
        "import os, signal\n"
        "ending.LATEST_END_S = 1\n"
        "with ending.interruptible(False):\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        time.sleep(1000)\n"
        "    except KeyboardInterrupt:\n"
        "        stuck = threading.Lock()\n"
        "        stuck.acquire(), stuck.acquire()"
    )
    assert done.returncode == 1
    assert "Timeout" in done.stderr
    assert "in program" in done.stderr
