"""Mean and covariance of embeddings, in one pass, in any order, in parts that are merged. No Beam.

Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979): parts keep
sums of squared deviations from their own mean, so that nothing cancels however far the mean lies from zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

WIDTH = 128


@dataclass(frozen=True, eq=False)
class Moments:
    """Count, mean and covariance of a set of vectors.

    Attributes:
      count: how many.
      mean: float64 [d].
      scatter: float64 [d, d], the sum of outer products of the deviations from the mean.
    """

    count: int
    mean: np.ndarray
    scatter: np.ndarray

    @property
    def covariance(self) -> np.ndarray:
        """The unbiased estimate, float64 [d, d]; at least two vectors."""
        return self.scatter / (self.count - 1)

    def __add__(self, other: Moments) -> Moments:
        if not self.count or not other.count:
            return self if self.count else other
        count = self.count + other.count
        shift = other.mean - self.mean
        mean = self.mean + shift * (other.count / count)
        between = np.outer(shift, shift) * (self.count / count * other.count)
        return Moments(count, mean, self.scatter + other.scatter + between)


def nothing(width: int = WIDTH) -> Moments:
    """The moments of no vector."""
    return Moments(0, np.zeros(width), np.zeros((width, width)))


def of(vectors: np.ndarray) -> Moments:
    """Vectors float [k, d] -> their moments, computed in float64.

    Raises:
      ValueError: NaN or infinite values, which would spread over the whole covariance.
    """
    if not len(vectors):
        return nothing(vectors.shape[1])
    vectors = np.asarray(vectors, np.float64)
    if not np.isfinite(vectors).all():
        raise ValueError(f"{int((~np.isfinite(vectors)).any(axis=1).sum())} embeddings hold NaN or infinite values")
    mean = vectors.mean(axis=0)
    deviations = vectors - mean
    return Moments(len(vectors), mean, deviations.T @ deviations)
