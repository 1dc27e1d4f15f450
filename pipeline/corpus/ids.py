"""The id that a clip has by default."""

from __future__ import annotations

import os
import re

from pipeline.storage import compression

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
