"""A block of samples at any rate -> a block at 16 kHz: resampy's `kaiser_best` as banks of filters.

resampy reads its filter off a table by linear interpolation. Where the two rates have the ratio up / down, every
`up`-th output sample finds the same weights, so the filter is a bank of `up` fixed filters and resampling a matrix
product over windows of the input. A group of neighbouring outputs shares one window; the rows of a product are windows
so far apart that they do not overlap, so that BLAS takes them where they lie, without a copy.

Output block b is samples [b * B, (b + 1) * B) of the whole waveform, B being a multiple of `up`: all blocks are
the same products of the same shapes, and a sample's bits depend on its index and on the input around it alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from importlib.util import find_spec
from math import gcd, lcm
from pathlib import Path

import numpy as np

from vggish_core import params

GROUP = 16
"""Output samples that share a window: measured; 32 is as fast for some rates, 8 and 64 for none."""
BLOCK_SAMPLES = (15_360, 16_000)
"""Output samples of a block: the first that `up`, a divisor of 16,000, divides. The first is 96 log-mel frames long."""
MAX_BANK_WEIGHTS = 6_000_000
"""Larger banks (48 MB; rates above 50 kHz that share no factor with 16 kHz) are not built: resampy computes them."""
MAX_PRODUCT = 1_000_000
"""Multiplications of a product of matrices up to which OpenBLAS takes its path for small matrices, 1.5 times faster."""


@lru_cache(maxsize=1)
def _kaiser_best() -> tuple[np.ndarray, int]:
    """resampy's table: (right half of the filter float64, points of the table from one zero crossing to the next)."""
    # The file itself: importing resampy imports numba, which takes a second.
    spec = find_spec("resampy")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("resampy is not installed: its filter table is needed (pip install resampy)")
    with np.load(Path(spec.origin).parent / "data" / "kaiser_best.npz") as data:
        return data["half_window"].astype(np.float64), int(data["precision"])


@dataclass(frozen=True)
class Ratio:
    """The geometry of resampling from `rate_hz` to 16 kHz: pure functions of positions.

    Attributes:
      rate_hz: of the input, a whole number from 1,000 to 400,000.
    """

    rate_hz: int

    def __post_init__(self) -> None:
        low, high = params.MIN_SAMPLE_RATE, params.MAX_SAMPLE_RATE
        if not isinstance(self.rate_hz, int) or not low <= self.rate_hz <= high:
            raise ValueError(f"sample rate {self.rate_hz!r} Hz: it must be a whole number from {low} to {high}")

    @cached_property
    def up(self) -> int:
        """Output samples of a period, after which the filters repeat."""
        return params.SAMPLE_RATE // gcd(params.SAMPLE_RATE, self.rate_hz)

    @cached_property
    def down(self) -> int:
        """Input samples of a period."""
        return self.rate_hz // gcd(params.SAMPLE_RATE, self.rate_hz)

    @cached_property
    def block(self) -> int:
        """Output samples of a block, a multiple of `up`."""
        return next(size for size in BLOCK_SAMPLES if size % self.up == 0)

    @cached_property
    def scale(self) -> float:
        """Width of the filter's zero crossings in the table, relative to an upsampling's."""
        return min(1.0, float(params.SAMPLE_RATE) / self.rate_hz)

    @cached_property
    def index_step(self) -> int:
        """Points of the table from one input sample to the next; resampy truncates it to a whole number."""
        return int(self.scale * _kaiser_best()[1])

    @cached_property
    def block_input(self) -> int:
        """Input samples from one block's start to the next."""
        return self.block // self.up * self.down

    @cached_property
    def reach(self) -> int:
        """Input samples that an output sample at position n.frac looks at: [n - reach + 1, n + reach]."""
        return len(_kaiser_best()[0]) // self.index_step

    def output_length(self, num_samples: int) -> int:
        """Output samples that so many input samples give; resampy's formula."""
        return int(num_samples * float(params.SAMPLE_RATE) / float(self.rate_hz))

    def input_start(self, block: int) -> int:
        """The first input sample that an output block looks at."""
        return max(0, self.window_start(block))

    def input_stop(self, output_stop: int) -> int:
        """The end of the input samples that output samples [0, output_stop) look at."""
        if output_stop <= 0:
            return 0
        if self.up == self.down:
            return output_stop
        return (output_stop - 1) * self.down // self.up + self.reach + 1

    def window_start(self, block: int) -> int:
        """Where an output block's window starts; before sample 0 there are zeros."""
        if self.up == self.down:
            return block * self.block
        # One more than the filters reach, for those that are applied a sample early (FilterBankOfRoundedClock).
        return block * self.block_input - self.reach


