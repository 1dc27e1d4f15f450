"""What is read of a set's files: a summary, resamples, distances of single clips. Workers call these functions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from pipeline.analysis import frechet, moments, resampling
from pipeline.analysis.moments import WIDTH, Moments
from pipeline.analysis.sources import SourceFile, clips
from pipeline.output.loading.grouping import grouped
from pipeline.output.records import Record

ROWS_OF_A_BLOCK = 4096
"""Embeddings that are summed in one matrix product: 4 MB of float64."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Embeddings drawn at random: those with the smallest random numbers.

    Attributes:
      most: how many are kept.
      numbers: uint64 [m], ascending.
      frames: float32 [m, 128].
    """

    most: int = 0
    numbers: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint64))
    frames: np.ndarray = field(default_factory=lambda: np.empty((0, WIDTH), np.float32))

    def __add__(self, other: Sample) -> Sample:
        most = max(self.most, other.most)
        numbers = np.concatenate([self.numbers, other.numbers])
        kept = np.argsort(numbers, kind="stable")[:most]
        return Sample(most, numbers[kept], np.concatenate([self.frames, other.frames])[kept])


@dataclass(frozen=True, eq=False)
class Summary:
    """A set, or a part of one.

    Attributes:
      counts: number of each file -> its records.
      empty: how many records without a frame.
      moments: of the frames.
      sample: some of the frames.
    """

    counts: Mapping[int, int] = field(default_factory=dict)
    empty: int = 0
    moments: Moments = field(default_factory=moments.nothing)
    sample: Sample = field(default_factory=Sample)

    @property
    def clips(self) -> int:
        """How many records."""
        return sum(self.counts.values())

    def __add__(self, other: Summary) -> Summary:
        files = sorted({*self.counts, *other.counts})
        return Summary(
            {number: self.counts.get(number, 0) + other.counts.get(number, 0) for number in files},
            self.empty + other.empty,
            self.moments + other.moments,
            self.sample + other.sample,
        )


@dataclass(frozen=True)
class Work:
    """A file to read.

    Attributes:
      index: of its set among those compared.
      number: of the file in the set.
      file: the file.
    """

    index: int
    number: int
    file: SourceFile


@dataclass(frozen=True)
class Clip:
    """A clip's distance from the reference.

    Attributes:
      id, start_s, end_s: of the record.
      frames: how many embeddings it has.
      distance: of the normal distribution fitted to them; None for fewer than two.
    """

    id: str
    start_s: float | None
    end_s: float | None
    frames: int
    distance: float | None


def summary(work: Work, most: int = 0, seed: int = 0) -> Summary:
    """A file -> its summary, with a sample of at most so many frames, drawn by the seed."""
    total = Summary()
    for records in grouped(clips(work.file), lambda record: len(record.values), ROWS_OF_A_BLOCK):
        frames = np.concatenate([record.values for record in records])
        sample = Sample()
        if most:
            drawn = [_numbers(record, seed, work.index) for record in records]
            sample = Sample(most) + Sample(most, np.concatenate(drawn), frames)
        empty = sum(not len(record.values) for record in records)
        total += Summary({work.number: len(records)}, empty, moments.of(frames), sample)
    return total


def resamples(work: Work, plan: resampling.Plan, centre: np.ndarray) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
    """A file -> (set, group of resamples), and their sums."""
    for group, found in resampling.sums(clips(work.file), plan, work.number, centre):
        yield (work.index, group), found


def distances(work: Work, reference: frechet.Gaussian) -> list[Clip]:
    """A file -> the distance of each of its clips from the reference."""
    found = []
    for record in clips(work.file):
        enough = len(record.values) > 1
        distance = frechet.distance(frechet.fitted_to(record.values), reference) if enough else None
        found.append(Clip(record.id, record.start_s, record.end_s, len(record.values), distance))
    return found


def _numbers(record: Record, seed: int, index: int) -> np.ndarray:
    """A random number for each frame of a clip, uint64 [k], by its id and times, a seed and its set's index."""
    key = f"{record.id}\0{record.start_s}\0{record.end_s}\0{seed}\0{index}".encode("utf-8", "surrogateescape")
    rng = np.random.default_rng(int.from_bytes(hashlib.blake2b(key, digest_size=16).digest(), "big"))
    return rng.integers(0, 2**64, len(record.values), np.uint64)
