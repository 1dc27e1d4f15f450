"""`weights_sha256`: launchers that have no weights build the pipeline, and workers have to find the right ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
import soundfile
from apache_beam.ml.inference.base import RunInference
from apache_beam.testing import test_pipeline
from apache_beam.testing.util import assert_that, equal_to

from pipeline import EmbedAudio, VggishModelHandler, WriteEmbeddings
from pipeline.embedding import models
from pipeline.output import manifest as manifests
from pipeline.output.records import read_records
from pipeline.settings import Job, Model, Output
from vggish_core import Embedder, Postprocessor, waveform_to_examples, weights
from vggish_core.weights import WeightsError, standin

pytestmark = pytest.mark.usefixtures("decoders_stay")

NAMES = {"checkpoint": standin.CHECKPOINT_FILE, "pca": standin.PCA_FILE}
RATE = 16000


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "clip.wav", np.random.default_rng(0).normal(0, 0.1, 2 * RATE), RATE, "FLOAT")
    return tmp_path / "clip.wav"


@pytest.fixture(scope="module")
def sha256(standin_weights: Path) -> dict[str, str]:
    """Of the stand-in weights."""
    model = models.identify(Model("standin", "standin"))
    return {"checkpoint": model.checkpoint_sha256, "pca": model.pca_sha256}


@pytest.fixture
def places(tmp_path: Path) -> dict[str, str]:
    """Where workers will have the weights, and nobody has them yet."""
    return {kind: str(tmp_path / "weights" / name) for kind, name in NAMES.items()}


def examples_of(clip: Path) -> np.ndarray:
    return waveform_to_examples(soundfile.read(clip, dtype="float32")[0], RATE)


def embedded(examples: np.ndarray, standin_weights: Path) -> np.ndarray:
    raw = Embedder(standin_weights / standin.CHECKPOINT_FILE).embed(examples)
    return Postprocessor(standin_weights / standin.PCA_FILE).postprocess(raw)


def put(places: dict[str, str], standin_weights: Path) -> None:
    for kind, place in places.items():
        Path(place).parent.mkdir(exist_ok=True)
        Path(place).symlink_to(standin_weights / NAMES[kind])


def test_nothing_is_read_before_the_workers_do(
    tmp_path: Path, clip: Path, places: dict[str, str], sha256: dict[str, str], standin_weights: Path
) -> None:
    embed = EmbedAudio(**places, weights_sha256={kind: digest.upper() for kind, digest in sha256.items()})
    output = str(tmp_path / "out")
    with test_pipeline.TestPipeline(runner="FnApiRunner") as root:
        root | beam.Create([("clip", str(clip))]) | embed | WriteEmbeddings(output, embed)
        put(places, standin_weights)
    (record,) = read_records(output)
    assert np.array_equal(record.values, embedded(examples_of(clip), standin_weights))
    written = manifests.read(output)
    assert written is not None
    model = models.identify(Model("standin", "standin"))
    assert written.fingerprint == Job(Output(output, num_shards=1), model).fingerprint()
    assert written.models["checkpoint"] == {"name": places["checkpoint"], "sha256": sha256["checkpoint"]}


def test_nor_by_the_handler_of_run_inference(
    clip: Path, places: dict[str, str], sha256: dict[str, str], standin_weights: Path
) -> None:
    handler = VggishModelHandler(**places, weights_sha256=sha256)
    put(places, standin_weights)
    examples = examples_of(clip)
    expected = [row.tobytes() for row in embedded(examples, standin_weights)]
    with test_pipeline.TestPipeline(runner="FnApiRunner") as root:
        found = root | beam.Create(list(examples)) | RunInference(handler) | beam.Map(np.ndarray.tobytes)
        assert_that(found, equal_to(expected))


@pytest.mark.parametrize(("name", "kind"), [("checkpoint", "checkpoint"), ("pca", "pca_params")])
def test_workers_with_other_weights_say_which(clip: Path, sha256: dict[str, str], name: str, kind: Any) -> None:
    embed = EmbedAudio("standin", "standin", weights_sha256={**sha256, name: "0" * 64})
    with pytest.raises(WeightsError) as caught, test_pipeline.TestPipeline(runner="FnApiRunner") as root:
        root | beam.Create([str(clip)]) | embed
    said = f"{kind} standin is not the file that was asked for: its sha256 is {sha256[name]}, not {'0' * 64}"
    assert caught.value.found.startswith(said)  # Beam adds the step
    assert caught.value.remedy.startswith("Bring the file with that sha256 to this machine")


def test_workers_without_them_say_so(clip: Path, places: dict[str, str], sha256: dict[str, str]) -> None:
    embed = EmbedAudio(**places, weights_sha256=sha256)
    said = r"(checkpoint|pca_params) \S+/weights/\S+ does not exist"  # the first that is not in memory
    with pytest.raises(Exception, match=said), test_pipeline.TestPipeline(runner="FnApiRunner") as root:
        root | beam.Create([str(clip)]) | embed


def test_raw_embeddings_need_no_pca(sha256: dict[str, str]) -> None:
    raw = Model("standin", "standin", embeddings="raw")
    for given in ({"checkpoint": sha256["checkpoint"]}, sha256):
        found = models.identify(raw, given)
        assert (found.checkpoint_sha256, found.pca_sha256) == (sha256["checkpoint"], "")
        assert found.checkpoint_name == weights.resolve("standin", "checkpoint").name


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, "'checkpoint' is missing"),
        ({"checkpoint": "a" * 64}, "'pca' is missing"),
        ({"checkpoint": "a" * 63, "pca": "b" * 64}, f"'checkpoint' is '{'a' * 63}'"),
        ({"checkpoint": "a" * 64, "pca": 7}, "'pca' is 7"),
        ({"checkpoint": "a" * 64, "pca": "b" * 64, "pca_params": "b" * 64}, f"'pca_params' is '{'b' * 64}'"),
    ],
)
@pytest.mark.parametrize("step", [EmbedAudio, VggishModelHandler])
def test_what_is_no_sha256_is_refused_at_once(step: Any, given: dict[str, Any], found: str) -> None:
    with pytest.raises(WeightsError) as caught:
        step(weights_sha256=given)
    assert caught.value.found == f"weights_sha256: {found}"
    assert caught.value.remedy.startswith("Give {'checkpoint': …, 'pca': …}: 64 hexadecimal digits")
