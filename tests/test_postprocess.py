from __future__ import annotations

import math
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference_data import part
from vggish_core.network.postprocess import PcaError, Postprocessor, whitening, write_pca_params


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PCA parameters fitted to correlated noise."""
    path = tmp_path_factory.mktemp("pca") / "pca.npz"
    random = np.random.RandomState(0)
    raw = random.standard_normal((1000, 128)) @ random.standard_normal((128, 128))
    write_pca_params(path, whitening(np.cov(raw, rowvar=False)), raw.mean(axis=0))
    return path


def test_published_vector_gives_its_published_bytes() -> None:
    published = part("smoke_test")
    released = Postprocessor(part("pca") / "vggish_pca_params.npz")
    raw, expected = np.load(published / "raw_embedding.npy"), np.load(published / "postprocessed.npy")
    np.testing.assert_array_equal(released.postprocess(raw.astype(np.float32)[None])[0], expected)


def test_a_vector_of_the_published_length_gives_the_bytes_of_the_formula(made: Path) -> None:
    """A vector as long as the published one, to 9 digits as a log prints it, with parameters that whiten: 128 of 128
    bytes, of which rounding instead of truncation would get dozens wrong, as it does with the published ones."""
    arrays = np.load(made)
    raw = np.linalg.inv(arrays["pca_eigen_vectors"]) @ np.random.RandomState(3).standard_normal(128) * 1.3
    raw = np.array([float(f"{value:.9g}") for value in raw + arrays["pca_means"]])
    exact = [Fraction(*value.as_integer_ratio()) for value in raw]
    expected, rounded = [], []
    for row in arrays["pca_eigen_vectors"]:
        terms = [Fraction(*w.as_integer_ratio()) * (x - Fraction(*m.as_integer_ratio()))
                 for w, x, m in zip(row, exact, arrays["pca_means"], strict=True)]  # fmt: skip
        scaled = (min(max(sum(terms), Fraction(-2)), Fraction(2)) + 2) * 255 / 4
        expected.append(math.floor(scaled))
        rounded.append(math.floor(scaled + Fraction(1, 2)))
    found = Postprocessor(made).postprocess(raw[None])[0]
    assert found.tolist() == expected
    assert sum(a != b for a, b in zip(found.tolist(), rounded, strict=True)) > 30
    assert {0, 255} < set(expected)


def test_equals_the_formula_written_out(made: Path) -> None:
    arrays = np.load(made)
    raw = np.random.RandomState(1).standard_normal((70, 128)).astype(np.float32) * 10
    whitened = np.array([arrays["pca_eigen_vectors"] @ (row - arrays["pca_means"]) for row in raw.astype(np.float64)])
    processor = Postprocessor(made)
    np.testing.assert_allclose(processor.pca(raw), whitened, rtol=1e-6, atol=1e-6)
    quantized = np.floor((np.clip(whitened, -2, 2) + 2) * 63.75)
    differing = processor.postprocess(raw) != quantized
    assert not differing.any()
    assert {0, 255} < set(quantized.ravel().astype(int))


@settings(max_examples=20, deadline=None)
@given(rows=st.integers(1, 140), at=st.integers(0, 139), seed=st.integers(0, 5))
def test_a_row_does_not_depend_on_its_neighbours(made: Path, rows: int, at: int, seed: int) -> None:
    raw = np.random.RandomState(seed).standard_normal((rows, 128)).astype(np.float32)
    at %= rows
    processor = Postprocessor(made)
    np.testing.assert_array_equal(processor._project(raw)[at], processor._project(raw[at : at + 1])[0])


OTHER_THREADS = """
import sys, time
import numpy as np
from vggish_core.network.postprocess import Postprocessor
postprocessor = Postprocessor(sys.argv[1])
raw = np.ones((64, 128), np.float32)
before = time.process_time() - time.thread_time()
for _ in range(5):
    postprocessor.postprocess(raw)
    time.sleep(0.1)
