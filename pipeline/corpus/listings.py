"""Listed clips: rows of AudioSet's segment lists and of manifests -> clips, and what fails to be one."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import replace

from pipeline import storage
from pipeline.corpus.class_labels import ClassLabels, as_index
from pipeline.corpus.ids import as_utf8, id_of
from pipeline.corpus.keys import Keys
from pipeline.corpus.rows import Row, folder_of, read_manifest, read_segments
from pipeline.corpus.tables import SourceError, at
from pipeline.types import Clip, Corpus, DuplicateIds, Failure, SegmentAudio

UNPLACED = ("bad_row", "bad_times")
"""Reasons of rows that do not say which stretch they mean: several may do so of one id."""
LISTED_FOLDERS = 100
"""Remote files of a manifest have their sizes and versions from listings, if they are in so few folders."""


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
    rows = _some_sound(uri, list(read_segments(uri)))
    files = _Names(inputs, {name for row in rows for name in names_of(row, timed)})
    clips: list[Clip] = []
    failures: list[Failure] = []
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
        item = _clip_of(row, row.id, file, classes, segment_audio)
        if isinstance(item, Failure) and item.reason in UNPLACED:
            unplaced.append((item, row.line))
            continue
        taken.add(item if isinstance(item, Clip) else item.clip, row.line)
        if isinstance(item, Clip):
            clips.append(item)
        else:
            lost = item.reason == "no_audio"
            failures.append(replace(item, message=item.message + files.look_alike(row)) if lost else item)
    if not used:
        raise _no_audio_at_all(uri, inputs, [*failures, *(item for item, _ in unplaced)], segment_audio)
    failures.extend(_unused(file, uri) for file in inputs if file.uri not in used)
    failures.extend(taken.apart(item, line) for item, line in unplaced)
    return taken.settled(Corpus(clips, failures))


def _some_sound(uri: str, rows: list[Row]) -> list[Row]:
    """The rows of a list; SourceError for the first, if none can be used: it may be a list of another kind."""
    if not rows:
        raise SourceError(f"{uri} holds no rows", "Check which file it is")
    first = rows[0].fault
    if first is not None and all(row.fault is not None for row in rows):
        raise at(uri, rows[0].line, first.found, first.remedy)
    return rows


YOUTUBE_ID = re.compile(r"[A-Za-z0-9_-]{11}")
"""An id of YouTube's."""
MOST_SECONDS = 1e9
"""Times beyond are in no file's name."""


def names_of(row: Row, timed: bool) -> Iterator[str]:
    """A row of a segment list -> what its audio may be called, without extension, the likeliest first.

    For files that were cut (`timed`) id_start_end and id_start, with times such as 30, 30.0, 30.000 (seconds) or 30000
    (milliseconds); then the id itself.
    """
    if timed and row.start_s is not None and row.end_s is not None:
        if not (abs(row.start_s) < MOST_SECONDS and abs(row.end_s) < MOST_SECONDS):
            return
        for start, end in zip(_spellings(row.start_s), _spellings(row.end_s), strict=True):
            yield f"{row.id}_{start}_{end}"
            yield f"{row.id}_{start}"
    yield row.id


def _spellings(seconds: float) -> tuple[str, ...]:
    return (f"{seconds:g}", f"{seconds:.3f}", str(seconds), str(round(seconds * 1000)))


class _Names:
    """Audio files by name."""

    def __init__(self, inputs: Iterable[Clip], wanted: Container[str]) -> None:
        """The files, and the names that rows give exactly."""
        self._wanted = wanted
        self._files: dict[str, Clip] = {}
        self._others: dict[str, Clip] = {}
        self._normalized: dict[str, Clip] = {}
        for file in inputs:
            name = file.id.rpartition("/")[2]
            if self._files.setdefault(name, file) is not file:
                self._others[name] = file

    def find(self, row: Row, timed: bool) -> Clip | None:
        for name in self._names(row, timed):
            if (file := self._files.get(name)) is not None:
                if name in self._others:
                    raise SourceError(
                        f"two files are called as {row.id}: {file.uri} and {self._others[name].uri}",
                        "Give a pattern that matches only one of them",
                    )
                return file
        return None

    def _names(self, row: Row, timed: bool) -> Iterator[str]:
        """What a row's audio may be called: some downloaders put a Y before YouTube's ids, lest a name begins with "-".

        Not a file's that another row names by itself.
        """
        yield from names_of(row, timed)
        if YOUTUBE_ID.fullmatch(row.id):
            yield from (name for name in names_of(replace(row, id=f"Y{row.id}"), timed) if name not in self._wanted)

    def look_alike(self, row: Row) -> str:
        """What to add where a row has no file: one whose name differs in the spelling of Unicode alone."""
        if not self._normalized:
            self._normalized = {unicodedata.normalize("NFC", name): file for name, file in self._files.items()}
        file = self._normalized.get(unicodedata.normalize("NFC", row.id))
        return f"; {file.uri} looks alike, but its name is another Unicode form" if file else ""


