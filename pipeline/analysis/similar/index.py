"""Sounds like a given one: the frames or clips of a set whose embeddings point the way that an example's do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.analysis.similar import kept
from pipeline.analysis.similar.cosine import highest, nearest, scores_of, unit
from pipeline.analysis.similar.table import Table, load
from pipeline.analysis.sources import Source, find
from pipeline.errors import UserError
from pipeline.output.loading.dataset import Level
from pipeline.output.matching import Incomplete
from pipeline.output.provenance import Provenance
from pipeline.output.records import RecordError

CANDIDATES = 8
"""Times as many as are wanted are taken from the lists, whose cosines are of rounded vectors, and scored exactly.

Of the ten nearest among ten million frames, four times as many found 92.5 %, eight times 99 % (40 queries).
"""


@dataclass(frozen=True)
class Hit:
    """A frame or clip that was found.

    Attributes:
      rank: from 1.
      id: of the clip.
      seconds: where the frame, or the clip, starts in its recording.
      score: the cosine with the example, at most 1.
      labels: the clip's class indices.
    """

    rank: int
    id: str
    seconds: float
    score: float
    labels: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Index:
    """A set of embeddings to search in, by `Index.open`.

    Attributes:
      source: the set.
      table: its clips.
      vectors: by level: "frame", uint8 or float32 [n, 128], and "clip", the means of clips, float32 [clips, 128]; on
        disk if there is an index.
      lists: FAISS's indexes of the levels that have many vectors.
      stale: whether there is an index on disk of other records than these, which was passed over.
    """

    source: Source
    table: Table
    vectors: Mapping[Level, np.ndarray]
    lists: Mapping[Level, Any] = field(default_factory=dict)
    stale: bool = False

    @classmethod
    def open(cls, name: str, *, folder: str | None = None, incomplete: Incomplete = "refuse") -> Index:
        """A set by name -> it to search in: memory-mapped where it has an index of its records, else read to memory.

        Args:
          name: an output's folder, or a path, URI, folder or glob of record or Parquet files.
          folder: where its index is, if not below the output's `_state`.
          incomplete: as `read_records`.

        Raises:
          UserError: as `pipeline.analysis.sources.find`; the name is of audio.
        """
        source = find(name, incomplete)
        if source is None:
            raise RecordError(f"{name} holds no records", "Embed audio first: embed_corpus, or python -m pipeline.run")
        return of(source, folder)

    @property
    def made(self) -> Provenance:
        """Settings and weights of the embeddings."""
        return self.source.made

    def search(
        self,
        vector: np.ndarray,
        top: int = 20,
        *,
        level: Level = "clip",
        labels: Iterable[int] = (),
        id_prefix: str = "",
        without: int | None = None,
    ) -> list[Hit]:
        """An embedding -> the most similar clips or frames, best first.

        Args:
          vector: float32, or uint8 if quantized, [128]; or [q, 128]: the best score of any.
          top: how many to find.
          level: what to find.
          labels: class indices, one of which a hit must carry; none: any clip.
          id_prefix: what a hit's id must begin with.
          without: number of a clip that is not looked at.

        Raises:
          UserError: the vector is of another shape, or all zeros.
        """
        width = self.vectors[level].shape[1]
        if np.ndim(vector) not in (1, 2) or np.shape(vector)[-1] != width:
            raise UserError(f"a vector of shape {list(np.shape(vector))} is no embedding", f"Give {width} numbers")
        queries = unit(np.atleast_2d(vector))
        queries = queries[queries.any(axis=1)]
        if not len(queries):
            raise UserError("a vector of zeros has no direction", "Give another embedding")
        rows = self._allowed(level, tuple(labels), id_prefix, without)
        found = zip(*self._nearest(level, queries, rows, top), strict=True)
        return [self._hit(level, rank, int(row), float(score)) for rank, (row, score) in enumerate(found, 1)]

    def _allowed(self, level: Level, labels: tuple[int, ...], prefix: str, without: int | None) -> np.ndarray | None:
        """Filters -> the rows that pass them, bool [n]; None: all do."""
        if not labels and not prefix and without is None:
            return None
        clips = np.ones(len(self.table), bool)
        for chosen in [self.table.labelled(labels)] * bool(labels) + [self.table.beginning(prefix)] * bool(prefix):
            keep = np.zeros(len(clips), bool)
            keep[chosen] = True
            clips &= keep
        if without is not None:
            clips[without] = False
        return clips if level == "clip" else np.repeat(clips, np.diff(self.table.frame_ends, prepend=0))

    def _nearest(
        self, level: Level, queries: np.ndarray, allowed: np.ndarray | None, top: int
    ) -> tuple[np.ndarray, np.ndarray]:
        vectors, lists = self.vectors[level], self.lists.get(level)
        count = len(vectors) if allowed is None else np.count_nonzero(allowed)
        if lists is None or count <= kept.EXACT:
            return nearest(vectors, None if allowed is None else np.flatnonzero(allowed), queries, top)
        faiss = kept.library("the index")
        # as many candidates as without a filter: from more lists, the fewer there are in each
        settings: dict[str, Any] = {"nprobe": min(lists.nlist, round(kept.PROBES * len(vectors) / count))}
        if allowed is not None:
            settings["sel"] = faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
        _, rows = lists.search(queries, CANDIDATES * top, params=faiss.SearchParametersIVF(**settings))
        rows = np.unique(rows[rows >= 0])
        return highest(rows, scores_of(vectors, rows, queries), top)

    def _hit(self, level: Level, rank: int, row: int, score: float) -> Hit:
        table = self.table
        clip = row if level == "clip" else int(table.clips_of(np.array([row]))[0])
        frame = 0 if level == "clip" else row - table.frames_of(clip).start
        seconds = round(table.start_of(clip) + frame * self.made.hop_s, 6)
        return Hit(rank, table.id_of(clip), seconds, score, table.labels_of(clip))


def of(source: Source, folder: str | None = None, exact: bool = False) -> Index:
    """A set -> it to search in, as `Index.open`; `exact`: without FAISS's lists."""
    stored = kept.read(kept.place(source.name, folder))
    if stored is None or not kept.fits(stored, source):
        return Index(source, *kept.collect(source), stale=stored is not None)
    levels = () if exact else kept.LEVELS
    lists = {level: found for level in levels if (found := kept.lists(stored.folder, level)) is not None}
    vectors = {level: kept.vectors(stored.folder, level) for level in kept.LEVELS}
    return Index(source, load(stored.folder), vectors, lists)
