"""Records -> what an export holds of each clip: its vectors, and where they begin among those of all clips."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.output.loading.clip_vectors import clip_mean, dequantize
from pipeline.output.loading.dataset import Level
from pipeline.output.matching import Incomplete, matching
from pipeline.output.records import Record, RecordError, expect_finite, records_of


@dataclass(frozen=True, eq=False)
class ClipRows:
    """A clip's rows of an export.

    Attributes:
      row: the first one.
      record: the clip.
      vectors: float32 [k, 128].
    """

    row: int
    record: Record
    vectors: np.ndarray


def clip_rows(pattern: str, level: Level, incomplete: Incomplete) -> Iterator[ClipRows]:
    """TFRecord files -> their clips, in the records' order, each with the mean of its frames, or with all frames.

    Raises:
      RecordError: as `read_records`; there is no vector at all, or one that is not finite.
      IncompleteError: as `read_records`.
    """
    row = 0
    for place, record in records_of(matching(pattern, incomplete)):
        expect_finite(record, place)
        vectors = clip_mean(record.values)[np.newaxis] if level == "clip" else record.values
        if vectors.dtype == np.uint8:
            vectors = dequantize(vectors)
        yield ClipRows(row, record, vectors)
        row += len(vectors)
    if not row:
        raise RecordError(f"{pattern}: no {'frame' if level == 'frame' else 'record'} in the files", "Name other files")