print(time.process_time() - time.thread_time() - before)
"""


def test_no_other_thread_is_woken(made: Path) -> None:
    # One of OpenBLAS' spins for 0.05 s and more once it is woken, beside the network's own.
    done = subprocess.run([sys.executable, "-c", OTHER_THREADS, made], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 0.05


def test_no_rows_give_no_rows(made: Path) -> None:
    processor = Postprocessor(made)
    none = np.zeros((0, 128), np.float32)
    assert processor.postprocess(none).shape == (0, 128)
    assert processor.postprocess(none).dtype == np.uint8
    assert processor.pca(none).dtype == np.float32


def test_dequantizing_undoes_truncation_without_bias() -> None:
    values = np.random.RandomState(0).uniform(-2, 2, 100_000)
    quantized = ((values + 2) * 63.75).astype(np.uint8)
    error = Postprocessor.dequantize(quantized) - values
    assert Postprocessor.dequantize(quantized).dtype == np.float32
    assert np.abs(error).max() <= 4 / 255
    assert abs(error.mean()) < 1e-4
    assert Postprocessor.dequantize(np.uint8([0, 255])) == pytest.approx([-2 + 4 / 512, 2 + 4 / 512])


def test_dequantizing_refuses_signed_bytes() -> None:
    with pytest.raises(PcaError, match="int8, not uint8"):
        Postprocessor.dequantize(np.zeros((1, 128), np.int8))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (np.zeros((2, 127), np.float32), r"float32 \[2, 127\]"),
        (np.zeros(128, np.float32), r"\[128\]"),
        (np.zeros((2, 128), np.int32), "int32"),
        (np.full((2, 128), np.nan, np.float32), r"nan \(row 0, column 0; 256"),
        (np.full((2, 128), -np.inf, np.float32), "-inf"),
    ],
)
def test_refuses_embeddings_that_are_none(made: Path, raw: np.ndarray, message: str) -> None:
    with pytest.raises(PcaError, match=message):
        Postprocessor(made).postprocess(raw)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pca_means": np.zeros(128)}, "no array pca_eigen_vectors, only pca_means"),
        ({"pca_eigen_vectors": np.eye(128)}, "no array pca_means"),
        ({"pca_eigen_vectors": np.eye(64), "pca_means": np.zeros(128)}, r"pca_eigen_vectors has shape \[64, 64\]"),
        ({"pca_eigen_vectors": np.eye(128), "pca_means": np.zeros((1, 64))}, r"pca_means has shape \[1, 64\]"),
        ({"pca_eigen_vectors": np.full((128, 128), np.nan), "pca_means": np.zeros(128)}, "NaN"),
        ({"pca_eigen_vectors": np.eye(128, dtype=int), "pca_means": np.zeros(128)}, "int64"),
    ],
)
def test_refuses_parameters_by_name(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    np.savez(tmp_path / "pca.npz", **arrays)
    with pytest.raises(PcaError, match=message):
        Postprocessor(tmp_path / "pca.npz")


def test_refuses_files_that_are_no_parameters(tmp_path: Path) -> None:
    with pytest.raises(PcaError, match="do not exist"):
        Postprocessor(tmp_path / "none.npz")
    for name, content in (("text.npz", b"no parameters"), ("empty.npz", b""), ("cut.npz", b"PK\x03\x04cut")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(PcaError, match=name):
            Postprocessor(tmp_path / name)
    np.save(tmp_path / "one.npy", np.eye(128))
    with pytest.raises(PcaError, match="one array"):
        Postprocessor(tmp_path / "one.npy")


def test_means_may_be_a_column(tmp_path: Path) -> None:
    for shape in ((128,), (128, 1)):
        np.savez(tmp_path / "pca.npz", pca_eigen_vectors=np.eye(128), pca_means=np.full(shape, 0.5))
        np.testing.assert_array_equal(
            Postprocessor(tmp_path / "pca.npz").pca(np.zeros((1, 128))), np.full((1, 128), -0.5)
        )


def test_whitening_whitens() -> None:
    random = np.random.RandomState(0)
    raw = random.standard_normal((2000, 128)) @ random.standard_normal((128, 128))
    vectors = whitening(np.cov(raw, rowvar=False), span=1e9)
    np.testing.assert_allclose(np.cov((raw - raw.mean(0)) @ vectors.T, rowvar=False), np.eye(128), atol=1e-8)
    lengths = np.linalg.norm(vectors, axis=1)
    assert (np.diff(lengths) > 0).all()  # eigenvalues fall
    np.testing.assert_allclose((vectors / lengths[:, None]) @ (vectors / lengths[:, None]).T, np.eye(128), atol=1e-10)


def test_whitening_bounds_directions_without_variance() -> None:
    covariance = np.zeros((128, 128))
    covariance[3, 3] = 4.0
    lengths = np.linalg.norm(whitening(covariance), axis=1)
    assert lengths[0] == pytest.approx(0.5)
    assert lengths[1:] == pytest.approx(np.full(127, 0.5 * np.sqrt(7500)))
    with pytest.raises(PcaError, match="do not vary"):
        whitening(np.zeros((128, 128)))


def test_parameters_are_written_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_pca_params(tmp_path / name, np.eye(128), np.zeros(128))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
