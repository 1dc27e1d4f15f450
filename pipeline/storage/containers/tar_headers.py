"""A tar archive's headers, one after the other, -> what is in it: names, places, links, damage.

The format: POSIX.1-2017, "pax", and "Basic Tar Format" of GNU tar's manual. `tarfile` reads a header's fields; it takes
a damaged header for the archive's end, so what leads from one to the next is here.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from pipeline.storage.containers.members import KEPT_BYTES, Listing, Member, linked, plain_name
from pipeline.storage.errors import DamagedError

BLOCK = tarfile.BLOCKSIZE
MOST_EXTENDED_BYTES = 1 << 20
"""Of a long name, or of an extended header."""
BEHIND_BYTES = 1 << 16
"""So much behind the archive's end mark is looked at."""
_LONG_NAME, _LONG_LINK = tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK
_EXTENDED = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
_RECORD = re.compile(rb"(\d{1,20}) ")


class Source(Protocol):
    """An archive's bytes."""

    @property
    def size(self) -> int | None:
        """How many there are; None where only their end will tell."""

    def at(self, start: int, count: int) -> bytes:
        """Some bytes, behind or around those that were asked for last; fewer only at the end.

        Raises:
          TruncatedError, DamagedError: what the archive is packed in is cut off or damaged.
        """


@dataclass
class _Entry:
    """A header, with what extends it.

    Attributes:
      header: as `tarfile` reads it.
      name: of the member, as `plain_name` gives it.
      link: what it is a link to, as it stands there.
      size: of its content as stored, in bytes.
      sparse: the content is stored without its holes.
      begin: where its content begins.
      end: where the next header is.
    """

    header: tarfile.TarInfo
    name: str
    link: str
    size: int
    sparse: bool
    begin: int
    end: int


class _HeaderError(Exception):
    """The headers cannot be followed any further: a reason, where, and what is there."""

    def __init__(self, reason: str, where: int, what: str) -> None:
        super().__init__(what)
        self.reason, self.where, self.what = reason, where, what


def listing(source: Source, place: str, keeps: Callable[[str], bool]) -> Listing:
    """An archive -> its files. Of a name that is there several times the last one counts, as when it is unpacked.

    Args:
      source: the archive.
      place: of its members, to be formatted with where each begins and its size in bytes.
      keeps: as of `containers.list_members`.
    """
    found = Listing()
    files: dict[str, Member] = {}
    links: dict[str, tuple[str, bool]] = {}
    replaced = 0
    entry: _Entry | None = None
    try:
        for entry in _entries(source, found):
            known = entry.name in files or entry.name in links
            if entry.header.issym() or entry.header.islnk():
                replaced += known
                files.pop(entry.name, None)
                links[entry.name] = entry.link, entry.header.issym()
            elif entry.header.isreg():
                replaced += known
                links.pop(entry.name, None)
                files.pop(entry.name, None)  # its place in the order is the last one's
                files[entry.name] = _member(entry, source, place, keeps)
    except _HeaderError as error:
        found.reason, found.what = error.reason, f"{error.what} at byte {error.where:,}"
    except DamagedError as error:
        found.reason, found.what = "truncated" if error.truncated else "corrupt", error.what
    if entry is not None and entry.name in files and source.size is not None and entry.begin + entry.size > source.size:
        what = f"the archive ends within it: {max(0, source.size - entry.begin):,} of {entry.size:,} bytes are there"
        files[entry.name] = Member(entry.name, "", entry.size, "truncated", what)
    if replaced:
        found.notes.append(f"{replaced:,} of its members come again further on, and the last one counts")
    found.members = [*files.values(), *(linked(name, files, links) for name in links)]
    return found


def _member(entry: _Entry, source: Source, place: str, keeps: Callable[[str], bool]) -> Member:
    if entry.sparse:
        return Member(entry.name, "", entry.size, "unreadable", "it is stored as a sparse file; unpack the archive")
    kept = keeps(entry.name) and entry.size <= KEPT_BYTES
    content = source.at(entry.begin, entry.size) if kept else None
    return Member(entry.name, place.format(entry.begin, entry.size), entry.size, content=content)


