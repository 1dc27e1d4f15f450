"""The classes of a data set as a table: how often each occurs, with which others, and how well a model tells it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from pipeline.reporting.options import Trained
from pipeline.reporting.sample import Sample

PAIRS = 12


def table(sample: Sample, names: Mapping[int, str], trained: Trained | None) -> dict[str, Any] | None:
    """The sample's labels -> rows of classes, most frequent first, and pairs of classes; None where there are none."""
    written = [entry.labels for entry in sample.entries if entry.outcome == "written"]
    clips = written if any(written) else [record.labels for record in sample.records]
    counts = Counter(label for found in clips for label in set(found))
    scores = trained.classes if trained else {}
    if not counts and not scores:
        return None

    def name(label: int) -> str:
        return names.get(label) or (scores[label].name if label in scores else f"class {label}")

    most = max(counts.values(), default=1)
    rows = [
        {"name": name(label), "clips": counts[label], "share": counts[label] / most, "score": scores.get(label)}
        for label in sorted({*counts, *scores}, key=lambda label: (-counts[label], name(label)))
    ]
    return {"clips": len(clips), "rows": rows, "pairs": _pairs(clips, counts, name), "trained": trained}


def _pairs(clips: Sequence[tuple[int, ...]], counts: Counter[int], name: Any) -> list[dict[str, Any]]:
    """The pairs of classes that are most often on one clip, and which share of the rarer one's clips has both."""
    together = Counter(pair for found in clips for pair in combinations(sorted(set(found)), 2))
    chosen = sorted(together.items(), key=lambda item: (-item[1], item[0]))[:PAIRS]
    return [
        {"names": sorted((name(a), name(b))), "clips": clips_with, "share": clips_with / min(counts[a], counts[b])}
        for (a, b), clips_with in chosen
    ]
