"""Names of objects are kept to the byte: whatever parts they have, as input and as output, on both kinds of stores."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline import duplicates, export, fad, parquet, report, reshard, run, search, status, storage, verify
from pipeline.output.records import read_records
from tests import interrupted_run, outputs
from tests.command import STANDIN
from tests.engines.stores import Store

FOLDERS = {
    "an empty part": "a/",
    "two empty parts": "b//",
    "an empty part in front": "/a",
    "a dot": "a/.",
    "two dots": "a/..",
    "spaces": " a b ",
    "per cent": "a%20b%2Fc%",
    "a hash": "a#b",
    "a question mark": "a?b=c&d",
    "brackets": "a[1]",
    "an asterisk": "a*",
    "plus": "a+b",
    "backslash and quotes": "a\\b\"c'd",
    "composed": "caf\u00e9",
    "decomposed": "cafe\u0301",
    "beyond the basic plane": "\U0001f600",
    "a colon": "a:b@c;d,e",
}


def sound(seconds: float = 1.0) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.random.default_rng(0).normal(0, 0.1, int(seconds * 16_000)), 16_000, format="WAV")
    return buffer.getvalue()


@pytest.fixture
def bucket(reached: Store) -> str:
    """A store's bucket, in which every folder of the grid has an object called x.wav, whose content is the folder's."""
    start = reached.uri()
    for folder in FOLDERS.values():
        storage.write_atomic(f"{start}{folder}/x.wav", folder.encode())
    return start


def test_every_operation_on_every_name(bucket: str) -> None:
    every = {file.uri for file in storage.match(bucket)}
    assert every == {f"{bucket}{folder}/x.wav" for folder in FOLDERS.values()}
    for folder in FOLDERS.values():
        uri = f"{bucket}{folder}/x.wav"
        assert storage.exists(uri)
        assert storage.info(uri).size_bytes == len(folder.encode())
        with storage.open_read(uri) as file:
            assert file.read() == folder.encode(), uri
        assert [file.uri for file in storage.match(uri)] == [uri]
        for pattern in (f"{bucket}{folder}/", f"{bucket}{folder}/*", f"{bucket}{folder}/*.wav"):
            names = [file.uri for file in storage.match(pattern)]
            assert names == [uri], pattern
            assert storage.join(storage.fixed_part(pattern), "") == f"{bucket}{folder}/"
        assert storage.join(storage.parent(uri), "x.wav") == uri
        assert [file.uri for file in storage.list_folder(storage.parent(uri))] == [uri]
        storage.rename(uri, f"{uri}.moved")
        assert not storage.exists(uri)
        with storage.open_read(f"{uri}.moved") as file:
            assert file.read() == folder.encode(), uri
        storage.delete(f"{uri}.moved")
        assert not storage.exists(f"{uri}.moved")
    assert storage.match(bucket) == []


@pytest.fixture
def summed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that costs nothing; decoder processes are the test's own, since each test has a store of its own."""
    for owner, name, value in interrupted_run.replacements(lambda line: None):
        monkeypatch.setattr(owner, name, value)
    monkeypatch.setattr("pipeline.embedding.embed._workers", {})


ALL_AT_ONCE = "out//o d%20#?[1]+/./../e\u0301"


def test_input_and_output_of_any_name(reached: Store, capfd: pytest.CaptureFixture[str], summed: None) -> None:
    start = reached.uri("in")
    folders = [*FOLDERS.values(), "z"]
    for folder in folders:
        storage.write_atomic(f"{start}/{folder}/x.wav", sound())
    storage.write_atomic(f"{start}/", b"")  # what consoles make of new folders
    storage.write_atomic(f"{start}/z/", b"")
    storage.write_atomic(f"{start}/z/.hidden/x.wav", sound())
    output = reached.uri(ALL_AT_ONCE)

    def embed(*flags: str) -> str:
        capfd.readouterr()
        arguments = ["--output", output, *STANDIN, "--progress", "off", "--report", "off", *reached.flags, *flags]
        status = run.main(arguments)
        said = "".join(capfd.readouterr())
        assert status == 0, said
        return said

    assert f"{len(folders)} clips: {len(folders)} written, 0 failed" in embed("--input", f"{start}/")
    assert {record.id for record in read_records(f"{output}/*.tfrecord")} == {f"{folder}/x" for folder in folders}
    assert "nothing to compute" in embed("--input", start)
    rows = "".join(json.dumps({"uri": f"{start}/{folder}/x.wav", "id": f"{folder}/x"}) + "\n" for folder in folders)
    storage.write_atomic(f"{start}/list.jsonl", rows.encode())
    assert "nothing to compute" in embed("--manifest", f"{start}/list.jsonl")
    output += "//again"
    assert "1 clip: 1 written" in embed("--input", f"{start}/a//")
    assert [record.id for record in read_records(f"{output}/*.tfrecord")] == ["x"]


def test_the_other_programs_read_and_write_any_name(
    reached: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    clips = [outputs.clip(number) for number in range(60)]
    output, other = reached.uri(ALL_AT_ONCE), reached.uri(f"{ALL_AT_ONCE}/other")
    for directory in (output, other):
        outputs.write(outputs.job(directory, 2), clips)
    written = {record.id for record in read_records(f"{output}/*.tfrecord")}

    def succeeds(program: Callable[[Sequence[str]], int], *arguments: str | Path) -> str:
        capfd.readouterr()
        ended = program([*map(str, arguments)])
        said = "".join(capfd.readouterr())
        assert ended == 0, (arguments, said)
        return said

    succeeds(verify.main, output, "--jobs", "1")
    assert str(len(written)) in succeeds(status.main, output)
    succeeds(report.main, output, "--to", f"{other}/report.html")
    assert storage.exists(f"{other}/report.html")
    succeeds(duplicates.main, output, "--against", other, "--json", tmp_path / "found.json")
    assert len(json.loads((tmp_path / "found.json").read_text())["found"]) >= len(written)  # two copies of one set
    succeeds(fad.main, output, other, "--json", tmp_path / "fad.json")
    assert abs(json.loads((tmp_path / "fad.json").read_text())["sets"][0]["fad"]) < 1e-6
    succeeds(export.main, output, "--to", "npy", tmp_path / "vectors.npy")  # which is made on this machine only
    for kind in ("npz", "parquet"):
        succeeds(export.main, output, "--to", kind, f"{other}/vectors.{kind}")
        assert storage.exists(f"{other}/vectors.{kind}")
    succeeds(parquet.main, "--input", f"{output}/*.tfrecord", "--output", f"{other}/rows.parquet")
    assert storage.exists(f"{other}/rows.parquet")
    similar = succeeds(search.main, output, "--like", min(written), "--build", "--index", tmp_path / "index")
    assert any(clip_id in similar for clip_id in written - {min(written)})
    succeeds(reshard.main, output, "--num_shards", "3")
    assert {record.id for record in read_records(f"{output}/*.tfrecord")} == written
    succeeds(verify.main, output, "--jobs", "1")
