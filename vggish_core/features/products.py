"""The front end's products as compiled loops: filters of a resampler, mel bands, and the projection of embeddings.

A library for matrices chooses the order of a sum by the processor, so that the last bit of a result, and once in a
while a byte of an embedding, would differ from machine to machine. Here the order is fixed; `docs/records.md` says what
that promises.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from vggish_core.codegen.arrays import addresses
from vggish_core.features.tiling import CACHE_LINE, FRAMES

if TYPE_CHECKING:
    from vggish_core.codegen.machine_code import Functions

MOST_LANES = 8
"""float64 values in the widest vectors."""


def columns(dtype: np.dtype) -> int:
    """Columns of a product's right factor: those of a cache line, a whole number of vectors on every processor."""
    return CACHE_LINE // dtype.itemsize


def multiply_windows(samples: np.ndarray, starts: np.ndarray, apart: int, factors: np.ndarray, out: np.ndarray) -> None:
    """out[r, c g : c g + c] = samples[starts[g] + r * apart :][: depth] @ factors[g % count], c being `columns`.

    Args:
      samples: float32 or float64 [n], contiguous, of the type of the others; every window lies within.
      starts: int64 [groups].
      apart: values from a row's window to the next row's.
      factors: [count, depth, c], contiguous.
      out: [rows, c * groups], contiguous; written.

    Raises:
      ValueError: a window that does not lie within the samples, or arrays that do not fit together.
    """
    rows, groups = len(out), len(starts)
    count, depth, width = factors.shape
    stop = int(starts.max()) + (rows - 1) * apart + depth if rows and groups else 0
    kinds = {samples.dtype, factors.dtype, out.dtype}
    laid_out = all(array.flags.c_contiguous for array in (samples, starts, factors, out))
    if width != columns(out.dtype) or out.shape[1] != width * groups or len(kinds) > 1 or not laid_out:
        raise ValueError(f"{samples.dtype} {samples.shape} by {factors.dtype} {factors.shape} to {out.shape}")
    if starts.dtype != np.int64 or (groups and starts.min() < 0) or stop > len(samples):
        raise ValueError(f"windows end at {stop} of {len(samples)} samples")
    if not rows:
        return
    multiply = loops()[f"multiply_windows_{samples.dtype}"]
    pointers = addresses(samples, starts, factors, out)
    multiply(*pointers, groups, rows, apart, count, depth)


class MelBands:
    """Spectra of 96 frames -> the frames' mel bands: magnitudes, rounded to float32, and their weighted sums.

    It is computed in the caller's arrays, so that threads may share it.

    Args:
      matrix: weights float32 [bins, bands]; those of a band that are not zero lie side by side.

    Attributes:
      bins: magnitudes that are computed of a frame.
      bands: that come out.
    """

    def __init__(self, matrix: np.ndarray) -> None:
        used = matrix != 0
        first = used.argmax(axis=0)
        stop = len(matrix) - used[::-1].argmax(axis=0)
        # Magnitudes are computed for whole vectors of bins, if need be for some below the first that counts.
        self.bins = -(-int(stop.max() - first.min()) // MOST_LANES) * MOST_LANES
        self.bands = matrix.shape[1]
        self._first = max(0, int(stop.max()) - self.bins)
        spans = zip(first, stop, strict=True)
        self._weights = np.concatenate([matrix[start:end, band] for band, (start, end) in enumerate(spans)])
        lengths = stop - first
        self._table = np.stack([first - self._first, lengths, np.cumsum(lengths) - lengths], axis=1).astype(np.int64)
        self._compute = loops()["mel_bands"]

    def compute(self, spectra: np.ndarray, magnitudes: np.ndarray, sums: np.ndarray) -> None:
        """Spectra complex128 [k, bins], k <= 96 -> `magnitudes` float32 [self.bins, 96], `sums` float32 [bands, 96].

        All arrays are contiguous; k columns count.

        Raises:
          ValueError: an array of another shape, type or layout.
        """
        rows, bins = spectra.shape
        fits = rows <= FRAMES and bins >= self._first + self.bins and spectra.dtype == np.complex128
        for array, height in ((magnitudes, self.bins), (sums, self.bands)):
            fits = fits and array.dtype == np.float32 and array.shape == (height, FRAMES)
        if not fits or not all(array.flags.c_contiguous for array in (spectra, magnitudes, sums)):
            raise ValueError(f"{spectra.dtype} {spectra.shape} to {magnitudes.shape} and {sums.shape}")
        where = addresses(spectra[:, self._first :], magnitudes, self._table, self._weights, sums)
        self._compute(*where, rows, 2 * bins, self.bins, self.bands)


@lru_cache(maxsize=1)
def loops() -> Functions:
    """The compiled loops by name; the first call ever compiles them, in a tenth of a second."""
    from vggish_core.codegen.registers import register_tile
    from vggish_core.features.front_end_loops import compiled_for

    return compiled_for(register_tile())
