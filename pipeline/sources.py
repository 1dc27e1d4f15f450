"""What is to be embedded: patterns of files, segment lists and manifests -> clips, and what fails to be one.

A clip's id is the list's own, or the path of its file below the fixed part of the pattern, without extension.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from pipeline import storage
from pipeline.inputs.advice import why_nothing_matches
from pipeline.inputs.class_labels import read_class_labels
from pipeline.inputs.corpus import Corpus
from pipeline.inputs.ids import id_of
from pipeline.inputs.listings import Keys, clips_from_manifest, clips_from_segments
from pipeline.inputs.tables import SourceError
from pipeline.types import Clip

__all__ = ["SourceError", "clips_from_manifest", "clips_from_patterns", "clips_from_segments", "find"]


def find(flags: argparse.Namespace) -> Corpus:
    """The command's flags (--input, --manifest, --segments, --class_labels, --segment_audio) -> the corpus.

    With --manifest, --input adds the files that no row names.

    Raises:
      SourceError: the inputs cannot be used as given.
      StorageError: they cannot be listed or read.
    """
    classes = read_class_labels(storage.absolute(flags.class_labels)) if flags.class_labels else None
    inputs = clips_from_patterns(flags.input)
    if flags.segments:
        assert classes is not None  # which the flags' own check makes sure of
        return clips_from_segments(inputs, storage.absolute(flags.segments), classes, flags.segment_audio)
    if not flags.manifest:
        return Corpus(inputs)
    found = clips_from_manifest(storage.absolute(flags.manifest), classes, flags.segment_audio)
    listed = [*found.clips, *(failure.clip for failure in found.failures)]
    named = {clip.uri for clip in listed}
    others = [clip for clip in inputs if clip.uri not in named]
    taken = Keys(flags.manifest)
    for clip in (*listed, *others):
        taken.add(clip, clip.uri)
    return Corpus([*found.clips, *others], found.failures)


def clips_from_patterns(patterns: Sequence[str]) -> list[Clip]:
    """Patterns (`pipeline.storage.match`) -> a clip for each file, in the order of their URIs.

    A file that several patterns match counts once, with the id that the first gives it.

    Raises:
      SourceError: a pattern matches nothing; two files have one id.
    """
    by_id: dict[str, Clip] = {}
    seen: set[str] = set()
    for pattern in map(storage.absolute, patterns):
        files = storage.match(pattern)
        if not files:
            raise why_nothing_matches(pattern)
        below = len(storage.join(storage.fixed_part(pattern), ""))
        for file in files:
            if len(patterns) > 1:
                if file.uri in seen:
                    continue
                seen.add(file.uri)
            clip = Clip(id_of(file.uri[below:]), file.uri, size_bytes=file.size_bytes, version=file.version)
            if (other := by_id.setdefault(clip.id, clip)) is not clip:
                raise SourceError(
                    f"two inputs have the id {clip.id!r}: {other.uri} and {clip.uri}",
                    "Rename one, give a pattern that matches only one ('audio/**.wav' say), or a --manifest with ids",
                )
    return sorted(by_id.values(), key=lambda clip: clip.uri)
