"""Engines and their parts as processes on loopback: started, awaited, and ended with everything that they started.

Not a test itself.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

START_S = 300.0
REPOSITORY = Path(__file__).resolve().parents[2]
PORTS = Path(tempfile.gettempdir()) / "vggish-test-ports"
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")


@contextmanager
def held_port() -> Iterator[int]:
    """A port of loopback that nobody has, and no other test takes until the block ends.

    It lies below those that the system gives to whoever asks for any.
    """
    PORTS.mkdir(exist_ok=True)
    top = int(_EPHEMERAL.read_text().split()[0]) if _EPHEMERAL.exists() else 32_768
    for port in random.sample(range(10_000, top), 1000):
        with (PORTS / str(port)).open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # released with the file
                with socket.socket() as server:
                    server.bind(("127.0.0.1", port))
            except OSError:
                continue
            yield port
            return
    raise AssertionError("a thousand ports are taken")


def answers(port: int) -> bool:
    """Whether somebody listens on a port of loopback."""
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1", port)) == 0


def await_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Waits until a process listens; what it printed is in the error if it does not."""
    end = time.monotonic() + START_S
    while not answers(port):
        assert process.poll() is None, f"ended with {process.returncode}: {log.read_text()}"
        assert time.monotonic() < end, f"does not listen on {port} after {START_S:.0f} s: {log.read_text()}"
        time.sleep(0.05)


@contextmanager
def running(command: Sequence[str | Path], log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process with what it prints in a file; ended at the end, with its children and theirs."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*map(str, command)],
            cwd=REPOSITORY,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        end_all(process)


def end_all(process: subprocess.Popen[bytes]) -> None:
    """Ends a process and all that descend from it: by SIGTERM, after 5 s by SIGKILL."""
    try:
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        family = []
    for number in (signal.SIGTERM, signal.SIGKILL):
        for member in family:
            try:
                member.send_signal(number)  # never to a later process of the same id
            except psutil.NoSuchProcess:
                continue
        _, family = psutil.wait_procs(family, timeout=5)
    process.wait()


@contextmanager
def job_service(folder: Path) -> Iterator[str]:
    """Python's portable job service -> its endpoint."""
    log = folder / "job-service.log"
    module = "apache_beam.runners.portability.local_job_service_main"
    with held_port() as port, running([sys.executable, "-m", module, "-p", str(port)], log) as process:
        await_port(port, process, log)
        yield f"localhost:{port}"


@contextmanager
def prism_service(binary: Path, folder: Path) -> Iterator[str]:
    """Prism as a job service -> its endpoint."""
    log = folder / "prism.log"
    with held_port() as port, running([binary, "--job_port", str(port), "--serve_http=false"], log) as process:
        await_port(port, process, log)
        yield f"localhost:{port}"


@contextmanager
def worker_pool(folder: Path, python: Path | str, observations: Path | None = None) -> Iterator[str]:
    """A worker pool -> its address.

    Args:
      folder: for its files.
      python: the interpreter of the workers that it starts: as `python`, whatever that is on PATH.
      observations: where `tests.engines.observed` notes what the workers do; None: they are not observed.
    """
    log = folder / "worker-pool.log"
    shim = folder / "bin" / "python"
    shim.parent.mkdir(exist_ok=True)
    watch = f"-m tests.engines.observed '{observations}' " if observations else ""
    shim.write_text(f"#!/bin/sh\nexec '{python}' {watch}\"$@\"\n")
    shim.chmod(0o755)
    module = "apache_beam.runners.worker.worker_pool_main"
    path = f"{shim.parent}{os.pathsep}{os.environ['PATH']}"
    with held_port() as port:
        with running([sys.executable, "-m", module, f"--service_port={port}"], log, PATH=path) as process:
            await_port(port, process, log)
            yield f"localhost:{port}"


@dataclass(frozen=True)
class Flink:
    """A cluster: the address of its REST interface, as `--flink_master` takes it, and its processes' ids."""

    master: str
    pids: tuple[int, ...]

    def overview(self) -> dict[str, Any]:
        """The cluster's description of itself."""
        with urllib.request.urlopen(f"http://{self.master}/overview", timeout=10) as response:
            return json.load(response)


@contextmanager
def flink_cluster(home: Path, folder: Path, task_managers: int = 2, slots: int = 1) -> Iterator[Flink]:
    """A standalone Flink, its task managers registered -> the cluster."""
    with held_port() as rest, held_port() as rpc:
        with _flink_on(home, folder, task_managers, slots, rest, rpc) as cluster:
            yield cluster


@contextmanager
def _flink_on(home: Path, folder: Path, task_managers: int, slots: int, rest: int, rpc: int) -> Iterator[Flink]:
    settings = {
        "jobmanager.rpc.address": "localhost",
        "jobmanager.rpc.port": rpc,
        "jobmanager.bind-host": "localhost",
        "jobmanager.memory.process.size": "1024m",
        "taskmanager.bind-host": "localhost",
        "taskmanager.host": "localhost",
        "taskmanager.numberOfTaskSlots": slots,
        "taskmanager.memory.process.size": "1024m",
        "rest.address": "localhost",
        "rest.port": rest,
        "rest.bind-port": rest,
        "io.tmp.dirs": folder,
        "env.java.opts.all": _java_options(home),
    }
    conf, logs = folder / "conf", folder / "log"
    conf.mkdir()
    logs.mkdir()
    (conf / "config.yaml").write_text("".join(f"{name}: {value}\n" for name, value in settings.items()))
    for file in (home / "conf").glob("log*"):
        shutil.copy(file, conf)
    environment = {"FLINK_CONF_DIR": str(conf), "FLINK_LOG_DIR": str(logs), "FLINK_PID_DIR": str(folder)}
    scripts = ["jobmanager.sh", *["taskmanager.sh"] * task_managers]
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                running(["bash", home / "bin" / script, "start-foreground"], folder / f"{number}.log", **environment)
            )
            for number, script in enumerate(scripts)
        ]
        await_port(rest, processes[0], folder / "0.log")
        cluster = Flink(f"localhost:{rest}", tuple(process.pid for process in processes))
        _await_slots(cluster, task_managers * slots)
        yield cluster


def _java_options(home: Path) -> str:
    """Java options from Flink's own configuration: the modules that every process has to open."""
    lines = (home / "conf" / "config.yaml").read_text().splitlines()
    return next(line.partition(":")[2].strip() for line in lines if line.strip().startswith("all: --add-exports"))


def _await_slots(cluster: Flink, count: int) -> None:
    """A task manager that has registered offers its slots a moment later."""
    end = time.monotonic() + START_S
    while True:
        try:
            offered = cluster.overview()["slots-available"]
        except OSError:  # it listens before it answers
            offered = 0
        if offered == count:
            return
        assert time.monotonic() < end, f"{offered} of {count} slots after {START_S:.0f} s"
        time.sleep(0.2)
