"""Mean and covariance of embeddings as a Beam combiner: in one pass, in any order, in parts that are merged.

Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979): parts keep
sums of squared deviations from their own mean, so that nothing cancels however far the mean lies from zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import apache_beam as beam
import numpy as np

from pipeline.output.matching import frames
from pipeline.output.records import RecordError, expect_finite, parse_placed
from pipeline.types import ShardEntry

WIDTH = 128
ROWS_OF_A_BLOCK = 4096
"""Embeddings that are summed in one matrix product: 2 MB of float32."""


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


class CombineMoments(beam.CombineFn):
    """Blocks of vectors float [k, d] -> the `Moments` of all of them."""

    def __init__(self, width: int = WIDTH) -> None:
        self._width = width

    def create_accumulator(self) -> Moments:
        return nothing(self._width)

    def add_input(self, mutable_accumulator: Moments, element: np.ndarray) -> Moments:
        return mutable_accumulator + of(element)

    def merge_accumulators(self, accumulators: Iterable[Moments]) -> Moments:
        return sum(accumulators, nothing(self._width))

    def extract_output(self, accumulator: Moments) -> Moments:
        return accumulator


def blocks(uri: str, promised: ShardEntry | None = None) -> Iterator[np.ndarray]:
    """A TFRecord file of float embeddings -> float32 [k, 128], up to `ROWS_OF_A_BLOCK` rows each and a record's more.

    Raises:
      RecordError: a damaged record, or a quantized one.
      IncompleteError: the file is another than `promised`.
    """
    waiting: list[np.ndarray] = []
    rows = 0
    for place, data in frames(uri, promised):
        record = parse_placed(data, place)
        if not len(record.values):
            continue
        expect_finite(record, place)
        if record.values.dtype != np.float32:
            raise RecordError(f"{place} ({record.id}) holds quantized embeddings; a PCA is fitted to raw ones")
        waiting.append(record.values)
        rows += len(record.values)
        if rows >= ROWS_OF_A_BLOCK:
            yield np.concatenate(waiting)
            waiting, rows = [], 0
    if waiting:
        yield np.concatenate(waiting)
