"""Worker processes serve one graph after another, end with whoever started them, and are missed when they are gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
import pytest

from pipeline.engines import engine, worker_processes

PROCESSES = ("--direct_running_mode", "multi_processing", "--direct_num_workers", "2")


class Process(beam.DoFn):
    """Anything -> the process that has it, and how many elements that process has had."""

    count = 0

    def process(self, element: int) -> Iterator[str]:
        Process.count += 1
        yield f"{os.getpid()} {Process.count}\n"


class Kill(beam.DoFn):
    """Ends the process that has the element."""

    def process(self, element: int) -> Iterator[int]:
        os.kill(os.getpid(), signal.SIGKILL)
        yield element


def graph(root: beam.Pipeline, folder: Path, do: beam.DoFn) -> None:
    """Eight elements on all workers, what they say of themselves to files in `folder`."""
    elements = root | beam.Create(range(8)) | beam.Reshuffle()
    _ = elements | beam.ParDo(do) | beam.Map(lambda text: (folder / text.replace(" ", "-").strip()).write_text(text))


def pids(folder: Path) -> set[int]:
    return {int(path.name.partition("-")[0]) for path in folder.iterdir()}


@pytest.fixture
def on() -> engine.Engine:
    return engine.choose("DirectRunner", PROCESSES)


def test_graphs_find_the_processes_of_the_one_before(tmp_path: Path, on: engine.Engine) -> None:
    folders = [tmp_path / name for name in "abc"]
    with worker_processes.kept():
        for folder in folders[:2]:
            folder.mkdir()
            engine.run(on, lambda root, folder=folder: graph(root, folder, Process()))
    folders[2].mkdir()
    engine.run(on, lambda root: graph(root, folders[2], Process()))
    first, second, third = map(pids, folders)
    assert len(first) == 2
    assert os.getpid() not in first
    assert first == second
    assert not first & third
    # What modules keep is kept: the second graph counts on.
    counts = [int(path.name.partition("-")[2]) for path in folders[1].iterdir()]
    assert max(counts) > 8 / 2
    for pid in first | third:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # Beam's
def test_a_process_that_dies_ends_the_job_and_is_replaced(tmp_path: Path, on: engine.Engine) -> None:
    with worker_processes.kept():
        with pytest.raises(engine.WorkerLostError, match="worker process of FnApiRunner ended"):
            engine.run(on, lambda root: graph(root, tmp_path, Kill()))
        engine.run(on, lambda root: graph(root, tmp_path, Process()))
    assert len(pids(tmp_path)) == 2


def test_a_process_that_does_not_even_start_ends_the_job(
    tmp_path: Path, on: engine.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_processes, "COMMAND", (sys.executable, "-c", "raise SystemExit(3)"))
    with pytest.raises(engine.WorkerLostError, match=r"return code 3|Channel closed"):
        engine.run(on, lambda root: graph(root, tmp_path, Process()))


def test_a_failing_step_is_told_and_the_processes_go_on(tmp_path: Path, on: engine.Engine) -> None:
    class Fail(beam.DoFn):
        def process(self, element: int) -> Iterator[int]:
            raise ValueError(f"no {element % 1}")

    with worker_processes.kept():
        engine.run(on, lambda root: graph(root, tmp_path, Process()))
        before = pids(tmp_path)
        with pytest.raises(Exception, match="no 0") as caught:
            engine.run(on, lambda root: graph(root, tmp_path, Fail()))
        assert engine.told(caught.value) == "no 0"
        for path in tmp_path.iterdir():
            path.unlink()
        engine.run(on, lambda root: graph(root, tmp_path, Process()))
        assert pids(tmp_path) == before


def test_processes_end_with_the_one_that_started_them() -> None:
    code = (
        "import sys, time\n"
        "from pipeline.engines import worker_processes\n"
        "print(worker_processes.pool().lend().pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    worker = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 20
    while Path(f"/proc/{worker}").exists() and _state(worker) != "Z":
        assert time.monotonic() < deadline, "the worker outlives the process that started it"
        time.sleep(0.05)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"


@pytest.mark.slow
@pytest.mark.usefixtures("standin_weights")
def test_a_command_told_to_stop_ends_its_processes_and_is_silent_about_it(shared_data: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    command = [sys.executable, "-m", "pipeline.run", "--input", shared_data / "audio" / "esc10", "--output", output]
    flags = ["--checkpoint", "standin", "--pca_params", "standin", "--progress", "off", "--piece_seconds", "0.5"]
    this = subprocess.Popen(
        [*map(str, command), *flags, *PROCESSES], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while not list(output.glob("embeddings-*")):
        assert this.poll() is None
        time.sleep(0.05)
    this.terminate()
    said = this.communicate(timeout=30)[1]
    assert this.returncode == 128 + signal.SIGTERM
    assert said == "\nStopped. What was committed is kept: the same command continues.\n"
    assert not [line for line in _group(this.pid) if not line.startswith("Z")]


def _group(group: int) -> list[str]:
    """State and command line of what is left of a process group."""
    found = subprocess.run(["ps", "-eo", "pgid=,stat=,args="], capture_output=True, text=True, check=True)
    return [
        line.partition(" ")[2] for line in map(str.strip, found.stdout.splitlines()) if line.startswith(f"{group} ")
    ]
