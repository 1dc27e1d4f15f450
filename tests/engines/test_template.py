"""Dataflow without Dataflow: what its template says, what is staged for it, and that its graph does the work."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
import soundfile
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_runner_api_pb2 as protos

from pipeline.storage import options
from tests import command, graph
from tests.command import Done
from tests.engines import stores as servers
from tests.engines.stores import Store
from tests.test_graph import OUTLINE

IMAGE = "registry.example/vggish:1"
JOB = ("--runner", "DataflowRunner", "--project", "proj-ect1", "--region", "us-central1", "--num_shards", "2")


@pytest.fixture
def store() -> Iterator[Store]:
    """A bucket with three clips."""
    rng = np.random.default_rng(0)
    with servers.google() as found:
        for number in range(3):
            clip = io.BytesIO()
            soundfile.write(clip, rng.normal(0, 0.1, (2 + number) * 16000), 16000, format="WAV")
            found.put(f"audio/clip{number}.wav", clip.getvalue())
        yield found


def places(store: Store) -> list[str]:
    names = {"--input": "audio/**", "--output": "out", "--temp_location": "tmp", "--staging_location": "staging"}
    return [text for flag, name in names.items() for text in (flag, store.uri(name))]


def run(store: Store, *flags: str | Path) -> Done:
    everything = (*places(store), *store.flags, *command.STANDIN, *flags)
    return command.run("pipeline.run", *everything, **store.environment)


def staged(store: Store, name: str) -> bytes:
    (content,) = [data for path, data in store.content("staging").items() if path.endswith(f"/{name}")]
    return content


def options_of(job: dict[str, Any]) -> dict[str, Any]:
    return job["environment"]["sdkPipelineOptions"]["options"]


def work(store: Store, proto: protos.Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Dataflow's workers would do, here."""
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(options, "_given", None)
    options.set_flags(["--no_auth"])
    for each in proto.components.environments.values():
        del each.dependencies[:]
    beam.Pipeline.from_runner_api(proto, "FnApiRunner", PipelineOptions(["--no_auth"])).run().wait_until_finish()


def launch(store: Store, launched: str, **parameters: str) -> dict[str, Any]:
    """Starts the flex template's entry point as Google's launcher does -> the job that it wrote."""
    arguments = {
        **parameters,
        "checkpoint": "standin",
        "input": store.uri("audio/**"),
        "job_name": "night",
        "labels": json.dumps({"goog-dataflow-provided-template-type": "flex"}, indent=2),
        "machine_type": "n2-standard-4",
        "output": store.uri("out"),
        "pca_params": "standin",
        "project": "proj-ect1",
        "region": "us-central1",
        "runner": "DataflowRunner",
        "service_account_email": "worker@proj-ect1.iam.gserviceaccount.com",
        "staging_location": store.uri("staging"),
        "temp_location": store.uri("tmp"),
        "template_location": store.uri(f"staging/template_launches/{launched}/job_object"),
    }
    entry = command.REPOSITORY / "docker" / "flex_template.py"
    words = [sys.executable, entry, *(f"--{name}={value}" for name, value in arguments.items()), *store.flags]
    variables = {"FLEX_TEMPLATE_PYTHON_PY_FILE": str(entry), "VGGISH_WORKERS_IMAGE": IMAGE}
    environment = {**os.environ, "PYTHONPATH": str(command.REPOSITORY), **store.environment, **variables}
    done = subprocess.run(words, cwd="/", env=environment, capture_output=True, text=True, timeout=command.HANG_S)
    assert done.returncode == 0, done.stderr
    return json.loads(store.content("staging")[f"template_launches/{launched}/job_object"])


