"""Long recordings in parts: which are split, where, and that no byte of the output tells."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile

from pipeline.checking import verify
from pipeline.corpus import plan, plan_file, units
from pipeline.decoding import decode
from pipeline.decoding.decoders import DecoderPool, PoolClosedError
from pipeline.decoding.split import SplitDoFn, Splitter
from pipeline.settings import Decoding, FrontEnd
from pipeline.types import Clip, DecodeRequest, Failure, Probe, Segment, Unit, UnitRef
from tests.command import failures, manifest, shard_bytes
from tests.in_process import Embed
from tests.test_decoders import HOSTILE

RATE = 8000
EXACT = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "aiff": ("AIFF", "PCM_16"),
    "w64": ("W64", "PCM_16"),
    "caf": ("CAF", "PCM_16"),
    "rf64": ("RF64", "FLOAT"),
}
"""Formats that are split: extension -> container and codec."""


def whole(uri: str | Path, size_bytes: int = 10_000_000) -> DecodeRequest:
    return DecodeRequest(str(uri), (Segment(Clip("a", str(uri), size_bytes=size_bytes)),))


def planned(folder: Path, *requests: DecodeRequest, segment_seconds: float = 600.0) -> list[UnitRef]:
    """Requests -> what the plan's reader gives of them, each a unit."""
    made = [Unit((request,), units.asks(request, segment_seconds)) for request in requests]
    found = [item for part in plan_file.write(str(folder), made) for item in plan_file.read(part)]
    assert all(isinstance(item, UnitRef) for item in found)
    return [item for item in found if isinstance(item, UnitRef)]


@pytest.fixture(scope="module")
def pool() -> Iterator[DecoderPool]:
    with DecoderPool(FrontEnd(), Decoding(processes=2, timeout_s=60.0, memory_mb=64), HOSTILE) as pool:
        yield pool


def test_a_header_says_what_the_file_holds(tmp_path: Path) -> None:
    for name, (container, subtype) in EXACT.items():
        path = tmp_path / f"a.{name}"
        soundfile.write(path, np.zeros((12345, 2)), 22050, subtype, format=container)
        assert decode.probe(str(path), lambda: None) == Probe(12345, 22050, True)
    soundfile.write(tmp_path / "a.ogg", np.zeros((12345, 2)), 22050)
    assert decode.probe(str(tmp_path / "a.ogg"), lambda: None) == Probe(12345, 22050, False)


@pytest.mark.parametrize("content", [None, b"", b"only words " * 100])
def test_what_does_not_open_says_nothing(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "a.wav").write_bytes(content)
    assert decode.probe(str(tmp_path / "a.wav"), lambda: None) is None


@pytest.mark.parametrize("uri", ["none", "segfault", "killed", "balloon", "garbage", "raise"])
def test_hostile_headers_are_not_split_and_harm_nobody(tmp_path: Path, pool: DecoderPool, uri: str) -> None:
    splitter = Splitter(pool, 600.0, 96, depth=2)
    good = whole(f"{1250 * 96 * 160}")  # 1,250 examples and less than another: two parts
    refs = planned(tmp_path, good, whole(uri), good)
    parts = [part for ref in refs for part in splitter.push(ref)]
    parts += splitter.drain()
    assert parts.pop(2) is refs[1]
    requests = [part for part in parts if isinstance(part, DecodeRequest)]
    assert [request.uri for request in requests] == [good.uri] * 4
    assert [(s.index, s.first_example, s.examples) for part in requests[:2] for s in part.segments] == [
        (0, 0, 624),
        (1, 624, None),
    ]


def test_a_header_that_hangs_is_given_up() -> None:
    with DecoderPool(FrontEnd(), Decoding(processes=1, timeout_s=0.5), HOSTILE) as pool:
        assert pool.probe("hang").result() is None
        assert pool.probe("7").result() == Probe(7, 16000, True)


def test_closing_the_pool_ends_the_wait_for_a_header() -> None:
    pool = DecoderPool(FrontEnd(), Decoding(processes=1, timeout_s=1000), HOSTILE)
    probing = pool.probe("hang")
    while not psutil.Process().children():
        time.sleep(0.01)
    pool.close()
    with pytest.raises(PoolClosedError):
        probing.result()


def test_short_requests_pass_at_once_and_ask_nothing(tmp_path: Path) -> None:
    with DecoderPool(FrontEnd(), Decoding(processes=1), ["/no/such/decoder"]) as pool:
        splitter = Splitter(pool, 600.0, 96, depth=2)
        for ref in planned(tmp_path, whole("a.wav", 4_000_000), whole("a.wav.gz")):
            assert list(splitter.push(ref)) == [ref]


def test_a_promise_that_the_bytes_cannot_hold_is_not_planned_by() -> None:
    ten_days = Probe(864_000 * 44100, 44100, True)
    assert list(plan.split(whole("a.flac"), ten_days, 600.0)) == [whole("a.flac")]
    assert len(list(plan.split(whole("a.flac", 150 * 864_000), ten_days, 600.0))) > 1000


