"""What a set has twice, or has in common with another: near-identical clips, and stretches of clips."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np

from pipeline.analysis.similar import LEAST, RAW_THRESHOLD, THRESHOLD, kept
from pipeline.analysis.similar.cosine import unit
from pipeline.analysis.similar.groups import End, grouped
from pipeline.analysis.similar.index import Index, of
from pipeline.analysis.similar.pairs import CROWD, EXACT_PAIRS, Pairs, above
from pipeline.analysis.similar.stretches import Stretch, stretches
from pipeline.analysis.sources import Source, expect_alike
from pipeline.output.loading.dataset import Level
from pipeline.output.provenance import Provenance
from pipeline.output.records import Record

MOST = 100_000
"""Stretches that are listed, the longest first."""
COVERED = 0.8
"""Of the longer clip's frames: what two clips have to share side by side to be duplicates as a whole."""

Compare = Callable[[Index, Index, float], Mapping[Level, Pairs]]
"""Two opened sets, or one twice, and the least cosine -> pairs by level."""


@dataclass(frozen=True)
class Duplicate:
    """Two clips, or stretches of them, that are alike.

    Attributes:
      kind: "clip": as a whole; "stretch": a part.
      first, second: their ids; the second is of the other set, if there is one.
      first_start_s, first_end_s, second_start_s, second_end_s: in seconds of the recordings.
      frames: how many follow one another side by side.
      score: their mean cosine.
      group: number of the whole clips that hang together; 0 of stretches.
    """

    kind: Literal["clip", "stretch"]
    first: str
    first_start_s: float
    first_end_s: float
    second: str
    second_start_s: float
    second_end_s: float
    frames: int
    score: float
    group: int = 0


@dataclass(frozen=True)
class Duplicates:
    """What was found.

    Attributes:
      found: whole clips group by group, then stretches, the longest first.
      notes: what was left out, a sentence each.
      threshold: the least cosine that counted.
    """

    found: tuple[Duplicate, ...]
    notes: tuple[str, ...]
    threshold: float


def duplicates(
    source: Source,
    against: Source | None = None,
    threshold: float | None = None,
    least: int = LEAST,
    compare: Compare | None = None,
) -> Duplicates:
    """A set -> what it has twice; or two sets -> what they have in common.

    Whole clips that are alike form groups, of which each clip is listed once, with the one it is most like. A frame
    that is like more than 16 others is silence or such: it makes no stretch. Nor is a stretch listed whose frames are
    all alike, which therefore fits anywhere, nor one of two clips that are duplicates as a whole.

    Up to 200,000 frames all are compared; more by FAISS's lists. Memory is that of the pairs, some 24 bytes each.

    Args:
      source: the set.
      against: another; None: the set itself.
      threshold: the least cosine of two frames, or of two clips' means, that are alike; None: 0.925, of raw embeddings
        0.999.
      least: alike frames that make a stretch.
      compare: computes all pairs of the opened sets, whatever their number; None: this process, as above.

    Raises:
      MadeDifferentlyError: the sets' embeddings do not mean the same.
      MissingPackagesError: there are too many frames to compare all, and FAISS is not installed.
      RecordError, IncompleteError: as `pipeline.analysis.sources.clips`.
    """
    if against:
        expect_alike([source, against])
    if threshold is None:
        threshold = _threshold(source)
    with TemporaryDirectory(prefix="vggish-duplicates-") as folder:
        first = of(source, exact=True) if compare else _opened(source, against, Path(folder) / "index")
        second = of(against, exact=compare is not None) if against else first
        found = compare(first, second, threshold) if compare else {}
        return _Search(first, second, against is None, threshold, least, found).found()


def copies(records: Sequence[Record], made: Provenance) -> Duplicates:
    """Records of one set, in memory -> the clips among them that are alike as a whole, as `duplicates` lists them."""
    source = Source("", (), made)
    threshold = _threshold(source)
    vectors = kept.in_memory(records)
    if vectors is None:
        return Duplicates((), (), threshold)
    index = Index(source, *vectors)
    found, _, notes = _Search(index, index, True, threshold, LEAST).whole()
    return Duplicates(tuple(found), _left_out(notes), threshold)


def _threshold(source: Source) -> float:
    return RAW_THRESHOLD if source.raw else THRESHOLD


def _opened(source: Source, against: Source | None, folder: Path) -> Index:
    """A set to search in: with FAISS's lists, which are made if need be, where there are too many pairs without."""
    index = of(source)
    other = of(against) if against else index
    if len(index.vectors["frame"]) * len(other.vectors["frame"]) <= EXACT_PAIRS:
        return replace(index, lists={})
    if index.lists:
        return index
    kept.build(source, folder)
    return of(source, str(folder))


