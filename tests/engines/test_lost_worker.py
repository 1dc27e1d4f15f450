"""A worker process killed in mid-job: a clear failure at once, and the same command ends with the same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.output.at_work import status
from pipeline.output.journal import held
from tests import command
from tests.command import REPOSITORY, STANDIN
from tests.engines.conftest import Running, make_recording

pytestmark = pytest.mark.usefixtures("standin_weights")

FAILS_WITHIN_S = 30.0
RECORDINGS = 5


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    for number in range(RECORDINGS):
        make_recording(folder / f"{number}.wav", 30 + number)
    return folder


def wait_for(what: Callable[[], object], process: subprocess.Popen[str], seconds: float = 200) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, what
        time.sleep(0.02)


@pytest.mark.full  # of a worker process of ours tests/test_worker_processes.py says the same
@pytest.mark.parametrize("engine", ["jobs-process", "prism-external", "jobs-external"], indirect=True)
def test_a_killed_worker_ends_the_run_and_the_next_one_continues(
    engine: Running, recordings: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    flags = ["--input", str(recordings), "--num_shards", "2"]
    assert command.embed(tmp_path / "plain", *flags).status == 0
    engine.log.unlink(missing_ok=True)

    arguments = ["-m", "pipeline.run", "--output", str(output), *STANDIN, *engine.flags, *flags]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.engines.observed", engine.log, *arguments],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for(lambda: list(output.glob("_state/rows/*.rows")) and status.look(str(output)).rows.examples, process)
        (worker,) = set(engine.observed().batches)
        os.kill(worker, signal.SIGKILL)
        killed = time.monotonic()
        _, errors = process.communicate()
        took = time.monotonic() - killed
    finally:
        process.kill()
        process.wait()
    print(f"{engine.name}: failed after {took:.1f} s")
    assert process.returncode == 1, errors
    assert took < FAILS_WITHIN_S
    first, second = errors.strip().splitlines()[-2:]
    assert first.startswith("error: a worker process of PortableRunner ended in the middle of the job"), errors
    assert second.startswith("  Run the same command again: what was finished is kept"), errors
    found = held.look(str(output), held.files_of(str(output), command.manifest(output)["fingerprint"]).parts(range(2)))
    kept = sum(stop - start for clips in found.clips.values() for clip in clips for start, stop in clip.filled())
    assert kept

    done = engine.embed(output, *flags)
    assert done.status == 0, done.err
    assert "The last run was stopped with" in done.err
    assert command.shard_bytes(output) == command.shard_bytes(tmp_path / "plain")