def test_a_template_is_a_job_that_ends_as_a_finished_data_set(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    location = store.uri("templates/job.json")
    done = run(
        store, *JOB, "--template_location", location, "--setup_file", command.REPOSITORY / "setup.py",
        "--sdk_container_image", IMAGE, "--worker_machine_type", "n2-standard-4",
    )  # fmt: skip
    assert done.status == 0, done.err
    assert f"gcloud dataflow jobs run NAME --region us-central1 --gcs-location {location}" in done.out

    job = json.loads(store.content("templates")["job.json"])
    (pool,) = job["environment"]["workerPools"]
    assert [image["containerImage"] for image in pool["sdkHarnessContainerImages"]] == [IMAGE]
    assert pool["machineType"] == "n2-standard-4"
    assert {package["name"] for package in pool["packages"]} >= {"workflow.tar.gz"}
    assert options_of(job)["resource_hints"] == ["min_ram=4GB"]
    assert options_of(job)["setup_file"].endswith("setup.py")
    assert (options_of(job)["num_shards"], options_of(job)["output"]) == (2, store.uri("out"))
    with tarfile.open(fileobj=io.BytesIO(staged(store, "workflow.tar.gz"))) as package:
        names = {name.partition("/")[2] for name in package.getnames()}
    assert {"setup.py", "pipeline/run.py", "pipeline/py.typed", "vggish_core/network/model.py"} <= names

    proto = protos.Pipeline.FromString(staged(store, "pipeline.pb"))
    assert graph.lower(proto).outline() == OUTLINE
    (environment,) = proto.components.environments.values()
    assert protos.DockerPayload.FromString(environment.payload).container_image == IMAGE

    work(store, proto, monkeypatch)
    manifest = json.loads(store.content("out")["manifest.json"])
    assert (manifest["complete"], manifest["totals"]["written"]) == (True, 3)
    assert not [name for name in store.content("out") if any(word in name for word in ("plan", "staged", "rows"))]
    done = run(store, "--num_shards", "2")
    assert done.status == 0, done.err
    assert "3 clips: 3 written, 0 failed, 0 skipped" in done.out
    assert "nothing to compute" in done.out


def test_a_dry_run_needs_neither_credentials_nor_stores(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "clip.wav", np.zeros(32000), 16000)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    where = ["--temp_location", "gs://bucket/tmp", "--staging_location", "gs://bucket/staging"]
    done = command.run(
        "pipeline.run", *JOB, *command.STANDIN, *where, "--sdk_location", "container", "--dry_run", "True",
        "--sdk_container_image", IMAGE, "--input", tmp_path, "--output", "gs://bucket/out",
        STORAGE_EMULATOR_HOST="http://127.0.0.1:1", NO_GCE_CHECK="true", TMPDIR=str(temporary),
    )  # fmt: skip
    assert done.status == 0, done.err
    assert re.fullmatch(f"A dry run: the job has \\d+ steps in {IMAGE}; nothing was written or started.\n", done.out)
    assert {path.name for path in temporary.iterdir()} <= {"beam-requirements-cache"}  # one for all jobs


def test_a_flex_template_that_is_launched_again_computes_what_is_new(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = launch(store, "first", num_shards="1", retry_failed="true", overwrite="false", exclude='["*2.wav", "x"]')
    (pool,) = job["environment"]["workerPools"]
    assert [image["containerImage"] for image in pool["sdkHarnessContainerImages"]] == [IMAGE]
    assert pool["machineType"] == "n2-standard-4"
    assert job["labels"]["goog-dataflow-provided-template-type"] == "flex"
    assert options_of(job)["exclude"] == ["*2.wav", "x"]
    pipeline = protos.Pipeline.FromString(staged(store, "pipeline.pb"))
    assert graph.lower(pipeline).outline() == OUTLINE
    work(store, pipeline, monkeypatch)
    assert json.loads(store.content("out")["manifest.json"])["totals"]["written"] == 2

    before, known = store.content("out"), set(store.content("staging"))
    launch(store, "second", exclude="*2.wav")
    (idle,) = [path for path in set(store.content("staging")) - known if path.endswith("/pipeline.pb")]
    proto = protos.Pipeline.FromString(store.content("staging")[idle])
    assert "Nothing to compute" in {each.unique_name for each in proto.components.transforms.values()}
    work(store, proto, monkeypatch)
    assert store.content("out") == before
