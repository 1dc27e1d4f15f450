"""`EmbedAudio` in pipelines of other people: an element in, an element out, with the command's values."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
import soundfile
from apache_beam.io import fileio
from apache_beam.testing import test_pipeline
from apache_beam.testing.util import assert_that
from apache_beam.transforms.window import FixedWindows, TimestampedValue

import pipeline
from examples import make_audio
from pipeline import EmbedAudio, run
from pipeline.corpus.ids import id_of
from pipeline.decoding import decoders
from pipeline.embedding import models
from pipeline.output.records import read_records
from pipeline.running import whole_clips
from pipeline.running.clips.asked import asked
from pipeline.running.clips.elements import AskedClip, EmbeddedClip, FailedClip
from pipeline.settings import Decoding, FrontEnd, Model
from pipeline.types import Clip
from tests.in_process import CHEAP_NETWORK, digests
from tests.made_audio import write_noise
from vggish_core.features.examples import waveform_to_examples
from vggish_core.weights import WeightsError

RATE = 16000
SOME = ("tones/chirp fast.wav", "machines/clock slow.opus", "voices/vowels.m4a", "too short.wav", make_audio.BROKEN)
"""Of the example audio: two that give no record."""
Row = tuple[Any, ...]


def standin(**settings: Any) -> EmbedAudio:
    return EmbedAudio(checkpoint="standin", pca="standin", **settings)


def row(clip: EmbeddedClip | FailedClip) -> Row:
    """An output element -> what can be compared and sorted."""
    if isinstance(clip, FailedClip):
        return clip.id, clip.uri, clip.reason, clip.skipped
    values = clip.values
    assert clip.frames == len(values)
    return clip.id, clip.uri, clip.start_seconds, clip.end_seconds, values.shape, str(values.dtype), values.tobytes()


def are(expected: Iterable[Row]) -> Callable[[list[Row]], None]:
    """A matcher: the same rows, in any order, as often."""
    wanted = sorted(expected, key=repr)

    def check(found: list[Row]) -> None:
        assert sorted(found, key=repr) == wanted

    return check


def check(elements: list[Any], embedded: Iterable[Row], failed: Iterable[Row] = (), **settings: Any) -> None:
    """Run a pipeline of these elements and compare both outputs."""
    with test_pipeline.TestPipeline(runner="FnApiRunner") as root:
        result = root | beam.Create(elements) | standin(**settings)
        assert_that(result.embeddings | "rows" >> beam.Map(row), are(embedded), "embeddings")
        assert_that(result.failed | "reasons" >> beam.Map(row), are(failed), "failed")


@pytest.fixture
def cheap_network(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, function in CHEAP_NETWORK.items():
        monkeypatch.setattr(models, name, function)
    monkeypatch.setattr("pipeline.embedding.embed._workers", {})


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    seconds = {"long": 140.0, "ten": 10.0, "two": 2.0, "short": 0.5}
    return write_noise(tmp_path_factory.mktemp("noise"), seconds, RATE, 0.005)


def expected(path: Path, name: str, uri: str, start_s: float = 0.0, stop_s: float | None = None) -> Row:
    """The row of a WAV, or of a stretch of it, with digests in the network's place."""
    waveform = soundfile.read(path, dtype="float32")[0]
    end_s = len(waveform) / RATE if stop_s is None else stop_s
    values = digests(waveform_to_examples(waveform[round(start_s * RATE) : round(end_s * RATE)], RATE))
    return name, uri, start_s, end_s, values.shape, "uint8", values.tobytes()


