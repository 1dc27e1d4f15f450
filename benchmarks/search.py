"""Rows of search: an index of many frames against embedding them, a query's time, and what it finds."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.measure import Row, row, spent
from benchmarks.network import made_examples
from benchmarks.similar import QUERIES, WARM_UP, scaled
from pipeline.analysis.sources import find
from pipeline.output.records import to_sequence_example, write_tfrecord

GROUP = "search"
BUILD_BAR, QUERY_BAR_MS, RECALL_BAR = 0.1, 50.0, 0.95
DIFFERENT = 20_000
"""Frames that are repeated with noise, as those of a corpus resemble each other."""


def rows(folder: Path, checkpoint: Path, count: int, examples: int) -> list[Row]:
    """FAISS's lists of `count` made frames ÷ embedding as many, which is measured on some examples; queries."""
    from vggish_core.network.model import Embedder

    embedder = Embedder(checkpoint)
    made = made_examples(examples)
    embedder.embed(made)
    example_s = spent(lambda: embedder.embed(made)).wall_s / examples
    rng = np.random.default_rng(0)
    frames = np.clip(rng.normal(128, 45, (DIFFERENT, 128)), 0, 255).astype(np.uint8)
    path = folder / "search.tfrecord"
    with path.open("wb") as file:
        write_tfrecord(file, [to_sequence_example("clip", 0.0, 10.0, [], frames[:10])])
    source = find(str(path))
    assert source
    place = folder / "search"
    place.mkdir()
    found = scaled(source, frames, place, count)
    what = f"search of {count:,} made frames"
    detail = {"lists, s": round(found.lists_s, 1), "embedding, ms a frame": round(example_s * 1e3, 2)}
    slowest = {"95 %, ms": round(float(np.quantile(found.query_s, 0.95)) * 1e3, 1)}
    times_ms = [each * 1e3 for each in found.query_s]
    return [
        row(
            GROUP,
            f"{what}, lists \u00f7 embedding",
            [found.lists_s / (example_s * count)],
            BUILD_BAR,
            False,
            detail=detail,
        ),
        row(GROUP, f"{what}, {QUERIES} queries", times_ms, QUERY_BAR_MS, False, unit="ms", detail=slowest),
        row(GROUP, f"{what}, recall@10 of {WARM_UP} queries", [found.recall], RECALL_BAR, True, unit="of all"),
    ]
