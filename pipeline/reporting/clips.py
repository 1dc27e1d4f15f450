"""The clips of a sample: maps of them, which are alike, which are far from all others, and a row for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline import formatting
from pipeline.analysis.similar.duplicates import copies
from pipeline.output import provenance
from pipeline.output.ledger import LedgerEntry
from pipeline.output.records import Record
from pipeline.reporting import embeddings, plots
from pipeline.reporting.embeddings import OTHERS, Map
from pipeline.reporting.sample import Sample

COPIES_SHOWN = 40
"""Pairs of near-identical clips that are listed."""
Groups = list[tuple[str, ...]]


def shown(sample: Sample, names: Mapping[int, str], umap: bool) -> dict[str, Any] | None:
    """The sample's records -> all that the page says of their embeddings; None of no records.

    Args:
      sample: of any output.
      names: of class indices.
      umap: a map by UMAP is wanted, too.
    """
    records = sample.records
    if not records:
        return None
    levels = embeddings.levels(np.concatenate([record.values for record in records]))
    groupings = embeddings.groupings(records, names)
    kind, groups = next(iter(groupings.items()), ("", [() for _ in records]))
    _, chosen = embeddings.coloured(groups)
    means = embeddings.clip_means(records)
    alike = embeddings.neighbours(means, embeddings.memberships(groups), embeddings.some(chosen))
    far = embeddings.furthest(means)
    labelled = groupings.get("label") or [() for _ in records]
    lines = [_line(sample, record, found) for record, found in zip(records, labelled, strict=True)]
    planes = {"PCA": embeddings.plane(means), "UMAP": embeddings.umap_plane(means) if umap else None}
    maps, places = _maps({name: plane for name, plane in planes.items() if plane is not None}, groupings, len(records))
    near = {query: [index for index, _ in found] for query, found in (alike.queries if alike else {}).items()}
    to_hear = [index for query, found in near.items() for index in (query, *found)] + [index for index, _ in far]
    return {
        "levels": levels,
        "rows": sum(len(record.values) for record in records),
        "by_dimension": plots.bytes_by_dimension(levels),
        "clipped": plots.clipped(levels) if levels.share_0 is not None else "",
        "maps": maps,
        "kind": kind,
        "alike": alike,
        "nearest": [
            (lines[query], [(lines[index], cosine) for index, cosine in found])
            for query, found in (alike.queries.items() if alike else ())
        ],
        "copies": _copies(sample),
        "far": [(lines[index], times) for index, times in far],
        "clips": [
            {**line, "at": place, "nearest": _nearest(alike, index, lines)}
            for index, (line, place) in enumerate(zip(lines, places, strict=True))
        ],
        "to_hear": [lines[index]["entry"] for index in to_hear if lines[index]["entry"] is not None],
    }


def _copies(sample: Sample) -> dict[str, Any]:
    """Pairs of near-identical clips of the sample: how many there are, and a row for each of the first."""
    first = sample.records[0]
    made = provenance.from_manifest(sample.manifest) if sample.manifest else provenance.without_manifest(first)
    found = copies(sample.records, made)
    return {
        "count": len(found.found),
        "notes": found.notes,
        "rows": [
            {
                "first": formatting.text(each.first),
                "first_times": _times(each.first_start_s, each.first_end_s),
                "second": formatting.text(each.second),
                "second_times": _times(each.second_start_s, each.second_end_s),
                "score": each.score,
            }
            for each in found.found[:COPIES_SHOWN]
        ],
    }


def _times(start_s: float, end_s: float) -> str:
    return f"{start_s:.10g}–{end_s:.10g} s"


def _line(sample: Sample, record: Record, labels: tuple[str, ...]) -> dict[str, Any]:
    """A clip as lists and tables name it."""
    entry: LedgerEntry | None = sample.sources.get((record.id, record.start_s))
    stretch = ""
    if record.start_s is not None and record.end_s is not None:
        stretch = _times(record.start_s, record.end_s)
    return {
        "id": formatting.text(record.id),
        "labels": formatting.text(", ".join(labels)),
        "stretch": stretch if record.start_s else "",
        "entry": entry,
    }


def _nearest(
    alike: embeddings.Neighbours | None, index: int, lines: Sequence[dict[str, Any]]
) -> tuple[str, float] | None:
    if alike is None:
        return None
    nearest, cosine = alike.nearest[index]
    return lines[nearest]["id"], cosine


def _maps(
    planes: Mapping[str, Map], groupings: Mapping[str, Groups], count: int
) -> tuple[list[dict[str, Any]], list[str]]:
    """Planes and groupings -> a figure of each plane by each grouping, and the places of each clip in the planes."""
    maps = []
    places: list[list[str]] = []
    for number, (name, plane) in enumerate(planes.items()):
        for kind, groups in (groupings or {"": [() for _ in range(count)]}).items():
            coloured, chosen = embeddings.coloured(groups)
            svg, at = plots.clip_map(plane, coloured, chosen)
            counts = Counter(chosen)
            maps.append(
                {
                    "plane": number,
                    "name": name,
                    "kind": kind,
                    "svg": svg,
                    "legend": [(f"c{n}", group, counts[group]) for n, group in enumerate(coloured)],
                    "others": counts[OTHERS] if coloured else 0,
                }
            )
        places.append(at)
    return maps, ["|".join(each) for each in zip(*places, strict=True)] if places else [""] * count
