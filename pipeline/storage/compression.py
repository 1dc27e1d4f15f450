"""Compressed files -> their content, as a file in which one can seek. The name's end decides which."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from pipeline.storage import seekable
from pipeline.storage.errors import DamagedError, TruncatedError

SUFFIXES = {
    ".bz2": "bzip2",
    ".deflate": "deflate",
    ".gz": "gzip",
    ".lzma": "lzma",
    ".xz": "lzma",
    ".zst": "zstd",
    ".zstd": "zstd",
}
"""As Apache Beam tells compression by a file's name."""
_SUFFIXES = tuple(SUFFIXES)
RAW = "raw deflate"
"""As members of zip archives are compressed."""

_BLOCK = 1 << 20
_ZSTD_BLOCK = 1 << 12
"""Compressed bytes at a time: they can stand for 32,768 times as many, which the library gives in one piece."""
_ZSTD_WINDOW = 1 << 27
"""As far back as the zstd program itself lets a file refer by default: 128 MB."""


def kind_of(name: str) -> str | None:
    """A file's name -> how it is compressed, None where it is not."""
    suffix = _suffix(name)
    return SUFFIXES[suffix] if suffix else None


def without_suffix(name: str) -> str:
    """A file's name -> that of its content.

    >>> without_suffix("a/b.wav.gz"), without_suffix("a/b.wav")
    ('a/b.wav', 'a/b.wav')
    """
    return name[: len(name) - len(_suffix(name))]


def _suffix(name: str) -> str:
    lower = name.lower()
    if not lower.endswith(_SUFFIXES):  # nearly all
        return ""
    return next(suffix for suffix in SUFFIXES if lower.endswith(suffix))


def unpacked(
    file: BinaryIO,
    uri: str,
    check: Callable[[int, bytearray], None] = lambda size, start: None,
    disk_bytes: int | None = None,
) -> BinaryIO:
    """A compressed file -> its content, seekable.

    Args:
      file: the compressed bytes; closed when it is not needed any more, with the content at the latest.
      uri: its name, which says how it is compressed.
      check, disk_bytes: as of `seekable.from_blocks`.

    Raises:
      TruncatedError, DamagedError: the compressed data are cut off or damaged.
    """
    kind = kind_of(uri)

    def again() -> Iterator[bytes]:
        file.seek(0)
        return blocks_of(file, uri, kind)

    return seekable.from_blocks(blocks_of(file, uri, kind), again, file.close, uri, check, disk_bytes)


def blocks_of(file: BinaryIO, uri: str, kind: str | None) -> Iterator[bytes]:
    """A compressed file -> its content in blocks; what each library raises becomes our own.

    Args:
      file: at its start.
      uri: for messages.
      kind: a value of `SUFFIXES`, `RAW` for deflate without a header, or None for what is not compressed.

    Raises:
      TruncatedError, DamagedError: the compressed data are cut off or damaged.
    """
    blocks = _blocks(file, kind)
    while True:
        try:
            block = next(blocks, None)
        except EOFError as error:
            raise TruncatedError(uri, f"ends within its {kind} data", "Fetch the file again") from error
        except (lzma.LZMAError, zlib.error, ValueError) as error:
            raise DamagedError(uri, f"is no sound {kind} data: {error}", "Fetch the file again") from error
        except OSError as error:
            if error.errno is not None:
                raise  # of the request; gzip's and bz2's own have no number
            raise DamagedError(uri, f"is no sound {kind} data: {error}", "Fetch the file again") from error
        if block is None:
            return
        yield block


def _blocks(file: BinaryIO, kind: str | None) -> Iterator[bytes]:
    """The content in blocks whose size is bounded whatever the compressed data say."""
    if kind in ("deflate", RAW):
        yield from _inflated(file, -zlib.MAX_WBITS if kind == RAW else zlib.MAX_WBITS)
    elif kind == "zstd":
        yield from _zstd(file)
    elif kind is None:
        yield from iter(lambda: file.read(_BLOCK), b"")
    else:
        openers = {"gzip": lambda: gzip.GzipFile(fileobj=file), "bzip2": lambda: bz2.BZ2File(file)}
        with openers.get(kind, lambda: lzma.LZMAFile(file))() as stream:
            yield from iter(lambda: stream.read1(_BLOCK), b"")  # all that comes before damage


def _inflated(file: BinaryIO, window_bits: int) -> Iterator[bytes]:
    unpacker, data = zlib.decompressobj(window_bits), b""
    while not unpacker.eof:
        data = data or file.read(_BLOCK)
        if not data:
            raise EOFError
        yield unpacker.decompress(data, _BLOCK)
        data = unpacker.unconsumed_tail


def _zstd(file: BinaryIO) -> Iterator[bytes]:
    import zstandard

    unpacker: Any = None
    data, begun = b"", False
    while data := data or file.read(_ZSTD_BLOCK):
        if unpacker is None:
            unpacker = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()
        begun = True
        try:
            yield unpacker.decompress(data)
        except zstandard.ZstdError as error:
            raise ValueError(str(error)) from error
        data = b""
        if unpacker.eof:  # another frame may follow
            unpacker, data = None, unpacker.unused_data
    if unpacker is not None or not begun:
        raise EOFError