@pytest.mark.usefixtures("standin_weights")
@pytest.mark.parametrize(
    "kind", [pytest.param("quantized", marks=pytest.mark.ci), pytest.param("raw", marks=pytest.mark.full)]
)
def test_values_and_failures_are_those_of_the_command(tmp_path: Path, example_audio: Path, kind: str) -> None:
    files = [tmp_path / "audio" / name for name in SOME]
    for name, file in zip(SOME, files, strict=True):
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(example_audio / name, file)
    flags = ["--checkpoint", "standin", "--pca_params", "standin", "--progress", "off", "--max_failures", "9"]
    source = ["--input", str(tmp_path / "audio"), "--output", str(tmp_path / "out")]
    assert run.main([*source, *flags, "--embeddings", kind]) == 0
    records = {record.id: record for record in read_records(str(tmp_path / "out" / "embeddings-*"))}
    ids = {str(file): id_of(str(file.relative_to(tmp_path / "audio"))) for file in files}
    assert len(records) == 3
    references = [(clip_id, uri) for uri, clip_id in ids.items()]
    contents = [(f"bytes of {clip_id}", Path(uri).read_bytes()) for uri, clip_id in ids.items()]

    def rows(prefix: str, with_uri: bool) -> tuple[list[Row], list[Row]]:
        embedded, failed = [], []
        for uri, clip_id in ids.items():
            if record := records.get(clip_id):
                v = record.values
                times = (0.0, record.end_s)
                embedded.append((prefix + clip_id, uri if with_uri else "", *times, v.shape, str(v.dtype), v.tobytes()))
            else:
                failed.append((prefix + clip_id, uri if with_uri else ""))
        return embedded, failed

    (given, failed), (sent, refused) = rows("", True), rows("bytes of ", False)
    assert failed

    def rounded(found: Row) -> Row:
        return (*found[:3], float(np.float32(found[3])), *found[4:])  # as a record holds it

    with test_pipeline.TestPipeline(runner="FnApiRunner") as root:
        result = root | beam.Create([*references, *contents]) | standin(embeddings=kind)
        found = result.embeddings | beam.Map(row) | beam.Map(rounded)
        assert_that(found, are([*given, *sent]), "embeddings")
        reasons = result.failed | "rows" >> beam.Map(row) | "names" >> beam.Map(lambda found: found[:2])
        assert_that(reasons, are([*failed, *refused]), "failed")


@pytest.mark.usefixtures("cheap_network")
def test_every_kind_of_element_gives_one_element(noise: dict[str, Path]) -> None:
    ten, two, long = str(noise["ten"]), str(noise["two"]), str(noise["long"])
    check(
        [
            ten,
            f"file://{two}",
            ("a name", long),
            ("a name", two),  # as others, of the same name
            ("a name", two),
            ("bytes", noise["two"].read_bytes()),
            ("bytes", bytearray(noise["ten"].read_bytes())),
            Clip("stretch", long, 50.0, 60.0, labels=(3,), cut=True),
            Clip("stretch", long, 20.0, 30.0, labels=(3,), cut=True),
            ("brief", str(noise["short"])),
            ("none", b""),
            str(noise["gone"]),
            str(noise["words"]),
        ],
        [
            expected(noise["ten"], ten, ten),
            expected(noise["two"], f"file://{two}", f"file://{two}"),
            expected(noise["long"], "a name", long),
            *[expected(noise["two"], "a name", two)] * 2,
            expected(noise["two"], "bytes", ""),
            expected(noise["ten"], "bytes", ""),
            expected(noise["long"], "stretch", long, 50.0, 60.0),
            expected(noise["long"], "stretch", long, 20.0, 30.0),
        ],
        [
            ("brief", str(noise["short"]), "too_short", True),
            ("none", "", "empty", False),
            (str(noise["gone"]), str(noise["gone"]), "missing", False),
            (str(noise["words"]), str(noise["words"]), "not_audio", False),
        ],
    )
    assert decoders._pools == {}


@pytest.mark.ci
@pytest.mark.usefixtures("cheap_network")
def test_a_clip_that_fails_half_way_is_a_failure_alone(noise: dict[str, Path], tmp_path: Path) -> None:
    """It breaks after several batches were embedded; its neighbours in those batches are whole."""
    cut = tmp_path / "cut.flac"
    waveform = soundfile.read(noise["long"], dtype="float32")[0]
    soundfile.write(cut, waveform, RATE, "PCM_16")
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size * 9 // 10])
    two, ten = str(noise["two"]), str(noise["ten"])
    check(
        [two, ("cut", str(cut)), ten, ("cut too", cut.read_bytes()), ("two", two)],
        [expected(noise["two"], two, two), expected(noise["ten"], ten, ten), expected(noise["two"], "two", two)],
        [("cut", str(cut), "truncated", False), ("cut too", "", "truncated", False)],
        reshuffle=False,
    )


