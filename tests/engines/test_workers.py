"""Workers of a real engine that lack something are found before any work: one message, what to do, exit status 2."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import apache_beam
import pytest

from tests import command
from tests.command import REPOSITORY, STANDIN, Done
from tests.engines import servers
from tests.engines.conftest import make_recording
from vggish_core.network.gpus import gpu

pytestmark = pytest.mark.usefixtures("standin_weights")

SITE_PACKAGES = Path(apache_beam.__file__).parents[1]
Attempt = Callable[..., Done]
"""(a shell script that starts a worker with "$@", flags...) -> the finished command."""


@pytest.fixture
def attempt(tmp_path: Path) -> Attempt:
    """The command on Python's job service, with workers of one's own making."""

    def embed(script: str, *flags: str) -> Done:
        python = tmp_path / "worker-python"
        python.write_text(f"#!/bin/sh\n{script}\n")
        python.chmod(0o755)
        audio = make_recording(tmp_path / "a.wav", 2)
        with ExitStack() as stack:
            pool = stack.enter_context(servers.worker_pool(tmp_path, python))
            engine = [
                "--runner",
                "PortableRunner",
                "--job_endpoint",
                stack.enter_context(servers.job_service(tmp_path)),
            ]
            engine += ["--environment_type", "EXTERNAL", "--environment_config", pool]
            output = ["--output", str(tmp_path / "out"), "--input", str(audio)]
            temporary = tmp_path / "tmp"
            temporary.mkdir()
            done = command.run("pipeline.run", *output, *STANDIN, *engine, *flags, TMPDIR=str(temporary))
            assert {path.name for path in temporary.iterdir()} <= {"beam-requirements-cache"}  # one for all jobs
            return done

    return embed


def without_site(path: Path | None = None) -> str:
    """A worker that sees installed packages, but this one only if it is in `path`."""
    places = os.pathsep.join(str(place) for place in (path, SITE_PACKAGES) if place)
    return f"cd / && PYTHONPATH='{places}' exec '{sys.executable}' -S \"$@\""


def assert_refused(done: Done, output: Path, first: str, second: str) -> None:
    *_, found, remedy = done.err.strip().splitlines()
    assert (done.status, done.out) == (2, ""), done.err
    assert first in found, done.err
    assert found.startswith("error: ")
    assert second in remedy, done.err
    assert not (output / "manifest.json").exists()


def test_workers_without_the_package(attempt: Attempt, tmp_path: Path) -> None:
    done = attempt(without_site())
    assert_refused(done, tmp_path / "out", "lack this package: no module pipeline there", "Install vggish-pipeline")


@pytest.mark.full
def test_workers_with_other_code_of_the_same_version(attempt: Attempt, tmp_path: Path) -> None:
    for name in ("pipeline", "vggish_core"):
        shutil.copytree(REPOSITORY / name, tmp_path / "lib" / name)
    with (tmp_path / "lib" / "pipeline" / "plan.py").open("a") as file:
        file.write("# changed here\n")
    done = attempt(without_site(tmp_path / "lib"))
    assert_refused(done, tmp_path / "out", "differs from the submitter's, of the same version", "Install")


def test_weights_that_only_the_submitter_has(attempt: Attempt, tmp_path: Path, standin_weights: Path) -> None:
    checkpoint = tmp_path / "model.ckpt"
    shutil.copy(standin_weights / "vggish_model.ckpt", checkpoint)
    done = attempt(f"rm -f '{checkpoint}'; exec '{sys.executable}' \"$@\"", "--checkpoint", str(checkpoint))
    assert_refused(done, tmp_path / "out", f"checkpoint {checkpoint} does not exist", "same path on each")


@pytest.mark.skipif(bool(gpu()), reason="there is a GPU")
def test_a_gpu_that_no_worker_has(attempt: Attempt, tmp_path: Path) -> None:
    done = attempt(f"exec '{sys.executable}' \"$@\"", "--precision", "bfloat16")
    assert_refused(done, tmp_path / "out", "--precision bfloat16: TensorFlow sees no GPU here", "Use float32: on")
    assert "error: worker " in done.err


def test_processes_that_a_job_service_cannot_start(tmp_path: Path) -> None:
    audio = make_recording(tmp_path / "a.wav", 2)
    with servers.job_service(tmp_path) as endpoint:
        flags = ["--runner", "PortableRunner", "--job_endpoint", endpoint, "--environment_type", "PROCESS"]
        flags += ["--environment_config", '{"command": "/bin/true"}', "--input", str(audio)]
        done = command.embed(tmp_path / "out", *flags)
    assert_refused(done, tmp_path / "out", "cannot start PROCESS workers", "harness_subprocess_python")
