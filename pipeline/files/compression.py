"""Compressed files -> their content, as a file in which one can seek. Which is which is told by the name's end."""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import tempfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from pipeline.files.errors import DamagedError, StorageError, TruncatedError

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

IN_MEMORY_BYTES = 32 << 20
"""Contents up to this size are held in memory, larger ones in a temporary file."""
_BLOCK = 1 << 20
_ZSTD_BLOCK = 1 << 12
"""Compressed bytes at a time: they can stand for 32,768 times as many, which the library gives in one piece."""
_ZSTD_WINDOW = 1 << 27
"""As far back as the zstd program itself lets a file refer unless told otherwise: 128 MB."""


def kind_of(name: str) -> str | None:
    """A file's name -> how it is compressed, None where it is not."""
    return next((kind for suffix, kind in SUFFIXES.items() if name.lower().endswith(suffix)), None)


def without_suffix(name: str) -> str:
    """A file's name -> that of its content.

    >>> without_suffix("a/b.wav.gz"), without_suffix("a/b.wav")
    ('a/b.wav', 'a/b.wav')
    """
    suffix = next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), "")
    return name[: len(name) - len(suffix)]


def unpacked(
    file: BinaryIO, uri: str, progress: Callable[[], None] = lambda: None, max_bytes: int | None = None
) -> BinaryIO:
    """A compressed file -> its content, seekable.

    Args:
      file: the compressed bytes; stays open.
      uri: its name, which says how it is compressed.
      progress: called for every block that was unpacked.
      max_bytes: a larger content is refused; None: no limit.

    Raises:
      TruncatedError, DamagedError: the compressed data are cut off or damaged.
      StorageError: the content is too large.
    """
    content: BinaryIO = io.BytesIO()
    size = 0
    try:
        for block in _sound_blocks(file, uri):
            size += len(block)
            if max_bytes is not None and size > max_bytes:
                raise StorageError(
                    uri, f"holds more than {max_bytes} bytes when unpacked", "Unpack it beforehand", errno.EFBIG
                )
            if size > IN_MEMORY_BYTES and isinstance(content, io.BytesIO):
                content = _to_disk(content)
            content.write(block)
            progress()
    except BaseException:
        content.close()
        raise
    content.seek(0)
    return content


def _sound_blocks(file: BinaryIO, uri: str) -> Iterator[bytes]:
    """The content; what each library raises becomes our own."""
    kind = kind_of(uri)
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
                raise  # of the reading; gzip's and bz2's own have no number
            raise DamagedError(uri, f"is no sound {kind} data: {error}", "Fetch the file again") from error
        if block is None:
            return
        yield block


def _to_disk(content: io.BytesIO) -> BinaryIO:
    file = tempfile.TemporaryFile()  # noqa: SIM115  the caller's to close
    file.write(content.getbuffer())
    return file


def _blocks(file: BinaryIO, kind: str | None) -> Iterator[bytes]:
    """The content in blocks whose size is bounded whatever the compressed data say."""
    if kind == "deflate":
        yield from _inflated(file)
    elif kind == "zstd":
        yield from _zstd(file)
    elif kind is None:
        yield from iter(lambda: file.read(_BLOCK), b"")
    else:
        openers = {"gzip": lambda: gzip.GzipFile(fileobj=file), "bzip2": lambda: bz2.BZ2File(file)}
        with openers.get(kind, lambda: lzma.LZMAFile(file))() as stream:
            yield from iter(lambda: stream.read(_BLOCK), b"")


def _inflated(file: BinaryIO) -> Iterator[bytes]:
    unpacker, data = zlib.decompressobj(), b""
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
