"""Samples at any rate, in blocks of any size -> samples at 16 kHz; the numbers of resampy's `kaiser_best`.

Output is computed in blocks of one size on a grid that starts at the waveform's first sample, whatever blocks the input
arrives in and wherever the computation starts (docs/design.md, "The absolute grid"); `filter_bank` computes them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vggish_core.features.filter_bank import kernel
from vggish_core.features.ratio import Ratio
from vggish_core.features.waveforms import SampleBuffer, mix_down


class Resampler:
    """Streaming resampler: mono blocks of any size at `rate_hz` -> 16 kHz blocks.

    Args:
      rate_hz: of the input.
      dtype: of the arithmetic and the output: float64, or float32 in which sums round by up to 1e-6.
      first_block: the output block to start at. The first sample pushed is then sample
        `Ratio(rate_hz).input_start(first_block)` of the waveform, and the first that comes out is sample
        `first_block * Ratio(rate_hz).block`.
    """

    def __init__(self, rate_hz: int, dtype: Any = np.float64, first_block: int = 0) -> None:
        self.ratio = Ratio(int(rate_hz))
        self.dtype = np.dtype(dtype)
        self._identity = self.ratio.up == self.ratio.down
        self._kernel = None if self._identity else kernel(self.ratio.rate_hz, self.dtype.str)
        self._block = first_block
        start = self.ratio.window_start(first_block)
        self._received = max(0, start)
        self._buffer = SampleBuffer(self.dtype, zeros=self._received - start)

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Samples [n], or [n, channels] to be averaged -> the output samples [k] of the blocks that they complete."""
        self._received += len(samples)
        if self._kernel is None:
            mono = np.empty(len(samples), self.dtype)
            mix_down(samples, out=mono)
            return mono
        mix_down(samples, out=self._buffer.extend(len(samples)))
        blocks = max(0, (len(self._buffer) - self._kernel.input) // self.ratio.block_input + 1)
        return self._compute(blocks)

    def finish(self) -> np.ndarray:
        """The input is complete -> the output samples that are left."""
        left = self.ratio.output_length(self._received) - self._block * self.ratio.block
        if self._kernel is None or left <= 0:
            return np.empty(0, self.dtype)
        blocks = -(-left // self.ratio.block)
        size = (blocks - 1) * self.ratio.block_input + self._kernel.input
        self._buffer.extend(max(0, size - len(self._buffer)))[:] = 0.0
        return self._compute(blocks)[:left]

    def _compute(self, blocks: int) -> np.ndarray:
        out = np.empty(blocks * self.ratio.block, self.dtype)
        if self._kernel is None:
            return out
        for of_block in out.reshape(blocks, self.ratio.block):
            self._kernel.compute(self._buffer.view()[: self._kernel.input], self._block, of_block)
            self._buffer.drop(self.ratio.block_input)
            self._block += 1
        return out


def resample(waveform: np.ndarray, rate_hz: int, dtype: Any = np.float64) -> np.ndarray:
    """Mono waveform [n] at `rate_hz` -> waveform [int(n * 16000 / rate_hz)] of `dtype` at 16 kHz."""
    resampler = Resampler(rate_hz, dtype)
    return np.concatenate([resampler.push(np.asarray(waveform)), resampler.finish()])
