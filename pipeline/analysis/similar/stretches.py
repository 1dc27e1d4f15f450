"""Pairs of alike frames -> stretches: frames of two clips that follow one another in both, side by side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.analysis.similar.pairs import Pairs
from pipeline.analysis.similar.table import Table

GAP = 2
"""From one alike frame of a stretch to the next, in frames, at most: one may be missing."""


@dataclass(frozen=True)
class Stretch:
    """Frames of two clips that are alike one by one.

    Attributes:
      first, second: the numbers of the clips.
      begin, other: the first of the frames in each, from 0.
      frames: how many frames it spans.
      score: mean cosine of those that are alike.
    """

    first: int
    second: int
    begin: int
    other: int
    frames: int
    score: float


def stretches(pairs: Pairs, table: Table, other: Table, least: int) -> list[Stretch]:
    """Pairs of frames -> the stretches that they make, of so many alike frames at least; of two that overlap in a pair
    of clips the longer one."""
    first, second = table.clips_of(pairs.first), other.clips_of(pairs.second)
    begin = pairs.first - _begins(table)[first]
    offset = pairs.second - _begins(other)[second] - begin
    order = np.lexsort((begin, offset, second, first))
    key = np.stack([first, second, offset])[:, order]
    begin, scores = begin[order], pairs.scores[order]
    if not len(begin):
        return []
    breaks = np.any(np.diff(key, axis=1) != 0, axis=0) | (np.diff(begin) > GAP)
    starts = np.concatenate([[0], np.flatnonzero(breaks) + 1])
    ends = np.concatenate([starts[1:], [len(begin)]])
    long = ends - starts >= least
    starts, ends = starts[long], ends[long]
    sums = np.concatenate([[0], np.cumsum(scores, dtype=np.float64)])
    found = [
        Stretch(
            int(key[0, s]),
            int(key[1, s]),
            int(begin[s]),
            int(begin[s] + key[2, s]),
            int(begin[e - 1] - begin[s]) + 1,
            float((sums[e] - sums[s]) / (e - s)),
        )
        for s, e in zip(starts, ends, strict=True)
    ]
    return _apart(found)


def _apart(found: list[Stretch]) -> list[Stretch]:
    """Stretches -> those that do not overlap a longer, or better, one of the same two clips in either clip."""
    kept: dict[tuple[int, int], list[Stretch]] = {}
    for each in sorted(found, key=lambda each: (-each.frames, -each.score)):
        before = kept.setdefault((each.first, each.second), [])
        if not any(_overlap(each, one) for one in before):
            before.append(each)
    return [each for group in kept.values() for each in group]


def _overlap(a: Stretch, b: Stretch) -> bool:
    return (a.begin < b.begin + b.frames and b.begin < a.begin + a.frames) or (
        a.other < b.other + b.frames and b.other < a.other + a.frames
    )


def _begins(table: Table) -> np.ndarray:
    return np.concatenate([[0], table.frame_ends[:-1]])
