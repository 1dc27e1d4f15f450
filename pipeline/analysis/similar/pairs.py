"""All pairs of embeddings whose cosine is above a threshold, at most so many for each, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.analysis.similar import kept
from pipeline.analysis.similar.cosine import QUERIES, ROWS, unit

CROWD = 16
"""Pairs of a vector that are kept: what is like more than so many others is silence, or a sound like it."""
DEEP = 64
"""Neighbours that FAISS is asked for, a vector's own clip among them."""
EXACT_PAIRS = 4e10
"""Pairs up to which each is computed: 200,000 frames with each other, minutes on two cores."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of rows of two matrices, perhaps the same.

    Attributes:
      first, second: rows, int64 [k]; within one matrix the first is of an earlier clip.
      scores: their cosines, float32 [k].
      crowded: rows of the queries with more pairs than are kept, int64.
    """

    first: np.ndarray
    second: np.ndarray
    scores: np.ndarray
    crowded: np.ndarray


def above(
    vectors: np.ndarray,
    queries: np.ndarray,
    threshold: float,
    lists: Any = None,
    clip_ends: np.ndarray | None = None,
) -> Pairs:
    """Two matrices of embeddings [n, 128] and [m, 128] -> pairs of their rows, (row of vectors, row of queries).

    Args:
      vectors, queries: uint8 or float32, perhaps on disk; of a set with itself the same matrix.
      threshold: the least cosine.
      lists: FAISS's index of the vectors; None: all cosines are computed.
      clip_ends: of a set with itself, for each row where its clip ends: pairs within a clip are none.
    """
    blocks = _by_lists(vectors, queries, threshold, lists, clip_ends)
    if lists is None:
        blocks = _by_blocks(vectors, queries, threshold, clip_ends)
    found = list(blocks)
    columns = [np.concatenate(column) if column else np.empty(0, np.int64) for column in zip(*found, strict=True)]
    first, second, scores, crowded = columns or [np.empty(0, np.int64)] * 4
    if lists is not None and clip_ends is not None:  # found from both sides
        _, kept = np.unique(np.stack([first, second]), axis=1, return_index=True)
        first, second, scores = first[kept], second[kept], scores[kept]
    return Pairs(first, second, np.asarray(scores, np.float32), crowded)


Block = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _by_blocks(vectors: np.ndarray, queries: np.ndarray, threshold: float, clip_ends: Any) -> Iterator[Block]:
    """Every cosine, in blocks; of a set with itself of rows and later ones alone."""
    for begin in range(0, len(queries), QUERIES):
        rows = np.arange(begin, min(begin + QUERIES, len(queries)))
        asked = unit(queries[begin : begin + QUERIES])
        ends = None if clip_ends is None else clip_ends[rows]
        found = []
        for at in range(0 if ends is None else int(ends[0]) // ROWS * ROWS, len(vectors), ROWS):
            scores = asked @ unit(vectors[at : at + ROWS]).T
            if ends is not None and at < ends[-1]:
                scores[np.arange(at, at + scores.shape[1]) < ends[:, np.newaxis]] = -1
            found.append(_most(scores, threshold, at))
        if found:
            row, other, score = (np.concatenate(column) for column in zip(*found, strict=True))
            yield _cut(rows[row], other, score, swap=ends is None)


def _most(scores: np.ndarray, threshold: float, at: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cosines [q, n] -> row, column + at and score of those above the threshold, at most CROWD + 1 a row."""
    hit = scores >= threshold
    for many in np.flatnonzero(np.count_nonzero(hit, axis=1) > CROWD + 1):
        best = np.argpartition(-scores[many], CROWD)[: CROWD + 1]
        hit[many] = False
        hit[many, best] = True
    row, column = np.nonzero(hit)
    return row, column + at, scores[row, column]


def _by_lists(vectors: np.ndarray, queries: np.ndarray, threshold: float, lists: Any, ends: Any) -> Iterator[Block]:
    """The nearest by FAISS's lists, scored exactly."""
    if lists is None:
        return
    settings = kept.library("the index").SearchParametersIVF(nprobe=kept.PROBES)
    for begin in range(0, len(queries), QUERIES):
        asked = unit(queries[begin : begin + QUERIES])
        _, near = lists.search(asked, DEEP, params=settings)
        row, place = np.nonzero(near >= 0)
        other = near[row, place]
        if ends is not None:
            apart = ends[row + begin] != ends[other]
            row, other = row[apart], other[apart]
        order = np.argsort(other, kind="stable")  # rows on disk are read in their order
        row, other = row[order], other[order]
        score = np.empty(len(row), np.float32)
        for at in range(0, len(row), ROWS):
            part = slice(at, at + ROWS)
            score[part] = np.einsum("ij,ij->i", unit(vectors[other[part]]), asked[row[part]])
        hit = score >= threshold
        first, second, scores, crowded = _cut(row[hit] + begin, other[hit], score[hit], swap=ends is None)
        if ends is not None:
            first, second = np.minimum(first, second), np.maximum(first, second)
        yield first, second, scores, crowded


def _cut(row: np.ndarray, other: np.ndarray, score: np.ndarray, swap: bool) -> Block:
    """Pairs of some queries -> at most CROWD of each, the best ones, and which have more."""
    order = np.lexsort((other, -score, row))
    row, other, score = row[order], other[order], score[order]
    begins = np.searchsorted(row, row, side="left")
    place = np.arange(len(row)) - begins
    crowded = np.unique(row[place >= CROWD])
    kept = place < CROWD
    first, second = (other[kept], row[kept]) if swap else (row[kept], other[kept])
    return first, second, score[kept], crowded
