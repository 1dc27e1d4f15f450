"""Readings to examples with look-ahead, as a plain function and in Beam, and in constant memory."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
import numpy as np
import psutil
import pytest
import soundfile
from apache_beam.testing import test_pipeline
from apache_beam.testing.util import assert_that, equal_to

from pipeline.decoding import decoders
from pipeline.decoding.decoder_client import COMMAND
from pipeline.decoding.decoders import DecoderPool, PoolClosedError
from pipeline.decoding.extract import ExtractDoFn, LookAhead, extract
from pipeline.settings import Decoding, FrontEnd
from pipeline.types import Clip, DecodeRequest, ExampleBlock, Extracted, Failure, Segment, SegmentEnd
from tests.made_audio import write_noise
from vggish_core.features.examples import waveform_to_examples

HOSTILE = (sys.executable, "-m", "tests.hostile.decoder")
RATE = 16000


def request(clip_id: str, uri: str = "file") -> DecodeRequest:
    return DecodeRequest(uri, (Segment(Clip(clip_id, uri)),))


def summary(item: Extracted) -> tuple[str, str]:
    """An item, without its arrays."""
    if isinstance(item, ExampleBlock):
        return item.segment.clip.id, f"{len(item.examples)} from {item.first_example}"
    return item.clip.id, f"ended, {item.examples}" if isinstance(item, SegmentEnd) else item.reason


@pytest.mark.parametrize("lookahead", [0, 1, 10])
def test_results_come_in_the_order_of_the_readings(lookahead: int) -> None:
    ids = ["100", "1 segfault", "0", "2"]
    with DecoderPool(FrontEnd(), Decoding(2, 60.0, 256), HOSTILE) as pool:
        got = [summary(item) for item in extract(pool, map(request, ids), lookahead)]
    assert got == [
        ("100", "64 from 0"),
        ("100", "36 from 64"),
        ("100", "ended, 100"),
        ("1 segfault", "1 from 0"),
        ("1 segfault", "crashed"),
        ("0", "ended, 0"),
        ("2", "2 from 0"),
        ("2", "ended, 2"),
    ]


def test_the_next_readings_are_submitted_before_the_first_is_over() -> None:
    taken: list[str] = []

    def source() -> Iterator[DecodeRequest]:
        for clip_id in ("1", "2", "3", "4", "5"):
            taken.append(clip_id)
            yield request(clip_id)

    with DecoderPool(FrontEnd(), Decoding(2, 60.0, 256), HOSTILE) as pool:
        items = extract(pool, source(), lookahead=2)
        next(items)
        assert taken == ["1", "2", "3"]
        items.close()  # the rest is given up, and its decoders are free
        assert [summary(item)[1] for item in pool.submit(request("3"))] == ["3 from 0", "ended, 3"]


def test_readings_that_are_given_up_while_they_are_taken_are_an_error() -> None:
    with DecoderPool(FrontEnd(), Decoding(2, 60.0, 256), HOSTILE) as pool:
        ahead = LookAhead(pool, 0)
        items = ahead.push(request("100"))
        next(items)
        ahead.close()
        with pytest.raises(PoolClosedError, match="given up"):
            list(items)


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    seconds = {"long": 70.0, "ten": 10.0, "short": 0.5, "one": 1.0}
    return write_noise(tmp_path_factory.mktemp("audio"), seconds, RATE, 0.1)


def test_in_a_pipeline_examples_reach_the_next_step_and_everything_is_counted(audio: dict[str, Path]) -> None:
    earlier = Failure(Clip("earlier", "x"), "plan", "no_row", "said before")
    requests = [request(clip_id, str(path)) for clip_id, path in audio.items()]
    pipeline = test_pipeline.TestPipeline(runner="FnApiRunner")
    items = (
        pipeline
        | beam.Create([*requests, earlier], reshuffle=False)
        | beam.ParDo(ExtractDoFn(FrontEnd(), Decoding(processes=2), lookahead=2))
    )
    sums = items | beam.Map(with_sum)
    expected = [("earlier", "no_row", 0.0), ("words", "not_audio", 0.0), ("gone", "missing", 0.0)]
    expected.append(("short", "too_short", 0.0))
    for clip_id in ("long", "ten", "one"):
        examples = waveform_to_examples(soundfile.read(audio[clip_id], dtype="float32")[0], RATE)
        for first in range(0, len(examples), 64):
            block = examples[first : first + 64]
            expected.append((clip_id, f"{len(block)} from {first}", float(block.sum(dtype=np.float64))))
        expected.append((clip_id, f"ended, {len(examples)}", 0.0))
    assert_that(sums, equal_to(expected))
    result = pipeline.run()
    result.wait_until_finish()
    counters = {c.key.metric.name: c.committed for c in result.metrics().query()["counters"]}
    assert counters.pop("decode_ms") > 0
    assert counters == {
        "clips": 6,
        "examples": 72 + 10 + 1,
        "audio_ms": 81_000,
        "failed_not_audio": 1,
        "failed_missing": 1,
        "skipped_too_short": 1,
    }
    assert decoders._pools == {}
    assert [child for child in psutil.Process().children() if COMMAND[-1] in child.cmdline()] == []


def with_sum(item: Extracted) -> tuple[str, str, float]:
    """An item, with what stands for its array."""
    total = float(item.examples.sum(dtype=np.float64)) if isinstance(item, ExampleBlock) else 0.0
    return (*summary(item), total)


def test_a_bundle_that_failed_leaves_nothing_behind(audio: dict[str, Path]) -> None:
    """The runner starts the next bundle on the same object, or tears it down."""
    do_fn = ExtractDoFn(FrontEnd(), Decoding(processes=1), lookahead=1)
    do_fn.setup()
    do_fn.start_bundle()
    assert list(do_fn.process(request("long", str(audio["long"])))) == []
    assert list(do_fn.process(request("ten", str(audio["ten"]))))
    do_fn.start_bundle()
    assert list(do_fn.finish_bundle()) == []
    do_fn.start_bundle()
    list(do_fn.process(request("long", str(audio["long"]))))
    do_fn.teardown()
    assert decoders._pools == {}


def sparse_wav(path: Path, seconds: int) -> Path:
    """A silent 48 kHz stereo WAV that takes no space: RF64 beyond 4 GB."""
    data_bytes = seconds * 48000 * 4
    with soundfile.SoundFile(path, "w", 48000, 2, "PCM_16", format="RF64" if data_bytes > 1 << 32 else "WAV") as file:
        file.write(np.zeros((1, 2)))
    header = bytearray(path.read_bytes()[:-4])
    at = header.rindex(b"data") + 4
    if data_bytes > 1 << 32:
        ds64 = header.index(b"ds64") + 8
        header[ds64 : ds64 + 24] = b"".join(
            n.to_bytes(8, "little") for n in (len(header) + data_bytes - 8, data_bytes, data_bytes // 4)
        )
        header[at : at + 4] = b"\xff\xff\xff\xff"
    else:
        header[4:8] = (len(header) + data_bytes - 8).to_bytes(4, "little")
        header[at : at + 4] = data_bytes.to_bytes(4, "little")
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + data_bytes)
    return path


def peak_memory(path: Path, seconds: int) -> int:
    """Extract a file in a fresh pool -> the largest resident size of its decoder process, in bytes."""
    peak = examples = 0
    with DecoderPool(FrontEnd(), Decoding(processes=1)) as pool:
        for item in extract(pool, [request("a", str(path))], 0):
            if isinstance(item, ExampleBlock):
                (child,) = [c for c in psutil.Process().children() if COMMAND[-1] in c.cmdline()]
                peak = max(peak, child.memory_info().rss)
                examples += len(item.examples)
            else:
                assert isinstance(item, SegmentEnd)
                assert (item.audio_s, item.silent) == (seconds, True)
    assert examples == (seconds * 100 - 2) // 96
    return peak


def test_a_long_recording_costs_no_more_memory_than_a_short_one(tmp_path: Path) -> None:
    short = peak_memory(sparse_wav(tmp_path / "short.wav", 100), 100)
    assert peak_memory(sparse_wav(tmp_path / "long.wav", 1000), 1000) < 1.15 * short


@pytest.mark.full
def test_ten_hours_cost_no_more_memory_than_ten_minutes(tmp_path: Path) -> None:
    short = peak_memory(sparse_wav(tmp_path / "short.wav", 600), 600)
    long = peak_memory(sparse_wav(tmp_path / "long.wav", 36_000), 36_000)
    print(f"10 min {short >> 20} MB, 10 h {long >> 20} MB")
    assert long < 1.15 * short
