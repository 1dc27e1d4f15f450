"""Places of a job, looked at before any work: local paths that workers do not see, buckets that are not there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline import embed_corpus, find_corpus, storage
from pipeline.corpus.sources import SourceError
from pipeline.errors import FlagError
from pipeline.running.engines import places, runners
from pipeline.settings import Job, Output
from pipeline.storage import remote
from tests import command
from tests.command import STANDIN
from tests.memory_store import MemoryStore

DATAFLOW = ("--runner", "DataflowRunner", "--project", "proj-ect1", "--region", "us-central1")
FAR, NEAR = "far.example:8081", "localhost:8081"
OTHERS = "Give gs:// or s3://; or, for a folder that all machines have under this path, add --shared_filesystem"


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    (tmp_path / "audio").mkdir()
    soundfile.write(tmp_path / "audio" / "a.wav", np.zeros(32000), 16000)
    (tmp_path / "list.csv").write_text("uri\naudio/a.wav\n")
    return tmp_path / "audio"


@pytest.mark.parametrize(
    ("runner", "flags", "owner"),
    [
        ("DirectRunner", (), ""),
        ("DataflowRunner", (), "Dataflow's workers"),
        ("FlinkRunner", (), ""),
        ("FlinkRunner", ("--flink_master", NEAR), ""),
        ("FlinkRunner", ("--flink_master", FAR), f"the workers of FlinkRunner at {FAR}"),
        ("FlinkRunner", ("--flink_master", FAR, "--environment_type", "LOOPBACK"), ""),
        ("FlinkRunner", ("--job_endpoint", FAR), ""),  # its own Flink, whose workers are in the command
        ("PortableRunner", ("--job_endpoint", "embed"), ""),
        ("PortableRunner", ("--job_endpoint", NEAR, "--environment_type", "EXTERNAL"), ""),
        ("PortableRunner", ("--job_endpoint", FAR), f"the workers of PortableRunner at {FAR}"),
        ("SparkRunner", (), ""),
        ("SparkRunner", ("--spark_master_url", f"spark://{FAR}"), f"the workers of SparkRunner at spark://{FAR}"),
        ("PrismRunner", (), ""),
    ],
)
def test_whose_workers_do_not_see_local_paths(runner: str, flags: tuple[str, ...], owner: str, tmp_path: Path) -> None:
    engine = runners.choose(runner, flags)
    assert places.workers_elsewhere(engine) == owner
    places.look(engine, [("--input", "gs://bucket/a"), ("--output", "s3://bucket/b")])
    for shared in (False, True):
        if not owner or (shared and runner != "DataflowRunner"):
            places.look(engine, [("--input", "audio")], shared)
            continue
        with pytest.raises(FlagError) as error:
            places.look(engine, [("--input", "gs://bucket/a"), ("--output", "out")], shared)
        assert error.value.found == f"--output out is a path of this machine, which {owner} do not see"
        dataflow = "Copy it to a bucket and give its URI, gs://BUCKET/..."
        assert error.value.remedy == (dataflow if runner == "DataflowRunner" else OTHERS)
    temporary = runners.choose(runner, [*flags, "--temp_location", str(tmp_path)])
    if owner:
        with pytest.raises(FlagError, match=r"--temp_location .* is a path of this machine"):
            places.look_at_temporary(temporary)
    else:
        places.look_at_temporary(temporary)


def test_the_library_looks_too(audio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.running.engines.preflight.look", lambda engine: None)  # which nobody answers
    corpus, flags = find_corpus([str(audio)]), ("--flink_master", FAR)
    with pytest.raises(FlagError, match=r"output /.*/out is a path of this machine"):
        embed_corpus(corpus, Job(Output(f"{tmp_path}/out")), "FlinkRunner", beam_flags=flags)
    with pytest.raises(FlagError, match=rf"audio {audio}/a\.wav is a path of this machine"):
        embed_corpus(corpus, Job(Output("memory://bucket/out")), "FlinkRunner", beam_flags=flags)


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of a user without credentials."""
    google = {"GOOGLE_APPLICATION_CREDENTIALS": "", "CLOUDSDK_CONFIG": str(tmp_path), "NO_GCE_CHECK": "true"}
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    amazon = {"AWS_ACCESS_KEY_ID": "", "AWS_EC2_METADATA_DISABLED": "true"}
    return {"HOME": str(tmp_path), "STORAGE_EMULATOR_HOST": "", **google, **amazon}


