"""Some of the clips, for a trial: drawn evenly from their order by format and size."""

from __future__ import annotations

import random
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence

import numpy as np

from pipeline.corpus import plan
from pipeline.types import Clip

SAMPLE = 32
SEED = 0


def draw(clips: Sequence[Clip], most: int = SAMPLE, seed: int = SEED) -> list[Clip]:
    """Clips -> some of them, evenly from their order by format and size, with a seeded start."""
    places: Sequence[int] = range(len(clips))
    if len(clips) > most:
        step = len(clips) / most
        start = random.Random(seed).uniform(0, step)
        places = [int(start + index * step) for index in range(most)]
    return [clips[index] for index in _at(places, clips)]


def _at(places: Sequence[int], clips: Sequence[Clip]) -> Iterator[int]:
    """Places in the order by format, cost and key -> which of the clips come there.

    Of millions of clips very many may have one format and cost: their keys are sorted only for a place among them.
    """
    formats: dict[str, int] = {}
    named, costs, keys = array("q"), array("q"), []
    for clip in clips:
        named.append(formats.setdefault(format_of(clip), len(formats)))
        costs.append(plan.cost_bytes(clip))
        keys.append(clip.key)
    rank_of = np.argsort(np.argsort(list(formats)))
    kinds = np.stack([rank_of[np.asarray(named)], np.asarray(costs)])
    order = np.lexsort(kinds[::-1])
    ends = [*np.flatnonzero(np.diff(kinds[:, order]).any(axis=0)) + 1, len(order)]
    alike: dict[int, list[int]] = {}
    for place in places:
        kind = bisect_right(ends, place)
        begin = ends[kind - 1] if kind else 0
        if kind not in alike:
            alike[kind] = sorted(order[begin : ends[kind]].tolist(), key=keys.__getitem__)
        yield alike[kind][place - begin]


def format_of(clip: Clip) -> str:
    """A clip -> the suffix of its file's name, ".mp3" say."""
    name = clip.uri.rpartition("/")[2]
    dot = name.rfind(".")
    return name[dot:].lower() if 0 < dot < len(name) - 1 else ""