class _Filter:
    """The table scaled for a ratio, and how it is interpolated: as resampy's `resample_f` does."""

    def __init__(self, ratio: Ratio) -> None:
        table, self.precision = _kaiser_best()
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
        self.width = 2 * ratio.reach + -(-(GROUP - 1) * down // up)
        self.row = self._row(ratio)
        self.row_input = self.row * down // up
        self.rows = ratio.block // self.row
        self.starts = [1 + first * down // up for first in range(0, self.row, GROUP)]
        self.input = (self.rows - 1) * self.row_input + self.starts[-1] + self.width
        filter_ = _Filter(ratio)
        distinct = lcm(up, GROUP) // GROUP
        self.groups = [self._group(filter_, g * GROUP).astype(dtype) for g in range(distinct)]

    @staticmethod
    def fits(ratio: Ratio) -> bool:
        """Whether the bank is small enough to be built."""
        return lcm(ratio.up, GROUP) * (2 * ratio.reach + GROUP * ratio.down // ratio.up) <= MAX_BANK_WEIGHTS

    def _row(self, ratio: Ratio) -> int:
        """Output samples of a row: whole periods and groups; windows of rows do not overlap; products are small."""
        period = lcm(ratio.up, GROUP)
        for row in range(period, ratio.block, period):
            apart = row * ratio.down // ratio.up >= self.width
            small = ratio.block // row * GROUP * self.width <= MAX_PRODUCT
            if ratio.block % row == 0 and apart and small:
                return row
        return ratio.block

    def _group(self, filter_: _Filter, first: int) -> np.ndarray:
        """Weights [width, GROUP] of output samples [first, first + GROUP) over their common window."""
        up, down = filter_.ratio.up, filter_.ratio.down
        position = np.arange(first, first + GROUP) * down
        weights = filter_.weights((position % up) / up)
        group = np.zeros((self.width, GROUP))
        for column, start in enumerate(position // up - position[0] // up):
            group[start : start + weights.shape[1], column] = weights[column]
        return group

    def compute(self, window: np.ndarray, block: int, out: np.ndarray) -> None:
        """Window [input] of an output block -> `out` [block], which is written."""
        rows = out.reshape(self.rows, self.row)
        for g, start in enumerate(self.starts):
            windows = _windows(window, start, (self.rows, self.width), self.row_input)
            np.matmul(windows, self.groups[g % len(self.groups)], out=rows[:, g * GROUP : (g + 1) * GROUP])


class FilterBankOfRoundedClock(FilterBank):
    """A bank for the ratios at which resampy's clock, a rounded product, falls just short of whole positions.

    resampy then takes the input sample before and a fraction of almost 1 in place of a fraction of 0. Where it
    truncates its step through the table, that is another filter, some 1e-4 away.
    """

    def __init__(self, ratio: Ratio, dtype: np.dtype) -> None:
        super().__init__(ratio, dtype)
        self.ratio = ratio
        self.early = _Filter(ratio).weights(np.ones(1))[0].astype(dtype)

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
            windows = _windows(window, 0, (len(whole), len(self.early)), down)
            out[early * up] = windows[early] @ self.early


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


def _windows(samples: np.ndarray, start: int, shape: tuple[int, int], apart: int) -> np.ndarray:
    """Contiguous samples [n] -> a view [rows, width]: a window a row, the first from `start`, each `apart` further on.

    The constructor itself: `as_strided` does the same ten times as slowly, and does not check the bounds.
    """
    step = samples.itemsize
    return np.ndarray(shape, samples.dtype, samples, start * step, (apart * step, step))


def _clock_increment(ratio: Ratio) -> float:
    """Input samples from one output sample to the next, rounded as resampy does."""
    return 1.0 / (float(params.SAMPLE_RATE) / ratio.rate_hz)


@lru_cache(maxsize=8)
def kernel(rate_hz: int, dtype: str) -> FilterBank | Resampy:
    """What computes blocks at this rate in this type; kept, for the files of a corpus share a few rates."""
    ratio = Ratio(rate_hz)
    if not FilterBank.fits(ratio):
        return Resampy(ratio)
    bank = FilterBankOfRoundedClock if FilterBankOfRoundedClock.needed(ratio) else FilterBank
    return bank(ratio, np.dtype(dtype))
