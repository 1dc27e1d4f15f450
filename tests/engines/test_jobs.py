"""An engine's job and its command: Ctrl-C ends both, and no second job runs beside one that has lost its command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from apache_beam.portability.api import beam_job_api_pb2 as api
from apache_beam.portability.api import beam_job_api_pb2_grpc as services

from tests import command
from tests.command import REPOSITORY, STANDIN
from tests.engines.conftest import Running, engines, make_recording
from tests.engines.test_journal import kept_rows

pytestmark = pytest.mark.usefixtures("standin_weights")

OUTSIDE = engines("prism-external", "jobs-external", full={"prism-external"})
"""Engines whose service and workers are not the command's."""
STOPPED = ("CANCELLED", "FAILED")
"""Python's job service says FAILED once workers have stopped; its own CANCELLED stops nobody."""
SHARDS = 2
PATIENCE_S = 200.0


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    for number in range(12):
        make_recording(folder / f"{number:02d}.wav", 30 + number)
    return folder


@pytest.fixture
def slow(engine: Running) -> Iterator[Path]:
    """While this file is there, the engine's workers take seconds for each batch but their first."""
    engine.log.unlink(missing_ok=True)
    path = Path(f"{engine.log}.slow")
    path.write_text("6")
    yield path
    path.unlink(missing_ok=True)


def flags(recordings: Path) -> list[str]:
    return ["--input", str(recordings), "--num_shards", str(SHARDS), "--threads", "1", "--progress", "off"]


