"""Resamples of clips, drawn where the clips are read: sums over a set's clips, weighted by how often each was drawn.

The frames of a clip depend on each other, so clips are drawn, not frames. A resample for the bootstrap has as many
clips as the set: their number would vary if each clip were drawn on its own (by a Poisson variable, say), and with it
the distance, which depends on the size. So a resample's clips are first shared among the files, then a file's among its
clips. Subsets are drawn without replacement: each clip is in with the subset's probability.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.analysis.moments import WIDTH, Moments
from pipeline.output.records import Record

CLIPS_OF_A_BLOCK = 256
"""Clips whose statistics are in memory: 17 MB."""
RESAMPLES_OF_A_SUM = 16
"""Of which a worker's sums travel together: 1 MB."""
_ROWS, _COLUMNS = np.triu_indices(WIDTH)


@dataclass(frozen=True)
class Plan:
    """Resamples of a set; the same for the same files, whatever engine reads them.

    Attributes:
      replicates: how many bootstrap resamples.
      shares: the probability with which each subset has a clip.
      seed: of the draws.
      index: of the set among those compared, whose draws do not depend on each other.
      counts: clips of each of its files.
    """

    replicates: int
    shares: tuple[float, ...]
    seed: int
    index: int
    counts: tuple[int, ...]

    def weights(self, number: int) -> Iterator[np.ndarray]:
        """Of each clip of a file, how often it is in each resample, float64 [replicates + subsets]."""
        clips = sum(self.counts)
        by_file = np.random.default_rng([self.seed, self.index]).multinomial(
            clips, np.divide(self.counts, clips), self.replicates
        )
        rng = np.random.default_rng([self.seed, self.index, number])
        left = by_file[:, number]
        for others in reversed(range(self.counts[number])):
            often = rng.binomial(left, 1 / (others + 1))  # one clip's part of what is left for it and the others
            left = left - often
            yield np.concatenate([often, rng.random(len(self.shares)) < self.shares]).astype(np.float64)


def sums(records: Iterator[Record], plan: Plan, number: int, centre: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Clips -> number of a group of resamples, and its sums float64 [RESAMPLES_OF_A_SUM, s], to be added to others'.

    Args:
      records: all of a file, with `values` float32 [k, 128].
      plan: the resamples.
      number: of the file.
      centre: float64 [128], near the mean, from which deviations are taken so that nothing cancels.
    """
    total = np.zeros((plan.replicates + len(plan.shares), 1 + WIDTH + len(_ROWS)))
    statistics = np.empty((CLIPS_OF_A_BLOCK, total.shape[1]))
    weights = np.empty((CLIPS_OF_A_BLOCK, len(total)))
    held = 0
    for record, weight in zip(records, plan.weights(number), strict=True):
        deviations = record.values - centre
        statistics[held, 0] = len(deviations)
        statistics[held, 1 : 1 + WIDTH] = deviations.sum(axis=0)
        statistics[held, 1 + WIDTH :] = (deviations.T @ deviations)[_ROWS, _COLUMNS]
        weights[held] = weight
        held += 1
        if held == CLIPS_OF_A_BLOCK:
            total += weights.T @ statistics
            held = 0
    total += weights[:held].T @ statistics[:held]
    for begin in range(0, len(total), RESAMPLES_OF_A_SUM):
        yield begin // RESAMPLES_OF_A_SUM, total[begin : begin + RESAMPLES_OF_A_SUM]


def moments_of(sums_of_one: np.ndarray, centre: np.ndarray) -> Moments:
    """A resample's sums [s], and what deviations were taken from -> the moments of its frames."""
    count = round(sums_of_one[0])
    shift = sums_of_one[1 : 1 + WIDTH] / max(count, 1)
    products = np.zeros((WIDTH, WIDTH))
    products[_ROWS, _COLUMNS] = products[_COLUMNS, _ROWS] = sums_of_one[1 + WIDTH :]
    return Moments(count, centre + shift, products - count * np.outer(shift, shift))
