from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import reference_front_end as reference
from vggish_core.features import mel_features


@pytest.fixture(scope="module")
def waveform() -> np.ndarray:
    """4 s at 16 kHz: a loud tone, quiet noise and silence, which rounding errors show in."""
    rng = np.random.default_rng(0)
    tone = 0.9 * np.sin(2 * np.pi * 440 / 16000 * np.arange(64000))
    tone[16000:32000] = 1e-3 * rng.standard_normal(16000)
    tone[32000:40000] = 0.0
    return tone


def streamed(samples: np.ndarray, sizes: list[int]) -> np.ndarray:
    log_mel = mel_features.LogMel()
    frames, start, i = [], 0, 0
    while start < len(samples):
        block = samples[start : start + sizes[i % len(sizes)]].copy()
        frames.append(log_mel.push(block))
        start += len(block)
        block[:] = np.nan  # a caller may reuse its array
        i += 1
    return np.concatenate([*frames, log_mel.finish()])


def test_mel_matrix_is_the_reference():
    ours = mel_features.spectrogram_to_mel_matrix()
    assert ours.shape == (257, 64)
    np.testing.assert_allclose(ours, reference.mel_matrix(), rtol=0, atol=1e-13)
    assert not ours[0].any()
    assert (ours >= 0).all()
    assert (ours.max(axis=0) > 0).all()


def test_mel_scale():
    assert mel_features.hertz_to_mel(0.0) == 0
    np.testing.assert_allclose(mel_features.hertz_to_mel(1000.0), 1000.0, atol=0.1)
    np.testing.assert_allclose(mel_features.hertz_to_mel(np.array([700.0])), [1127 * np.log(2)])


def test_window_is_periodic():
    window = mel_features.periodic_hann(400)
    assert window[0] == 0
    assert window[200] == 1
    np.testing.assert_allclose(window[1:], window[:0:-1], atol=1e-15)
    assert window[-1] > 0


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_frames_are_the_references(waveform: np.ndarray, dtype: type):
    samples = waveform.astype(dtype)
    ours = mel_features.log_mel_spectrogram(samples)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, reference.log_mel(samples.astype(np.float64)), rtol=0, atol=2e-6)


@pytest.mark.parametrize("length", [0, 1, 399, 400, 559, 560, 15599, 15600, 15760, 30960, 31000])
def test_number_of_frames(length: int):
    frames = mel_features.log_mel_spectrogram(np.zeros(length))
    assert frames.shape == (mel_features.num_frames(length), 64)
    np.testing.assert_array_equal(frames, np.full_like(frames, np.log(np.float32(0.01))))
    assert mel_features.num_frames(length) == len(reference.frame(np.zeros(length), 400, 160))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 40000), min_size=1, max_size=5), st.integers(0, 64000))
def test_blocks_do_not_change_a_bit(waveform: np.ndarray, sizes: list[int], length: int):
    whole = mel_features.log_mel_spectrogram(waveform[:length])
    sizes = [max(size, 50) for size in sizes]
    np.testing.assert_array_equal(streamed(waveform[:length], sizes), whole)


def test_single_samples_do_not_change_a_bit(waveform: np.ndarray):
    np.testing.assert_array_equal(streamed(waveform[:20000], [1]), mel_features.log_mel_spectrogram(waveform[:20000]))


def test_a_start_on_the_grid_does_not_change_a_bit(waveform: np.ndarray):
    whole = mel_features.log_mel_spectrogram(waveform)
    for block in range(5):
        part = mel_features.log_mel_spectrogram(waveform[block * mel_features.BLOCK_HOP_SAMPLES :])
        np.testing.assert_array_equal(part, whole[block * mel_features.FRAMES_PER_BLOCK :])
