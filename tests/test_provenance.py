"""The settings behind embeddings, and which embeddings fit together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline import settings
from pipeline.output import manifest, provenance
from pipeline.output.records import RecordError, to_sequence_example, write_tfrecord
from tests import outputs

MODEL = settings.Model("my.ckpt", "my.npz", checkpoint_sha256="a" * 64, pca_sha256="b" * 64)


def data_set(directory: Path, job: settings.Job | None, dtype: type = np.uint8) -> str:
    directory.mkdir()
    record = to_sequence_example("x", 0.0, 1.0, [], np.ones((1, 128), dtype))
    with (directory / "embeddings-00000-of-00001.tfrecord").open("wb") as file:
        write_tfrecord(file, [record])
    if job is not None:
        outputs.promise(directory, job)
    return str(directory / "*.tfrecord")


def job(model: settings.Model = MODEL, hop: float = 0.96, shards: int = 1) -> settings.Job:
    return settings.Job(settings.Output("x", shards), model, settings.FrontEnd(hop_seconds=hop))


def test_a_manifest_tells(tmp_path: Path) -> None:
    found = provenance.of(data_set(tmp_path / "a", job(hop=0.5)))
    assert found.source == "manifest"
    assert found.hop_s == 0.5
    assert found.models["checkpoint"]["sha256"] == "a" * 64
    assert found.fingerprint == job(hop=0.5).fingerprint()
    assert provenance.from_json(found.to_json()) == found


def test_without_one_quantized_records_are_the_published_ones(tmp_path: Path) -> None:
    found = provenance.of(data_set(tmp_path / "a", None))
    assert (found.source, found.hop_s, found.models["checkpoint"]["name"]) == ("released", 0.96, "released")
    raw = provenance.of(data_set(tmp_path / "b", None, np.float32))
    assert (raw.source, raw.settings["embeddings"]) == ("unknown", "raw")
    assert provenance.differences(found, raw)


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (job(hop=0.5), "hop_seconds is 0.5 instead of 0.96"),
        (job(replace(MODEL, precision="bfloat16")), 'precision is "bfloat16" instead of "float32"'),
        (job(replace(MODEL, checkpoint_sha256="c" * 64)), "checkpoint is my.ckpt (cccccccccccc...) instead of"),
        (job(replace(MODEL, embeddings="raw")), 'embeddings is "raw" instead of "quantized"'),
        (job(replace(MODEL, embeddings="raw")), "pca_params is none instead of my.npz"),
    ],
)
def test_differences_are_named(other: settings.Job, named: str) -> None:
    lines = provenance.differences(*(provenance.from_manifest(manifest.new(each)) for each in (job(), other)))
    assert any(named in line for line in lines)


def test_what_does_not_change_the_meaning_fits() -> None:
    other = job(replace(MODEL, convolutions="direct", batch_size=32, checkpoint="elsewhere/my.ckpt"), shards=7)
    assert not provenance.differences(*(provenance.from_manifest(manifest.new(each)) for each in (job(), other)))


def test_published_records_fit_embeddings_of_the_published_weights(tmp_path: Path) -> None:
    released = provenance.of(data_set(tmp_path / "a", None))
    ours = provenance.from_manifest(manifest.new(job(replace(MODEL, checkpoint="released", pca_params="released"))))
    assert not provenance.differences(released, ours)
    standin = provenance.from_manifest(manifest.new(job(replace(MODEL, checkpoint="standin", pca_params="standin"))))
    assert len(provenance.differences(released, standin)) == 2


def test_files_of_data_sets_that_differ_are_refused(tmp_path: Path) -> None:
    for name, hop in (("a", 0.96), ("b", 0.5)):
        data_set(tmp_path / name, job(hop=hop))
    with pytest.raises(RecordError, match=r"made differently: hop_seconds is 0\.5"):
        provenance.of(str(tmp_path / "**.tfrecord"))
    with pytest.raises(RecordError, match="no file matches"):
        provenance.of(str(tmp_path / "c*"))
