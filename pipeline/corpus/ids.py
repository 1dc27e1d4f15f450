"""Ids of clips: the default one, and those that records without times cannot do with."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from pipeline.errors import FlagError
from pipeline.storage import compression
from pipeline.types import Clip, RecordFormat

_SHOWN = 3
_REMEDY = "Use --record_format audioset, whose records have times, or give each row an id of its own"
_WHOLE = (
    "Give whole recordings, of which rows of one id become segments; or records with times: --record_format audioset"
)

_EXTENSION = re.compile(r"(?<=[^/])\.(?=[A-Za-z0-9]*[A-Za-z])[A-Za-z0-9]{1,5}\Z")
"""At the end of a file's name: "take 1.5" and "a. b" have none."""


def as_utf8(path: str) -> str:
    """A local path, as this locale decodes names of files -> their bytes as UTF-8: an id is the same everywhere."""
    return path if path.isascii() else os.fsencode(path).decode("utf-8", "surrogateescape")


def as_path(text: str) -> str:
    """A local path as a list gives it, in UTF-8 -> as this locale decodes names of files: the inverse of `as_utf8`."""
    return text if text.isascii() else os.fsdecode(text.encode("utf-8", "surrogateescape"))


def id_of(path: str) -> str:
    """A relative path -> the id: without extension, and without that of a compression around it.

    >>> id_of("a/b.wav"), id_of("a/b.wav.gz"), id_of("a/1. Intro"), id_of("take 1.5.flac")
    ('a/b', 'a/b', 'a/1. Intro', 'take 1.5')
    """
    path = compression.without_suffix(path)
    extension = _EXTENSION.search(path)
    return path[: extension.start()] if extension else path


def expect_one_clip_each(clips: Sequence[Clip], record_format: RecordFormat) -> None:
    """Looks for an id of several clips, for a layout without times: nothing would tell their records apart.

    Raises:
      FlagError: there is one; names the first, its times, and the number of such ids.
    """
    seen: set[str] = set()
    repeated: dict[str, None] = {}  # in the order of the list
    for clip in clips:
        if clip.id in seen:
            repeated[clip.id] = None
        seen.add(clip.id)
    if not repeated:
        return
    first = next(iter(repeated))
    rows = [clip for clip in clips if clip.id == first]
    ends = ["the end" if clip.end_s is None else f"{clip.end_s:g} s" for clip in rows]
    times = ", ".join(f"{clip.start_s:g} to {end}" for clip, end in zip(rows[:_SHOWN], ends, strict=False))
    times += f" and {len(rows) - _SHOWN:,} more" if len(rows) > _SHOWN else ""
    others = f"; {len(repeated):,} ids have several" if len(repeated) > 1 else ""
    raise FlagError(
        f"--record_format {record_format}: its records have no times, and {len(rows):,} rows have the id {first!r} "
        f"({times}){others}",
        _WHOLE if record_format == "youtube8m" else _REMEDY,
    )
