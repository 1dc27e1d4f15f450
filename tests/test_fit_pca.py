"""PCA parameters fitted in Beam, against NumPy on all embeddings at once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import fit_pca
from pipeline.analysis import moments
from pipeline.analysis.sums import Sum
from pipeline.output.loading import dataset
from pipeline.output.records import to_sequence_example, write_tfrecord
from pipeline.training.pca import DegenerateWarning, pca_params
from vggish_core.network.postprocess import PcaError, Postprocessor


def direct(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The released convention, in plain NumPy on all vectors: (eigen vectors, means)."""
    vectors = vectors.astype(np.float64)
    _, singular, rows = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
    rows *= np.sign(rows[np.arange(len(rows)), np.abs(rows).argmax(axis=1)])[:, np.newaxis]
    return rows * (np.sqrt(len(vectors) - 1) / singular)[:, np.newaxis], vectors.mean(axis=0)


def write_shards(directory: Path, vectors: np.ndarray, shards: int, rows: int = 10) -> str:
    directory.mkdir()
    records = [
        to_sequence_example(f"{i:06d}", 0.0, 10.0, [], vectors[i : i + rows]) for i in range(0, len(vectors), rows)
    ]
    for shard in range(shards):
        with (directory / f"raw-{shard:05d}.tfrecord").open("wb") as file:
            write_tfrecord(file, records[shard::shards])
    return str(directory / "*.tfrecord")


def correlated(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(128, 128)) * 0.98 ** np.arange(128)
    return (rng.normal(size=(count, 128)) @ mixing.T + rng.normal(size=128) * 10).astype(np.float32)


def run(arguments: Sequence[str]) -> int:
    return fit_pca.main([*arguments])


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference of a row, relative to the row's length: rows differ in length by orders of magnitude."""
    return float((np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)).max())


def test_quantized_embeddings_rotated_back_give_numpys_parameters(
    tmp_path: Path, made_audioset: Path, standin_weights: Path
) -> None:
    released = np.load(standin_weights / "vggish_pca_params.npz")
    pattern = str(made_audioset / "eval.tfrecord")
    batches = dataset.load_dataset(pattern, batch_size=500, frames=10).take(4).as_numpy_iterator()
    whitened = np.concatenate([b.embeddings[np.arange(10) < b.num_frames[:, None]] for b in batches]).astype(np.float64)
    raw = (np.linalg.solve(released["pca_eigen_vectors"], whitened.T).T + released["pca_means"]).astype(np.float32)
    expected_vectors, expected_means = direct(raw)
    found = []
    for shards in (1, 50):
        output = tmp_path / f"pca{shards}.npz"
        assert run(["--input", write_shards(tmp_path / str(shards), raw, shards), "--output", str(output)]) == 0
        with np.load(output) as arrays:
            assert sorted(arrays.files) == ["pca_eigen_vectors", "pca_means"]
            found.append((arrays["pca_eigen_vectors"], arrays["pca_means"]))
        assert relative(found[-1][0], expected_vectors) < 1e-9
        assert np.abs(found[-1][1] - expected_means).max() < 1e-9
    assert relative(found[0][0], found[1][0]) < 1e-9
    assert (tmp_path / "pca1.png").read_bytes().startswith(b"\x89PNG")
    about = json.loads((tmp_path / "pca1.json").read_text())
    assert about["embeddings"] == len(raw)
    assert about["eigenvalues"] == sorted(about["eigenvalues"], reverse=True)


def test_the_order_of_files_changes_nothing(tmp_path: Path) -> None:
    vectors = correlated(600)
    parts = np.array_split(vectors, 7)
    combine = Sum(moments.nothing())
    found = []
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(7)
        accumulators = [combine.add_input(combine.create_accumulator(), moments.of(parts[i])) for i in order]
        merged = combine.merge_accumulators([*accumulators, combine.create_accumulator()])
        found.append(pca_params(combine.extract_output(merged))[0])
    for each in found[1:]:
        assert relative(each, found[0]) < 1e-9


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.floats(-1e6, 1e6), st.integers(0, 99))
def test_merged_moments_are_those_of_the_whole(sizes: list[int], offset: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    parts = [rng.normal(size=(size, 3)) + offset for size in sizes]
    total = sum((moments.of(part) for part in parts), moments.nothing(3))
    whole = np.concatenate(parts)
    assert total.count == len(whole)
    if len(whole) > 1:
        assert np.allclose(total.mean, whole.mean(axis=0), rtol=1e-12, atol=1e-9)
        assert np.allclose(total.covariance, np.cov(whole.T), rtol=1e-7, atol=1e-9)


def test_a_mean_far_from_zero_costs_no_digits() -> None:
    deviations = np.random.default_rng(0).normal(size=(5000, 128))
    moved = sum((moments.of(part + 2.0**20) for part in np.array_split(deviations, 9)), moments.nothing())
    assert np.abs(moved.covariance - np.cov(deviations.T)).max() < 1e-9
    naive = ((deviations + 2.0**20).T @ (deviations + 2.0**20) - 5000 * 2.0**40) / 4999
    assert np.abs(naive - np.cov(deviations.T)).max() > 1e-6  # what the one-pass textbook formula would lose


def test_whitens_what_it_was_fitted_to(tmp_path: Path) -> None:
    vectors = correlated(2000)
    output = tmp_path / "pca.npz"
    pattern = write_shards(tmp_path / "raw", vectors, 3)
    assert run(["--input", pattern, "--output", str(output), "--no_plot"]) == 0
    projected = Postprocessor(output).pca(vectors)
    assert np.abs(np.cov(projected.T) - np.eye(128)).max() < 1e-3
    assert not (tmp_path / "pca.png").exists()


def test_components_that_do_not_vary_are_raised_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vectors = correlated(300)
    vectors[:, 5] = 1.0
    vectors[:, 9] = vectors[:, 8]
    output = tmp_path / "pca.npz"
    assert run(["--input", write_shards(tmp_path / "raw", vectors, 2), "--output", str(output), "--no_plot"]) == 0
    assert "2 of 128 directions hardly vary over 300 embeddings" in capsys.readouterr().err
    projected = Postprocessor(output).pca(vectors)
    assert np.isfinite(projected).all()
    assert np.abs(projected[:, -2:]).max() < 0.1
    assert projected[:, :126].std(axis=0) == pytest.approx(1.0, abs=0.01)


def test_too_few_embeddings() -> None:
    with pytest.raises(PcaError, match="at least two embeddings"):
        pca_params(moments.of(np.ones((1, 128))))
    with pytest.raises(PcaError, match="do not vary"):
        pca_params(moments.of(np.ones((5, 128))))
    with pytest.warns(DegenerateWarning, match="124 of 128"):
        pca_params(moments.of(correlated(5)))


def test_not_finite_embeddings_are_refused() -> None:
    vectors = correlated(5)
    vectors[1, 3] = np.nan
    with pytest.raises(ValueError, match="1 embeddings hold NaN"):
        moments.of(vectors)


def test_quantized_records_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pattern = write_shards(tmp_path / "quantized", np.zeros((4, 128), np.uint8), 1)
    assert run(["--input", pattern, "--output", str(tmp_path / "pca.npz")]) == 2
    assert "--embeddings raw" in capsys.readouterr().err
    assert run(["--input", pattern, "--output", str(tmp_path / "pca")]) == 2
    assert "does not end in .npz" in capsys.readouterr().err
