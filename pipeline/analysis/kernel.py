"""Kernel Audio Distance: the squared maximum mean discrepancy of embeddings, without assuming a distribution.

Chung et al., "KAD: No More FAD!" (2025): the unbiased estimate with a Gaussian kernel exp(−‖x − y‖² / 2σ²), σ the
median distance between embeddings of the reference, times a scale. It may be below 0 for sets that do not differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.analysis.frechet import DistanceError

SCALE = 100.0
"""The factor of `kadtk` 1.1.0, the authors' program."""
ROWS = 1024
"""Of a block of distances: 40 MB for 5,000 columns of float64."""


@dataclass(frozen=True)
class Kernel:
    """A Kernel Audio Distance.

    Attributes:
      value: MMD², unbiased, times `SCALE`.
      bandwidth: σ.
      frames: how many embeddings of the reference and of the other it is from.
    """

    value: float
    bandwidth: float
    frames: tuple[int, int]


def kernel_distance(reference: np.ndarray, other: np.ndarray) -> Kernel:
    """Embeddings float [m, d] and [n, d] -> their Kernel Audio Distance.

    Raises:
      DistanceError: fewer than two embeddings of one, or a reference in which half of all pairs are equal.
    """
    m, n = len(reference), len(other)
    if min(m, n) < 2:
        raise DistanceError(f"a kernel distance needs at least two embeddings, one set has {min(m, n)}", "Use more")
    bandwidth = median_distance(reference)
    if not bandwidth:
        raise DistanceError("most embeddings of the reference are equal: the kernel has no width", "Use varied audio")
    within = (_mean(reference, reference, bandwidth), _mean(other, other, bandwidth))
    # A vector's kernel with itself is 1, and is left out of the unbiased estimate.
    unbiased = (within[0] * m - 1) / (m - 1) + (within[1] * n - 1) / (n - 1)
    return Kernel(SCALE * (unbiased - 2 * _mean(reference, other, bandwidth)), bandwidth, (m, n))


def median_distance(vectors: np.ndarray) -> float:
    """Vectors float [n, d] -> the median of the distances between two of them, the lower one of an even number."""
    columns = np.arange(len(vectors))
    vectors = vectors - vectors.mean(axis=0, dtype=np.float64)
    parts, begin = [], 0
    for block in _squares(vectors, vectors):
        rows = np.arange(begin, begin + len(block))
        parts.append(block[columns > rows[:, np.newaxis]])
        begin += len(block)
    squares = np.concatenate(parts)
    middle = (len(squares) - 1) // 2
    found = float(np.partition(squares, middle)[middle])
    rounding = 1e-13 * float((vectors**2).sum(axis=1).max())
    return float(np.sqrt(found)) if found > rounding else 0.0


def _mean(a: np.ndarray, b: np.ndarray, bandwidth: float) -> float:
    """The kernel's mean over all pairs of a and b."""
    total = sum(float(np.exp(block / (-2 * bandwidth**2)).sum()) for block in _squares(a, b))
    return total / (len(a) * len(b))


def _squares(a: np.ndarray, b: np.ndarray) -> Iterator[np.ndarray]:
    """Vectors -> squared distances of each of a, some at a time, from each of b: float64 [k, len(b)]."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    lengths = (b**2).sum(axis=1)
    for begin in range(0, len(a), ROWS):
        rows = a[begin : begin + ROWS]
        found = (rows**2).sum(axis=1)[:, np.newaxis] + lengths - 2 * rows @ b.T
        yield np.maximum(found, 0.0)
