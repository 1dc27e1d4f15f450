"""The scripts for schedulers, run as a scheduler runs them: with its variables set, and nothing else of it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from tests import outputs
from tests.command import REPOSITORY
from tests.test_tasks import make, same

EXAMPLES = REPOSITORY / "examples"
TASKS = 2
SCHEDULERS = {
    "slurm_array.sh": ("SLURM_ARRAY_TASK_ID", {"TASKS": str(TASKS), "SLURM_CPUS_PER_TASK": "2"}),
    "batch_array.sh of AWS": ("AWS_BATCH_JOB_ARRAY_INDEX", {"AWS_BATCH_JOB_ARRAY_SIZE": str(TASKS), "CORES": "2"}),
    "batch_array.sh of Google": ("BATCH_TASK_INDEX", {"BATCH_TASK_COUNT": str(TASKS), "CORES": "2"}),
}


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """A `python` that runs `-m pipeline.run` with the network that costs nothing (`tests.interrupted_run`)."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "python"
    interpreter, log = shlex.quote(sys.executable), shlex.quote(str(tmp_path / "log"))
    script.write_text(
        f'#!/bin/sh\n[ "$1 $2" = "-m pipeline.run" ] || exit 77\nshift 2\n'
        f'exec {interpreter} -m tests.interrupted_run {log} "$@"\n'
    )
    script.chmod(0o755)
    return script


def run(command: list[str], python: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    path = f"{python.parent}:{os.environ['PATH']}"
    return subprocess.run(command, cwd=REPOSITORY, env={**os.environ, "PATH": path, **environment},
                          capture_output=True, text=True)  # fmt: skip


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    make(tmp_path / "audio", range(4))
    return tmp_path / "audio"


def whole(audio: Path, python: Path, folder: Path, pattern: str) -> Path:
    flags = ["--input", pattern, "--output", str(folder / "whole"), "--num_shards", "4"]
    done = run([str(python), "-m", "pipeline.run", *flags], python)
    assert done.returncode == 0, done.stderr
    return folder / "whole"


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.full) for name in SCHEDULERS])
def test_scripts(name: str, audio: Path, python: Path, tmp_path: Path) -> None:
    variable, environment = SCHEDULERS[name]
    script = ["bash", str(EXAMPLES / name.split()[0])]
    flags = ["--input", f"{audio}/**", "--output", str(tmp_path / "out"), "--num_shards", "4"]
    for index in (1, 0):
        done = run([*script, *flags], python, **environment, **{variable: str(index)})
        assert done.returncode == 0, done.stderr
        assert f"task {index}/{TASKS}: " in done.stdout
    same(tmp_path / "out", whole(audio, python, tmp_path, f"{audio}/**"))
    done = run([*script, *flags], python, **environment)
    assert done.returncode != 0
    assert variable in done.stderr


@pytest.mark.full
def test_kubernetes_indexed_job(audio: Path, python: Path, tmp_path: Path) -> None:
    job = yaml.safe_load((EXAMPLES / "kubernetes_indexed_job.yaml").read_text())
    assert (job["apiVersion"], job["kind"], job["spec"]["completionMode"]) == ("batch/v1", "Job", "Indexed")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    environment = {item["name"]: item.get("value", "") for item in container["env"]}
    assert int(environment["TASKS"]) == job["spec"]["completions"]
    mounts = {mount["name"] for mount in container["volumeMounts"]}
    assert mounts == {volume["name"] for volume in job["spec"]["template"]["spec"]["volumes"]}
    here = {"TASKS": "2", "CORES": "2", "RECORDINGS": f"{audio}/**", "EMBEDDINGS": str(tmp_path / "out")}
    assert set(here) <= set(environment)
    for index in (1, 0):
        done = run(container["command"], python, **here, JOB_COMPLETION_INDEX=str(index))
        assert done.returncode == 0, done.stderr
        assert f"task {index}/2: " in done.stdout
    assert len(outputs.content(tmp_path / "out")) == 3  # a shard, its ledger, failures
