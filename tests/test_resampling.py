from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import resampy
from hypothesis import given, settings
from hypothesis import strategies as st

from vggish_core.features import filter_bank
from vggish_core.features.ratio import Ratio
from vggish_core.features.resampling import Resampler, resample

COMMON_RATES = [8000, 11025, 22050, 24000, 32000, 44100, 48000, 88200, 96000, 192000]
# A few rates of each kind: a short bank, a long one, resampy's rounded clock with up = 4, 5 and 320, resampy itself.
ODD_RATES = [1000, 7350, 12000, 22051, 22400, 28800, 41600, 44056, 57600, 176400, 372000, 399999, 400000]
GRID_RATES = [8000, 16000, 22050, 28800, 44056, 44100, 48000, 96000, 399999]


def noise(rate_hz: int, seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, int(rate_hz * seconds) + 17)


def streamed(resampler: Resampler, samples: np.ndarray, sizes: list[int]) -> np.ndarray:
    out, start, i = [], 0, 0
    while start < len(samples):
        block = samples[start : start + sizes[i % len(sizes)]].copy()
        out.append(resampler.push(block))
        start += len(block)
        block[:] = np.nan  # a caller may reuse its array
        i += 1
    return np.concatenate([*out, resampler.finish()])


@pytest.mark.parametrize("rate_hz", COMMON_RATES + ODD_RATES)
def test_resampys_numbers(rate_hz: int):
    samples = noise(rate_hz, 1.3)
    expected = resampy.resample(samples, rate_hz, 16000, filter="kaiser_best")
    ours = resample(samples, rate_hz)
    assert ours.dtype == np.float64
    assert ours.shape == expected.shape
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-9)
    single = resample(samples, rate_hz, np.float32)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected, rtol=0, atol=1e-5)


def test_resampling_does_not_import_numba():
    code = (
        "import sys, numpy, vggish_core; vggish_core.resample(numpy.zeros(9000), 44100)\n"
        "print([m for m in ('resampy', 'numba') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_odd_rates_take_every_path():
    kinds = {type(filter_bank.kernel(rate_hz, "<f8")) for rate_hz in ODD_RATES}
    assert kinds == {filter_bank.FilterBank, filter_bank.FilterBankOfRoundedClock, filter_bank.Resampy}


def test_resampys_clock_is_followed_where_it_falls_short():
    # Without the filter for a fraction of almost 1, this differs by 1e-4.
    samples = noise(28800, 2.0)
    expected = resampy.resample(samples, 28800, 16000, filter="kaiser_best")
    plain = filter_bank.FilterBank(Ratio(28800), np.dtype(np.float64))
    window = np.concatenate([np.zeros(-Ratio(28800).window_start(0)), samples])[: plain.input]
    out = np.empty(Ratio(28800).block)
    plain.compute(window, 0, out)
    assert np.abs(out - expected[: len(out)]).max() > 1e-6
    np.testing.assert_allclose(resample(samples, 28800), expected, rtol=0, atol=1e-9)


def test_16_khz_is_left_alone():
    samples = noise(16000, 0.5)
    np.testing.assert_array_equal(resample(samples, 16000), samples)


@pytest.mark.parametrize("rate_hz", [8000, 16000, 44100, 48000, 22051, 399999])
@pytest.mark.parametrize("length", [0, 1, 2, 3, 5, 100, 4411])
def test_short_inputs(rate_hz: int, length: int):
    samples = noise(rate_hz, 0.6)[:length]
    ours = resample(samples, rate_hz)
    assert len(ours) == Ratio(rate_hz).output_length(length) == int(length * 16000.0 / rate_hz)
    if len(ours):
        expected = resampy.resample(samples, rate_hz, 16000, filter="kaiser_best")
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(GRID_RATES), st.lists(st.integers(1, 70000), min_size=1, max_size=4), st.floats(0, 2.2))
def test_blocks_do_not_change_a_bit(rate_hz: int, sizes: list[int], seconds: float):
    samples = noise(rate_hz, min(seconds, 60_000 / rate_hz + 1))
    sizes = [max(size, len(samples) // 500) for size in sizes]
    np.testing.assert_array_equal(streamed(Resampler(rate_hz), samples, sizes), resample(samples, rate_hz))


@pytest.mark.parametrize("rate_hz", [11025, 48000])
def test_single_samples_do_not_change_a_bit(rate_hz: int):
    samples = noise(rate_hz, 1.0)
    np.testing.assert_array_equal(streamed(Resampler(rate_hz), samples, [1]), resample(samples, rate_hz))


@pytest.mark.parametrize("dtype", [np.float64, pytest.param(np.float32, marks=pytest.mark.ci)])
@pytest.mark.parametrize("rate_hz", GRID_RATES)
def test_a_later_start_does_not_change_a_bit(rate_hz: int, dtype: type):
    samples = noise(rate_hz, 3.2)
    ratio = Ratio(rate_hz)
    whole = resample(samples, rate_hz, dtype)
    for block in (0, 1, 2, 3):
        start = ratio.input_start(block)
        part = streamed(Resampler(rate_hz, dtype, first_block=block), samples[start:], [rate_hz // 7])
        np.testing.assert_array_equal(part, whole[block * ratio.block :])


@pytest.mark.parametrize("rate_hz", GRID_RATES)
def test_an_earlier_end_does_not_change_a_bit(rate_hz: int):
    samples = noise(rate_hz, 3.2)
    whole = resample(samples, rate_hz)
    for stop in (1, 160, 15360, 31200, 47001):
        part = resample(samples[: Ratio(rate_hz).input_stop(stop)], rate_hz)
        np.testing.assert_array_equal(part[:stop], whole[:stop])


@pytest.mark.parametrize("rate_hz", [0, -1, 999, 1_600_001, 44100.5])
def test_unsupported_rates_are_refused(rate_hz: float):
    with pytest.raises(ValueError, match="sample rate"):
        Ratio(rate_hz)  # type: ignore[arg-type]
