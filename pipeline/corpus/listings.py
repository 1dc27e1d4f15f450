"""Listed clips: rows -> clips, and what fails to be one; those of AudioSet's segment lists, with their audio."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from pipeline.corpus.class_labels import ClassLabels, Label, as_index
from pipeline.corpus.keys import Keys
from pipeline.corpus.names import Names, names_of
from pipeline.corpus.packed import Packed
from pipeline.corpus.rows import Row, read_segments
from pipeline.corpus.tables import SourceError, at
from pipeline.formatting import number_of
from pipeline.types import Clip, Corpus, DuplicateIds, Failure, SegmentAudio

UNPLACED = ("bad_row", "bad_times")
"""Reasons of rows that do not say which stretch they mean: several may do so of one id."""


def clips_from_segments(
    inputs: Sequence[Clip],
    uri: str,
    classes: ClassLabels,
    segment_audio: SegmentAudio,
    duplicate_ids: DuplicateIds = "stop",
) -> Corpus:
    """Audio files and AudioSet's list of segments -> the segments as clips.

    A row's audio is the file that is called as `names_of` says. What a row lacks makes it a failure of stage "find";
    audio that no row names is listed as skipped.

    Args:
      inputs: a clip for each file.
      uri: of the list.
      classes: MID -> class index.
      segment_audio: "whole": files hold whole recordings, out of which the segments are cut; "cut": each is a segment.
      duplicate_ids: as `Keys`.

    Raises:
      SourceError: the list is malformed or empty, or no row is sound; two rows are one segment; no row has audio.
    """
    timed = segment_audio == "cut"
    files = Names(inputs)
    rows: Packed[Row] = Packed()
    for row in some_sound(uri, read_segments(uri)):
        files.want(row, timed)
        rows.append(row)
    clips: Packed[Clip] = Packed()
    failures: Packed[Failure] = Packed()
    unplaced: list[tuple[Failure, int]] = []
    taken = Keys(uri, duplicate_ids)
    used: dict[str, int] = {}
    for row in rows:
        file = files.find(row, timed) if row.fault is None else None
        if file is not None:
            before = used.setdefault(file.uri, row.line)
            if segment_audio == "cut" and before != row.line:
                raise SourceError(
                    f"{uri}: lines {before} and {row.line} both stand for {file.uri}, which is one segment",
                    "Name the files YTID_start_end, or give whole recordings and --segment_audio whole",
                )
        item = clip_of(row, row.id, file.uri if file else "", classes, segment_audio, file)
        if isinstance(item, Failure) and item.reason in UNPLACED:
            unplaced.append((item, row.line))
            continue
        taken.add(item if isinstance(item, Clip) else item.clip, row.line)
        if isinstance(item, Clip):
            clips.append(item)
        else:
            alike = files.look_alike(row) if item.reason == "no_audio" else ""
            failures.append(replace(item, message=item.message + alike) if alike else item)
    if not used:
        raise _no_audio_at_all(uri, inputs, [*failures, *(item for item, _ in unplaced)], segment_audio)
    failures.extend(_unused(file, uri) for file in inputs if file.uri not in used)
    failures.extend(taken.apart(item, line) for item, line in unplaced)
    return taken.settled(Corpus(clips, failures))


def some_sound(uri: str, rows: Iterable[Row]) -> Iterator[Row]:
    """The rows of a list; then SourceError for the first, if none can be used: it may be a list of another kind."""
    first: Row | None = None
    sound = False
    for row in rows:
        first = first or row
        sound = sound or row.fault is None
        yield row
    if first is None:
        raise SourceError(f"{uri} holds no rows", "Check which file it is")
    if first.fault is not None and not sound:
        raise at(uri, first.line, first.fault.found, first.fault.remedy)


def clip_of(
    row: Row,
    clip_id: str,
    uri: str,
    classes: ClassLabels | None,
    segment_audio: SegmentAudio,
    file: Clip | None = None,
) -> Clip | Failure:
    """A row and its audio, "" for none -> its clip, or why there is none; size and version are the file's."""
    if row.fault is not None:
        clip = Clip(clip_id, uri)
        return Failure(clip, "find", row.fault.reason, f"line {row.line}: {row.fault.found}")
    known, unknown = _indices(row.labels, classes) if row.labels else ((), [])
    start_s = 0.0 if row.start_s is None else row.start_s
    end_s = row.end_s
    timed = end_s is not None or start_s > 0
    fault = _fault_of_times(start_s, end_s)
    clip = Clip(
        clip_id,
        uri,
        start_s if math.isfinite(start_s) else 0.0,
        end_s if end_s is not None and math.isfinite(end_s) else None,
        known,
        timed and segment_audio == "whole",
        file.size_bytes if file else 0,
        file.version if file else "",
        place=file.place if file else "",
    )
    if row.scores and not unknown:
        scored = set(zip((_index(label, classes) for label in row.labels), row.scores, strict=True))
        if len(scored) > len(known):
            return Failure(clip, "find", "bad_row", f"line {row.line}: a label has two scores")
        clip = replace(clip, scores=tuple(score for _, score in sorted(scored)))
    if fault:
        return Failure(clip, "find", "bad_times", f"line {row.line}: {fault}")
    if unknown:
        where = f"in {classes.uri}" if classes else "a class index"
        return Failure(clip, "find", "unknown_label", f"line {row.line}: not {where}: {', '.join(unknown)}")
    if not uri:
        return Failure(clip, "find", "no_audio", f"no input is called {next(names_of(row, False))} (line {row.line})")
    return clip


def _indices(labels: Sequence[Label], classes: ClassLabels | None) -> tuple[tuple[int, ...], list[str]]:
    """Labels -> the class indices of those that are known, ascending; the others."""
    known: set[int] = set()
    unknown: list[str] = []
    for label in labels:
        index = _index(label, classes)
        if index is not None and index >= 0:
            known.add(index)
        else:
            unknown.append(str(label))
    return tuple(sorted(known)), unknown


def _index(label: Label, classes: ClassLabels | None) -> int | None:
    return classes.index(label) if classes else as_index(label)


MOST_START_S = 2.0**23
"""97 days. Records hold times as float32, which tells no second from the next beyond twice that."""


def _fault_of_times(start_s: float, end_s: float | None) -> str:
    if not 0 <= start_s <= MOST_START_S:
        return f"start_seconds is {start_s:g}, not from 0 to {MOST_START_S:.0f}"
    if end_s is not None and not (math.isfinite(end_s) and end_s > start_s):
        return f"end_seconds is {end_s:g}, start_seconds {start_s:g}"
    return ""


def _unused(file: Clip, uri: str) -> Failure:
    return Failure(file, "find", "no_row", f"no row of {uri} names {file.uri}", skipped=True)


def _no_audio_at_all(
    uri: str, inputs: Sequence[Clip], failures: Sequence[Failure], segment_audio: SegmentAudio
) -> SourceError:
    return SourceError(
        f"{number_of(len(failures), 'row')} of {uri}, none with audio: the first needs {failures[0].clip.id}, "
        f"the inputs are {number_of(len(inputs), 'file')} such as {inputs[0].uri}",
        "Name the files by their YTID"
        + ("; if they are segments, YTID_start_end say, add --segment_audio cut" if segment_audio == "whole" else ""),
    )
