from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from llvmlite import ir

from benchmarks.reference_model import float64_embeddings
from tests.test_model import ANY, OURS, relative_rms
from vggish_core.codegen import machine_code
from vggish_core.codegen.arrays import addresses
from vggish_core.codegen.registers import AVX2, AVX512, NEON, SSE, RegisterTile, register_tile
from vggish_core.codegen.tile_products import SHORT_SUM, Rows, multiply_rows
from vggish_core.codegen.vector_code import FLOAT, INDEX, VectorCode, index
from vggish_core.features.synthetic import synthetic_examples
from vggish_core.network import winograd_transforms
from vggish_core.network.checkpoints import VARIABLE_SHAPES, read_variables
from vggish_core.network.model import Embedder
from vggish_core.network.postprocess import Postprocessor
from vggish_core.network.winograd import WinogradNetwork
from vggish_core.network.winograd_layers import panels

Network = Callable[[np.ndarray], np.ndarray]


def he_initialised(seed: int) -> dict[str, np.ndarray]:
    """Variables of a size that keeps activations at that of the examples; biases small, of both signs."""
    random = np.random.RandomState(seed)
    variables = {}
    for name, shape in VARIABLE_SHAPES.items():
        scale = np.sqrt(2 / np.prod(shape[:-1])) if name.endswith("weights") else 0.05
        variables[name] = (scale * random.standard_normal(shape)).astype(np.float32)
    return variables


@pytest.fixture(scope="module")
def variables(standin_weights: Path) -> dict[str, np.ndarray]:
    return read_variables(standin_weights / "vggish_model.ckpt")


@pytest.fixture(scope="module")
def network(variables: dict[str, np.ndarray]) -> WinogradNetwork:
    return WinogradNetwork(variables, threads=1)


@pytest.fixture(scope="module")
def examples() -> np.ndarray:
    return synthetic_examples(37, seed=5)  # fills neither a group, nor a chunk, nor a tile of rows


@pytest.fixture(scope="module")
def embeddings(network: WinogradNetwork, examples: np.ndarray) -> np.ndarray:
    return network(examples)


# The transforms.


def test_the_algorithm_is_a_convolution_in_exact_arithmetic() -> None:
    random = np.random.RandomState(0)
    tile, filter_ = random.standard_normal((6, 6)), random.standard_normal((3, 3))
    At, G, Bt = winograd_transforms.matrices()
    outputs = At @ ((G @ filter_ @ G.T) * (Bt @ tile @ Bt.T)) @ At.T
    windows = np.lib.stride_tricks.sliding_window_view(tile, (3, 3))
    np.testing.assert_allclose(outputs, np.einsum("yxij,ij->yx", windows, filter_), atol=1e-13)


def test_coefficients_of_the_tiles_transforms_need_no_rounding() -> None:
    for matrix in (winograd_transforms.AT, winograd_transforms.BT):
        np.testing.assert_array_equal(matrix, matrix.astype(np.float32))


def test_filters_are_transformed_in_float64() -> None:
    weights = np.random.RandomState(0).standard_normal((3, 3, 2, 5)).astype(np.float32)
    G = winograd_transforms.G
    for channel in range(2):
        for filter_ in range(5):
            expected = (G @ weights[:, :, channel, filter_].astype(np.float64) @ G.T).reshape(36)
            found = winograd_transforms.transform_filters(weights)[:, channel, filter_]
            np.testing.assert_allclose(found, expected, rtol=6.1e-8, atol=1e-12)  # half a float32 step


# Products.


