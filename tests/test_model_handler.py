"""`VggishModelHandler` and `LogMelExamples` in Beam's `RunInference`: the values of `Embedder` and of the command."""

from __future__ import annotations

import pickle
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
import soundfile
from apache_beam.coders import registry
from apache_beam.ml.inference.base import KeyedModelHandler, RunInference
from apache_beam.testing import test_pipeline
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.window import FixedWindows, TimestampedValue

from pipeline import FailedClip, LogMelExample, LogMelExamples, VggishModelHandler, keyed_example
from pipeline.running import log_mel
from pipeline.running.clips.asked import asked
from pipeline.running.log_mel import LogMelDoFn
from pipeline.settings import Decoding, FrontEnd
from pipeline.types import Clip
from tests.test_transforms import metrics_of
from vggish_core import Embedder, Postprocessor, waveform_to_examples
from vggish_core.weights import WeightsError

pytestmark = pytest.mark.usefixtures("decoders_stay")

CI = pytest.mark.ci
RATE = 16000
Examples = np.ndarray


@pytest.fixture(scope="module", autouse=True)
def no_trace() -> Iterator[None]:
    """The files by which processes find a model that they share, which Beam leaves, are removed."""
    folder = Path(tempfile.gettempdir())
    before = set(folder.iterdir())
    yield
    for file in set(folder.iterdir()) - before:
        if re.fullmatch(r"[0-9a-f]{32}\w*\.(address|lock)", file.name):
            file.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """WAVs by name, and what is none."""
    folder = tmp_path_factory.mktemp("noise")
    rng = np.random.default_rng(0)
    files = {}
    for name, seconds in (("ten", 10.0), ("two", 2.0), ("short", 0.5)):
        files[name] = folder / f"{name}.wav"
        soundfile.write(files[name], rng.normal(0, 0.05, round(seconds * RATE)), RATE, "FLOAT")
    files["gone"] = folder / "gone.wav"
    return files


def examples_of(path: Path, **settings: Any) -> Examples:
    return waveform_to_examples(soundfile.read(path, dtype="float32")[0], RATE, **settings)


@pytest.fixture(scope="module")
def some_examples(noise: dict[str, Path]) -> Examples:
    """float32 [10, 96, 64]."""
    return examples_of(noise["ten"])


@pytest.fixture(scope="module")
def embedder(standin_weights: Path) -> Embedder:
    return Embedder(standin_weights / "vggish_model.ckpt")


def standin(**settings: Any) -> VggishModelHandler:
    return VggishModelHandler("standin", "standin", **settings)


def keyed(examples: Examples) -> list[tuple[int, np.ndarray]]:
    return list(enumerate(examples))


def plain(element: tuple[Any, np.ndarray]) -> tuple[Any, str, bytes]:
    key, values = element
    return key, values.dtype.name, values.tobytes()


@pytest.mark.parametrize("kind", ["quantized", pytest.param("pca", marks=CI), pytest.param("raw", marks=CI)])
def test_values_are_the_embedders(
    some_examples: Examples, embedder: Embedder, standin_weights: Path, kind: str
) -> None:
    raw = embedder.embed(some_examples)
    postprocessor = Postprocessor(standin_weights / "vggish_pca_params.npz")
    finish = {"raw": lambda values: values, "pca": postprocessor.pca, "quantized": postprocessor.postprocess}[kind]
    expected = [plain(element) for element in enumerate(finish(raw))]
    root = test_pipeline.TestPipeline(runner="FnApiRunner")
    handler = KeyedModelHandler(standin(embeddings=kind, threads=3, max_batch_size=4, min_batch_size=1))
    found = root | beam.Create(keyed(some_examples)) | RunInference(handler) | beam.Map(plain)
    assert_that(found, equal_to(expected))
    result = root.run()
    result.wait_until_finish()
    counters, distributions = metrics_of(result)
    assert counters["BeamML_VGGish/num_inferences"] == 10
    assert distributions["BeamML_VGGish/inference_request_batch_size"].max <= 4
    assert distributions["BeamML_VGGish/inference_request_batch_byte_size"].sum >= some_examples.nbytes
    assert distributions["BeamML_VGGish/load_model_latency_milli_secs"].count == 1


