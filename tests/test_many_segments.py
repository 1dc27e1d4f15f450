"""Many short segments of one recording: one pass where it does not seek exactly, to the bytes of each alone."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from pipeline.corpus import units
from pipeline.decoding.decoders import DecoderPool
from pipeline.output.records import read_records
from pipeline.types import Clip, DecodeRequest
from tests.command import manifest
from tests.in_process import Embed
from tests.made_audio import encode, write

SECONDS = 140
RATE = 24_000
FORMATS = {"mp3": ("mp3", "libmp3lame"), "m4a": ("ipod", "aac"), "opus": ("ogg", "libopus")}


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise whose loudness changes, in four formats, of which FLAC alone seeks exactly."""
    folder = tmp_path_factory.mktemp("recordings")
    rng = np.random.default_rng(0)
    samples = (rng.normal(0, 0.1, SECONDS * RATE) * np.repeat(rng.uniform(0.1, 1, SECONDS), RATE)).astype(np.float32)
    for extension, (container, codec) in FORMATS.items():
        encode(folder / f"a.{extension}", container, codec, samples[:, np.newaxis], RATE)
    write(folder / "a.flac", samples[:, np.newaxis], RATE, "FLAC", "PCM_16")
    return folder


def listing(folder: Path, extension: str, starts: list[int], name: str) -> Path:
    path = folder / f"{name}.jsonl"
    rows = [{"uri": f"a.{extension}", "id": f"row {s}", "start_seconds": s, "end_seconds": s + 1} for s in starts]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def values(output: Path) -> dict[str, bytes]:
    return {record.id: record.values.tobytes() for record in read_records(f"{output}/*.tfrecord")}


@pytest.mark.parametrize(
    "extension", ["mp3", *(pytest.param(name, marks=pytest.mark.ci) for name in ("m4a", "opus")), "flac"]
)
def test_rows_are_decoded_in_one_pass_to_the_bytes_of_each_alone(
    extension: str, recordings: Path, embed_here: Embed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: Counter[str] = Counter()
    submit = DecoderPool.submit

    def counted(pool: DecoderPool, request: DecodeRequest) -> object:
        asked[Path(request.uri).name] += 1
        return submit(pool, request)

    monkeypatch.setattr(DecoderPool, "submit", counted)
    starts = [*range(SECONDS - 1, -1, -1)]
    done = embed_here(tmp_path / "all", "--manifest", listing(recordings, extension, starts, "all"))
    assert done.status == 0, done.err
    assert manifest(tmp_path / "all")["totals"]["written"] == SECONDS
    assert asked == {f"a.{extension}": -(-SECONDS // 64) if extension == "flac" else 1}
    some = [0, 1, 63, 64, 128, SECONDS - 1]
    done = embed_here(tmp_path / "some", "--manifest", listing(recordings, extension, some, "some"))
    assert done.status == 0, done.err
    found, alone = values(tmp_path / "all"), values(tmp_path / "some")
    assert {name: found[name] for name in alone} == alone
    assert len(set(found.values())) == SECONDS  # each row has its own sound


def test_rows_of_one_recording_are_one_request() -> None:
    many = [Clip(f"many {n}", "many.mp3", n, n + 1, cut=True, size_bytes=10**8) for n in range(1000)]
    few = [Clip(f"few {n}", "few.mp3", n, n + 1, cut=True, size_bytes=10**8) for n in range(50)]
    others = [Clip(f"other {n}", f"{n}.mp3", size_bytes=10**6) for n in range(200)]
    found = list(units.units([*many, *few, *others], 8, 600.0, 96))
    requests = [request for unit in found for request in unit.requests]
    assert sum(request.uri == "many.mp3" for request in requests) == 1
    assert sum(request.uri == "few.mp3" for request in requests) == 1
    assert sum(len(request.segments) for request in requests) == 1250
