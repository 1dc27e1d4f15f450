"""The Beam jobs that read sets of embeddings: each reads every file of some sets once, a file an element."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.analysis import passes, resampling
from pipeline.analysis.frechet import Gaussian
from pipeline.analysis.moments import Moments
from pipeline.analysis.passes import Clip, Summary, Work
from pipeline.analysis.sources import Source
from pipeline.running.engines.runners import Engine

Read = Callable[[Work], Iterator[tuple[tuple[int, ...], Any]]]


@dataclass(frozen=True)
class Jobs:
    """Jobs over some sets.

    Attributes:
      sources: the sets.
      engine: where the jobs run.
      place: URI of a folder that its workers may write to (`pipeline.running.engines.exchange.place`).
    """

    sources: Sequence[Source]
    engine: Engine
    place: str

    def summaries(self, most: int, seed: int) -> list[Summary]:
        """A summary of each set, with a sample of at most so many frames."""

        def read(work: Work) -> Iterator[tuple[tuple[int, ...], Summary]]:
            yield (work.index,), passes.summary(work, most, seed)

        found = self._run(range(len(self.sources)), read, Summary())
        return [found[(index,)] for index in range(len(self.sources))]

    def resampled(self, plans: Sequence[resampling.Plan], sets: Sequence[Summary]) -> list[list[Moments]]:
        """The moments of each set's resamples, in their plan's order; deviations are taken from the sets' means."""
        centres = [each.moments.mean for each in sets]

        def read(work: Work) -> Iterator[tuple[tuple[int, ...], Any]]:
            return passes.resamples(work, plans[work.index], centres[work.index])

        found = self._run([plan.index for plan in plans if plan.replicates or plan.shares], read, 0.0)
        return [
            [resampling.moments_of(row, centre) for key in sorted(found) if key[0] == index for row in found[key]]
            for index, centre in enumerate(centres)
        ]

    def clips(self, reference: Gaussian) -> list[list[Clip]]:
        """The clips of each set but the first: the furthest from a distribution first, without a distance last."""

        def read(work: Work) -> Iterator[tuple[tuple[int, ...], list[Clip]]]:
            yield (work.index, work.number), passes.distances(work, reference)

        found = self._run(range(1, len(self.sources)), read, [])
        sets = [[clip for key in sorted(found) if key[0] == i for clip in found[key]] for i in range(len(self.sources))]
        return [sorted(clips, key=_falling) for clips in sets[1:]]

    def _run(self, indices: Sequence[int], read: Read, nothing: Any) -> dict[tuple[int, ...], Any]:
        """Reads the files of the sets at some indices -> sums by key; runs no job for none."""
        from pipeline.analysis import sums

        works = [Work(index, n, file) for index in indices for n, file in enumerate(self.sources[index].files)]
        return sums.collect(self.engine, works, read, nothing, self.place) if works else {}


def _falling(clip: Clip) -> float:
    return float("inf") if clip.distance is None else -clip.distance