def test_one_model_for_all_processes_of_a_machine(some_examples: Examples, embedder: Embedder) -> None:
    """By Beam's server of shared objects, which gets the batches of every process."""
    handler = standin(embeddings="raw", large_model=True)
    assert handler.share_model_across_processes()
    expected = [plain(element) for element in enumerate(embedder.embed(some_examples))]
    with test_pipeline.TestPipeline(runner="FnApiRunner") as root:
        found = root | beam.Create(keyed(some_examples)) | RunInference(KeyedModelHandler(handler)) | beam.Map(plain)
        assert_that(found, equal_to(expected))


def test_audio_becomes_the_embeddings_of_its_examples(noise: dict[str, Path], embedder: Embedder) -> None:
    uris = {name: str(noise[name]) for name in ("two", "ten", "gone")}
    expected = [
        plain(((name, index), row))
        for name in ("two", "ten")
        for index, row in enumerate(embedder.embed(examples_of(noise[name])))
    ]
    with test_pipeline.TestPipeline(runner="FnApiRunner") as root:
        made = root | beam.Create(list(uris.items())) | LogMelExamples()
        keys = made.examples | beam.Map(keyed_example)
        found = keys | RunInference(KeyedModelHandler(standin(embeddings="raw"))) | beam.Map(plain)
        assert_that(found, equal_to(expected), "embeddings")
        assert_that(
            made.failed | beam.Map(lambda clip: (clip.id, clip.reason)), equal_to([("gone", "missing")]), "gone"
        )


@pytest.mark.ci
def test_every_kind_of_audio_gives_its_examples_or_a_failure(
    noise: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_mel, "IN_MEMORY", 3 * log_mel.EXAMPLE_BYTES)  # ten seconds go through a file
    ten, two = noise["ten"], noise["two"]
    elements = [
        str(two),
        ("name", str(ten)),
        ("name", str(two)),  # as another, of the same name
        ("bytes", ten.read_bytes()),
        Clip("stretch", str(ten), 3.0, 7.0, cut=True),
        ("short", str(noise["short"])),
        ("empty", b""),
        ("cut off", ten.read_bytes()[:-100]),
        str(noise["gone"]),
        7,
    ]
    waveform = soundfile.read(ten, dtype="float32")[0]
    stretch = waveform_to_examples(waveform[3 * RATE : 7 * RATE], RATE)
    given = [(str(two), two), ("name", ten), ("name", two), ("bytes", ten)]
    clips = [*((name, examples_of(path)) for name, path in given), ("stretch", stretch)]
    expected = [(name, index, row.tobytes()) for name, examples in clips for index, row in enumerate(examples)]
    failures = [
        ("short", str(noise["short"]), "too_short", True),
        ("empty", "", "empty", False),
        ("cut off", "", "truncated", False),
        (str(noise["gone"]), str(noise["gone"]), "missing", False),
        ("7", "", "bad_element", False),
    ]
    with test_pipeline.TestPipeline(runner="FnApiRunner") as root:
        made = root | beam.Create(elements).with_output_types(Any) | LogMelExamples()
        assert_that(made.examples | beam.Map(tuple), equal_to(expected), "examples")
        rows = made.failed | beam.Map(lambda clip: (clip.id, clip.uri, clip.reason, clip.skipped))
        assert_that(rows, equal_to(failures), "failed")


