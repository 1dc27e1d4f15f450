"""Fixtures: a corpus, and every engine that can be started here."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from pipeline.storage import options
from tests.command import STANDIN, Done, run
from tests.engines import binaries, servers
from tests.engines import stores as store_servers
from tests.engines.stores import Store

JAR_VARIABLE = "BEAM_FLINK_JOB_SERVER_JAR"
"""Environment variable: Beam's job server for Flink, which is not on PyPI."""
RATE = 16_000


@pytest.hookimpl(tryfirst=True)  # before marks are selected
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents and not item.get_closest_marker("full"):
            item.add_marker(pytest.mark.ci)


@dataclass(frozen=True)
class Observed:
    """Notes of `tests.engines.observed`: process -> count, type of element -> most bytes, examples embedded."""

    models: Counter[int]
    batches: Counter[int]
    elements: dict[str, int]
    rows: int = 0


@dataclass(frozen=True)
class Running:
    """An engine that runs.

    Attributes:
      name: of its fixture.
      flags: the command's, to run on it.
      log: where its workers' observations go.
      in_command: the worker is the command's own process.
    """

    name: str
    flags: tuple[str, ...]
    log: Path
    in_command: bool = False

    @property
    def portable(self) -> bool:
        """Whether it is not Beam's in-process runner."""
        return "--runner" in self.flags

    def embed(self, output: Path, *flags: str | Path) -> Done:
        """The command with stand-in weights, on this engine, observed."""
        arguments = ["--output", output, *STANDIN, "--report", "off", *self.flags, *flags]
        return run("tests.engines.observed", self.log, "-m", "pipeline.run", *arguments)

    def observed(self) -> Observed:
        """The notes so far."""
        found, rows = Observed(Counter(), Counter(), {}), 0
        for line in self.log.read_text().splitlines() if self.log.exists() else ():
            kind, number, *rest = line.split()
            if kind == "element":
                found.elements[rest[0]] = max(int(number), found.elements.get(rest[0], 0))
            elif kind == "rows":
                rows += int(number)
            else:
                (found.models if kind == "model" else found.batches)[int(number)] += 1
        return replace(found, rows=rows)


def _direct(mode: str) -> Callable[[ExitStack, Path], Running]:
    flags = ("--direct_running_mode", mode, "--direct_num_workers", "2")
    return lambda stack, folder: Running(mode, flags, folder / "log")


def _portable(stack: ExitStack, folder: Path, name: str, endpoint: str, kind: str) -> Running:
    """The flags of a job service and of the workers of one kind."""
    log = folder / "log"
    flags = ["--runner", "PortableRunner", "--job_endpoint", endpoint, "--environment_type", kind]
    if kind == "EXTERNAL":
        flags += ["--environment_config", stack.enter_context(servers.worker_pool(folder, sys.executable, log))]
    elif kind == SUBPROCESS:
        worker = "-m apache_beam.runners.worker.sdk_worker_main"
        flags += ["--environment_config", f"'{sys.executable}' -m tests.engines.observed '{log}' {worker}"]
    return Running(name, tuple(flags), log, in_command=kind == "LOOPBACK")


SUBPROCESS = "beam:env:harness_subprocess_python:v1"
"""The PROCESS environment of Python's job service."""


def _jobs(kind: str) -> Callable[[ExitStack, Path], Running]:
    def start(stack: ExitStack, folder: Path) -> Running:
        return _portable(stack, folder, f"jobs {kind}", stack.enter_context(servers.job_service(folder)), kind)

    return start


def prism_binary() -> Path:
    """The Prism binary; the test is skipped, by this name, where it could not be built."""
    if not binaries.prism().exists():
        why = "make prism builds it" if shutil.which("go") else "the Go tool chain is missing"
        pytest.skip(f"no Prism at {binaries.prism()}: {why}")
    return binaries.prism()


def _prism_runner(stack: ExitStack, folder: Path) -> Running:
    binary = folder / "prism"  # by a name of its own, to see whether the command leaves it running
    binary.symlink_to(prism_binary())
    flags = ("--runner", "PrismRunner", "--prism_location", str(binary))
    return Running("prism LOOPBACK", flags, folder / "log", in_command=True)


