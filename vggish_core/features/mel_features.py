"""16 kHz samples -> log-mel frames float32 [t, 64], in blocks of 96 frames on a grid that starts at sample 0.

The features of the original code's `mel_features.py` in blocks: windows of 25 ms every 10 ms under a periodic Hann
window, magnitude of a 512-point Fourier transform, 64 triangular mel bands, log(mel + 0.01). Every call of the
transform and of the mel product has the same shape, so that a frame's bits depend on its samples alone
(docs/design.md, "The absolute grid").

The transform is taken in float64: a loud tone's rounding errors in float32, 1e-5 of its magnitude in every bin, show
beside the 0.01 under the logarithm (5e-4 on a chirp, where float64 gives 1e-6). What follows it is float32.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from vggish_core import params
from vggish_core.features.products import FRAMES, MelBands
from vggish_core.features.waveforms import SampleBuffer

FRAMES_PER_BLOCK = FRAMES
"""Frames that are computed in one call."""
BLOCK_HOP_SAMPLES = FRAMES_PER_BLOCK * params.STFT_HOP_SAMPLES
"""Samples at 16 kHz from one block's start to the next."""
BLOCK_SAMPLES = (FRAMES_PER_BLOCK - 1) * params.STFT_HOP_SAMPLES + params.STFT_WINDOW_SAMPLES
"""Samples at 16 kHz that a block looks at."""


def num_frames(num_samples: int) -> int:
    """Frames in so many samples at 16 kHz: only whole windows count, nothing is padded."""
    if num_samples < params.STFT_WINDOW_SAMPLES:
        return 0
    return 1 + (num_samples - params.STFT_WINDOW_SAMPLES) // params.STFT_HOP_SAMPLES


def hertz_to_mel(frequencies_hz: np.ndarray | float) -> np.ndarray:
    """Frequencies in Hz -> mels on the scale 1127 ln(1 + f / 700), float64 of the same shape."""
    frequencies = np.asarray(frequencies_hz, np.float64)
    return params.MEL_HIGH_FREQUENCY_Q * np.log(1.0 + frequencies / params.MEL_BREAK_FREQUENCY_HZ)


def periodic_hann(window_length: int) -> np.ndarray:
    """Hann window float64 [window_length] whose period is its length: the first point is 0, the last is not."""
    return 0.5 - 0.5 * np.cos(2 * np.pi / window_length * np.arange(window_length))


def spectrogram_to_mel_matrix() -> np.ndarray:
    """Matrix float64 [257, 64] that a magnitude spectrogram is multiplied with to give mel bands.

    Triangles whose corners are equally far apart in mels between MEL_MIN_HZ and MEL_MAX_HZ, straight lines in mels (not
    in Hz), peaks of 1; the bin at 0 Hz counts in no band. As in the original code (after HTK).
    """
    bins = hertz_to_mel(np.linspace(0.0, params.SAMPLE_RATE / 2.0, params.NUM_SPECTROGRAM_BINS))[:, np.newaxis]
    low, high = hertz_to_mel(params.MEL_MIN_HZ), hertz_to_mel(params.MEL_MAX_HZ)
    corners = np.linspace(low, high, params.NUM_MEL_BINS + 2)
    lower, center, upper = corners[:-2], corners[1:-1], corners[2:]
    rising = (bins - lower) / (center - lower)
    falling = (upper - bins) / (upper - center)
    matrix = np.maximum(0.0, np.minimum(rising, falling))
    matrix[0] = 0.0
    return matrix


@lru_cache(maxsize=1)
def _tables() -> tuple[np.ndarray, MelBands]:
    return periodic_hann(params.STFT_WINDOW_SAMPLES), MelBands(spectrogram_to_mel_matrix().astype(np.float32))


class LogMel:
    """Streaming log-mel: 16 kHz samples in blocks of any size -> log-mel frames.

    The first sample pushed must lie on the grid: it is sample `j * BLOCK_HOP_SAMPLES` of the waveform for some j >= 0,
    and the first frame that comes out is then frame `j * FRAMES_PER_BLOCK`.
    """

    def __init__(self) -> None:
        self._hann, self._bands = _tables()
        self._buffer = SampleBuffer(np.float64)
        # The transform's input: windows are written left, the zeros to the right of them stay.
        self._windows = np.zeros((FRAMES_PER_BLOCK, params.FFT_LENGTH))
        self._spectrum = np.empty((FRAMES_PER_BLOCK, params.NUM_SPECTROGRAM_BINS), np.complex128)
        self._magnitudes = np.zeros((self._bands.bins, FRAMES_PER_BLOCK), np.float32)
        self._sums = np.empty((self._bands.bands, FRAMES_PER_BLOCK), np.float32)

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Samples [n] -> the frames float32 [k * 96, 64] of the blocks that they complete."""
        self._buffer.extend(len(samples))[:] = samples
        return self._compute(max(0, (len(self._buffer) - BLOCK_SAMPLES) // BLOCK_HOP_SAMPLES + 1))

    def finish(self) -> np.ndarray:
        """The waveform is complete -> the frames float32 [k, 64], k < 96, that are left."""
        left = num_frames(len(self._buffer))
        if left:
            self._buffer.extend(BLOCK_SAMPLES - len(self._buffer))[:] = 0.0
        return self._compute(1 if left else 0, left)[:left]

    def _compute(self, blocks: int, rows: int = FRAMES_PER_BLOCK) -> np.ndarray:
        """The frames of the next blocks, of which the first `rows` count: others are multiplied, not transformed."""
        frames = np.empty((blocks * FRAMES_PER_BLOCK, params.NUM_BANDS), np.float32)
        for of_block in frames.reshape(blocks, FRAMES_PER_BLOCK, params.NUM_BANDS):
            windows, spectrum = self._windows[:rows], self._spectrum[:rows]
            np.multiply(self._frame()[:rows], self._hann, out=windows[:, : params.STFT_WINDOW_SAMPLES])
            np.fft.rfft(windows, axis=-1, out=spectrum)
            self._bands.compute(spectrum, self._magnitudes, self._sums)
            of_block[:] = self._sums.T
            self._buffer.drop(BLOCK_HOP_SAMPLES)
        frames += np.float32(params.LOG_OFFSET)
        return np.log(frames, out=frames)

    def _frame(self) -> np.ndarray:
        """The 96 overlapping windows [96, 400] of the block that the buffer begins with."""
        samples = self._buffer.view()
        step = samples.itemsize
        shape = (FRAMES_PER_BLOCK, params.STFT_WINDOW_SAMPLES)
        return np.ndarray(shape, samples.dtype, samples, strides=(params.STFT_HOP_SAMPLES * step, step))


def log_mel_spectrogram(samples: np.ndarray) -> np.ndarray:
    """Waveform [n] at 16 kHz in [-1, 1] -> log-mel frames float32 [num_frames(n), 64]."""
    log_mel = LogMel()
    return np.concatenate([log_mel.push(np.asarray(samples)), log_mel.finish()])