def test_examples_stay_in_their_windows_and_settings_count(noise: dict[str, Path]) -> None:
    examples = examples_of(noise["two"], hop_frames=48)

    def placed(
        element: Any, timestamp: Any = beam.DoFn.TimestampParam, window: Any = beam.DoFn.WindowParam
    ) -> tuple[Any, ...]:
        return element.id, element.index, log_mel.array_of(element).tobytes(), float(timestamp), float(window.start)

    with test_pipeline.TestPipeline(runner="FnApiRunner") as root:
        made = (
            root
            | beam.Create([TimestampedValue((str(second), str(noise["two"])), second) for second in (5, 25)])
            | beam.Map(lambda element: element)
            | beam.WindowInto(FixedWindows(10))
            | LogMelExamples(hop_seconds=0.48)
        )
        expected = [
            (str(second), index, row.tobytes(), float(second), float(second - 5))
            for second in (5, 25)
            for index, row in enumerate(examples)
        ]
        assert_that(made.examples | beam.Map(placed), equal_to(expected))


def test_elements_have_schemas_and_no_pickled_coder() -> None:
    for kind in (LogMelExample, FailedClip):
        assert type(registry.get_coder(kind)).__name__ == "RowCoder"
    coder = registry.get_coder(LogMelExample)
    example = LogMelExample("a", 3, np.ones((96, 64), "<f4").tobytes())
    again = coder.decode(coder.encode(example))
    key, values = keyed_example(again)
    assert key == ("a", 3)
    assert (values == 1).all()
    assert (values.shape, values.dtype) == ((96, 64), np.float32)
    assert len(coder.encode(example)) < 24_600


def test_a_bundle_that_failed_leaves_nothing_behind(noise: dict[str, Path]) -> None:
    do_fn = LogMelDoFn(FrontEnd(), Decoding())
    do_fn.setup()
    folder = Path(do_fn._folder.name)
    do_fn.start_bundle()
    assert list(do_fn.process(asked(("lost", noise["ten"].read_bytes())), 0, None)) == []
    do_fn.start_bundle()
    list(do_fn.process(asked(("kept", noise["two"].read_bytes())), 0, beam.transforms.window.GlobalWindow()))
    assert [element.value.id for element in do_fn.finish_bundle()] == ["kept", "kept"]
    assert list(folder.iterdir()) == []
    do_fn.teardown()
    assert not folder.exists()


@pytest.mark.usefixtures("standin_weights")
def test_what_is_no_example_is_named(some_examples: Examples) -> None:
    handler = standin()
    model = handler.load_model()
    for element, shown in (
        (some_examples[0].astype(np.float64), r"float64 \[96, 64\]"),
        (some_examples[0].T, r"float32 \[64, 96\]"),
        (some_examples[0].tolist(), "list"),
    ):
        with pytest.raises(ValueError, match=f"takes float32 arrays .*, not {shown}"):
            handler.run_inference([some_examples[0], element], model)
    with pytest.raises(ValueError, match="the example holds values that are not finite"):
        handler.run_inference([some_examples[0], np.full((96, 64), np.nan, np.float32)], model)
    with pytest.raises(ValueError, match="takes no inference_args, not temperature"):
        RunInference(handler, inference_args={"temperature": 1}).expand(None)


@pytest.mark.usefixtures("standin_weights")
def test_settings_and_weights_are_checked_at_once() -> None:
    with pytest.raises(WeightsError, match="/no/such/checkpoint"):
        VggishModelHandler("/no/such/checkpoint", "standin")
    for settings, message in (
        ({"embeddings": "float"}, "embeddings is 'float'"),
        ({"precision": "bfloat16", "convolutions": "winograd"}, "convolutions is 'winograd'"),
        ({"threads": 0}, "threads is 0"),
    ):
        with pytest.raises(ValueError, match=message):
            standin(**settings)
    for settings, message in (
        ({"decoders": 0}, "decoders is 0, not a number above 0"),
        ({"short_clips": "drop"}, "short_clips is 'drop'"),
    ):
        with pytest.raises(ValueError, match=message):
            LogMelExamples(**settings)
    handler = standin()
    assert pickle.loads(pickle.dumps(handler)).model == handler.model
    handler.update_model_path()
    with pytest.raises(WeightsError, match="/no/such/checkpoint"):
        handler.update_model_path("/no/such/checkpoint")