def _prism_external(stack: ExitStack, folder: Path) -> Running:
    endpoint = stack.enter_context(servers.prism_service(prism_binary(), folder))
    return _portable(stack, folder, "prism EXTERNAL", endpoint, "EXTERNAL")


def flink_home() -> Path:
    """Flink's home; the test is skipped, by this name, where it or Java is missing."""
    if not shutil.which("java"):
        pytest.skip("Flink needs Java, which is missing")
    if not binaries.flink().is_dir():
        pytest.skip(f"no Flink at {binaries.flink()}: make test-full fetches it")
    return binaries.flink()


def _flink(stack: ExitStack, folder: Path) -> Running:
    home, jar = flink_home(), os.environ.get(JAR_VARIABLE)
    if not jar:
        pytest.skip(f"{JAR_VARIABLE} does not name Beam's job server for Flink")
    cluster = stack.enter_context(servers.flink_cluster(home, folder))
    log = folder / "log"
    pool = stack.enter_context(servers.worker_pool(folder, sys.executable, log))
    flags = ["--runner", "FlinkRunner", "--flink_master", cluster.master, "--flink_job_server_jar", jar]
    flags += ["--environment_type", "EXTERNAL", "--environment_config", pool, "--parallelism", "2"]
    return Running("flink", tuple(flags), log)


ENGINES: dict[str, Callable[[ExitStack, Path], Running]] = {
    "threads": _direct("multi_threading"),
    "processes": _direct("multi_processing"),
    "prism-loopback": _prism_runner,
    "prism-external": _prism_external,
    "jobs-loopback": _jobs("LOOPBACK"),
    "jobs-external": _jobs("EXTERNAL"),
    "jobs-process": _jobs(SUBPROCESS),
    "flink": _flink,
}


def engines(*names: str, full: Collection[str] = ()) -> list[Any]:
    """Parameters of the fixture `engine`; those of `full` are run by `make test-full` only."""
    return [pytest.param(name, marks=pytest.mark.full if name in full else ()) for name in names]


@pytest.fixture(scope="module")
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The engine that `request.param` names, running."""
    with ExitStack() as stack:
        yield ENGINES[request.param](stack, tmp_path_factory.mktemp(request.param))


@dataclass(frozen=True)
class Corpus:
    """A list of clips and a long recording, and how much it holds."""

    listing: Path
    clips: int
    minutes: int


@pytest.fixture(scope="session")
def corpus(full: bool, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """All of ESC-10 and an hour; or 60 made clips and three minutes."""
    folder = tmp_path_factory.mktemp("corpus")
    if full:
        esc10 = request.getfixturevalue("shared_data") / "audio" / "esc10"
        clips, minutes = sorted(esc10.glob("*/*.ogg")), 60
    else:
        clips, minutes = [make_clip(folder, number) for number in range(60)], 3
    rows = [{"uri": str(path), "id": path.stem} for path in clips]
    rows.append({"uri": str(make_recording(folder / "recording.wav", 60 * minutes)), "id": "recording"})
    path = folder / "list.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Corpus(path, len(clips), minutes)


def make_clip(folder: Path, number: int) -> Path:
    """Noise of 2 to 6 s, stereo or mono, in one of three formats at one of three rates."""
    suffix, rate = ("wav", "flac", "ogg")[number % 3], (16_000, 22_050, 44_100)[number // 3 % 3]
    path = folder / f"clip{number:02d}.{suffix}"
    shape = (rate * (2 + number % 5), 1 + number % 2)
    soundfile.write(path, np.random.default_rng(number).normal(0, 0.1, shape), rate)
    return path


def make_recording(path: Path, seconds: int) -> Path:
    """Noise whose loudness changes from second to second, 16 kHz mono."""
    rng = np.random.default_rng(7)
    with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as file:
        for _ in range(seconds):
            file.write((rng.uniform(0.01, 0.9) * rng.uniform(-1, 1, RATE)).astype(np.float32))
    return path


@pytest.fixture(params=["gs", "s3"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """A store with an empty bucket."""
    with {"gs": store_servers.google, "s3": store_servers.amazon}[request.param]() as found:
        yield found


@pytest.fixture
def reached(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The store, which this process's own storage layer uses."""
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(options, "_given", None)
    options.set_flags(["--no_auth"] if store.scheme == "gs" else store.flags)
    return store