def _entries(source: Source, found: Listing) -> Iterator[_Entry]:
    """The headers up to the end mark; notes on the listing say what is odd about the end."""
    where, everywhere = 0, dict[str, str]()
    while (header := source.at(where, BLOCK)).strip(b"\0"):
        entry = _entry(source, where, everywhere)
        if entry is not None:
            yield entry
            where = entry.end
        else:  # nothing but what holds for all that follow
            where += BLOCK + _padded(_parsed(header, where).size)
    if where == 0 and not header:
        raise _HeaderError("empty", 0, "it has no bytes")
    if len(header) < BLOCK:
        found.notes.append("it has no end mark: if it was cut off between two members, these are not all")
    elif source.at(where, BEHIND_BYTES).strip(b"\0"):
        found.notes.append(f"what follows its end mark at byte {where:,} is not read")


def _entry(source: Source, where: int, everywhere: dict[str, str]) -> _Entry | None:
    """The header at a place, with those before it that extend it; None for one that only holds for all that follow.

    Args:
      source: the archive.
      where: the place.
      everywhere: values of such headers; updated.
    """
    own: dict[str, str] = {}
    first = where
    while True:
        header = _parsed(source.at(where, BLOCK), where)
        if header.type in (_LONG_NAME, _LONG_LINK):
            text = _content(source, where, header).partition(b"\0")[0].decode("utf-8", "surrogateescape")
            own.setdefault("path" if header.type == _LONG_NAME else "linkpath", text)
        elif header.type in _EXTENDED:
            own |= _records(_content(source, where, header), where)
        elif header.type == tarfile.XGLTYPE:
            everywhere |= _records(_content(source, where, header), where)
            if where == first:
                return None
        else:
            return _extended(header, where, {**everywhere, **own}, _holes_bytes(source, where, header))
        where += BLOCK + _padded(header.size)


def _extended(header: tarfile.TarInfo, where: int, values: Mapping[str, str], holes_bytes: int) -> _Entry:
    """A header, the values that extend it, and the bytes behind it that tell of holes -> the entry."""
    size = header.size
    if "size" in values:
        if not values["size"].isascii() or not values["size"].isdigit():
            raise _HeaderError("corrupt", where, f"a member's size is {values['size'][:40]!r}")
        size = int(values["size"][:20])
    sparse = header.type == tarfile.GNUTYPE_SPARSE or any(key.startswith("GNU.sparse.") for key in values)
    name = values.get("GNU.sparse.name") or values.get("path") or header.name
    begin = where + BLOCK + holes_bytes
    # Links, folders and devices have no content, whatever size is given; what is of no known type has.
    stored = size if header.isreg() or header.type not in tarfile.SUPPORTED_TYPES else 0
    link = values.get("linkpath", header.linkname)
    return _Entry(header, plain_name(name), link, size, sparse, begin, begin + _padded(stored))


def _holes_bytes(source: Source, where: int, header: tarfile.TarInfo) -> int:
    """The size of what lists further holes behind the header of a sparse file, as old GNU tar writes it."""
    if header.type != tarfile.GNUTYPE_SPARSE or not source.at(where, BLOCK)[482]:
        return 0
    size = BLOCK
    while len(block := source.at(where + size, BLOCK)) == BLOCK and block[504]:
        size += BLOCK
    return size


def _parsed(block: bytes, where: int) -> tarfile.TarInfo:
    if len(block) < BLOCK:
        raise _HeaderError("truncated", where, "the archive ends within a header")
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError) as error:
        what = f"no header of a member ({error})" if where else f"it is no tar archive ({error})"
        raise _HeaderError("corrupt", where, what) from None
    if header.size < 0:
        raise _HeaderError("corrupt", where, f"a member's size is {header.size}")
    return header


def _content(source: Source, where: int, header: tarfile.TarInfo) -> bytes:
    """The content of a header that extends another."""
    if header.size > MOST_EXTENDED_BYTES:
        raise _HeaderError("corrupt", where, f"an extended header of {header.size:,} bytes")
    data = source.at(where + BLOCK, header.size)
    if len(data) < header.size:
        raise _HeaderError("truncated", where, "the archive ends within an extended header")
    return data


def _records(data: bytes, where: int) -> dict[str, str]:
    """An extended header: lines of "LENGTH KEY=VALUE", the length that of the whole line."""
    found: dict[str, str] = {}
    at = 0
    while at < len(data) and data[at]:
        length = _RECORD.match(data, at)
        end = at + int(length[1]) if length else 0
        record = data[length.end() : end] if length else b""
        if not record.endswith(b"\n") or end > len(data):
            raise _HeaderError("corrupt", where, "an extended header that is damaged")
        key, _, value = record[:-1].partition(b"=")
        found[key.decode("utf-8", "surrogateescape")] = value.decode("utf-8", "surrogateescape")
        at = end
    return found


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK
