"""All pairs of alike frames and clips by a Beam job: an element names blocks of vectors, which a worker compares."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

import numpy as np

from pipeline import storage
from pipeline.analysis.similar import pairs
from pipeline.analysis.similar.index import Index
from pipeline.analysis.similar.kept import LEVELS
from pipeline.analysis.similar.pairs import Block, Near, Pairs, near
from pipeline.output.loading.dataset import Level
from pipeline.running import plain
from pipeline.running.engines.runners import Engine

ELEMENTS = 4096
"""Of a job, about, at most, since its graph holds them: two blocks each up to a million frames, then more."""

Files = Mapping[tuple[Level, int, int], str]
"""A level, the place of a set and a block's first row -> URI of the block's file."""


@dataclass(frozen=True)
class Work:
    """Blocks to compare.

    Attributes:
      level: its place in `LEVELS`.
      begin: the first row of the queries.
      queries: URI of their file.
      vectors: URIs of files of blocks to compare them with.
    """

    level: int
    begin: int
    queries: str
    vectors: tuple[str, ...]


@dataclass(frozen=True)
class Job:
    """A job that compares all vectors, for `duplicates`: the cosines and pairs that `pairs.above` finds without lists.

    Attributes:
      engine: where it runs.
      place: URI of a folder that this process and the workers read and write
        (`pipeline.running.engines.exchange.place`); the sets' vectors are there while it runs.
    """

    engine: Engine
    place: str

    def __call__(self, first: Index, second: Index, threshold: float) -> dict[Level, Pairs]:
        """Two opened sets, or one twice, and the least cosine -> pairs by level."""
        from pipeline.analysis import sums

        sets = (first,) if first is second else (first, second)
        ends = {level: first.table.clip_ends(level) if first is second else None for level in LEVELS}
        stem = storage.join(self.place, f"vectors-{uuid.uuid4().hex}")
        files = {
            (level, side, begin): f"{stem}-{level}-{side}-{begin}"
            for level in LEVELS
            for side, each in enumerate(sets)
            for begin in range(0, len(each.vectors[level]), pairs.ROWS)
        }

        def read(work: Work) -> Iterator[tuple[tuple[int, ...], Near]]:
            queries = _block(work.queries)
            found = (near(queries, _block(uri), threshold) for uri in work.vectors)
            yield (work.level, work.begin), sum(found, Near())

        try:
            for (level, side, begin), uri in files.items():
                storage.write_atomic(uri, plain.dumps(pairs.block(sets[side].vectors[level], begin, ends[level])))
            works = _works(first, second, ends, files)
            found = sums.collect(self.engine, works, read, Near(), self.place) if works else {}
        finally:
            for uri in files.values():
                storage.delete(uri)
        return {
            level: pairs.pairs_of((found[key] for key in sorted(found) if key[0] == number), first is second)
            for number, level in enumerate(LEVELS)
        }


def _works(first: Index, second: Index, ends: Mapping[Level, np.ndarray | None], files: Files) -> list[Work]:
    """Two opened sets -> the job's elements."""
    tiles = {
        level: list(pairs.tiles(len(first.vectors[level]), len(second.vectors[level]), ends[level])) for level in LEVELS
    }
    size = -(-sum(map(len, tiles.values())) // ELEMENTS)
    works = []
    for number, level in enumerate(LEVELS):
        for begin, group in groupby(tiles[level], key=itemgetter(0)):
            queries = files[level, 0 if first is second else 1, begin]
            vectors = [files[level, 0, at] for _, at in group]
            parts = (tuple(vectors[at : at + size]) for at in range(0, len(vectors), size))
            works += [Work(number, begin, queries, part) for part in parts]
    return works


def _block(uri: str) -> Block:
    with storage.open_read(uri) as file:
        block: Block = plain.loads(file.read())
    return block
