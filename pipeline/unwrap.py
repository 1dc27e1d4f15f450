"""Compressed wrappers around audio files (`.wav.gz`), unpacked by their extension as Beam's own readers do."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import tempfile
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO, cast

from pipeline.storage import open_read

SPOOL_BYTES = 64 << 20
"""What is unpacked of a compressed file stays in memory up to this size."""

_UNPACKERS: dict[str, Callable[[BinaryIO], Any]] = {
    ".gz": lambda file: gzip.GzipFile(fileobj=file),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
    ".lzma": lzma.LZMAFile,
    ".deflate": lambda file: _Inflated(file),
    ".zst": lambda file: _zstandard(file),
}
"""By extension, the wrappers that Beam's own readers unpack."""


def is_wrapped(uri: str) -> bool:
    """Whether a file is, by its extension, a compressed wrapper around another one."""
    return os.path.splitext(uri)[1].lower() in _UNPACKERS


def open_unwrapped(uri: str, progress: Callable[[], None] = lambda: None) -> BinaryIO:
    """As `open_read`, but a compressed wrapper (`.wav.gz`) gives its content: unpacked once, since decoders seek.

    Args:
      uri: of the file.
      progress: called for every 64 KB that were unpacked.

    Raises:
      OSError, EOFError, zlib.error, lzma.LZMAError: if the wrapper is damaged.
    """
    if not is_wrapped(uri):
        return open_read(uri)
    spool = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115
    try:
        with open_read(uri) as file, _UNPACKERS[os.path.splitext(uri)[1].lower()](file) as content:
            while data := content.read(1 << 16):
                spool.write(data)
                progress()
        spool.seek(0)
    except BaseException:
        spool.close()
        raise
    return cast(BinaryIO, spool)


class _Inflated:
    """Reads a zlib stream."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._inflate = zlib.decompressobj()

    def __enter__(self) -> _Inflated:
        return self

    def __exit__(self, *_: object) -> None: ...

    def read(self, count: int) -> bytes:
        while not self._inflate.eof:
            data = self._inflate.unconsumed_tail or self._file.read(count)
            if not data:
                raise EOFError("the compressed file ends too early")
            if content := self._inflate.decompress(data, count):
                return content
        return b""


def _zstandard(file: BinaryIO) -> Any:
    import zstandard

    return zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
