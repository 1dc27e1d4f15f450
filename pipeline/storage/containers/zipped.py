"""Zip archives: the directory at the end lists what is in them; each member is read, and unpacked, by itself.

The format: PKWARE's APPNOTE.TXT 6.3.10. `zipfile` reads the directory; members are read here, in blocks and by ranges.
"""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import BinaryIO

from pipeline import storage
from pipeline.storage import compression, seekable
from pipeline.storage.containers.members import (
    KEPT_BYTES,
    Check,
    Listing,
    Member,
    linked,
    plain_name,
    stretch,
    unchecked,
)
from pipeline.storage.errors import DamagedError
from pipeline.storage.info import FileInfo

DIRECTORY_BYTES = 1 << 16
"""Read at an archive's end at once; the directory of some 600 members."""
SLACK_BYTES = 1 << 10
"""Read before a member's data with them: its header, its name and more."""
METHODS = {zipfile.ZIP_STORED: None, zipfile.ZIP_DEFLATED: compression.RAW, zipfile.ZIP_BZIP2: "bzip2"}
"""Kinds of compression that are read."""
_HEADER = struct.Struct("<4s22xHH")
"""A member's own: its mark, and the lengths of its name and of what follows that."""
_MARK = b"PK\x03\x04"
_ENCRYPTED = 0x1
_UTF8 = 0x800
_DOS = 0
_REMEDY = "Fetch or make the archive again"


def list_members(file: FileInfo, keeps: Callable[[str], bool]) -> Listing:
    """A zip archive -> its members, by its directory."""
    with storage.open_read(file.uri, max(0, file.size_bytes - DIRECTORY_BYTES), file.size_bytes) as archive:
        try:
            with zipfile.ZipFile(archive) as directory:
                infos = directory.infolist()
        except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error, OverflowError) as error:
            return _unlisted(archive, file, error)
    found = Listing()
    files: dict[str, Member] = {}
    links: dict[str, tuple[str, bool]] = {}
    replaced = 0
    for info in infos:
        name = plain_name(_name(info))
        if info.is_dir() or not name:
            continue
        replaced += name in files
        files.pop(name, None)
        files[name] = member = _member(info, name)
        if stat.S_ISLNK(info.external_attr >> 16) and not member.reason:
            links[name] = _content(file.uri, member)[:KEPT_BYTES].decode("utf-8", "surrogateescape"), True
            del files[name]
        elif keeps(name) and not member.reason and member.size_bytes <= KEPT_BYTES:
            files[name] = member._replace(content=_content(file.uri, member))
    if replaced:
        found.notes.append(f"{replaced:,} of its members come again further on, and the last one counts")
    found.members = [*files.values(), *(linked(name, files, links) for name in links)]
    return found


def _unlisted(archive: BinaryIO, file: FileInfo, error: Exception) -> Listing:
    archive.seek(0)
    if not file.size_bytes:
        return Listing(reason="empty", what="it has no bytes")
    if isinstance(error, NotImplementedError):
        return Listing(reason="unreadable", what=f"its directory: {error}")
    if archive.read(len(_MARK)) == _MARK and "not a zip file" in str(error):
        return Listing(
            reason="truncated", what=f"its directory, which should be before byte {file.size_bytes:,}, is not there"
        )
    return Listing(reason="corrupt", what=f"its directory: {error}")


def _name(info: zipfile.ZipInfo) -> str:
    """A member's name. Many archives have names in UTF-8 without saying so; the others are in code page 437."""
    name = info.filename
    if not (info.flag_bits & _UTF8 or name.isascii()):
        with suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    return name.replace("\\", "/") if info.create_system == _DOS else name


def _member(info: zipfile.ZipInfo, name: str) -> Member:
    if info.flag_bits & _ENCRYPTED:
        return Member(name, "", info.file_size, "unreadable", "it is encrypted; unpack the archive")
    if info.compress_type not in METHODS:
        what = f"its compression, method {info.compress_type}, is not read; unpack the archive"
        return Member(name, "", info.file_size, "unreadable", what)
    place = (info.header_offset, info.compress_type, info.compress_size, info.file_size, info.CRC)
    return Member(name, ":".join(map(str, ("zipped", *place))), info.file_size)


def _content(uri: str, member: Member) -> bytes:
    """A small member's content; empty where it is damaged."""
    try:
        with open_member(uri, member.place.partition(":")[2], unchecked, None) as file:
            return file.read(KEPT_BYTES)
    except DamagedError:
        return b""


def at_random(where: str) -> bool:
    """See `containers.at_random`."""
    return where.split(":")[1] == str(zipfile.ZIP_STORED)


def open_member(uri: str, where: str, check: Check, disk_bytes: int | None) -> BinaryIO:
    """A member by its place -> the file. Its checksum is looked at, unless it is large and not compressed."""
    offset, method, packed_bytes, size, crc = map(int, where.split(":"))
    stop = offset + _HEADER.size + SLACK_BYTES + packed_bytes
    file = storage.open_read(uri, offset, stop)
    try:
        header = file.read(_HEADER.size)
        if len(header) < _HEADER.size or not header.startswith(_MARK):
            raise DamagedError(uri, f"has no member at byte {offset:,}", _REMEDY)
        _, name_bytes, extra_bytes = _HEADER.unpack(header)
        start = offset + _HEADER.size + name_bytes + extra_bytes
        if start + packed_bytes > stop:
            file.close()
            file = storage.open_read(uri, start, start + packed_bytes)
    except BaseException:
        file.close()
        raise
    packed = stretch(file, uri, start, packed_bytes)
    if method == zipfile.ZIP_STORED and size > seekable.IN_MEMORY_BYTES:
        return packed

    def blocks() -> Iterator[bytes]:
        packed.seek(0)
        return _summed(compression.blocks_of(packed, uri, METHODS[method]), uri, size, crc)

    return seekable.from_blocks(blocks(), blocks, packed.close, uri, check, disk_bytes)


def _summed(blocks: Iterator[bytes], uri: str, size: int, crc: int) -> Iterator[bytes]:
    """The blocks. Raises DamagedError unless they are of the size and checksum that the archive states."""
    found_bytes = found_crc = 0
    for block in blocks:
        found_bytes += len(block)
        if found_bytes > size:
            break
        found_crc = zlib.crc32(block, found_crc)
        yield block
    if found_bytes != size:
        more = "more than " if found_bytes > size else ""
        raise DamagedError(
            uri, f"gives {more}{min(found_bytes, size):,} bytes where its archive states {size:,}", _REMEDY
        )
    if found_crc != crc:
        raise DamagedError(uri, f"has the checksum {found_crc:08x}, its archive states {crc:08x}", _REMEDY)