@dataclass(frozen=True)
class _Search:
    """Two opened sets, perhaps the same, what counts as alike, and pairs by level, where they are known."""

    first: Index
    second: Index
    same: bool
    threshold: float
    least: int
    pairs: Mapping[Level, Pairs] = field(default_factory=dict)

    def found(self) -> Duplicates:
        """Whole clips, then stretches."""
        found, groups, notes = self.whole()
        parts, more = self._stretches(groups)
        found += map(self._named, parts)
        return Duplicates(tuple(found), _left_out(notes + more), self.threshold)

    def whole(self) -> tuple[list[Duplicate], dict[End, int], list[str]]:
        """Whole clips group by group, each clip's group, and what was left out."""
        pairs, crowded = self._whole_clips()
        joined, groups = grouped(pairs, self.same)
        found = [self._named(each, groups[each.first, True]) for each in joined]
        notes = [f"{_pairs(crowded)} of clips of one steady sound that more than {CROWD} clips have"] if crowded else []
        return sorted(found, key=lambda each: each.group), groups, notes

    def _whole_clips(self) -> tuple[list[Stretch], int]:
        """Pairs of clips that are alike as a whole, and how many were left out since too many clips are like them."""
        pairs = self._above("clip")
        crowded = set(pairs.crowded.tolist())
        found, left_out = [], 0
        for first, second, score in zip(pairs.first.tolist(), pairs.second.tolist(), pairs.scores, strict=True):
            pair = self._side_by_side(first, second, float(score))
            if pair is None:
                continue
            if (first if self.same else second) in crowded and self._steady(pair):
                left_out += 1
            else:
                found.append(pair)
        return found, left_out

    def _side_by_side(self, first: int, second: int, score: float) -> Stretch | None:
        """Two clips whose means are alike -> where one lies beside the other; None: their lengths differ too much."""
        lengths = (len(self.first.table.frames_of(first)), len(self.second.table.frames_of(second)))
        if min(lengths) < COVERED * max(lengths):
            return None
        return Stretch(first, second, 0, 0, min(lengths), score)

    def _stretches(self, groups: Mapping[End, int]) -> tuple[list[Stretch], list[str]]:
        """The longest stretches, without those of clips of one group, and what was left out."""
        pairs = self._above("frame")
        crowded = np.isin(pairs.second, pairs.crowded)
        if self.same:
            crowded |= np.isin(pairs.first, pairs.crowded)
        sound = replace(
            pairs, first=pairs.first[~crowded], second=pairs.second[~crowded], scores=pairs.scores[~crowded]
        )
        found = stretches(sound, self.first.table, self.second.table, self.least)
        found = [each for each in found if not self._in_a_group(each, groups)]
        moving = [each for each in found if not self._steady(each)]
        moving.sort(key=lambda each: (-each.frames, -each.score, each.first, each.second, each.begin))
        notes = []
        if len(pairs.crowded):
            notes.append(f"{len(pairs.crowded):,} frames that are like more than {CROWD} others")
        if len(found) > len(moving):
            notes.append(f"{len(found) - len(moving):,} stretches of one steady sound")
        if len(moving) > MOST:
            notes.append(f"{len(moving) - MOST:,} stretches, the shortest")
        return moving[:MOST], notes

    def _in_a_group(self, each: Stretch, groups: Mapping[End, int]) -> bool:
        return 0 < groups.get((each.first, True), 0) == groups.get((each.second, self.same), 0)

    def _above(self, level: Level) -> Pairs:
        if level in self.pairs:
            return self.pairs[level]
        first, second = self.first.vectors[level], self.second.vectors[level]
        ends = self.first.table.clip_ends(level) if self.same else None
        return above(first, second, self.threshold, self.first.lists.get(level), ends)

    def _steady(self, stretch: Stretch) -> bool:
        """Whether all frames of a stretch are alike: it fits beside any part of itself."""
        begin = self.first.table.frames_of(stretch.first).start + stretch.begin
        frames = unit(self.first.vectors["frame"][begin : begin + stretch.frames])
        return bool((frames @ frames[0]).min() >= self.threshold)

    def _named(self, stretch: Stretch, group: int = 0) -> Duplicate:
        hop_s = self.first.made.hop_s
        a, b = self.first.table, self.second.table
        starts = (a.start_of(stretch.first) + stretch.begin * hop_s, b.start_of(stretch.second) + stretch.other * hop_s)
        ends = [round(start + stretch.frames * hop_s, 6) for start in starts]
        return Duplicate(
            "clip" if group else "stretch",
            a.id_of(stretch.first),
            round(starts[0], 6),
            ends[0],
            b.id_of(stretch.second),
            round(starts[1], 6),
            ends[1],
            stretch.frames,
            min(stretch.score, 1.0),
            group,
        )


def _left_out(notes: list[str]) -> tuple[str, ...]:
    return tuple(f"left out: {note}" for note in notes)


def _pairs(number: int) -> str:
    return f"{number:,} pair{'s' if number > 1 else ''}"
