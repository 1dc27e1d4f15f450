"""What is to be embedded: patterns of files, segment lists and manifests -> clips, and what fails to be one.

A clip's id is the list's own, or the path of its file below the fixed part of the pattern, without extension.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace

from pipeline import storage
from pipeline.inputs.advice import why_nothing_matches
from pipeline.inputs.class_labels import ClassLabels, read_class_labels
from pipeline.inputs.corpus import Corpus
from pipeline.inputs.ids import as_utf8, id_of
from pipeline.inputs.keys import DuplicateIds, Keys
from pipeline.inputs.listings import clips_from_manifest, clips_from_segments
from pipeline.inputs.tables import SourceError
from pipeline.types import Clip, Failure

__all__ = ["SourceError", "clips_from_manifest", "clips_from_patterns", "clips_from_segments", "find"]


def find(flags: argparse.Namespace) -> Corpus:
    """The command's flags (--input, --manifest, --segments, --class_labels, --segment_audio) -> the corpus.

    With --manifest, --input adds the files that no row names.

    Raises:
      SourceError: the inputs cannot be used as given.
      StorageError: they cannot be listed or read.
    """
    classes = read_class_labels(storage.absolute(flags.class_labels)) if flags.class_labels else None
    found = _find(flags, classes)
    return replace(found, names=classes.names) if classes else found


def _find(flags: argparse.Namespace, classes: ClassLabels | None) -> Corpus:
    inputs = clips_from_patterns(flags.input, flags.duplicate_ids)
    if flags.segments:
        assert classes is not None  # which the flags' own check makes sure of
        uri = storage.absolute(flags.segments)
        found = clips_from_segments(inputs.clips, uri, classes, flags.segment_audio, flags.duplicate_ids)
        return Corpus(found.clips, [*inputs.failures, *found.failures])
    if not flags.manifest:
        return inputs
    uri = storage.absolute(flags.manifest)
    found = clips_from_manifest(uri, classes, flags.segment_audio, flags.duplicate_ids)
    listed = [*found.clips, *(failure.clip for failure in found.failures)]
    named = {clip.uri for clip in listed}
    others = [clip for clip in inputs.clips if clip.uri not in named]
    failures = [failure for failure in inputs.failures if failure.clip.uri not in named]
    taken = Keys(flags.manifest, flags.duplicate_ids)
    for clip in (*listed, *others, *(failure.clip for failure in failures)):
        taken.add(clip, clip.uri)
    return taken.settled(Corpus([*found.clips, *others], [*found.failures, *failures]))


def clips_from_patterns(patterns: Sequence[str], duplicate_ids: DuplicateIds = "stop") -> Corpus:
    """Patterns (`pipeline.storage.match`) -> a clip for each file, in the order of their URIs.

    A file that several patterns match counts once, with the id that the first gives it. A folder that may not be listed
    is a failure of stage "find".

    Args:
      patterns: of the files.
      duplicate_ids: as `pipeline.inputs.keys.Keys`.

    Raises:
      SourceError: a pattern matches nothing; two files have one id.
    """
    clips: list[Clip] = []
    shut: dict[str, tuple[str, str]] = {}
    seen: set[str] = set()
    taken = Keys("", duplicate_ids, "Rename one, match only one ('audio/**.wav' say), or give a --manifest with ids")
    for pattern in map(storage.absolute, patterns):
        closed: list[storage.StorageError] = []
        files = storage.match(pattern, closed)
        if not files:
            raise closed[0] if closed else why_nothing_matches(pattern)
        below = len(storage.join(storage.fixed_part(pattern), ""))
        shut.update((error.uri, (error.uri[below:], error.what)) for error in closed)
        for file in files:
            if len(patterns) > 1:
                if file.uri in seen:
                    continue
                seen.add(file.uri)
            path = file.uri[below:]
            if storage.is_local(file.uri):
                path = as_utf8(path)
            clips.append(Clip(id_of(path), file.uri, size_bytes=file.size_bytes, version=file.version))
            taken.add(clips[-1], file.uri)
    failures = (Failure(Clip(as_utf8(path), uri), "find", "unreadable", why) for uri, (path, why) in shut.items())
    apart = [taken.apart(failure, "the folder") for failure in failures]
    return taken.settled(Corpus(sorted(clips, key=lambda clip: clip.uri), apart))
