"""Rows of one recording -> one clip with rated segments, as YouTube-8M's records of 2019 have them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from pipeline.corpus.packed import Packed
from pipeline.errors import FlagError
from pipeline.formatting import number_of
from pipeline.types import Clip, Corpus, Rating, RecordFormat

HOP_S = 1.0
"""Readers take a segment's seconds for the numbers of its frames."""


def joined(corpus: Corpus, record_format: RecordFormat, hop_seconds: float) -> Corpus:
    """A corpus -> the same, for YouTube-8M's frames with a clip for each recording of which rows name segments.

    That is so where an id has several rows, or a row has scores: then each row with times names a segment. A row
    without times adds its labels to those of the record, which are the classes that a segment has with a score above 0.

    Raises:
      FlagError: a segment is not in whole seconds, or has no label; the hop is not a second.
    """
    if record_format != "youtube8m" or not _has_segments(corpus.clips):
        return corpus
    rows: dict[str, list[Clip]] = defaultdict(list)
    for clip in corpus.clips:
        rows[clip.id].append(clip)
    if any(not _in_one_file(of_id) for of_id in rows.values()):
        return corpus  # of which an id has several records: `ids.expect_one_clip_each` refuses it
    if hop_seconds != HOP_S:
        raise FlagError(
            f"--hop_seconds {hop_seconds:g}: of YouTube-8M's segments, seconds are the numbers of frames",
            "Give --hop_seconds 1.0, or use --record_format audioset, a record a segment",
        )
    clips: Packed[Clip] = Packed(map(_record_of, rows.values()))
    count = sum(clip.cut for of_id in rows.values() for clip in of_id)
    of_records = number_of(sum(bool(clip.rated) for clip in clips), "record")
    note = f"{number_of(count, 'row')} with times: segments of {of_records}, as YouTube-8M has them"
    return replace(corpus, clips=clips, notes=(*corpus.notes, note))


def _has_segments(clips: Sequence[Clip]) -> bool:
    seen: set[str] = set()
    for clip in clips:
        if clip.id in seen or clip.scores:
            return True
        seen.add(clip.id)
    return False


def _in_one_file(rows: Sequence[Clip]) -> bool:
    """Whether rows of an id can be one record: all are of one file, and not files cut apart already."""
    cut_apart = len(rows) > 1 and any(clip.key[1:] != (0.0, -1.0) and not clip.cut for clip in rows)
    return not cut_apart and len({(clip.uri, clip.place) for clip in rows}) == 1


def _record_of(rows: Sequence[Clip]) -> Clip:
    rated: list[Rating] = []
    labels: set[int] = set()
    for clip in rows:
        if not clip.cut:
            if clip.scores:
                raise FlagError(
                    f"--record_format youtube8m: {clip.id!r} has segment_scores, and no times within its file",
                    "Give it the times of a segment, or leave its scores out",
                )
            labels.update(clip.labels)
            continue
        start_s, end_s = _seconds(clip)
        for of_class, score in zip(clip.labels, clip.scores or [1.0] * len(clip.labels), strict=True):
            rated.append((start_s, end_s, of_class, score))
            if score > 0:
                labels.add(of_class)
    if not any(clip.cut for clip in rows):
        return rows[0]
    whole = replace(rows[0], start_s=0.0, end_s=None, cut=False, scores=())
    return replace(whole, labels=tuple(sorted(labels)), rated=tuple(sorted(rated)))


def _seconds(clip: Clip) -> tuple[int, int]:
    if clip.end_s is None or clip.start_s % 1 or clip.end_s % 1:
        end = "the end" if clip.end_s is None else f"{clip.end_s:g} s"
        raise FlagError(
            f"--record_format youtube8m: segments are whole seconds; {clip.id!r} has one of {clip.start_s:g} to {end}",
            "Round the times, or use --record_format audioset, a record a segment",
        )
    if not clip.labels:
        raise FlagError(
            f"--record_format youtube8m: the segment {clip.start_s:g} to {clip.end_s:g} s of {clip.id!r} has no label",
            "Give each segment a label, or use --record_format audioset, a record a segment",
        )
    return int(clip.start_s), int(clip.end_s)
