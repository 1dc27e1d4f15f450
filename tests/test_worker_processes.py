"""Worker processes serve one graph after another, end with whoever started them, and are missed when they are gone."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import apache_beam as beam
import numpy as np
import psutil
import pytest
import soundfile

from pipeline.output.at_work import status
from pipeline.running.engines import graphs, runners, worker_processes
from tests.command import processes_of

PROCESSES = ("--direct_running_mode", "multi_processing", "--direct_num_workers", "2")


class Process(beam.DoFn):
    """Anything -> the process that has it."""

    def process(self, element: int) -> Iterator[str]:
        yield f"{os.getpid()} {element}\n"


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
def engine() -> runners.Engine:
    return runners.choose("DirectRunner", PROCESSES)


@pytest.mark.ci
def test_every_graph_has_processes_of_its_own(tmp_path: Path, engine: runners.Engine) -> None:
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
        graphs.run(engine, lambda root, folder=folder: graph(root, folder, Process()))
    first, second = map(pids, folders)
    assert len(first) == 2
    assert os.getpid() not in first
    assert not first & second
    assert not [pid for pid in first | second if psutil.pid_exists(pid)]


def test_processes_work_where_the_user_is_and_find_this_software(
    tmp_path: Path, engine: runners.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / "__init__.py").write_text("raise ImportError('the user has a package of that name')")
    monkeypatch.chdir(tmp_path)
    graphs.run(
        engine, lambda root: root | beam.Create(["found"]) | beam.Map(lambda text: Path("here").write_text(text))
    )
    assert (tmp_path / "here").read_text() == "found"


@pytest.mark.ci
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # Beam's
def test_a_process_that_dies_ends_the_job(tmp_path: Path, engine: runners.Engine) -> None:
    with pytest.raises(runners.WorkerLostError, match="worker process of DirectRunner ended"):
        graphs.run(engine, lambda root: graph(root, tmp_path, Kill()))
    graphs.run(engine, lambda root: graph(root, tmp_path, Process()))
    assert len(pids(tmp_path)) == 2


def test_a_process_that_does_not_even_start_ends_the_job(
    tmp_path: Path, engine: runners.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_processes, "COMMAND", (sys.executable, "-c", "raise SystemExit(3)"))
    with pytest.raises(runners.WorkerLostError, match=r"return code 3|Channel closed"):
        graphs.run(engine, lambda root: graph(root, tmp_path, Process()))


@pytest.mark.ci
def test_a_failing_step_is_reported_and_its_processes_end(
    tmp_path: Path, engine: runners.Engine, capfd: pytest.CaptureFixture[str]
) -> None:
    class Fail(beam.DoFn):
        def process(self, element: int) -> Iterator[int]:
            raise ValueError("no good")

    with pytest.raises(Exception, match="no good") as caught:
        graphs.run(engine, lambda root: graph(root, tmp_path, Fail()))
    assert runners.message_of(caught.value) == "no good"
    said = capfd.readouterr()
    assert "Traceback" not in said.out + said.err  # the processes' own; the runner's logs are pytest's
    assert not [child for child in psutil.Process().children() if worker_processes.COMMAND[-1] in child.cmdline()]


def test_processes_end_with_the_one_that_started_them() -> None:
    code = (
        "import json, time\n"
        "from pipeline.running.engines import worker_processes\n"
        "nobody = 'url: \"localhost:1\"'\n"
        "names = ('CONTROL_API_SERVICE_DESCRIPTOR', 'LOGGING_API_SERVICE_DESCRIPTOR')\n"
        "environment = {'WORKER_ID': '1', 'PIPELINE_OPTIONS': '{}', 'STORE_OPTIONS': '{}'}\n"
        "environment |= dict.fromkeys(names, nobody)\n"
        "print(worker_processes.WorkerProcess(environment, lambda status: None).pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    worker = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    _, alive = psutil.wait_procs([worker])
    assert alive == []


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Minutes of work: 400 clips of 5 s of noise."""
    folder = tmp_path_factory.mktemp("corpus")
    noise = np.random.default_rng(0).normal(0, 0.1, 400 * 16000)
    for number in range(400):
        soundfile.write(folder / f"{number}.flac", np.roll(noise, number * 16000)[: 5 * 16000], 16000)
    return folder


@contextmanager
def command(corpus: Path, output: Path, *flags: str) -> Iterator[subprocess.Popen[str]]:
    """The command on two worker processes, in a process group of its own."""
    arguments = [
        "--input",
        corpus,
        "--output",
        output,
        "--progress",
        "off",
        *PROCESSES,
        *flags,
    ]
    weights = ["--checkpoint", "standin", "--pca_params", "standin"]
    whole = map(str, [sys.executable, "-m", "pipeline.run", *arguments, *weights])
    with subprocess.Popen(whole, stderr=subprocess.PIPE, text=True, start_new_session=True) as this:
        yield this
        this.kill()


def wait_for(what: Callable[[], object], this: subprocess.Popen[str]) -> None:
    while not what():
        assert this.poll() is None
        time.sleep(0.05)


@pytest.mark.ci
@pytest.mark.usefixtures("standin_weights")
def test_a_stopped_command_ends_its_processes_and_is_silent_about_it(corpus: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    with command(corpus, output) as this:
        # Files come before clips do: the ends of clips are known before the first batch is embedded.
        wait_for(lambda: list(output.glob("_state/rows/*.rows")) and status.look(str(output)).rows.clips, this)
        this.terminate()
        said = this.communicate()[1]
    assert this.returncode == 128 + signal.SIGTERM
    assert re.fullmatch(r"\nStopped\. [1-9]\d* of 400 clips are kept: the same command continues\.\n", said), said
    assert not processes_of(this.pid)


@pytest.mark.ci
@pytest.mark.usefixtures("standin_weights")
def test_a_lost_worker_is_reported_in_two_lines(corpus: Path, tmp_path: Path) -> None:
    def at_work() -> list[psutil.Process]:
        children = psutil.Process(this.pid).children()
        return [child for child in children if worker_processes.COMMAND[-1] in child.cmdline() and child.children()]

    with command(corpus, tmp_path / "out") as this:
        wait_for(at_work, this)
        at_work()[0].kill()
        said = this.communicate()[1].splitlines()
    assert this.returncode == 1
    assert len(said) == 2, "\n".join(said)
    assert said[0].startswith("error: a worker process of DirectRunner ended in the middle of the job")
    assert "Run the same command again" in said[1]
    assert not processes_of(this.pid)