@pytest.mark.usefixtures("cheap_network")
def test_elements_stay_in_their_windows(noise: dict[str, Path]) -> None:
    names = {"ten": 5, "gone": 15, "two": 15, "long": 25}

    def placed(clip: Any, timestamp: Any = beam.DoFn.TimestampParam, window: Any = beam.DoFn.WindowParam) -> Row:
        return clip.id, type(clip).__name__, float(timestamp), float(window.start)

    with test_pipeline.TestPipeline(runner="FnApiRunner") as root:
        audio = (
            root
            | beam.Create([TimestampedValue((name, str(noise[name])), second) for name, second in names.items()])
            | beam.Map(lambda element: element)
            | beam.WindowInto(FixedWindows(10))
        )
        result = audio | standin()
        answers = (result.embeddings, result.failed) | beam.Flatten() | beam.Map(placed)
        kinds = {name: "FailedClip" if name == "gone" else "EmbeddedClip" for name in names}
        rows = [(name, kinds[name], float(second), float(second - 5)) for name, second in names.items()]
        assert_that(answers, are(rows), reify_windows=False)


@pytest.mark.usefixtures("cheap_network")
def test_settings_reach_decoders_and_network(noise: dict[str, Path]) -> None:
    short = str(noise["short"])
    waveform = soundfile.read(noise["two"], dtype="float32")[0]
    values = digests(waveform_to_examples(waveform, RATE, hop_frames=48))
    padded = np.zeros(15_600, np.float32)
    padded[: RATE // 2] = soundfile.read(short, dtype="float32")[0]
    one = digests(waveform_to_examples(padded, RATE))
    check(
        [("two", str(noise["two"])), ("short", short), ("ten", str(noise["ten"]))],
        [
            ("two", str(noise["two"]), 0.0, 2.0, values.shape, "uint8", values.tobytes()),
            ("short", short, 0.0, 0.5, one.shape, "uint8", one.tobytes()),
        ],
        [("ten", str(noise["ten"]), "too_long", False)],
        hop_seconds=0.48,
        short_clips="pad",
        max_duration_seconds=9,
        threads=1,
        decoders=1,
    )


@pytest.mark.usefixtures("cheap_network")
def test_a_bundle_that_failed_leaves_nothing_behind(noise: dict[str, Path]) -> None:
    do_fn = whole_clips.EmbedAudioDoFn(FrontEnd(), Decoding(1), Model("standin", "standin", threads=1))
    do_fn.setup()
    folder = Path(do_fn._folder.name)
    do_fn.start_bundle()
    assert list(do_fn.process(AskedClip("lost", "", content=noise["ten"].read_bytes()), 0, None)) == []
    assert len(list(folder.iterdir())) == 1
    do_fn.start_bundle()
    assert list(folder.iterdir()) == []
    kept = AskedClip("kept", "", content=noise["two"].read_bytes())
    list(do_fn.process(kept, 0, beam.transforms.window.GlobalWindow()))
    assert [element.value.id for element in do_fn.finish_bundle()] == ["kept"]
    assert list(folder.iterdir()) == []
    do_fn.teardown()
    assert not folder.exists()
    assert decoders._pools == {}


NO_AUDIO = [7, None, ("a", 7), ("a", "b", "c"), (b"a", "b"), ["a.wav"], beam.Row(element="a.wav")]


@pytest.mark.parametrize("element", [*NO_AUDIO, "\udcff.wav", beam.Row(id=3, uri="a.wav"), beam.Row(content="text")])
def test_an_element_that_is_no_audio_is_shown(element: Any) -> None:
    found = asked(element)
    assert found.wrong.startswith("EmbedAudio takes a URI")
    assert found.id == repr(element)
    assert found.id in found.wrong


@pytest.mark.usefixtures("cheap_network")
def test_elements_that_are_no_audio_cost_nobody_anything(noise: dict[str, Path]) -> None:
    """Of types that Beam does not know, so that nobody could tell before."""
    two = str(noise["two"])
    failures = [(repr(element), "", "bad_element", False) for element in NO_AUDIO]
    with test_pipeline.TestPipeline(runner="FnApiRunner") as root:
        elements = root | beam.Create([0]) | beam.FlatMap(lambda _: [*NO_AUDIO, two]).with_output_types(Any)
        result = elements | standin()
        assert set(result) == {"embeddings", "failed"}  # as Beam YAML names them
        embedded = [expected(noise["two"], two, two)]
        assert_that(result["embeddings"] | "rows" >> beam.Map(row), are(embedded), "embeddings")
        assert_that(result["failed"] | "reasons" >> beam.Map(row), are(failures), "failed")


@pytest.mark.usefixtures("cheap_network")
def test_rows_and_matched_files_are_audio(noise: dict[str, Path]) -> None:
    two, long = str(noise["two"]), str(noise["long"])
    rows = [
        beam.Row(id="a row", uri=long, start_seconds=50.0, end_seconds=60.0, labels=[3]),
        beam.Row(id="whole", uri=long, start_seconds=None, end_seconds=None, labels=[]),
    ]
    given = [
        expected(noise["long"], "a row", long, 50.0, 60.0),
        expected(noise["long"], "whole", long),
        expected(noise["two"], two, two),
    ]
    with test_pipeline.TestPipeline(runner="FnApiRunner") as root:
        results = [root | beam.Create(rows) | "Rows" >> standin()]
        results.append(root | fileio.MatchFiles(two) | "Files" >> standin())
        found = [result.embeddings for result in results] | beam.Flatten() | beam.Map(row)
        assert_that(found, are(given))


@pytest.mark.parametrize(
    "elements", [[1, 2], [b"RIFF"], [("a", 7)], [("a.wav", b""), 3], [beam.Row(path="a.wav")]], ids=repr
)
@pytest.mark.usefixtures("cheap_network")
def test_collections_of_something_else_are_refused_at_once(elements: list[Any]) -> None:
    root = test_pipeline.TestPipeline(runner="FnApiRunner")
    with pytest.raises(beam.typehints.decorators.TypeCheckError, match="EmbedAudio takes a URI"):
        root | beam.Create(elements) | standin()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"embeddings": "float"}, "embeddings is 'float', which is none of: quantized, pca, raw"),
        ({"short_clips": "drop"}, "short_clips is 'drop'"),
        ({"precision": "float16"}, "precision is 'float16'"),
        ({"precision": "bfloat16", "convolutions": "winograd"}, "convolutions is 'winograd', .*: direct"),
        ({"hop_seconds": 0.123}, "hop_seconds: 0.123 is not a multiple of 0.01 s"),
        ({"threads": -1}, "threads is -1, not a number above 0"),
        ({"max_duration_seconds": 0}, "max_duration_seconds is 0"),
    ],
)
def test_unusable_settings_are_refused_at_once(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EmbedAudio(**settings)


def test_missing_weights_are_reported_before_the_pipeline_runs() -> None:
    root = test_pipeline.TestPipeline(runner="FnApiRunner")
    with pytest.raises(WeightsError, match="/no/such/checkpoint"):
        root | beam.Create(["a.wav"]) | EmbedAudio("/no/such/checkpoint", "standin")


def test_the_package_loads_neither_beam_nor_tensorflow() -> None:
    code = (
        "import sys, pipeline; heavy = {'apache_beam', 'tensorflow', 'av'}; assert not heavy & set(sys.modules);"
        "pipeline.EmbedAudio; assert heavy & set(sys.modules) == {'apache_beam'}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'EmbedVideo'"):
        pipeline.EmbedVideo  # noqa: B018
