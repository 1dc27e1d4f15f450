"""A block of samples at any rate -> a block at 16 kHz: resampy's `kaiser_best` as banks of filters.

resampy reads its filter off a table by linear interpolation. Where the two rates have the ratio up / down, every
`up`-th output sample finds the same weights, so the filter is a bank of `up` fixed filters and resampling a matrix
product over windows of the input. A group of neighbouring outputs shares one window.

Output block b is samples [b * B, (b + 1) * B) of the whole waveform, B being a multiple of `up`: all blocks are
the same products of the same shapes, and a sample's bits depend on its index and on the input around it alone.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from math import lcm

import numpy as np

from vggish_core import params
from vggish_core.features.products import columns, multiply_windows
from vggish_core.features.ratio import Ratio, kaiser_best

MAX_BANK_WEIGHTS = 6_000_000
"""Larger banks (48 MB; rates above 50 kHz that share no factor with 16 kHz) are not built: resampy computes them."""


class _Filter:
    """The table scaled for a ratio, and how it is interpolated: as resampy's `resample_f` does."""

    def __init__(self, ratio: Ratio) -> None:
        table, self.precision = kaiser_best()
        self.ratio = ratio
        self.table = table * ratio.scale
        self.slope = np.diff(self.table, append=self.table[-1])

    def weights(self, fraction: np.ndarray) -> np.ndarray:
        """Positions between two input samples, float64 [p] in [0, 1] -> weights float64 [p, 2 * reach].

        Column i weighs input sample n - reach + 1 + i of an output at n + fraction.
        """
        left = self.ratio.scale * fraction
        return np.concatenate([self._wing(left)[:, ::-1], self._wing(self.ratio.scale - left)], axis=1)

    def _wing(self, distance: np.ndarray) -> np.ndarray:
        """Weights [p, reach] at `distance`, and on in steps of the truncated `index_step`."""
        index = distance * self.precision
        offset = index.astype(np.int64)
        tap = np.arange(self.ratio.reach)
        inside = tap < ((len(self.table) - offset) // self.ratio.index_step)[:, np.newaxis]
        points = np.where(inside, offset[:, np.newaxis] + self.ratio.index_step * tap, 0)
        weights = self.table[points] + (index - offset)[:, np.newaxis] * self.slope[points]
        return np.where(inside, weights, 0.0)


class FilterBank:
    """Filters of one ratio, grouped; computes output blocks of the ratio.

    Attributes:
      input: samples of the window of a block, from `Ratio.window_start` on.
    """

    def __init__(self, ratio: Ratio, dtype: np.dtype) -> None:
        up, down = ratio.up, ratio.down
        group = columns(dtype)
        self.width = 2 * ratio.reach + -(-(group - 1) * down // up)
        self.row = lcm(up, group)
        self.row_input = self.row * down // up
        firsts = range(0, self.row, group)
        self.starts = np.array([1 + first * down // up for first in firsts], np.int64)
        self.input = (ratio.block // self.row - 1) * self.row_input + int(self.starts[-1]) + self.width
        filter_ = _Filter(ratio)
        self.groups = np.stack([self._group(filter_, first, group) for first in firsts]).astype(dtype)

    @staticmethod
    def fits(ratio: Ratio) -> bool:
        """Whether the bank is small enough to be built."""
        group = columns(np.dtype(np.float64))
        return lcm(ratio.up, group) * (2 * ratio.reach + group * ratio.down // ratio.up) <= MAX_BANK_WEIGHTS

    def _group(self, filter_: _Filter, first: int, size: int) -> np.ndarray:
        """Weights [width, size] of output samples [first, first + size) over their common window."""
        up, down = filter_.ratio.up, filter_.ratio.down
        position = np.arange(first, first + size) * down
        weights = filter_.weights((position % up) / up)
        group = np.zeros((self.width, size))
        for column, start in enumerate(position // up - position[0] // up):
            group[start : start + weights.shape[1], column] = weights[column]
        return group

    def compute(self, window: np.ndarray, block: int, out: np.ndarray) -> None:
        """Window [input] of an output block -> `out` [block], which is written."""
        multiply_windows(window, self.starts, self.row_input, self.groups, out.reshape(-1, self.row))


class FilterBankOfRoundedClock(FilterBank):
    """A bank for the ratios at which resampy's clock, a rounded product, falls just short of whole positions.

    resampy then takes the input sample before and a fraction of almost 1 in place of a fraction of 0. Where it
    truncates its step through the table, that is another filter, some 1e-4 away.
    """

    def __init__(self, ratio: Ratio, dtype: np.dtype) -> None:
        super().__init__(ratio, dtype)
        self.ratio = ratio
        weights = _Filter(ratio).weights(np.ones(1))[0]
        self.early = np.zeros((1, len(weights), columns(dtype)), dtype)
        self.early[0, :, 0] = weights

    @staticmethod
    def needed(ratio: Ratio) -> bool:
        """Whether the clock's increment is rounded down."""
        return Fraction(_clock_increment(ratio)) < Fraction(ratio.down, ratio.up)

    def compute(self, window: np.ndarray, block: int, out: np.ndarray) -> None:
        super().compute(window, block, out)
        up, down = self.ratio.up, self.ratio.down
        whole = np.arange(len(out) // up) + block * (len(out) // up)
        early = np.flatnonzero((whole * up * _clock_increment(self.ratio)).astype(np.int64) < whole * down)
        if len(early):
            products = np.empty((len(early), columns(out.dtype)), out.dtype)
            multiply_windows(window, early * down, 0, self.early, products.reshape(1, -1))
            out[early * up] = products[:, 0]


class Resampy:
    """resampy itself on the grid of blocks, for ratios whose bank would be too large."""

    def __init__(self, ratio: Ratio) -> None:
        self.ratio = ratio
        self.filter = _Filter(ratio)
        self.input = (ratio.block - 1) * ratio.down // ratio.up + 2 * ratio.reach + 2

    def compute(self, window: np.ndarray, block: int, out: np.ndarray) -> None:
        """Window [input] of an output block -> `out` [block], which is written."""
        from resampy.interpn import resample_f_s

        ratio = self.ratio
        clock = (np.arange(ratio.block) + block * ratio.block) * _clock_increment(ratio)
        result = np.zeros(ratio.block)
        resample_f_s(
            window.astype(np.float64),
            clock - ratio.window_start(block),
            self.filter.table,
            self.filter.slope,
            self.filter.precision,
            ratio.scale,
            result,
        )
        out[:] = result


def _clock_increment(ratio: Ratio) -> float:
    """Input samples from one output sample to the next, rounded as resampy does."""
    return 1.0 / (float(params.SAMPLE_RATE) / ratio.rate_hz)


@lru_cache(maxsize=8)
def kernel(rate_hz: int, dtype: str) -> FilterBank | Resampy:
    """The filter bank for this rate and type; cached, because the files of a corpus share a few rates."""
    ratio = Ratio(rate_hz)
    if not FilterBank.fits(ratio):
        return Resampy(ratio)
    bank = FilterBankOfRoundedClock if FilterBankOfRoundedClock.needed(ratio) else FilterBank
    return bank(ratio, np.dtype(dtype))
