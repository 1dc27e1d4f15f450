"""A manifest of any dialect -> its rows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import chain
from typing import Any

from pipeline import storage
from pipeline.corpus.class_labels import ClassLabels
from pipeline.corpus.ids import as_path
from pipeline.corpus.lists import json_lists, kaldi, own, published
from pipeline.corpus.lists.audio import Audio
from pipeline.corpus.lists.found import Found, Numbered
from pipeline.corpus.rows import Row, folder_of, labels_of, name_of, scores_of, seconds_of, text_of
from pipeline.corpus.tables import RowError, text_lines


def read_manifest(uri: str, classes: ClassLabels | None = None, found: Found | None = None) -> Iterator[Row]:
    """A manifest -> its rows: CSV with a header, or JSON lines, with `uri` and perhaps id, start_seconds, end_seconds,
    labels; or a list of another project (docs/formats.md).

    Relative URIs are relative to `folder_of` the manifest. Several labels in one text are separated by "," or ";".

    Args:
      uri: of the list.
      classes: the table that its labels are of.
      found: takes what the list turns out to be.

    Raises:
      SourceError: a CSV with a header that is not known, with columns that are misspelt, or with a quote that is not
        closed.
    """
    folder = storage.join(folder_of(uri), "")
    if found is None:
        found = Found(uri, folder, Audio(), classes)
    unsplit = classes or ClassLabels("")
    with text_lines(uri) as lines:
        for line, values in _values(lines, found):
            try:
                if isinstance(values, RowError):
                    raise values
                yield _row(line, values, folder, unsplit, found.scores)
            except RowError as fault:
                yield Row(line, fault.clip_id or name_of(uri, line), fault=fault)


def _values(lines: Iterator[str], found: Found) -> Iterator[Numbered]:
    """A list's lines -> its rows, by the dialect that its first line, or its name, shows."""
    start: list[str] = []
    first = ""
    for line in lines:
        start.append(line)
        if line.strip():
            first = line
            break
    lines = chain(start, lines)
    if first.lstrip().startswith(("{", "[")):
        return json_lists.rows(lines, found)
    if kind := kaldi.kind_of(found.uri, first):
        return kaldi.rows(kind, lines, found)
    if table := published.table_of(first):
        return table(lines, found)
    return own.table(lines, found)


def _row(line: int, values: dict[str, Any], folder: str, classes: ClassLabels, scored: bool) -> Row:
    target, clip_id = text_of("uri", values.get("uri")), values.get("id")
    if not target:
        raise RowError(f"uri is {values.get('uri')!r}", "Name the audio file")
    if "\0" in target:
        raise RowError(f"uri is {target!r}, which holds a zero byte", "Name the audio file")
    if isinstance(clip_id, int) and not isinstance(clip_id, bool):
        clip_id = str(clip_id)
    clip_id = "" if clip_id is None else text_of("id", clip_id)
    if "://" in target or not folder.startswith("/"):
        audio = storage.absolute(storage.join(folder, as_path(target) if storage.is_local(target) else target))
    else:  # the same in a quarter of the time
        path = as_path(target)
        audio = os.path.normpath(path if path.startswith("/") else folder + path)
    try:
        start_s = seconds_of("start_seconds", values.get("start_seconds"))
        end_s = seconds_of("end_seconds", values.get("end_seconds"))
        labels = tuple(labels_of(values.get("labels"), classes))
        scores = scores_of(values.get(own.SCORES), len(labels)) if scored else ()
        return Row(line, clip_id, audio, start_s, end_s, labels, scores=scores)
    except RowError as fault:
        return Row(line, clip_id, audio, fault=fault)
