"""Temporary files of a command: in a folder that goes when it ends or, if it was killed, when the next one starts."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.storage import scratch
from tests.command import REPOSITORY

WAITING = """
import atexit, os, sys, tempfile
from pipeline.storage import scratch

with scratch.temporary_files() as folder:
    left = tempfile.mkdtemp(prefix="beam-pipeline-temp")
    print(folder, flush=True)
    sys.stdin.read()
with scratch.temporary_files() as again:
    assert folder == again
atexit.register(lambda: print(os.path.isdir(left)))  # as Beam does, to stop a server that uses it
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


@contextmanager
def another_command() -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process that has temporary files until its standard input ends, and their folder."""
    command = [sys.executable, "-c", WAITING]
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield process, Path(process.stdout.readline().strip())
        finally:
            process.kill()


def test_libraries_and_child_processes_use_the_folder(place: Path) -> None:
    with scratch.temporary_files() as folder:
        assert folder.parent == place
        assert Path(tempfile.mkdtemp()).parent == folder
        child = [sys.executable, "-c", "import tempfile; print(tempfile.mkdtemp())"]
        assert Path(subprocess.run(child, capture_output=True, text=True, check=True).stdout).parent == folder
    assert tempfile.gettempdir() == os.environ["TMPDIR"] == str(place)


def test_the_folder_goes_with_the_process_after_what_others_do_at_its_end(place: Path) -> None:
    with another_command() as (process, folder):
        assert folder.parent == place
        assert process.communicate() == ("True\n", None)
    assert not list(place.iterdir())


def test_a_killed_commands_folder_goes_with_the_next_command_and_a_running_ones_stays(place: Path) -> None:
    with another_command() as (_, running), another_command() as (killed, abandoned):
        killed.kill()
        killed.wait()
        assert list(abandoned.glob("beam-pipeline-temp*"))
        with scratch.temporary_files() as own:
            assert set(place.iterdir()) == {running, own}
            assert list(running.glob("beam-pipeline-temp*"))
