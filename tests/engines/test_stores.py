"""Whole runs on real HTTP stores: gs:// in and out, s3:// in and out; troubled stores, missing buckets, ranges."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from pyarrow import Table, parquet

from pipeline import storage
from pipeline.output import commit, resume
from pipeline.output.journal import held, rows
from pipeline.output.records import parse, read_tfrecord
from pipeline.storage import errors
from tests import command, outputs
from tests.command import Done
from tests.engines import binaries
from tests.engines.stores import Store


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six clips, one of them no audio; a manifest names them, relative to itself."""
    folder = tmp_path_factory.mktemp("audio")
    rng = np.random.default_rng(0)
    for number, suffix in enumerate(("wav", "flac", "ogg", "wav", "flac")):
        soundfile.write(folder / f"clip{number}.{suffix}", rng.normal(0, 0.1, (2 + number) * 16000), 16000)
    (folder / "damaged.wav").write_bytes(b"RIFF\x00\x00")
    rows = [{"uri": path.name, "id": path.stem, "labels": [3]} for path in sorted(folder.iterdir())]
    (folder / "list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def locally(audio: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The record files that a run on local files writes."""
    output = tmp_path_factory.mktemp("local") / "out"
    flags = ("--manifest", audio / "list.jsonl", "--num_shards", "2", "--max_failures", "1")
    done = command.embed(output, *flags)
    assert done.status == 0, done.err
    return command.shard_bytes(output)


def embed(store: Store, *flags: str, output: str = "out") -> Done:
    """The command, from the store into the store."""
    where = ("--output", store.uri(output), *store.flags, "--report", "off")
    return command.run("pipeline.run", *where, *flags, **store.environment)


def records(content: dict[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in content.items() if name.startswith("embeddings-")}


@pytest.mark.parametrize("store", ["gs", pytest.param("s3", marks=pytest.mark.full)], indirect=True)
def test_audio_manifest_weights_and_output_in_a_store(
    store: Store, audio: Path, locally: dict[str, bytes], standin_weights: Path
) -> None:
    store.upload(audio, "audio")
    store.upload(standin_weights, "weights")
    done = embed(
        store,
        "--manifest", store.uri("audio/list.jsonl"), "--num_shards", "2", "--max_failures", "1",
        "--checkpoint", store.uri("weights/vggish_model.ckpt"),
        "--pca_params", store.uri("weights/vggish_pca_params.npz"),
    )  # fmt: skip
    assert done.status == 0, done.err
    found = store.content("out")
    assert records(found) == locally
    assert json.loads(found["manifest.json"])["totals"]["failed"] == 1
    assert [json.loads(line)["id"] for line in found["failures.jsonl"].splitlines()] == ["damaged"]
    assert not [name for name in found if "staged" in name or "plan" in name or "lock" in name]


def values(content: dict[str, bytes]) -> dict[str, bytes]:
    """Record files -> the embeddings of each id."""
    found = [parse(data) for file in records(content).values() for data in read_tfrecord(io.BytesIO(file))]
    return {record.id: record.values.tobytes() for record in found}


@pytest.mark.parametrize("store", [pytest.param("gs", marks=pytest.mark.full), "s3"], indirect=True)
def test_tar_and_parquet_in_a_store(store: Store, audio: Path, locally: dict[str, bytes], tmp_path: Path) -> None:
    packed, clips = tmp_path / "packed", sorted(audio.glob("clip*"))
    packed.mkdir()
    with tarfile.open(packed / "set.tar", "w") as tar:
        for path in clips:
            tar.add(path, path.name)
    rows = [{"audio": {"bytes": path.read_bytes(), "path": path.name}} for path in clips]
    parquet.write_table(Table.from_pylist(rows), packed / "rows.parquet", row_group_size=2)
    store.upload(packed, "packed")
    done = embed(store, "--input", store.uri("packed"), *command.STANDIN)
    assert done.status == 0, done.err
    of_files = values(locally)
    assert values(store.content("out")) == of_files | {f"set/{name}": found for name, found in of_files.items()}


@pytest.mark.parametrize("store", [pytest.param("gs", marks=pytest.mark.full), "s3"], indirect=True)
def test_worker_processes_reach_the_store(store: Store, audio: Path, locally: dict[str, bytes]) -> None:
    store.upload(audio, "audio")
    engine = ("--direct_running_mode", "multi_processing", "--direct_num_workers", "2")
    flags = ("--manifest", store.uri("audio/list.jsonl"), "--num_shards", "2", "--max_failures", "1")
    done = embed(store, *engine, *flags, *command.STANDIN)
    assert done.status == 0, done.err
    assert records(store.content("out")) == locally


@pytest.mark.parametrize("store", [pytest.param("gs", marks=pytest.mark.full), "s3"], indirect=True)
def test_prism_reads_and_writes_stores(store: Store, audio: Path, locally: dict[str, bytes]) -> None:
    if not binaries.prism().exists():
        pytest.skip("Prism is not built: make prism builds it where there is Go")
    store.upload(audio, "audio")
    engine = ("--runner", "PrismRunner", "--prism_location", str(binaries.prism()))
    flags = ("--manifest", store.uri("audio/list.jsonl"), "--num_shards", "2", "--max_failures", "1")
    done = embed(store, *engine, *flags, *command.STANDIN)
    assert done.status == 0, done.err
    assert records(store.content("out")) == locally


@pytest.mark.full
@pytest.mark.parametrize("seed", [3, 4, 5])
def test_a_store_that_fails_one_request_in_five_loses_nothing(
    store: Store, audio: Path, locally: dict[str, bytes], seed: int
) -> None:
    store.upload(audio, "audio")
    store.proxy.fail(0.2, seed)
    flags = ("--manifest", store.uri("audio/list.jsonl"), "--num_shards", "2", "--max_failures", "1")
    done = embed(store, *flags, *command.STANDIN)
    assert done.status == 0, done.err
    requests, failed = len(store.proxy.requests), store.proxy.trouble.failed
    assert 0.1 * requests < failed < 0.3 * requests
    assert records(store.content("out")) == locally


def test_what_the_stores_clients_give_up_is_tried_again(reached: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(errors, "FIRST_PAUSE_S", 0.01)
    first, second = reached.uri("a"), reached.uri("b")
    for write in (lambda: storage.write_atomic(first, b"content"), lambda: storage.rename(first, second)):
        reached.proxy.fail(1, most=3)  # cut before the store sees it, cut in its answer, refused as busy
        write()
        assert reached.proxy.trouble.failed == 3
    with storage.open_read(second) as file:
        assert file.read() == b"content"
    assert [found.uri for found in storage.match(reached.uri("*"))] == [second]


def test_large_objects_and_long_listings(reached: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr("pipeline.storage.remote.PAGE", 3)
    monkeypatch.setattr("pipeline.storage.remote.IN_MEMORY_BYTES", 1 << 20)
    if reached.scheme == "s3":
        monkeypatch.setattr("pipeline.storage.s3.PART_BYTES", 5 << 20)  # the least that S3 takes
    content = np.random.default_rng(0).bytes((12 << 20) + 7)
    reached.proxy.fail(0.3, most=5)
    storage.write_atomic(reached.uri("large"), content)
    for number in range(10):
        storage.write_atomic(reached.uri(f"list/{number}"), b"")
    reached.proxy.fail(0.3, seed=1, most=5)
    assert [found.uri for found in storage.match(reached.uri("list"))] == [reached.uri(f"list/{n}") for n in range(10)]
    with storage.open_read(reached.uri("large")) as file:
        assert file.read() == content
        assert file.seek(-7, io.SEEK_END) == 12 << 20
        assert file.read() == content[-7:]


def test_a_bucket_that_is_not_there_is_reported_at_once(store: Store, audio: Path) -> None:
    store.upload(audio, "audio")
    missing = f"{store.scheme}://nowhere"
    flags = (*command.STANDIN, *store.flags)
    for where in (
        ("--input", f"{missing}/audio/**", "--output", store.uri("out")),
        ("--input", store.uri("audio/**"), "--output", f"{missing}/out"),
    ):
        done = command.run("pipeline.run", *where, *flags, **store.environment)
        assert done.status == 2, done.err
        assert "there is no bucket nowhere" in done.err
        assert "Check its name" in done.err
    # No more than looking: nothing was tried again and again.
    assert len([request for request in store.proxy.requests if "nowhere" in request.path]) < 20


def test_a_long_recording_is_read_by_ranges(reached: Store) -> None:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros((16000 * 60 * 20, 2), np.float32), 16000, format="WAV", subtype="FLOAT")
    content = buffer.getvalue()
    assert len(content) > 150e6
    reached.put("long.wav", content)
    with storage.open_read(reached.uri("long.wav")) as file, soundfile.SoundFile(file) as sound:
        sound.seek(16000 * 60 * 19)
        assert len(sound.read(16000)) == 16000
    gets = [request for request in reached.proxy.requests if request.method == "GET" and "long.wav" in request.path]
    ranged = [request for request in gets if request.range]
    starts = [int(request.range.removeprefix("bytes=").split("-")[0]) for request in ranged]
    assert max(starts) > 0.9 * len(content)
    assert sum(request.sent for request in gets) < 0.5 * len(content)


def test_requests_for_row_files_and_shards_are_few(reached: Store) -> None:
    """Two a file to plan, one a part to merge; seven a shard: two to stage it, four to commit, one for its failures."""
    num_shards, num_files = 6, 3
    job = outputs.job(reached.uri("out"), num_shards=num_shards)
    directory, asked = job.output.directory, reached.proxy.requests
    clips = [outputs.clip(number) for number in range(60)]
    manifest = resume.start(directory, job).manifest
    for at in range(num_files):
        found = rows.gathered(out for clip in clips[at::num_files] for out in outputs.outcomes_of(clip))
        rows.write(directory, job.fingerprint(), num_shards, found, {})

    asked.clear()
    there = held.files_of(directory, job.fingerprint())
    assert len(asked) == 1 + num_files  # a listing
    asked.clear()
    parts = there.parts(range(num_shards))
    assert len(held.look(directory, parts).clips) == len(clips)
    assert len(asked) == num_files

    asked.clear()
    staged = outputs.merge(job, manifest, parts)
    of_rows = [request for request in asked if request.path.split("?")[0].endswith(".rows")]
    assert len(of_rows) == len(parts) == num_files * num_shards
    assert sum(request.sent for request in of_rows) == sum(part.size_bytes for part in parts)
    assert len(asked) - len(of_rows) == 2 * num_shards  # records and ledger

    asked.clear()
    assert commit.finish(directory, staged, len(clips)).complete
    assert len(asked) == 5 * num_shards + num_files + 9
    assert not rows.names(directory)
