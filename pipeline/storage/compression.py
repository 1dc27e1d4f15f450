"""Compressed files -> their content, as a file in which one can seek. The name's end decides which."""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import logging
import lzma
import tempfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, cast

from pipeline.storage.errors import DamagedError, TruncatedError

_log = logging.getLogger(__name__)

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

IN_MEMORY_BYTES = 32 << 20
"""Contents up to this size are held in memory, larger ones in a temporary file."""
START_BYTES = 1 << 20
"""Of a content, by which its rate and channels are known; held in memory."""
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

    Small contents are held in memory, larger ones in a temporary file. One for which there is no room is unpacked again
    as it is read, and after each step back from its start.

    Args:
      file: the compressed bytes; closed when it is not needed any more, with the content at the latest.
      uri: its name, which says how it is compressed.
      check: called after every block with the bytes that have been unpacked, and the first megabyte of them; what it
        raises ends the unpacking.
      disk_bytes: the most that a temporary file takes; None: what there is room for.

    Raises:
      TruncatedError, DamagedError: the compressed data are cut off or damaged.
    """
    kind = kind_of(uri)

    def again() -> Iterator[bytes]:
        file.seek(0)
        return blocks_of(file, uri, kind)

    return held(blocks_of(file, uri, kind), again, file.close, uri, check, disk_bytes)


def held(
    blocks: Iterator[bytes],
    again: Callable[[], Iterator[bytes]],
    close: Callable[[], None],
    uri: str,
    check: Callable[[int, bytearray], None],
    disk_bytes: int | None,
) -> BinaryIO:
    """A content that comes in blocks -> a file in which one can seek, as `unpacked` says.

    Args:
      blocks: the content.
      again: gives it once more, from its start.
      close: called when no more blocks are needed.
      uri, check, disk_bytes: as of `unpacked`.
    """
    start, size = bytearray(), 0
    content: BinaryIO | None = io.BytesIO()
    try:
        for block in blocks:
            size += len(block)
            start += block[: START_BYTES - len(start)]
            if content is not None and (content := _added(content, block, disk_bytes)) is None:
                _log.info("%s: no room for its content on the disk of temporary files", uri)
            check(size, start)
    except BaseException:
        close()
        if content is not None:
            content.close()
        raise
    if content is None:
        return cast(BinaryIO, io.BufferedReader(_Unpacking(again, close, uri, bytes(start), size), _BLOCK))
    close()
    content.seek(0)
    if isinstance(content, io.BytesIO):
        return content
    return cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, content)))


def _added(content: BinaryIO, block: bytes, disk_bytes: int | None) -> BinaryIO | None:
    """A content and the block that follows -> the content with it, on the disk if it is large; None without room."""
    size = content.tell() + len(block)
    if size > IN_MEMORY_BYTES and disk_bytes is not None and size > disk_bytes:
        content.close()
        return None
    try:
        if isinstance(content, io.BytesIO) and size > IN_MEMORY_BYTES:
            held = content
            content = cast(BinaryIO, tempfile.TemporaryFile(buffering=0))  # noqa: SIM115  the caller's to close
            _write(content, held.getbuffer())
        _write(content, block)
    except OSError as error:
        content.close()
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        return None
    return content


def _write(file: BinaryIO, data: bytes | memoryview) -> None:
    """Write all: a file without a buffer, which tells at once when the disk is full, takes as much as fits."""
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


class _Unpacking(io.RawIOBase):
    """A content that is unpacked as it is read."""

    def __init__(
        self, again: Callable[[], Iterator[bytes]], close: Callable[[], None], uri: str, start: bytes, size: int
    ) -> None:
        self._again, self._end, self._uri, self._size = again, close, uri, size
        self._start = start
        self._position = 0
        self._blocks: Iterator[bytes] = iter(())
        self._block, self._block_at = b"", size
        """The block that was unpacked last, and its place."""

    def close(self) -> None:
        self._end()
        super().close()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence])
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        source, at = self._at(self._position)
        part = source[self._position - at :][: len(buffer)]
        buffer[: len(part)] = part
        self._position += len(part)
        return len(part)

    def _at(self, position: int) -> tuple[bytes, int]:
        """The block that holds a position, and where it begins; an empty one at the end."""
        if position >= self._size:
            return b"", position
        if position < len(self._start):
            return self._start, 0
        if position < self._block_at:
            self._blocks = self._again()
            self._block, self._block_at = b"", 0
        while position >= self._block_at + len(self._block):
            self._block_at += len(self._block)
            block = next(self._blocks, None)
            if block is None:
                raise TruncatedError(self._uri, "has become shorter", "Leave it alone while it is read")
            self._block = block
        return self._block, self._block_at


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
