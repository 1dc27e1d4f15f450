"""Cosines between embeddings, exactly and in bounded memory: blocks of a matrix that may lie on disk."""

from __future__ import annotations

import numpy as np

from pipeline.output.loading.dataset import dequantize

ROWS = 16_384
"""Of a block: 8 MB of float32."""
QUERIES = 512
"""Rows that are compared with a block at once: 32 MB of cosines."""


def unit(vectors: np.ndarray) -> np.ndarray:
    """Embeddings uint8 or float32 [k, 128] -> dequantized and of length 1, float32; zeros stay zeros."""
    floats = dequantize(vectors) if vectors.dtype == np.uint8 else np.asarray(vectors, np.float32)
    lengths = np.sqrt(np.einsum("ij,ij->i", floats, floats, dtype=np.float64))
    return (floats / np.where(lengths > 0, lengths, 1)[:, np.newaxis]).astype(np.float32)


def scores_of(vectors: np.ndarray, rows: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Some rows [k] of embeddings -> each one's largest cosine with unit vectors float32 [q, 128], float32 [k].

    A row of zeros has no direction: its score is -inf.
    """
    found = np.full(len(rows), -np.inf, np.float32)
    for at in range(0, len(rows), ROWS):
        block = unit(vectors[rows[at : at + ROWS]])
        sound = block.any(axis=1)
        for first in range(0, len(queries), QUERIES):
            best = (block @ queries[first : first + QUERIES].T).max(axis=1)
            found[at : at + ROWS] = np.where(sound, np.maximum(found[at : at + ROWS], best), -np.inf)
    return found


def nearest(
    vectors: np.ndarray, rows: np.ndarray | None, queries: np.ndarray, top: int
) -> tuple[np.ndarray, np.ndarray]:
    """The rows of embeddings with the largest cosines with any of some unit vectors.

    Args:
      vectors: uint8 or float32 [n, 128].
      rows: those to look at, ascending; None: all.
      queries: unit vectors float32 [q, 128].
      top: how many to find.

    Returns:
      Their numbers and scores, the largest first; of equal ones the first row first.
    """
    kept = np.empty(0, np.int64), np.empty(0, np.float32)
    count = len(vectors) if rows is None else len(rows)
    for at in range(0, count, ROWS):
        block = np.arange(at, min(at + ROWS, count)) if rows is None else rows[at : at + ROWS]
        kept = highest(
            np.concatenate([kept[0], block]), np.concatenate([kept[1], scores_of(vectors, block, queries)]), top
        )
    return kept


def highest(rows: np.ndarray, scores: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and their scores -> those with the largest finite scores, ordered."""
    order = np.lexsort((rows, -scores))
    order = order[np.isfinite(scores[order])][:top]
    return rows[order], scores[order]
