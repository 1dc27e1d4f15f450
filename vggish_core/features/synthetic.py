"""Synthetic signals: the original programs' test tone and classes, and varied sounds to try a network on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vggish_core import params

TEST_SECONDS = 3
TEST_FREQUENCY_HZ = 1000.0


def sine(seconds: float, sample_rate: int, frequency_hz: float = TEST_FREQUENCY_HZ) -> np.ndarray:
    """A sine of amplitude 1 from phase 0, float64 [seconds * sample_rate]; the original smoke test's signal."""
    return np.sin(2 * np.pi * frequency_hz * np.arange(0, seconds, 1 / sample_rate))


def varied_waveform(random: np.random.RandomState, samples: int = params.EXAMPLE_SAMPLES) -> np.ndarray:
    """One of six kinds of sound at 16 kHz with random parameters and level, float64 [samples], within ±1."""
    t = np.arange(samples) / params.SAMPLE_RATE
    make = _KINDS[random.randint(len(_KINDS))]
    sound = make(t, random)
    level = 10 ** (-random.uniform(0, 60) / 20)  # 0 to -60 dB of full scale
    return np.clip(level * sound / max(np.abs(sound).max(), 1e-9), -1, 1)


def synthetic_examples(count: int, seed: int) -> np.ndarray:
    """Log-mel examples of `count` varied sounds, float32 [count, 96, 64]; the same for the same seed on any machine."""
    from vggish_core.features.examples import waveform_to_examples

    random = np.random.RandomState(seed)
    waveforms = (varied_waveform(random) for _ in range(count))
    parts = [waveform_to_examples(waveform, params.SAMPLE_RATE) for waveform in waveforms]
    return np.concatenate(parts) if parts else np.zeros((0, params.NUM_FRAMES, params.NUM_BANDS), np.float32)


def _chirp(t: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    start, end = random.uniform(60, 7500, 2)
    return np.sin(2 * np.pi * (start * t + (end - start) * t**2 / (2 * t[-1])))


def _harmonics(t: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    pitch, decay = random.uniform(80, 800), random.uniform(0.5, 2)
    vibrato = random.uniform(0, 3) * np.sin(2 * np.pi * random.uniform(3, 8) * t)
    partials = (np.sin(2 * np.pi * k * pitch * t + k * vibrato) / k**decay for k in range(1, 1 + int(7500 / pitch)))
    return sum(partials, np.zeros_like(t))


def _noise(t: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    spectrum = np.fft.rfft(random.standard_normal(len(t)))
    return np.fft.irfft(spectrum / np.arange(1, 1 + len(spectrum)) ** random.uniform(0, 1.5), len(t))


def _band(t: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    spectrum = np.fft.rfft(random.standard_normal(len(t)))
    frequency = np.fft.rfftfreq(len(t), 1 / params.SAMPLE_RATE)
    center = np.exp(random.uniform(np.log(150), np.log(7000)))
    width = center * random.uniform(0.02, 0.5)
    return np.fft.irfft(spectrum * np.exp(-(((frequency - center) / width) ** 2)), len(t))


def _clicks(t: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    sound = np.zeros_like(t)
    for start in random.randint(0, len(t), random.randint(1, 30)):
        ringing = np.sin(2 * np.pi * random.uniform(100, 6000) * t[: len(t) - start])
        sound[start:] += random.uniform(0.1, 1) * ringing * np.exp(-t[: len(t) - start] * random.uniform(20, 500))
    return sound


def _mixture(t: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    envelope = 1 + np.sin(2 * np.pi * random.uniform(0.5, 20) * t)
    return envelope * _harmonics(t, random) + random.uniform(0, 1) * _noise(t, random) + _clicks(t, random)


_KINDS: tuple[Callable[[np.ndarray, np.random.RandomState], np.ndarray], ...] = (
    _chirp,
    _harmonics,
    _noise,
    _band,
    _clicks,
    _mixture,
)
