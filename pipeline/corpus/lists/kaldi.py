"""Kaldi's data folders: `wav.scp`, a recording a line, and `segments`, stretches of the recordings beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from pipeline import storage
from pipeline.corpus.lists.found import Found, Numbered, Values
from pipeline.corpus.rows import shown, text_of
from pipeline.corpus.tables import RowError, SourceError, text_lines
from pipeline.storage import compression

Kind = Literal["wav.scp", "segments"]

SCP = "wav.scp"
_NUMBER = r"-?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?"
_SEGMENT = re.compile(rf"\s*(\S+)\s+(\S+)\s+({_NUMBER})\s+({_NUMBER})\s*")
_RECORDING = re.compile(r"\s*(\S+)\s+(\S.*?)\s*")
_OF_CONTENT = re.compile(r"\s*[^\s,;\"]+\s+(?:/|\./|\.\./|\w+://|[^,\"]*\|\s*$).*", re.DOTALL)
"""A line that can be nothing else: an id, and a path from a root or a command."""


def kind_of(uri: str, first: str) -> Kind | None:
    """A list's name, and its first line that holds something -> which of Kaldi's files it is."""
    name = compression.without_suffix(uri.rpartition("/")[2])
    if _SEGMENT.fullmatch(first) and "," not in first:
        return "segments"
    return "wav.scp" if name.endswith(".scp") or _OF_CONTENT.fullmatch(first) else None


def rows(kind: Kind, lines: Iterator[str], found: Found) -> Iterator[Numbered]:
    """Lines -> their values."""
    found.dialect = f"Kaldi's {kind}"
    if kind == "segments":
        yield from _segments(lines, found)
        return
    if storage.is_local(found.folder) and storage.exists(storage.join(found.folder, "segments")):
        found.remarks.append("there are segments beside it, which --manifest takes in its place")
    for line, text in enumerate(lines, 1):
        if text.strip():
            try:
                yield line, _recording(text)
            except RowError as fault:
                yield line, fault


def _recording(text: str) -> Values:
    """A line of `wav.scp`. Commands, which end with "|", are not run: a list may come from a stranger."""
    parts = _RECORDING.fullmatch(text)
    if not parts:
        raise RowError(f"no id and path: {shown(text.strip())}", "Put an id and the path of its audio in a line")
    name, path = text_of("the id", parts[1]), parts[2]
    if path.startswith("|") or path.endswith("|"):
        what = f"the audio of {shown(name)} is the output of a command, which is not run: {shown(path)}"
        raise RowError(what, "Name an audio file; Kaldi's wav-copy writes them", clip_id=name)
    if path == "-":
        raise RowError(f"the audio of {shown(name)} is standard input", "Name an audio file", clip_id=name)
    return {"uri": path, "id": name}


def _segments(lines: Iterator[str], found: Found) -> Iterator[Numbered]:
    recordings = _recordings(storage.join(found.folder, SCP), found.uri)
    for line, text in enumerate(lines, 1):
        if not text.strip():
            continue
        parts = _SEGMENT.fullmatch(text)
        if not parts:
            remedy = "Put id, recording, start and end in a line"
            yield line, RowError(f"no segment: {shown(text.strip())}", remedy)
            continue
        name, recording, start, end = parts.groups()
        audio = recordings.get(recording)
        if audio is None:
            audio = RowError(f"{SCP} has no recording {shown(recording)}", "Add it, or correct the name", "no_audio")
        if isinstance(audio, RowError):
            yield line, RowError(audio.found, audio.remedy, audio.reason, name)
            continue
        stop = None if float(end) == -1 else end  # "to the recording's end"
        yield line, {"uri": audio["uri"], "id": name, "start_seconds": start, "end_seconds": stop}


def _recordings(uri: str, segments: str) -> dict[str, Values | RowError]:
    """`wav.scp` -> what each recording's id stands for."""
    result: dict[str, Values | RowError] = {}
    try:
        with text_lines(uri) as lines:
            for text in filter(str.strip, lines):
                try:
                    result[text.split(maxsplit=1)[0]] = _recording(text)
                except RowError as fault:
                    result[text.split(maxsplit=1)[0]] = fault
    except storage.MissingError as error:
        raise SourceError(f"{segments} names recordings of {uri}, which is not there", "Put it there") from error
    return result
