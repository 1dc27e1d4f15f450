"""All pairs of embeddings whose cosine is above a threshold, at most so many for each, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
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


def _rows() -> np.ndarray:
    return np.empty(0, np.int64)


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


@dataclass(frozen=True, eq=False)
class Block:
    """Rows of a matrix that follow one another.

    Attributes:
      begin: number of the first.
      vectors: uint8 or float32 [k, 128].
      clip_ends: of a set with itself, for each row where its clip ends, int64 [k]; None: of two sets.
    """

    begin: int
    vectors: np.ndarray
    clip_ends: np.ndarray | None


@dataclass(frozen=True, eq=False)
class Near:
    """Pairs of queries and other vectors, the best of each query: one more than are kept, which tells who is crowded.

    The sum over blocks of vectors is the same however they were cut, in any order.

    Attributes:
      queries, others: rows, int64 [k].
      scores: their cosines, float32 [k].
    """

    queries: np.ndarray = field(default_factory=_rows)
    others: np.ndarray = field(default_factory=_rows)
    scores: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))

    def __add__(self, more: Near) -> Near:
        queries = np.concatenate([self.queries, more.queries])
        others = np.concatenate([self.others, more.others])
        scores = np.concatenate([self.scores, more.scores])
        order, place = _ranked(queries, others, scores)
        order = order[place <= CROWD]
        return Near(queries[order], others[order], scores[order])


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
    if lists is not None:
        return _by_lists(vectors, queries, threshold, lists, clip_ends)
    found = []
    for _, group in groupby(tiles(len(vectors), len(queries), clip_ends), key=itemgetter(0)):
        blocks = ((block(queries, begin, clip_ends), block(vectors, at, None)) for begin, at in group)
        found.append(sum((near(asked, other, threshold) for asked, other in blocks), Near()))
    return pairs_of(found, same=clip_ends is not None)


def tiles(vectors: int, queries: int, clip_ends: np.ndarray | None) -> Iterator[tuple[int, int]]:
    """The lengths of two matrices -> the first rows of two blocks to compare, of the queries and of the vectors; of a
    set with itself without those that hold no later clip."""
    for begin in range(0, queries, ROWS):
        first = 0 if clip_ends is None else int(clip_ends[begin]) // ROWS * ROWS
        for at in range(first, vectors, ROWS):
            yield begin, at


def block(vectors: np.ndarray, begin: int, clip_ends: np.ndarray | None) -> Block:
    """The block of a matrix that begins at a row."""
    rows = slice(begin, begin + ROWS)
    return Block(begin, vectors[rows], None if clip_ends is None else clip_ends[rows])


def near(queries: Block, vectors: Block, threshold: float) -> Near:
    """Two blocks -> their pairs by all cosines; of a set with itself those of a row and one of a later clip."""
    others = unit(vectors.vectors)
    rows = vectors.begin + np.arange(len(others))
    found = []
    for at in range(0, len(queries.vectors), QUERIES):
        ends = None if queries.clip_ends is None else queries.clip_ends[at : at + QUERIES]
        if ends is not None and rows[-1] < ends[0]:
            continue
        scores = unit(queries.vectors[at : at + QUERIES]) @ others.T
        if ends is not None and rows[0] < ends[-1]:
            scores[rows < ends[:, np.newaxis]] = -1
        row, other, score = _most(scores, threshold)
        found.append((row + queries.begin + at, other + vectors.begin, score))
    return Near(*(np.concatenate(column) for column in zip(*found, strict=True)))


def pairs_of(found: Iterable[Near], same: bool) -> Pairs:
    """What is near to the queries, each query's in one sum, in their order -> the pairs that are kept."""
    return _joined([_cut(each.queries, each.others, each.scores, swap=not same) for each in found])


Columns = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""As `Pairs`."""


def _joined(found: Sequence[Columns]) -> Pairs:
    if not found:
        return Pairs(_rows(), _rows(), Near().scores, _rows())
    return Pairs(*(np.concatenate(column) for column in zip(*found, strict=True)))


def _most(scores: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cosines [q, n] -> row, column and score of those above the threshold, at most CROWD + 1 a row, the best; of equal
    ones the first."""
    hit = scores >= threshold
    for many in np.flatnonzero(np.count_nonzero(hit, axis=1) > CROWD + 1):
        row = scores[many]
        least = -np.partition(-row, CROWD)[CROWD]
        hit[many] = row > least
        hit[many, np.flatnonzero(row == least)[: CROWD + 1 - np.count_nonzero(hit[many])]] = True
    row, column = np.nonzero(hit)
    return row, column, scores[row, column]


def _by_lists(vectors: np.ndarray, queries: np.ndarray, threshold: float, lists: Any, ends: Any) -> Pairs:
    """The nearest by FAISS's lists, scored exactly."""
    found = _joined(list(_nearest(vectors, queries, threshold, lists, ends)))
    if ends is None:
        return found
    _, once = np.unique(np.stack([found.first, found.second]), axis=1, return_index=True)  # found from both sides
    return Pairs(found.first[once], found.second[once], found.scores[once], found.crowded)


def _nearest(vectors: np.ndarray, queries: np.ndarray, threshold: float, lists: Any, ends: Any) -> Iterator[Columns]:
    settings = kept.library("the index").SearchParametersIVF(nprobe=kept.PROBES)
    for begin in range(0, len(queries), QUERIES):
        asked = unit(queries[begin : begin + QUERIES])
        _, neighbours = lists.search(asked, DEEP, params=settings)
        row, place = np.nonzero(neighbours >= 0)
        other = neighbours[row, place]
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


def _cut(row: np.ndarray, other: np.ndarray, score: np.ndarray, swap: bool) -> Columns:
    """Pairs of some queries -> at most CROWD of each, the best ones, and which have more."""
    order, place = _ranked(row, other, score)
    crowded = np.unique(row[order[place >= CROWD]])
    order = order[place < CROWD]
    first, second = (other[order], row[order]) if swap else (row[order], other[order])
    return first, second, score[order], crowded


def _ranked(row: np.ndarray, other: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs -> their order, row by row and the best first, and the place of each within its row, from 0."""
    order = np.lexsort((other, -score, row))
    rows = row[order]
    return order, np.arange(len(rows)) - np.searchsorted(rows, rows, side="left")
