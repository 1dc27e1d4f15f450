"""Samples in memory: scaled to [-1, 1], channels averaged, and kept until a block is complete."""

from __future__ import annotations

from typing import Any

import numpy as np


def mix_down(samples: np.ndarray, out: np.ndarray) -> None:
    """Samples [n] or [n, channels] -> `out` float [n]: the mean of the channels in [-1, 1].

    Floating samples are taken as they are. Integers are scaled by their type: int16 by 1 / 32768, int32 by 1 / 2**31,
    unsigned types around their middle. Means are taken in float64, as the original code does.

    Raises:
      ValueError: samples of another shape, without channels, or complex, boolean or other than numbers.
    """
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and samples.shape[1] == 0):
        raise ValueError(f"samples of shape {samples.shape}: they must be [n] or [n, channels]")
    if samples.dtype.kind not in "fiu":
        raise ValueError(f"samples of type {samples.dtype}: they must be floating or integer")
    if samples.ndim == 1 or samples.shape[1] == 1:
        out[:] = samples.reshape(-1)
    elif samples.shape[1] == 2 and samples.dtype == np.int16 and samples.flags.c_contiguous:
        out[:] = _pair_sums(samples)
        out *= 0.5
    elif samples.shape[1] == 2:
        np.add(samples[:, 0], samples[:, 1], out=out, dtype=np.float64, casting="same_kind")
        out *= 0.5
    else:
        np.mean(samples, axis=1, dtype=np.float64, out=out)
    if samples.dtype.kind == "f":
        return
    half = 2.0 ** (8 * samples.dtype.itemsize - 1)
    if samples.dtype.kind == "u":
        out -= half
    out *= 1.0 / half  # exactly, as a power of two


def _pair_sums(samples: np.ndarray) -> np.ndarray:
    """Contiguous int16 [n, 2] -> int32 [n], the sums of the rows.

    A row is taken for one integer of 32 bits, whose halves are shifted out: four operations on contiguous numbers, in
    half the time of one that picks every other number and widens it.
    """
    pairs = samples.view(np.int32)[:, 0]
    sums = pairs << 16
    sums >>= 16
    sums += pairs >> 16
    return sums


class SampleBuffer:
    """Consecutive samples float64 or float32 that wait for a block to be complete.

    Memory is what the largest stretch between `extend` and `drop` needs, twice at most.
    """

    def __init__(self, dtype: Any, zeros: int = 0) -> None:
        """A buffer that holds so many zeros."""
        self._data = np.zeros(zeros, dtype)
        self._start, self._stop = 0, zeros

    def __len__(self) -> int:
        return self._stop - self._start

    def extend(self, count: int) -> np.ndarray:
        """Space for `count` more samples, to be written by the caller."""
        if self._stop + count > len(self._data):
            held = self.view()
            if len(held) + count > len(self._data):
                self._data = np.empty(len(held) + count + len(held), held.dtype)
            self._data[: len(held)] = held
            self._start, self._stop = 0, len(held)
        self._stop += count
        return self._data[self._stop - count : self._stop]

    def view(self) -> np.ndarray:
        """The samples held, valid until the next `extend`."""
        return self._data[self._start : self._stop]

    def drop(self, count: int) -> None:
        """Forget the first `count` samples."""
        self._start += count
