"""`EmbedAudio` on a stream: windows, small bundles and late data give what a batch gives."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
import soundfile
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.testing import test_pipeline, test_stream
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.trigger import AccumulationMode, AfterCount, AfterWatermark
from apache_beam.transforms.window import FixedWindows, TimestampedValue

from pipeline import EmbedAudio, FailedClip
from pipeline.embedding import models
from tests.in_process import CHEAP_NETWORK, digests
from vggish_core.features.examples import waveform_to_examples

RATE = 16000
Row = tuple[Any, ...]


@pytest.fixture
def clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoders_stay: None) -> dict[str, np.ndarray]:
    """URIs of clips -> their values, which are digests; one file is no audio."""
    for name, function in CHEAP_NETWORK.items():
        monkeypatch.setattr(models, name, function)
    monkeypatch.setattr("pipeline.embedding.embed._workers", {})
    rng = np.random.default_rng(0)
    found = {}
    for seconds in (1, 2, 5, 9):
        path = tmp_path / f"{seconds}.wav"
        soundfile.write(path, rng.normal(0, 0.05, seconds * RATE), RATE, "FLOAT")
        found[str(path)] = digests(waveform_to_examples(soundfile.read(path, dtype="float32")[0], RATE))
    words = tmp_path / "words.wav"
    words.write_bytes(b"words " * 100)
    return {**found, str(words): np.empty((0, 128), np.uint8)}


def placed(element: Any, timestamp: Any = beam.DoFn.TimestampParam, window: Any = beam.DoFn.WindowParam) -> Row:
    values = b"" if isinstance(element, FailedClip) else element.values.tobytes()
    return Path(element.id).stem, float(timestamp), float(window.start), hashlib.sha256(values).hexdigest()


def embedded(audio: beam.PCollection) -> tuple[beam.PCollection, beam.PCollection]:
    """Audio with timestamps -> what becomes of it with its place, and clips of each window by its firings."""
    windows = beam.WindowInto(
        FixedWindows(10),
        trigger=AfterWatermark(late=AfterCount(1)),
        accumulation_mode=AccumulationMode.DISCARDING,
        allowed_lateness=100,
    )
    # The runner with streams drops late elements where they are reshuffled.
    result = audio | windows | EmbedAudio("standin", "standin", threads=1, reshuffle=False)
    answers = (result.embeddings, result.failed) | beam.Flatten()
    counts = answers | beam.Map(lambda element: ("clips", 1)) | beam.CombinePerKey(sum)
    return answers | "placed" >> beam.Map(placed), counts | "firings" >> beam.Map(fired)


def fired(element: tuple[str, int], window: Any = beam.DoFn.WindowParam) -> tuple[float, int]:
    return float(window.start), element[1]


def test_a_stream_gives_what_a_batch_gives(clips: dict[str, np.ndarray]) -> None:
    one, two, five, nine, words = (TimestampedValue(uri, 7 * n) for n, uri in enumerate(clips))
    stream = (
        test_stream.TestStream()
        .add_elements([one])  # 0 s
        .add_elements([two, five])  # 7 and 14 s
        .advance_watermark_to(30)
        .add_elements([nine])  # 21 s: late
        .advance_watermark_to(60)
        .add_elements([words])  # 28 s: late
        .advance_watermark_to_infinity()
    )
    rows = [
        (Path(uri).stem, 7.0 * n, float(7 * n // 10 * 10), hashlib.sha256(values.tobytes()).hexdigest())
        for n, (uri, values) in enumerate(clips.items())
    ]
    with test_pipeline.TestPipeline(runner="FnApiRunner") as root:
        found, counts = embedded(root | beam.Create([one, two, five, nine, words]))
        assert_that(found, equal_to(rows), "rows")
        assert_that(counts, equal_to([(0.0, 2), (10.0, 1), (20.0, 2)]), "counts")
    with test_pipeline.TestPipeline(BundleBasedDirectRunner(), PipelineOptions(["--streaming"])) as root:
        found, counts = embedded(root | stream)
        assert_that(found, equal_to(rows), "rows")
        assert_that(counts, equal_to([(0.0, 2), (10.0, 1), (20.0, 1), (20.0, 1)]), "counts")  # late ones by themselves
