"""A request's file, opened for a decoder: a path, an object, or a compressed file's content.

A compressed file may hold far more than is wanted of it: it is unpacked as far as the longest clip that is read. All
decoders of the machine together fill at most half of what is free for temporary files.
"""

from __future__ import annotations

import io
import math
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, BinaryIO, cast

from pipeline import storage
from pipeline.storage import compression, containers, seekable
from vggish_core.audio import AudioError, open_audio

Progress = Callable[[], None]
"""Called now and then while nothing comes: each call means that the decoder is not stuck."""

SAMPLE_BYTES = {"PCM_S8": 1, "PCM_U8": 1, "ULAW": 1, "ALAW": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4}
"""Of samples as they are stored. Those of compressed codecs take fewer than the 8 that all others are taken for."""

_decoders = os.cpu_count() or 1


def share_room(decoders: int) -> None:
    """Say how many decoder processes fill this machine's disk of temporary files."""
    global _decoders
    _decoders = max(decoders, os.cpu_count() or 1)


def open_file(
    uri: str, stack: ExitStack, progress: Progress, longest_s: float | None = None, place: str = ""
) -> str | BinaryIO:
    """The local file's path; or the remote, contained, or unpacked, file, which the stack closes.

    Args:
      uri: path or URI.
      stack: closes it.
      progress: called while a file is unpacked.
      longest_s: seconds of audio that are wanted of it at most; None: all.
      place: where in its container it is (`Clip`); "": it is a file by itself.

    Raises:
      AudioError: too_long for a content that is longer than wanted; unreadable for what is no file.
      StorageError: the file cannot be read, or its compressed data are damaged.
    """
    stored = containers.file_of(uri, place)
    if other := storage.why_not_a_file(stored):  # opening a pipe would wait for who writes into it
        raise AudioError("unreadable", f"it is {other}, not a file")
    packed = compression.kind_of(uri) is not None
    if storage.is_local(uri) and not packed and not place:
        return storage.absolute(uri)
    check = _Bound(progress, longest_s).check
    file = containers.open_member(uri, place, check, disk_bytes=_room()) if place else storage.open_read(uri)
    if not packed:
        return stack.enter_context(file)
    watched = cast(BinaryIO, _Watched(file, progress))
    return stack.enter_context(compression.unpacked(watched, uri, check, disk_bytes=_room()))


def _room() -> int:
    """Bytes that a decoder may fill; none where the disk is so full that Python finds no folder for temporary files."""
    try:
        return shutil.disk_usage(tempfile.gettempdir()).free // 2 // _decoders
    except OSError:
        return 0


class _Bound:
    """How much of a content is wanted."""

    def __init__(self, progress: Progress, longest_s: float | None) -> None:
        self._progress = progress
        self._longest_s = longest_s
        self._wanted: float | None = None
        """Bytes; None before the content's start is there, or where all of it is wanted."""

    def check(self, size: int, start: bytearray) -> None:
        """Raise AudioError if so many bytes are too many."""
        self._progress()
        if self._longest_s is None or size < seekable.START_BYTES:
            return
        if self._wanted is None:
            self._wanted = self._measured(bytes(start), self._longest_s)
        if size > self._wanted:
            raise AudioError("too_long", f"{size} bytes unpacked are more than {self._longest_s:g} s, the limit")

    def _measured(self, start: bytes, longest_s: float) -> float:
        """By a content's start, the most bytes that are wanted of it."""
        try:
            with open_audio(io.BytesIO(start)) as audio:
                sample_bytes = SAMPLE_BYTES.get(audio.format.partition("/")[2], 8)
                a_second = audio.sample_rate_hz * audio.channels * sample_bytes
        except AudioError:
            return math.inf  # a large picture, say, comes first
        # Beside the samples there may be tags; what fits into memory does no harm.
        return seekable.IN_MEMORY_BYTES + longest_s * a_second


class _Watched:
    """A file that says when it is read."""

    def __init__(self, file: BinaryIO, progress: Progress) -> None:
        self._file = file
        self._progress = progress

    def read(self, size: int = -1) -> bytes:
        self._progress()
        return self._file.read(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