def started(engine: Running, output: Path, *arguments: str) -> subprocess.Popen[str]:
    everything = ["--output", output, *STANDIN, "--report", "off", *engine.flags, *arguments]
    return subprocess.Popen(
        [str(item) for item in (sys.executable, "-m", "tests.engines.observed", engine.log, "-m", "pipeline.run")]
        + [str(item) for item in everything],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def refused_to(engine: Running, output: Path, recordings: Path, *arguments: str) -> command.Done:
    """A command that computes nothing: nobody need watch it, and it starts in half the time."""
    return command.embed(output, *engine.flags, *flags(recordings), *arguments)


def wait_for(what: Callable[[], object], process: subprocess.Popen[str] | None = None) -> None:
    end = time.monotonic() + PATIENCE_S
    while not what():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < end, what
        time.sleep(0.2)


def note_of(output: Path) -> dict[str, Any]:
    return json.loads((output / "_state/job.json").read_text())


def at_work(process: subprocess.Popen[str], output: Path) -> dict[str, Any]:
    """Waits until an engine's job has finished some rows -> the job's note."""
    wait_for(lambda: list(output.glob("_state/rows/*.rows")) and kept_rows(output), process)
    return note_of(output)


def state_of(note: dict[str, Any]) -> str:
    """What the job service says of a job."""
    with grpc.insecure_channel(note["endpoint"]) as channel:
        asked = services.JobServiceStub(channel).GetState(api.GetJobStateRequest(job_id=note["id"]), timeout=30)
    return api.JobState.Enum.Name(asked.state)


def idle(engine: Running) -> bool:
    """Whether no batch is computed for a while."""
    before = engine.observed().batches
    time.sleep(3)
    return engine.observed().batches == before


@pytest.mark.parametrize(
    ("engine", "number"),
    [
        pytest.param("prism-external", signal.SIGINT, marks=pytest.mark.full),
        ("jobs-external", signal.SIGTERM),
        pytest.param("jobs-loopback", signal.SIGINT, marks=pytest.mark.full),
        ("prism-loopback", signal.SIGINT),
    ],
    indirect=["engine"],
)
def test_an_interrupt_ends_the_job_too(
    engine: Running, number: signal.Signals, recordings: Path, tmp_path: Path, slow: Path
) -> None:
    output = tmp_path / "out"
    process = started(engine, output, *flags(recordings))
    try:
        note = at_work(process, output)
        os.kill(process.pid, number)
        begun = time.monotonic()
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    took = time.monotonic() - begun
    print(f"{engine.name}: {took:.1f} s: {errors.strip().splitlines()[-1]}")
    assert process.returncode == 128 + number, errors
    assert f"Stopped. The job {note['id']} of {note['runner']} is CANCELLED." in errors
    if not note["own_service"]:
        assert state_of(note) in STOPPED
    assert "What was finished is kept: the same command continues." in errors
    assert not (output / "_state/job.json").exists()
    assert not (output / "_state/lock.json").exists()
    slow.unlink()
    wait_for(lambda: idle(engine))
    assert not command.manifest(output)["complete"]
    kept = kept_rows(output)
    assert kept

    engine.log.unlink()
    done = engine.embed(output, *flags(recordings))
    assert done.status == 0, done.err
    manifest = command.manifest(output)
    assert manifest["complete"]
    assert engine.observed().rows == manifest["totals"]["examples"] - kept


@pytest.mark.parametrize("engine", OUTSIDE, indirect=True)
def test_no_command_runs_beside_a_job_that_lost_its_command(
    engine: Running, recordings: Path, tmp_path: Path, slow: Path
) -> None:
    output = tmp_path / "out"
    process = started(engine, output, *flags(recordings))
    try:
        note = at_work(process, output)
        slow.write_text("20")  # two commands start while the job goes on
        beside = refused_to(engine, output, recordings)
        assert beside.status == 2, beside.err
        assert f"is being written by process {process.pid}" in beside.err
    finally:
        process.kill()
        process.communicate()
    refused = refused_to(engine, output, recordings)
    assert refused.status == 2, refused.err
    wrong, remedy = refused.err.strip().splitlines()[-2:]
    assert wrong == f"error: {output} is being written by the job {note['id']} of PortableRunner, which is RUNNING"
    assert (
        remedy
        == "  Wait for it, or run the same command with --restart, which cancels it first and keeps what it finished."
    )
    assert state_of(note) == "RUNNING"
    process = started(engine, output, *flags(recordings), "--restart")
    try:
        wait_for(lambda: state_of(note) in STOPPED, process)
        slow.unlink()
        _, errors = process.communicate()
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, errors
    assert state_of(note) in STOPPED
    assert command.manifest(output)["complete"]
    assert not (output / "_state/job.json").exists()


@pytest.mark.parametrize("engine", OUTSIDE, indirect=True)
def test_a_job_that_nobody_waits_for_ends_as_a_finished_data_set(
    engine: Running, recordings: Path, tmp_path: Path, slow: Path
) -> None:
    output = tmp_path / "out"
    slow.write_text("20")
    done = engine.embed(output, *flags(recordings), "--no_wait")
    assert done.status == 0, done.err
    note = note_of(output)
    first, second = done.out.splitlines()
    assert first == f"Submitted: {note['id']} of PortableRunner. It commits the data set itself."
    assert second == f"  vggish-pipeline status {output}   shows how far it is"
    assert not (output / "_state/lock.json").exists()
    refused = refused_to(engine, output, recordings, "--no_wait")
    assert refused.status == 2, refused.err
    assert f"is being written by the job {note['id']} of PortableRunner, which is RUNNING" in refused.err
    slow.unlink()
    wait_for(lambda: command.manifest(output)["complete"])
    wait_for(lambda: state_of(note) == "DONE")
    assert command.manifest(output)["totals"]["written"] == 12
    assert not (output / "_state/job.json").exists()
    again = engine.embed(output, *flags(recordings), "--no_wait")
    assert again.status == 0, again.err
    assert "nothing to compute" in again.out


@pytest.mark.parametrize(
    ("runner", "said"),
    [
        (["DirectRunner"], "--no_wait: DirectRunner runs in this command, and ends with it"),
        (
            ["PortableRunner", "--job_endpoint", "embed"],
            "--no_wait: the workers of PortableRunner are this command's own",
        ),
        (
            ["PortableRunner", "--job_endpoint", "embed", "--environment_type", "EXTERNAL"],
            "--no_wait: PortableRunner's job service would be this command's own, and end with it",
        ),
    ],
)
def test_a_job_that_would_end_with_its_command_is_waited_for(runner: list[str], said: str, tmp_path: Path) -> None:
    done = command.embed(tmp_path / "out", "--input", tmp_path, "--no_wait", "--runner", *runner)
    assert done.status == 2, done.err
    wrong, remedy = done.err.strip().splitlines()[-2:]
    assert wrong.startswith(f"error: {said}")
    assert remedy.startswith("  Leave it out, or ")
    assert not (tmp_path / "out").exists()
