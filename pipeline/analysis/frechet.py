"""The Fréchet distance between embeddings taken for normal, and its extrapolation to infinite samples.

d = ‖μ₁ − μ₂‖² + tr Σ₁ + tr Σ₂ − 2 tr (Σ₁^½ Σ₂ Σ₁^½)^½, squared as in Kilgour et al., "Fréchet Audio Distance" (2019).
With roots AᵀA = Σ₁ and BᵀB = Σ₂, the last trace is the sum of the singular values of A Bᵀ: no root is taken of a
product's eigenvalues, which would make 1e-16 of rounding 1e-8, and nothing is inverted or complex.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.analysis.moments import Moments
from pipeline.errors import UserError

LEVEL = 0.95
"""Of intervals."""


class DistanceError(UserError):
    """A distance cannot be computed of what there is."""


@dataclass(frozen=True, eq=False)
class Gaussian:
    """A normal distribution.

    Attributes:
      mean: float64 [d].
      root: float64 [r, d], root.T @ root is the covariance.
    """

    mean: np.ndarray
    root: np.ndarray

    @property
    def trace(self) -> float:
        """Of the covariance."""
        return float((self.root**2).sum())


def fitted(moments: Moments) -> Gaussian:
    """Moments of at least two vectors -> the normal distribution with their mean and unbiased covariance.

    Eigenvalues below rounding (d · 2.2e-16 of the largest) become 0: exact where fewer vectors than dimensions, or
    dimensions that depend on others, make the covariance singular.

    Raises:
      DistanceError: fewer than two vectors.
    """
    if moments.count < 2:
        raise DistanceError(
            f"a covariance needs at least two embeddings, there {'is' if moments.count else 'are'} {moments.count}",
            "Use more audio: an embedding is of 0.96 s",
        )
    values, vectors = np.linalg.eigh(moments.covariance)
    kept = values > max(values[-1], 0.0) * len(values) * np.finfo(np.float64).eps
    return Gaussian(moments.mean, np.sqrt(values[kept])[:, np.newaxis] * vectors[:, kept].T)


def fitted_to(vectors: np.ndarray) -> Gaussian:
    """Vectors float [k, d], k >= 2 -> as `fitted`, of a few vectors: their deviations are the root."""
    vectors = np.asarray(vectors, np.float64)
    mean = vectors.mean(axis=0)
    return Gaussian(mean, (vectors - mean) / np.sqrt(len(vectors) - 1))


def distance(a: Gaussian, b: Gaussian) -> float:
    """The Fréchet distance, squared; symmetric, and 0 for the same distribution, up to 1e-13 of the traces."""
    shift = a.mean - b.mean
    cross = np.linalg.svd(a.root @ b.root.T, compute_uv=False).sum() if a.root.size and b.root.size else 0.0
    return float(shift @ shift + a.trace + b.trace - 2 * cross)


@dataclass(frozen=True)
class Interval:
    """An interval about a distance, by the bootstrap.

    Attributes:
      low, high: its ends.
      level: the share of samples of these sizes whose distance it is meant to hold.
      replicates: how many resamples it is from.
      standard_error: the deviation of their distances.
    """

    low: float
    high: float
    level: float
    replicates: int
    standard_error: float


def interval(found: float, replicates: Sequence[float], level: float = LEVEL) -> Interval:
    """A distance and those of resamples -> the interval of what samples of these sizes give.

    A resample holds fewer different clips than the sample, so its distance is too large as a small sample's is; their
    mean is therefore moved to the distance that was found. What is left of the same fault in that distance is for
    `extrapolated`.
    """
    values = np.asarray(replicates) - np.mean(replicates) + found
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    error = float(np.std(values, ddof=1))
    return Interval(float(low), float(high), level, len(values), error)


@dataclass(frozen=True)
class Extrapolation:
    """A distance at infinite sample size: a line through distances over 1/n, at 0.

    Attributes:
      value: of the line at 1/n = 0.
      slope: of the line.
      r2: the share of the distances' variance that the line explains; 1 where they do not vary.
      points: (n, distance) pairs that it was fitted to.
    """

    value: float
    slope: float
    r2: float
    points: tuple[tuple[int, float], ...]


def extrapolated(points: Sequence[tuple[int, float]]) -> Extrapolation:
    """Sample sizes and their distances, at least two different sizes -> the line through them over 1/n.

    Gui et al., "Adapting Frechet Audio Distance for Generative Music Evaluation" (2024).
    Subsets are to be drawn without replacement: what is drawn with it tends to the sample at hand, not to what that is
    a sample of.
    """
    sizes, distances = np.asarray(points, np.float64).T
    slope, value = np.polyfit(1 / sizes, distances, 1)
    residual = ((distances - slope / sizes - value) ** 2).sum()
    total = ((distances - distances.mean()) ** 2).sum()
    r2 = 1 - residual / total if total else 1.0
    return Extrapolation(float(value), float(slope), float(r2), tuple((int(n), float(d)) for n, d in points))
