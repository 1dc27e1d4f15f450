"""Manifests of any dialect -> clips."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from pipeline import storage
from pipeline.corpus.class_labels import ClassLabels, as_index
from pipeline.corpus.ids import as_utf8, id_of
from pipeline.corpus.keys import Keys
from pipeline.corpus.listings import UNPLACED, clip_of, some_sound
from pipeline.corpus.lists.audio import Audio
from pipeline.corpus.lists.found import Found, Numbering
from pipeline.corpus.lists.reading import read_manifest
from pipeline.corpus.lists.remote_sizes import sized, with_sizes
from pipeline.corpus.packed import Packed
from pipeline.corpus.rows import Row, folder_of
from pipeline.corpus.tables import SourceError, at
from pipeline.settings import CRAWL, Crawl
from pipeline.types import Clip, Corpus, DuplicateIds, Failure, SegmentAudio


def clips_from_manifest(
    uri: str,
    classes: ClassLabels | None,
    segment_audio: SegmentAudio,
    duplicate_ids: DuplicateIds = "stop",
    inputs: Sequence[Clip] = (),
    numbered: Mapping[int, str] = MappingProxyType({}),
    crawl: Crawl = CRAWL,
    scores: bool = False,
) -> Corpus:
    """A manifest (`pipeline.corpus.lists.reading.read_manifest`) -> a clip for each row.

    Without an id in the list, it is the path of the audio below the manifest's folder, without extension; for audio
    elsewhere its whole path. Where a list of another project names labels and there is no table of them, they are
    numbered here.

    Args:
      uri: of the list.
      classes: the table that its labels are of.
      segment_audio, duplicate_ids: as of `clips_from_segments`.
      inputs: files among which lists find their audio that name it without a path.
      numbered: names of classes that an output has numbered already.
      crawl: how servers of http:// and https:// are asked.
      scores: read the column segment_scores, which is unused otherwise.

    Raises:
      SourceError: the manifest is malformed or empty, or no row is sound; two rows have one id and the same times; most
        rows name their labels, and there is no table of class labels.
    """
    folder = storage.join(folder_of(uri), "")
    clips: Packed[Clip] = Packed()
    failures: Packed[Failure] = Packed()
    unplaced: list[tuple[Failure, int]] = []
    taken = Keys(uri, duplicate_ids)
    twice: SourceError | None = None
    found = Found(uri, folder, Audio(inputs, (folder,)), classes, Numbering(numbered), scores)
    rows = some_sound(uri, read_manifest(uri, classes, found))
    look = storage.local_look()
    remote = False
    for row in rows if classes else _indexed(found, rows):
        path = (
            row.uri.removeprefix(folder) if row.uri.startswith(folder) else row.uri.partition("://")[2] or row.uri[1:]
        )
        clip_id = row.id or id_of(as_utf8(path) if storage.is_local(row.uri) else path)
        item = clip_of(row, clip_id, row.uri, found.table, "whole" if found.stretches else segment_audio)
        if isinstance(item, Failure) and item.reason in UNPLACED:
            unplaced.append((item, row.line))
            continue
        try:
            taken.add(item if isinstance(item, Clip) else item.clip, row.line)
        except SourceError as error:  # errors of the whole list, further down, come first
            twice = twice or error
        if isinstance(item, Clip) and storage.is_local(item.uri):
            clips.append(sized(item, look(item.uri)))
        elif isinstance(item, Clip):
            clips.append(item)
            remote = True
        else:
            failures.append(item)
    if twice:
        raise twice
    failures.extend(taken.apart(item, line) for item, line in unplaced)
    if remote:
        clips = with_sizes(uri, clips, crawl)
    names: Mapping[int, str] = {}
    if found.dialect and not classes:
        numbers, names = found.numbering.settled()
        clips = Packed(_numbered(clip, numbers) for clip in clips)
        failures = Packed(replace(item, clip=_numbered(item.clip, numbers)) for item in failures)
    settled = taken.settled(Corpus(clips, failures))
    return replace(settled, names=names, notes=found.notes(), numbers_classes=bool(names))


def _numbered(clip: Clip, numbers: Mapping[int, int]) -> Clip:
    return replace(clip, labels=tuple(sorted({numbers[label] for label in clip.labels}))) if clip.labels else clip


def _indexed(found: Found, rows: Iterable[Row]) -> Iterator[Row]:
    """The rows; then SourceError if most of them name their labels: there is no table of the names."""
    count = named = 0
    first: Row | None = None
    for row in rows:
        count += 1
        if row.labels and any(as_index(label) is None for label in row.labels):
            named += 1
            first = first or row
        yield row
    if first is not None and 2 * named > count and not found.dialect:
        label = next(label for label in first.labels if as_index(label) is None)
        remedy = "Name the table of MIDs and display names with --class_labels, or give indices"
        raise at(found.uri, first.line, f"{label!r} is not a class index", remedy)
