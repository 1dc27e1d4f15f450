"""The plain reference of the front end: whole file in memory, float64 throughout, resampy, one step after another.

What `vggish_core` computes fast is measured against this, for speed and for its numbers. It follows the original
VGGish code (`vggish_input.py`, `mel_features.py`) step by step and shares no code with `vggish_core`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

SAMPLE_RATE = 16000


def read(file: Any) -> tuple[np.ndarray, int]:
    """A file that libsndfile reads -> (samples float64 [n, channels] in [-1, 1], rate in Hz)."""
    import soundfile

    return soundfile.read(file, dtype="float64", always_2d=True)


def resample(waveform: np.ndarray, rate_hz: int) -> np.ndarray:
    """Mono waveform float64 [n] at `rate_hz` -> float64 at 16 kHz, by resampy's `kaiser_best`."""
    import resampy

    if rate_hz == SAMPLE_RATE:
        return waveform
    return resampy.resample(waveform, rate_hz, SAMPLE_RATE, filter="kaiser_best")


def frame(data: np.ndarray, length: int, hop: int) -> np.ndarray:
    """[n, ...] -> [frames, length, ...]: every whole window of `length` rows, `hop` rows apart."""
    count = max(0, 1 + (len(data) - length) // hop)
    starts = hop * np.arange(count)
    return data[starts[:, np.newaxis] + np.arange(length)]


def mel(frequency_hz: np.ndarray | float) -> np.ndarray:
    """Hz -> mels."""
    return 1127.0 * np.log(1.0 + np.asarray(frequency_hz, np.float64) / 700.0)


def mel_matrix() -> np.ndarray:
    """float64 [257, 64]: triangular bands from 125 to 7500 Hz over the bins of a 512-point transform."""
    bins = mel(np.linspace(0.0, SAMPLE_RATE / 2, 257))
    edges = np.linspace(mel(125.0), mel(7500.0), 64 + 2)
    matrix = np.empty((257, 64))
    for band in range(64):
        lower, center, upper = edges[band : band + 3]
        slope_up = (bins - lower) / (center - lower)
        slope_down = (upper - bins) / (upper - center)
        matrix[:, band] = np.maximum(0.0, np.minimum(slope_up, slope_down))
    matrix[0, :] = 0.0
    return matrix


def log_mel(waveform: np.ndarray) -> np.ndarray:
    """Waveform float64 [n] at 16 kHz -> log-mel frames float64 [t, 64]."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi / 400 * np.arange(400))
    spectrogram = np.abs(np.fft.rfft(frame(waveform, 400, 160) * window, 512))
    return np.log(spectrogram @ mel_matrix() + 0.01)


def waveform_to_examples(samples: np.ndarray, rate_hz: int, hop_frames: int = 96) -> np.ndarray:
    """Samples [n] or [n, channels] in [-1, 1] -> log-mel examples float64 [k, 96, 64]."""
    samples = np.asarray(samples, np.float64)
    if samples.ndim == 2:
        samples = samples.mean(axis=1)
    if int(len(samples) * float(SAMPLE_RATE) / rate_hz) < 1:
        return np.empty((0, 96, 64))
    return frame(log_mel(resample(samples, rate_hz)), 96, hop_frames)


def file_to_examples(file: Any, hop_frames: int = 96) -> np.ndarray:
    """A file that libsndfile reads -> log-mel examples float64 [k, 96, 64]."""
    return waveform_to_examples(*read(file), hop_frames=hop_frames)