@pytest.mark.parametrize("tile", [AVX512, AVX2, NEON, SSE], ids=["avx512", "avx2", "neon", "sse"])
@pytest.mark.parametrize("depth", [64, 2 * SHORT_SUM])
def test_product_of_a_tile(tile: RegisterTile, depth: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VGGISH_CACHE", str(tmp_path))
    rows = tile.rows
    a_stride, c_stride = depth + 16, tile.columns + 3

    def build() -> ir.Module:
        module, floats = ir.Module("test"), FLOAT.as_pointer()
        builder, (a, b, c, adds) = machine_code.function(module, "multiply", [floats, floats, floats, INDEX])
        left, target = Rows(a, index(a_stride)), Rows(c, index(c_stride))
        code, right = VectorCode(builder, tile.lanes), Rows(b, index(tile.columns))
        added = builder.trunc(adds, ir.IntType(1))
        multiply_rows(code, (rows, tile.vectors), left, right, target, depth, added, ahead=b)
        builder.ret_void()
        return module

    multiply = machine_code.compiled(build, f"test {tile} {depth}")["multiply"]
    random = np.random.RandomState(1)
    a = random.standard_normal(5 + rows * a_stride).astype(np.float32)
    b = random.standard_normal((depth, tile.columns)).astype(np.float32)
    c = random.standard_normal(7 + rows * c_stride).astype(np.float32)
    expected = a[5:].reshape(rows, a_stride)[:, :depth].astype(np.float64) @ b
    for adds in (False, True):
        before, found = c.copy(), c.copy()
        multiply(*addresses(a[5:], b, found[7:]), int(adds))
        inside, outside = np.split(found[7:].reshape(rows, c_stride), [tile.columns], axis=1)
        start = before[7:].reshape(rows, c_stride)
        np.testing.assert_allclose(inside, expected + adds * start[:, : tile.columns], atol=2e-5)
        np.testing.assert_array_equal(outside, start[:, tile.columns :])
        np.testing.assert_array_equal(found[:7], before[:7])


def test_panels_hold_the_columns_of_a_tile_together() -> None:
    matrix = np.arange(2 * 3 * 64).reshape(2, 3, 64)
    packed = panels(matrix, AVX2)
    assert packed.shape == (2, 4, 3, 16)
    np.testing.assert_array_equal(packed[1, 2], matrix[1, :, 32:48])


# The network.


@pytest.mark.ci
def test_as_near_to_float64_as_any_float32_kernel(
    variables: dict[str, np.ndarray], examples: np.ndarray, embeddings: np.ndarray, standin_weights: Path
) -> None:
    few = 16
    expected = float64_embeddings(variables, examples[:few])
    plain = Embedder(variables, convolutions="direct").embed(examples[:few])
    assert relative_rms(embeddings[:few], expected) <= OURS
    assert relative_rms(plain, expected) <= ANY
    quantize = Postprocessor(standin_weights / "vggish_pca_params.npz").postprocess
    steps = np.abs(quantize(embeddings[:few]).astype(int) - quantize(expected.astype(np.float32)))
    assert steps.max() <= 1
    assert np.mean(steps > 0) < 0.002


@pytest.mark.full
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_as_near_to_float64_with_other_weights(seed: int, examples: np.ndarray) -> None:
    variables = he_initialised(seed)
    expected = float64_embeddings(variables, examples)
    plain = Embedder(variables, convolutions="direct").embed(examples)
    assert relative_rms(WinogradNetwork(variables)(examples), expected) <= OURS
    assert relative_rms(plain, expected) <= ANY


def test_a_row_depends_on_nothing_but_itself(
    network: WinogradNetwork, examples: np.ndarray, embeddings: np.ndarray
) -> None:
    for row in (0, 18, 36):
        np.testing.assert_array_equal(network(examples[row : row + 1])[0], embeddings[row])
    np.testing.assert_array_equal(network(examples[3:20]), embeddings[3:20])
    np.testing.assert_array_equal(network(examples[::-1]), embeddings[::-1])
    loud = examples.copy()
    loud[::2] = np.float32(1e30)
    np.testing.assert_array_equal(network(loud)[1::2], embeddings[1::2])
    np.testing.assert_array_equal(network(examples), embeddings)  # nothing is left of the loud ones


def test_threads_change_no_bits(
    variables: dict[str, np.ndarray], network: WinogradNetwork, examples: np.ndarray, embeddings: np.ndarray
) -> None:
    np.testing.assert_array_equal(WinogradNetwork(variables, threads=3)(examples), embeddings)
    parts = [slice(start, start + length) for start in range(0, 30, 5) for length in (1, 7)]
    with ThreadPoolExecutor(3) as callers:
        for part, found in zip(parts, callers.map(lambda part: network(examples[part]), parts), strict=True):
            np.testing.assert_array_equal(found, embeddings[part])


def test_vectors_of_another_processor_change_no_bits(
    variables: dict[str, np.ndarray], examples: np.ndarray, embeddings: np.ndarray
) -> None:
    other = SSE if register_tile() == AVX2 else AVX2
    np.testing.assert_array_equal(WinogradNetwork(variables, threads=1, tile=other)(examples[:5]), embeddings[:5])


@pytest.mark.ci
def test_more_rows_than_the_dense_layers_take(network: Network, examples: np.ndarray, embeddings: np.ndarray) -> None:
    many = np.concatenate([examples] * 7)
    np.testing.assert_array_equal(network(many), np.concatenate([embeddings] * 7))


def test_no_examples(network: WinogradNetwork) -> None:
    assert network(np.zeros((0, 96, 64), np.float32)).shape == (0, 128)


def test_no_threads(variables: dict[str, np.ndarray]) -> None:
    with pytest.raises(ValueError, match="threads is 0; it must be 1 or more"):
        WinogradNetwork(variables, threads=0)


# Compiled code on disk.


def _doubling() -> ir.Module:
    module = ir.Module("test")
    builder, (values, count) = machine_code.function(module, "double", [FLOAT.as_pointer(), INDEX])
    code = VectorCode(builder, 4)
    vector = code.load(values, count)
    code.store(vector + vector, values, count)
    builder.ret_void()
    return module


def _doubled(build: Callable[[], ir.Module] = _doubling) -> list[float]:
    values = np.arange(6, dtype=np.float32)
    machine_code.compiled(build, "test")["double"](*addresses(values), 2)
    return values.tolist()


def _not_again() -> ir.Module:
    raise AssertionError("it was compiled again")


def test_compiled_code_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VGGISH_CACHE", str(tmp_path))
    assert _doubled() == [0, 1, 4, 6, 8, 10]
    assert [path.suffix for path in (tmp_path / "kernels").iterdir()] == [".o"]
    assert _doubled(_not_again) == [0, 1, 4, 6, 8, 10]


@pytest.mark.parametrize("damage", [lambda code: code[:-9], lambda code: b"", lambda code: code[:-1] + b"?"])
def test_damaged_code_is_compiled_again(
    damage: Callable[[bytes], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VGGISH_CACHE", str(tmp_path))
    _doubled()
    (place,) = (tmp_path / "kernels").iterdir()
    whole = place.read_bytes()
    place.write_bytes(damage(whole))
    assert _doubled() == [0, 1, 4, 6, 8, 10]
    assert place.read_bytes() == whole


def test_code_of_another_processor_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VGGISH_CACHE", str(tmp_path))
    _doubled()
    monkeypatch.setenv("NUMBA_CPU_NAME", "x86-64")
    with pytest.raises(AssertionError, match="compiled again"):
        _doubled(_not_again)


def test_a_cache_that_cannot_be_written_is_said_and_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("VGGISH_CACHE", str(tmp_path / "file" / "folder"))
    assert _doubled() == [0, 1, 4, 6, 8, 10]
    assert "VGGISH_CACHE" in caplog.text