def test_what_row_files_hold_is_not_asked_for_again() -> None:
    probe = Probe(60 * RATE, RATE, True)
    (request,) = (whole("a.wav"),)
    known = replace(request.segments[0], held=((0, 20), (31, 40)), ended=((0, 4),))
    parts = list(plan.split(replace(request, segments=(known,)), probe, 20.0))
    assert [(s.index, s.count, s.first_example) for part in parts for s in part.segments] == [
        (1, 4, 15), (2, 4, 31), (3, 4, 46),
    ]  # fmt: skip
    assert [s.held for part in parts for s in part.segments] == [((0, 20),), ((31, 40),), ()]
    other = list(plan.split(replace(request, segments=(known,)), probe, 30.0))
    assert [s.index for part in other for s in part.segments] == [0, 1]  # other segments: rows alone are used


def test_the_step_passes_failures_and_gives_up_what_was_asked(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(60 * RATE), RATE)
    size = (tmp_path / "a.wav").stat().st_size
    step = SplitDoFn(FrontEnd(), Decoding(processes=1, segment_seconds=20.0))
    step.setup()
    try:
        step.start_bundle()
        failure = Failure(Clip("x", "x"), "find", "no_audio", "none")
        assert list(step.process(failure)) == [failure]
        (asking,) = planned(tmp_path / "plan", whole(tmp_path / "a.wav", size), segment_seconds=20.0)
        assert list(step.process(asking)) == []
        step.start_bundle()  # as the runner does after a failure
        assert list(step.finish_bundle()) == []
        step.start_bundle()
        list(step.process(asking))
        parts = [windowed.value for windowed in step.finish_bundle()]
        assert [part.segments[0].first_example for part in parts] == [0, 15, 31, 46]
    finally:
        step.teardown()


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute of noise in each format that can be split, and in one that cannot; one header promises too much."""
    folder = tmp_path_factory.mktemp("long")
    noise = np.random.default_rng(1).normal(0, 0.1, 60 * RATE)
    for name, (container, subtype) in EXACT.items():
        soundfile.write(folder / f"minute-{name}.{name}", noise, RATE, subtype, format=container)
    soundfile.write(folder / "minute-mp3.mp3", noise, RATE)
    cut = (folder / "minute-wav.wav").read_bytes()
    (folder / "shortened.wav").write_bytes(cut[: len(cut) // 2])
    flac = (folder / "minute-flac.flac").read_bytes()
    (folder / "truncated.flac").write_bytes(flac[: len(flac) // 2])
    return folder


def test_parts_change_no_byte_of_the_output(recordings: Path, tmp_path: Path, embed_here: Embed) -> None:
    listing = tmp_path / "list.csv"
    rows = [f"{path},,," for path in sorted(recordings.iterdir())]
    rows += [f"{recordings}/minute-flac.flac,middle,3.3,58.7", f"{recordings}/minute-wav.wav,past,30,90"]
    listing.write_text("\n".join(["uri,id,start_seconds,end_seconds", *rows]) + "\n")
    for name, seconds in (("one", "600"), ("parts", "5")):
        done = embed_here(tmp_path / name, "--manifest", listing, "--segment_seconds", seconds, "--max_failures", "3")
        assert done.status == 0, done.err
    assert shard_bytes(tmp_path / "one") == shard_bytes(tmp_path / "parts")
    assert manifest(tmp_path / "one")["totals"]["written"] == 8
    for name in ("one", "parts"):
        reasons = {clip_id.rpartition("/")[2]: line["reason"] for clip_id, line in failures(tmp_path / name).items()}
        assert reasons == {"truncated": "truncated", "shortened": "truncated", "past": "past_end"}


def test_parts_of_damaged_recordings_keep_the_same(recordings: Path, tmp_path: Path, embed_here: Embed) -> None:
    flags = ["--input", recordings / "shortened.wav", "--input", recordings / "truncated.flac", "--damaged", "keep"]
    for name, seconds in (("one", "600"), ("parts", "5")):
        done = embed_here(tmp_path / name, *flags, "--segment_seconds", seconds)
        assert done.status == 0, done.err
        assert "damaged    2 of the written" in done.out
    assert shard_bytes(tmp_path / "one") == shard_bytes(tmp_path / "parts")
    assert manifest(tmp_path / "one")["totals"]["examples"] == 56
    found = verify.verify_output(str(tmp_path / "parts"))
    assert not found.fault_count
    assert [note.split(":")[:2] for note in found.notes] == [["note", " damaged, what decodes was kept"]] * 2


@pytest.mark.full
def test_an_hour_in_parts_is_the_hour_in_one(tmp_path: Path, embed_here: Embed) -> None:
    rng = np.random.default_rng(2)
    with soundfile.SoundFile(tmp_path / "hour.flac", "w", 44100, 1, "PCM_16") as file:
        for _ in range(3600):
            file.write(rng.normal(0, 0.1, 44100))
    for name, seconds in (("one", "4000"), ("parts", "600")):
        done = embed_here(tmp_path / name, "--input", tmp_path / "hour.flac", "--segment_seconds", seconds)
        assert done.status == 0, done.err
    assert manifest(tmp_path / "one")["totals"]["examples"] == 3749
    assert shard_bytes(tmp_path / "one") == shard_bytes(tmp_path / "parts")