def clips_from_manifest(
    uri: str, classes: ClassLabels | None, segment_audio: SegmentAudio, duplicate_ids: DuplicateIds = "stop"
) -> Corpus:
    """A manifest (`pipeline.corpus.rows.read_manifest`) -> a clip for each row.

    Without an id in the list, it is the path of the audio below the manifest's folder, without extension; for audio
    elsewhere its whole path.

    Raises:
      SourceError: the manifest is malformed or empty, or no row is sound; two rows have one id and the same times; most
        rows name their labels, and there is no table of class labels.
    """
    folder = storage.join(folder_of(uri), "")
    clips: list[Clip] = []
    failures: list[Failure] = []
    unplaced: list[tuple[Failure, int]] = []
    taken = Keys(uri, duplicate_ids)
    rows = _some_sound(uri, list(read_manifest(uri, classes)))
    if classes is None:
        _expect_indices(uri, rows)
    for row in rows:
        path = (
            row.uri.removeprefix(folder) if row.uri.startswith(folder) else row.uri.partition("://")[2] or row.uri[1:]
        )
        clip_id = row.id or id_of(as_utf8(path) if storage.is_local(row.uri) else path)
        item = _clip_of(row, clip_id, Clip("", row.uri), classes, segment_audio)
        if isinstance(item, Failure) and item.reason in UNPLACED:
            unplaced.append((item, row.line))
            continue
        taken.add(item if isinstance(item, Clip) else item.clip, row.line)
        if isinstance(item, Clip):
            clips.append(item)
        else:
            failures.append(item)
    failures.extend(taken.apart(item, line) for item, line in unplaced)
    return taken.settled(Corpus(_with_sizes(clips), failures))


def _expect_indices(uri: str, rows: list[Row]) -> None:
    """Raise SourceError if most rows name their labels, and there is no table of the names."""
    named = [row for row in rows if any(as_index(label) is None for label in row.labels)]
    if 2 * len(named) > len(rows):
        label = next(label for label in named[0].labels if as_index(label) is None)
        remedy = "Name the table of MIDs and display names with --class_labels, or give indices"
        raise at(uri, named[0].line, f"{label!r} is no class index", remedy)


def _clip_of(
    row: Row, clip_id: str, file: Clip | None, classes: ClassLabels | None, segment_audio: SegmentAudio
) -> Clip | Failure:
    """A row and its audio -> its clip, or why there is none."""
    if row.fault is not None:
        clip = Clip(clip_id, file.uri if file else "")
        return Failure(clip, "find", row.fault.reason, f"line {row.line}: {row.fault.found}")
    indices = [classes.index(label) if classes else as_index(label) for label in row.labels]
    known = {index for index in indices if index is not None and index >= 0}
    timed = row.end_s is not None or (row.start_s or 0.0) > 0
    fault = _fault_of_times(row.start_s, row.end_s)
    start_s = row.start_s if row.start_s is not None and math.isfinite(row.start_s) else 0.0
    clip = Clip(
        clip_id,
        file.uri if file else "",
        start_s,
        row.end_s if row.end_s is not None and math.isfinite(row.end_s) else None,
        tuple(sorted(known)),
        timed and segment_audio == "whole",
        file.size_bytes if file else 0,
        file.version if file else "",
    )
    if fault:
        return Failure(clip, "find", "bad_times", fault)
    unknown = [str(label) for label, index in zip(row.labels, indices, strict=True) if index is None or index < 0]
    if unknown:
        where = f"in {classes.uri}" if classes else "a class index"
        return Failure(clip, "find", "unknown_label", f"not {where}: {', '.join(unknown)}")
    if file is None:
        return Failure(clip, "find", "no_audio", f"no input is called {next(names_of(row, False))} (line {row.line})")
    return clip


MOST_START_S = 2.0**23
"""97 days. Records hold times as float32, which tells no second from the next beyond twice that."""


def _fault_of_times(start_s: float | None, end_s: float | None) -> str:
    start = 0.0 if start_s is None else start_s
    if not 0 <= start <= MOST_START_S:
        return f"start_seconds is {start:g}, not from 0 to {MOST_START_S:.0f}"
    if end_s is not None and not (math.isfinite(end_s) and end_s > start):
        return f"end_seconds is {end_s:g}, start_seconds {start:g}"
    return ""


def _unused(file: Clip, uri: str) -> Failure:
    return Failure(file, "find", "no_row", f"no row of {uri} names {file.uri}", skipped=True)


def _no_audio_at_all(
    uri: str, inputs: Sequence[Clip], failures: Sequence[Failure], segment_audio: SegmentAudio
) -> SourceError:
    return SourceError(
        f"none of the {len(failures)} rows of {uri} has audio: {failures[0].clip.id} is wanted first, "
        f"the {len(inputs)} inputs are files such as {inputs[0].uri}",
        "Name the files by their YTID"
        + ("; if they are segments, YTID_start_end say, add --segment_audio cut" if segment_audio == "whole" else ""),
    )


def _with_sizes(clips: list[Clip]) -> list[Clip]:
    """Clips with their files' sizes and versions, where these can be had cheaply. Others have size 0: their files are
    not looked for again once they are embedded."""
    folders = {storage.parent(clip.uri) for clip in clips if not storage.is_local(clip.uri)}
    known: dict[str, storage.FileInfo] = {}
    if len(folders) <= LISTED_FOLDERS:
        for folder in sorted(folders):
            try:
                known.update((file.uri, file) for file in storage.list_folder(folder))
            except storage.CredentialsError:
                raise
            except storage.StorageError:  # a bucket that is not there, say: the clips' reader will tell
                continue
    result = []
    for clip in clips:
        if storage.is_local(clip.uri) and clip.uri not in known:
            known[clip.uri] = _info(clip.uri)
        info = known.get(clip.uri)
        result.append(replace(clip, size_bytes=info.size_bytes, version=info.version) if info else clip)
    return result


def _info(path: str) -> storage.FileInfo:
    """A local file's size and version; none where it cannot be seen from here: its reader may, or will say why not."""
    try:
        return storage.info(path)
    except storage.StorageError:
        return storage.FileInfo(path, 0, "")
