"""Patterns of files, segment lists and manifests -> clips, and failures for inputs that cannot be one.

A clip's id is the list's own, or the path of its file below the fixed part of the pattern, without extension.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from types import MappingProxyType

from pipeline import storage
from pipeline.corpus import archives, path_labels
from pipeline.corpus.advice import why_nothing_matches
from pipeline.corpus.class_labels import ClassLabels, read_class_labels
from pipeline.corpus.data_sets import DataSets, is_whole
from pipeline.corpus.exclusion import Exclusion
from pipeline.corpus.ids import as_utf8
from pipeline.corpus.keys import Keys
from pipeline.corpus.listings import clips_from_segments
from pipeline.corpus.lists.manifests import clips_from_manifest
from pipeline.corpus.not_audio import says_list
from pipeline.corpus.packed import Packed
from pipeline.corpus.parquet.columns import FOUND, ColumnNames
from pipeline.corpus.parquet.listing import Tables
from pipeline.corpus.path_labels import Labels, PathLabels, labelled
from pipeline.corpus.tables import SourceError
from pipeline.errors import FlagError
from pipeline.settings import CRAWL, Crawl
from pipeline.storage import containers
from pipeline.storage.containers import parquet
from pipeline.types import Clip, Corpus, DuplicateIds, Failure, RecordFormat, SegmentAudio

__all__ = ["SourceError", "clips_from_manifest", "clips_from_patterns", "clips_from_segments", "find_corpus"]


def find_corpus(
    patterns: Sequence[str] = (),
    *,
    manifest: str | None = None,
    segments: str | None = None,
    class_labels: str | None = None,
    segment_audio: SegmentAudio = "whole",
    duplicate_ids: DuplicateIds = "stop",
    output: str = "",
    exclude: Sequence[str] = (),
    labels_from: str = "",
    numbered: Mapping[int, str] | None = None,
    on_found: Callable[[int], object] | None = None,
    crawl: Crawl = CRAWL,
    columns: ColumnNames = FOUND,
    record_format: RecordFormat = "audioset",
) -> Corpus:
    """Patterns of files, and lists of clips -> the corpus.

    Files of data sets that lie among the audio are left out of what patterns list; `Corpus.notes` says so.

    Args:
      patterns: audio files; a folder means all below it (`pipeline.storage.match`). With a manifest: further files,
        which no row names.
      manifest: CSV or JSON lines, a row a clip: uri and, if wanted, id, start_seconds, end_seconds, labels; or a list
        of another project (docs/formats.md).
      segments: a segment list in AudioSet's format, for the audio of `patterns`.
      class_labels: AudioSet's `class_labels_indices.csv` or one like it; segment lists need one.
      segment_audio: rows with times: whether files hold the whole recording, or just the segment ("cut").
      duplicate_ids: clips of one id and time: "stop" raises, "fail" makes each of them a failure.
      output: the folder that is to be written to: what is in it is no input, though it may have no manifest yet.
      exclude: globs of files that patterns find and that are to be left out (`pipeline.corpus.exclusion.Exclusion`).
      labels_from: where the labels of files that patterns find stand, in their paths or beside them
        (`pipeline.corpus.path_labels.PathLabels`); "": nowhere.
      numbered: names of classes that an output has numbered already (`pipeline.output.classes.numbered`).
      on_found: called with the number of files that patterns have found so far, at each of them.
      crawl: how servers of http:// and https:// are asked for a manifest's files.
      columns: of Parquet files that patterns find: which hold audio, ids and labels.
      record_format: of the records to come: "youtube8m" has a use for a manifest's segment_scores.

    Raises:
      SourceError: the inputs cannot be used as given.
      StorageError: they cannot be listed or read.
    """
    classes = read_class_labels(storage.absolute(class_labels)) if class_labels else None
    if labels_from and (segments or manifest):
        raise FlagError(
            f"--labels_from {labels_from} is for the files of --input; {segments or manifest} has labels of its own",
            "Leave one out",
        )
    rule = PathLabels(labels_from) if labels_from else None
    if columns.labels and (rule or manifest):
        other = f"--manifest {manifest}" if manifest else "--labels_from"
        raise FlagError(f"{other} and --labels_column {columns.labels} both give labels", "Leave one out")
    inputs = clips_from_patterns(
        patterns, duplicate_ids, output, exclude, rule, classes, numbered or {}, on_found, columns
    )
    naming, notes = inputs, inputs.notes
    if segments:
        if any(parquet.row_of(clip.place) for clip in inputs.clips):
            found_rows = f"--segments {segments} is for files; --input has Parquet, whose rows have labels of their own"
            raise FlagError(found_rows, "Leave --segments out, and name their column: --labels_column")
        if classes is None:
            raise SourceError(f"{segments} has labels as MIDs", "Name the table of classes that they are from")
        uri = storage.absolute(segments)
        found = clips_from_segments(inputs.clips, uri, classes, segment_audio, duplicate_ids)
        if inputs.failures:
            found = Corpus(found.clips, Packed(chain(inputs.failures, found.failures)))
    elif manifest:
        uri, before = storage.absolute(manifest), numbered or {}
        scores = record_format == "youtube8m"
        listed = clips_from_manifest(uri, classes, segment_audio, duplicate_ids, inputs.clips, before, crawl, scores)
        naming, notes = listed, (*notes, *listed.notes)
        every_key_once = not patterns and duplicate_ids == "stop"
        found = listed if every_key_once else _with_others(listed, inputs, manifest, duplicate_ids)
    else:
        found = inputs
    names = classes.names if classes else naming.names
    numbers = classes is None and (bool(rule) or naming.numbers_classes)
    return replace(found, names=names, notes=notes, numbers_classes=numbers)


def _with_others(listed: Corpus, inputs: Corpus, manifest: str, duplicate_ids: DuplicateIds) -> Corpus:
    """The clips of a manifest, and the files that no row of it names."""
    named_clips = [*listed.clips, *(failure.clip for failure in listed.failures)]
    named = {clip.uri for clip in named_clips}
    others = [clip for clip in inputs.clips if clip.uri not in named]
    failures = [failure for failure in inputs.failures if failure.clip.uri not in named]
    taken = Keys(manifest, duplicate_ids)
    for clip in (*named_clips, *others, *(failure.clip for failure in failures)):
        taken.add(clip, clip.uri)
    return taken.settled(Corpus([*listed.clips, *others], [*listed.failures, *failures]))


def _added(tell: Callable[[int], object], before: int) -> Callable[[int], object]:
    """A callback that adds the files of earlier patterns to its count."""
    return lambda number: tell(before + number)


def clips_from_patterns(
    patterns: Sequence[str],
    duplicate_ids: DuplicateIds = "stop",
    output: str = "",
    exclude: Sequence[str] = (),
    rule: PathLabels | None = None,
    classes: ClassLabels | None = None,
    numbered: Mapping[int, str] = MappingProxyType({}),
    on_found: Callable[[int], object] | None = None,
    columns: ColumnNames = FOUND,
) -> Corpus:
    """Patterns (`pipeline.storage.match`) -> a clip for each file, in the order of their URIs.

    An archive stands for its members, as if it were a folder of its name (`pipeline.corpus.archives`), and Parquet with
    a column of audio for its rows (`pipeline.corpus.parquet`). A file that several patterns match counts once, with the
    id that the first gives it. A folder that may not be listed is a failure of stage "find". Ids of files whose names
    say that they are no audio keep their extension: such a file often lies beside a recording of its name.

    Args:
      patterns: of the files.
      duplicate_ids: as `pipeline.corpus.keys.Keys`.
      output, exclude, numbered, on_found: as of `find_corpus`.
      rule: where their labels stand; None: they have none.
      classes: the table of these labels, and of those in Parquet.
      columns: of Parquet files.

    Raises:
      SourceError: a pattern matches nothing; the only one is a list by its name; two files have one id.
    """
    clips: list[Clip] = []
    names: Mapping[int, str] = {}
    faults: list[Failure] = []
    labels: list[Labels] = []
    of_archives: list[str] = []
    shut: dict[str, tuple[str, str]] = {}
    seen: set[str] = set()
    taken = Keys("", duplicate_ids, "Rename one, match only one ('audio/**.wav' say), or give a --manifest with ids")
    data_sets, exclusion, tables = DataSets(output), Exclusion(exclude), Tables(columns, classes)
    before = 0
    for pattern in map(storage.absolute, patterns):
        closed: list[storage.StorageError] = []
        files = storage.match(pattern, closed, on_found and _added(on_found, before))
        before += len(files)
        if not files:
            raise closed[0] if closed else why_nothing_matches(pattern)
        fixed = storage.fixed_part(pattern)
        below = len(storage.join(fixed, ""))
        named = files[0].uri == pattern  # a file by its own name
        if named and len(patterns) == 1 and says_list(pattern):  # of several, a shell may have found it
            raise SourceError(
                f"{pattern} is a list by its name, not audio",
                "Give a list of clips with --manifest, or one like AudioSet's with --segments",
            )
        files = files if named else data_sets.without(files, is_whole(pattern, fixed))
        if not files:
            raise SourceError(f"nothing matches {pattern} but files of data sets", "Name the folder of the audio")
        files = exclusion.without(files, below)
        shut.update((error.uri, (error.uri[below:], error.what)) for error in closed)
        if len(patterns) > 1:
            files = [file for file in files if file.uri not in seen]
            seen.update(file.uri for file in files)
        of_rows = [file for file in files if containers.kind_of(file.uri) == parquet.KIND]
        for clip in tables.add(of_rows, below):
            _take_row(clip, taken)
        if of_rows:
            files = [file for file in files if containers.kind_of(file.uri) != parquet.KIND]
        beside = rule.beside if rule else ""
        for found in archives.opened(files, below, not named, exclusion, of_archives, beside):
            if isinstance(found.item, Failure):
                faults.append(found.item)
                continue
            clips.append(found.item)
            taken.add(found.item, found.item.uri)
            if rule:
                labels.append(rule.found(found.path, found.beside))
    if rule:
        clips, names = labelled(clips, labels, classes, numbered, indices=bool(rule.beside))
    rows, unlabelled, names_of_rows = tables.labelled(numbered)
    clips += rows
    faults += tables.failures
    if patterns and not (clips or faults or shut or unlabelled):
        if tables.without:
            raise tables.without[0]
        if exclude:
            raise SourceError("--exclude leaves out all files of --input", "Check what the globs match")
        raise SourceError("the archives of --input hold no files", "Look into them with tar -tf or unzip -l")
    failures = (Failure(Clip(as_utf8(path), uri), "find", "unreadable", why) for uri, (path, why) in shut.items())
    apart = [taken.apart(failure, "the folder") for failure in failures]
    apart += [taken.apart(fault, fault.clip.uri) for fault in faults]
    settled = taken.settled(Corpus(sorted(clips, key=lambda clip: clip.uri), [*unlabelled, *apart]))
    of_labels = path_labels.notes(labels, rule) if rule else ()
    notes = (*data_sets.notes(), *exclusion.notes(), *of_archives, *tables.notes(), *of_labels)
    names = names or names_of_rows
    return replace(settled, notes=notes, names=names, numbers_classes=classes is None and bool(names))


def _take_row(clip: Clip, taken: Keys) -> None:
    """Takes the key of a row of Parquet. Raises SourceError if it is another's, unless such clips are to fail."""
    try:
        taken.add(clip, clip.uri)
    except SourceError as error:
        raise SourceError(error.found, "Name a column of ids: --id_column; or --duplicate_ids fail") from None
