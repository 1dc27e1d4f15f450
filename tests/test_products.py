"""The compiled products of the front end: their figures, and the same bits whatever the processor's vectors are."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from vggish_core.codegen.registers import AVX2, AVX512, NEON, SSE, RegisterTile, fuses, register_tile
from vggish_core.features import products
from vggish_core.features.front_end_loops import compiled_for
from vggish_core.features.mel_features import spectrogram_to_mel_matrix

Loops = Mapping[str, Callable[..., None]]
MEL_MATRIX = spectrogram_to_mel_matrix().astype(np.float32)


@pytest.fixture(scope="module", params=[AVX512, AVX2, NEON, SSE], ids=["avx512", "avx2", "neon", "sse"])
def loops(request: pytest.FixtureRequest) -> Loops:
    return compiled_for(request.param)


@pytest.fixture
def using(loops: Loops, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], np.ndarray]], np.ndarray]:
    """Calls a function with the loops that were compiled for other registers."""

    def call(function: Callable[[], np.ndarray]) -> np.ndarray:
        with monkeypatch.context() as patch:
            patch.setattr(products, "loops", lambda: loops)
            return function()

    return call


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows", [1, 5, 12, 13, 31])
@pytest.mark.parametrize("depth", [1, 128, 301])
def test_products_of_windows(
    dtype: type, rows: int, depth: int, using: Callable[[Callable[[], np.ndarray]], np.ndarray]
) -> None:
    rng = np.random.default_rng(depth)
    apart, starts = 7, np.array([0, 3, 20], np.int64)
    samples = rng.standard_normal(20 + (rows - 1) * apart + depth).astype(dtype)
    width = products.columns(np.dtype(dtype))
    factors = rng.standard_normal((2, depth, width)).astype(dtype)

    def multiply() -> np.ndarray:
        out = np.full((rows, 3 * width), np.nan, dtype)
        products.multiply_windows(samples, starts, apart, factors, out)
        return out

    found = multiply()
    for group, start in enumerate(starts):
        windows = np.stack([samples[start + row * apart :][:depth] for row in range(rows)]).astype(np.float64)
        factor = factors[group % 2].astype(np.float64)
        error = np.abs(found[:, group * width : (group + 1) * width] - windows @ factor)
        assert (error <= 4 * np.finfo(dtype).eps * (np.abs(windows) @ np.abs(factor))).all()
    np.testing.assert_array_equal(using(multiply), found)


def test_mel_bands(using: Callable[[Callable[[], np.ndarray]], np.ndarray]) -> None:
    rng = np.random.default_rng(0)
    spectra = rng.standard_normal((90, 257)) + 1j * rng.standard_normal((90, 257))
    spectra *= 10.0 ** rng.uniform(-12, 12, (90, 1))

    def compute() -> np.ndarray:
        bands = products.MelBands(MEL_MATRIX)
        sums = np.empty((64, products.FRAMES), np.float32)
        bands.compute(spectra, np.zeros((bands.bins, products.FRAMES), np.float32), sums)
        return sums[:, :90].copy()

    found = compute()
    expected = np.abs(spectra) @ MEL_MATRIX.astype(np.float64)
    np.testing.assert_allclose(found.T, expected, rtol=1e-6)
    np.testing.assert_array_equal(using(compute), found)


def test_magnitudes_have_the_range_of_their_type() -> None:
    bands = products.MelBands(MEL_MATRIX)
    sums = np.empty((64, products.FRAMES), np.float32)
    spectra = np.full((3, 257), 1e37 + 1e37j)
    spectra[1] *= 1e3
    spectra[2, 100] = np.nan
    bands.compute(spectra, np.zeros((bands.bins, products.FRAMES), np.float32), sums)
    assert np.isfinite(sums[:, 0]).all()
    assert np.isposinf(sums[:, 1]).all()
    assert np.isnan(sums[:, 2]).any()


@pytest.mark.parametrize(
    "change",
    [
        {"samples": np.zeros(19)},
        {"samples": np.zeros(40)[::2]},
        {"samples": np.zeros(40, np.float32)},
        {"starts": np.array([-1, 3])},
        {"starts": np.array([0, 3], np.int32)},
        {"out": np.zeros((3, 8))},
        {"factors": np.zeros((1, 10, 16))},
    ],
)
def test_arrays_that_do_not_fit_are_refused(change: dict[str, np.ndarray]) -> None:
    fitting = {
        "samples": np.zeros(20),
        "starts": np.array([0, 4]),
        "apart": 3,
        "factors": np.zeros((1, 10, 8)),
        "out": np.zeros((3, 16)),
    }
    products.multiply_windows(**fitting)
    with pytest.raises(ValueError):
        products.multiply_windows(**{**fitting, **change})


@pytest.mark.parametrize(
    ("name", "tile", "has"), [("x86-64", SSE, False), ("x86-64-v3", AVX2, True), ("x86-64-v4", AVX512, True)]
)
def test_the_processor_may_be_named(name: str, tile: RegisterTile, has: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CPU_NAME", name)
    assert register_tile() == tile
    assert fuses() == has