WITHIN_S = 60.0
"""Alone a command takes some 4 s, most of them imports; Google's retries would take 400."""
TEMPORARY = ("--temp_location", "gs://bucket/tmp")


@pytest.mark.parametrize(
    ("flags", "wrong"),
    [
        ((*DATAFLOW, *TEMPORARY, "--input", "AUDIO", "--output", "gs://bucket/out"), "--input AUDIO is a path of this"),
        pytest.param(
            (*DATAFLOW, *TEMPORARY, "--input", "gs://b/a", "--output", "OUT"),
            "--output OUT is a path of this machine",
            marks=pytest.mark.ci,
        ),
        pytest.param(
            (*DATAFLOW, "--temp_location=OUT", "--input", "gs://b/a", "--output", "gs://b/o"),
            "--temp_location OUT is a path of this machine",
            marks=pytest.mark.ci,
        ),
        (
            (*DATAFLOW, *TEMPORARY, "--manifest", "LIST", "--output", "gs://bucket/out"),
            "--temp_location: gs://bucket/: there are no Google credentials",
        ),
        pytest.param(
            ("--manifest", "FAR", "--output", "OUT"), "s3://one/: there are no S3 credentials", marks=pytest.mark.ci
        ),
        pytest.param(
            ("--input", "AUDIO", "--output", "s3://bucket/out", "--num_shards", "1"),
            "--output: s3://bucket/out/manifest.json: there are no S3 credentials",
            marks=pytest.mark.ci,
        ),
    ],
)
def test_a_command_ends_at_once(
    audio: Path, tmp_path: Path, stranger: dict[str, str], flags: tuple[str, ...], wrong: str
) -> None:
    far = "".join(f"s3://one/{folder}/a.wav\n" for folder in range(200))
    (tmp_path / "far.csv").write_text(f"uri\n{far}")
    names = {"AUDIO": audio, "OUT": tmp_path / "out", "LIST": tmp_path / "list.csv", "FAR": tmp_path / "far.csv"}
    for name, path in names.items():
        flags, wrong = tuple(flag.replace(name, str(path)) for flag in flags), wrong.replace(name, str(path))
    began = time.monotonic()
    done = command.run("pipeline.run", *flags, *STANDIN, "--progress", "off", **stranger)
    assert done.status == 2
    first, second = done.err.splitlines()
    assert first.startswith("error: ")
    assert wrong in first
    assert second.startswith("  ")
    assert time.monotonic() - began < WITHIN_S
    assert not (tmp_path / "out").exists()


@pytest.fixture
def one_bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A store with the bucket "there" alone."""

    def page(prefix: str, after: str | None, most: int) -> tuple[list[storage.FileInfo], str | None]:
        if not prefix.startswith("memory://there/"):
            raise storage.MissingError(prefix, f"there is no bucket {prefix.split('/')[2]}", "Check its name")
        return [], None

    MemoryStore.reset()
    monkeypatch.setattr(remote, "_page", page)
    yield
    MemoryStore.reset()


def test_a_list_whose_buckets_are_not_there(one_bucket: None, tmp_path: Path) -> None:
    def found(*uris: str) -> int:
        (tmp_path / "list.csv").write_text("\n".join(["uri", *uris, ""]))
        return len(find_corpus(manifest=f"{tmp_path}/list.csv").clips)

    with pytest.raises(SourceError, match=r"list\.csv: there is no bucket neither, nowhere, in which its audio is"):
        found("memory://nowhere/a.wav", "memory://neither/b.wav", *(f"memory://nowhere/{n}/a.wav" for n in range(200)))
    assert found("memory://nowhere/a.wav", "memory://there/a.wav") == 2  # one fails by itself
    assert found("memory://nowhere/a.wav", "b.wav") == 2
