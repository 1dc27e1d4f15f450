"""The geometry of resampling to 16 kHz: which input samples an output sample of `resampy`'s `kaiser_best` looks at."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.util import find_spec
from math import gcd
from pathlib import Path

import numpy as np

from vggish_core import params

BLOCK_SAMPLES = (15_360, 16_000)
"""Output samples of a block: the first that `up`, a divisor of 16,000, divides. The first is 96 log-mel frames long."""


@lru_cache(maxsize=1)
def kaiser_best() -> tuple[np.ndarray, int]:
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
      rate_hz: of the input, a whole number from 1,000 to 1,600,000.
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
        return int(self.scale * kaiser_best()[1])

    @cached_property
    def block_input(self) -> int:
        """Input samples from one block's start to the next."""
        return self.block // self.up * self.down

    @cached_property
    def reach(self) -> int:
        """Input samples that an output sample at position n.frac looks at: [n - reach + 1, n + reach]."""
        return len(kaiser_best()[0]) // self.index_step

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
