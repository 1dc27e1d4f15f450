"""Missing ends of Ogg, MP4, Matroska, ASF and FLAC files, found in their structure before decoding."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from vggish_core.audio.source import Extent, NamelessFile
from vggish_core.audio.splices import Piece, replaced

LARGEST_PAGE = 27 + 255 + 255 * 255
"""Bytes of an Ogg page."""
HEAD_OF_PAGE = 27 + 255 + 255
"""Of an Ogg page with one packet of at most 255 bytes, as a stream's first is."""
BEGIN_OF_STREAM, END_OF_STREAM = 2, 4
"""Of an Ogg page's flags."""
OPUS_RATE_HZ = 48_000
MAX_BOXES = 4096
CONTENT_BOXES = (b"mdat", b"moov", b"moof")
EBML_SEGMENT = b"\x18\x53\x80\x67"
EBML_INFO = b"\x15\x49\xa9\x66"
EBML_TIMESTAMP_SCALE = b"\x2a\xd7\xb1"
EBML_DURATION = b"\x44\x89"
EBML_HEADER_BYTES = 12
"""Of an element's name and its size, at most."""
ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
ASF_HEADER_BYTES = 1 << 16
ASF_BROADCAST = 1
"""Of the flags of its file properties: the size is not known."""


def examine(file: NamelessFile, start: bytes) -> Extent | None:
    """A file and its first 16 bytes -> what is missing at its end; None for other formats, or that cannot tell."""
    if start.startswith(b"OggS"):
        page = file.read_at(0, HEAD_OF_PAGE)
        return Extent(_ogg(file, page), _opus_at_48_khz(file, page))
    if start[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide"):
        return Extent(_mp4(file))
    if start.startswith(b"\x1aE\xdf\xa3"):
        return Extent(_matroska(file))
    if start.startswith(b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"):
        return Extent(_asf(file))
    return None


def _ogg(file: NamelessFile, first: bytes) -> str:
    """The last page has to be whole and marked as the end of its stream, unless the file begins within one."""
    if len(first) < 6 or not first[5] & BEGIN_OF_STREAM:
        return ""
    size = file.size()
    begin = max(0, size - 2 * LARGEST_PAGE)
    tail = file.read_at(begin, size - begin)
    at = len(tail)
    while (at := tail.rfind(b"OggS", 0, at)) >= 0:
        page = tail[at : at + LARGEST_PAGE]
        if len(page) < 27 or page[4] != 0:
            if len(page) < 27:
                return f"{size} bytes, which end within a page"
            continue
        segments = page[27 : 27 + page[26]]
        length = 27 + page[26] + sum(segments)
        if len(segments) < page[26] or length > len(tail) - at:
            return f"{size} of at least {begin + at + length} bytes"
        if not page[5] & END_OF_STREAM:
            return f"{size} bytes, and no page that ends the stream"
        return _unended(file) if joined(file) else ""
    return f"{size} bytes, and no page that ends the stream"


def joined(file: NamelessFile) -> bool:
    """Whether an Ogg file ends with another stream than those that it begins with: files that were joined.

    One of several with the same serial number looks like a single one.
    """
    first = _serials_at_start(file)
    if not first:
        return False
    size = file.size()
    tail = file.read_at(max(0, size - 2 * LARGEST_PAGE), size)
    at = tail.rfind(b"OggS")
    return 0 <= at <= len(tail) - 27 and tail[at + 14 : at + 18] not in first


def _serials_at_start(file: NamelessFile) -> set[bytes]:
    """Serial numbers of the streams that an Ogg file begins with, side by side."""
    found: set[bytes] = set()
    at = 0
    while len(page := file.read_at(at, HEAD_OF_PAGE)) >= 27 and page.startswith(b"OggS") and page[5] & BEGIN_OF_STREAM:
        found.add(page[14:18])
        at += 27 + page[26] + sum(page[27 : 27 + page[26]])
    return found


def _unended(file: NamelessFile) -> str:
    """Of joined Ogg files: whether one before the last lacks the page that ends it."""
    open_streams: set[bytes] = set()
    at, size, data_seen = 0, file.size(), False
    while at < size and len(page := file.read_at(at, 27 + 255)) >= 27 and page.startswith(b"OggS"):
        serial = page[14:18]
        if page[5] & BEGIN_OF_STREAM:
            if data_seen and open_streams:
                return f"no page ends the stream before byte {at}"
            open_streams.add(serial)
        data_seen = not page[5] & BEGIN_OF_STREAM
        if page[5] & END_OF_STREAM:
            open_streams.discard(serial)
        at += 27 + page[26] + sum(page[27 : 27 + page[26]])
    return ""


def ogg_streams(file: NamelessFile) -> list[tuple[int, int, int]]:
    """An Ogg file -> (offset, rate in Hz, channels) of its audio streams, which follow one another in joined files."""
    found: list[tuple[int, int, int]] = []
    at, size = 0, file.size()
    while at < size and len(page := file.read_at(at, LARGEST_PAGE)) >= 27 and page.startswith(b"OggS"):
        head = 27 + page[26]
        if page[5] & BEGIN_OF_STREAM and (kind := _ogg_kind(page[head:])) is not None:
            found.append((at, *kind))
        at += head + sum(page[27:head])
    return found


def ogg_change(file: NamelessFile) -> str:
    """How the rate or the channels change from one of an Ogg file's streams to another; "" if they do not."""
    streams = ogg_streams(file)
    for at, hz, channels in streams:
        _, old_hz, old_channels = streams[0]
        if (hz, channels) != (old_hz, old_channels):
            return f"{old_hz} Hz, {old_channels} channels become {hz} Hz, {channels} channels at byte {at}"
    return ""


def _ogg_kind(packet: bytes) -> tuple[int, int] | None:
    """The first packet of a stream -> its rate in Hz and its channels; None for other codecs."""
    if packet[:7] == b"\x01vorbis" and len(packet) > 16:
        return int.from_bytes(packet[12:16], "little"), packet[11]
    if packet[:8] == b"OpusHead" and len(packet) > 10:
        return OPUS_RATE_HZ, packet[9]
    if packet[:8] == b"Speex   " and len(packet) > 52:
        return int.from_bytes(packet[36:40], "little"), packet[48]
    if packet[:5] == b"\x7fFLAC" and len(packet) > 34:
        return int.from_bytes(packet[27:30], "big") >> 4, (packet[29] >> 1 & 7) + 1
    return None


def _opus_at_48_khz(file: NamelessFile, page: bytes) -> list[Piece] | None:
    """An Opus file whose header names another rate -> the same with 48 kHz, the rate of decoding.

    The rate in the header is that of what was encoded, for information (RFC 7845, 5.1), but libsndfile decodes at it.
    """
    head = 27 + (page[26] if len(page) > 26 else 0)
    if page[head : head + 8] != b"OpusHead" or len(page) < head + 19:
        return None
    rate = (OPUS_RATE_HZ).to_bytes(4, "little")
    if page[head + 12 : head + 16] == rate:
        return None
    page = page[: head + sum(page[27:head])]
    fixed = page[: head + 12] + rate + page[head + 16 :]
    return replaced(file.size(), {0: with_checksum(fixed)})


def with_checksum(page: bytes) -> bytes:
    """A changed Ogg page -> the same with its CRC-32, of polynomial 0x04c11db7 over all other bytes (RFC 3533, 6)."""
    crc = 0
    for byte in page[:22] + bytes(4) + page[26:]:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x04C11DB7) & 0xFFFFFFFF if crc & 0x80000000 else crc << 1
    return bytes(page[:22]) + crc.to_bytes(4, "little") + bytes(page[26:])


def _mp4(file: NamelessFile) -> str:
    """The boxes of the top have to lie within the file."""
    at, size = 0, file.size()
    for _ in range(MAX_BOXES):
        header = file.read_at(at, 16)
        if len(header) < 8:
            break
        length = int.from_bytes(header[:4], "big")
        if length == 1 and len(header) == 16:
            length = int.from_bytes(header[8:], "big")
        if length < 8:  # 0: to the end of the file
            break
        at += length
        if at > size:
            return f"{size} of at least {at} bytes" if header[4:8] in CONTENT_BOXES else ""
    return ""


def _matroska(file: NamelessFile) -> str:
    """The segment, which holds all but a short header, has to lie within the file; a live stream has no size."""
    size = file.size()
    for name, begin, length in _elements(file, 0, size):
        if length is not None and begin + length > size:
            return f"{size} of {begin + length} bytes" if name == EBML_SEGMENT else ""
    return ""


def live_matroska_s(file: NamelessFile) -> float | None:
    """Seconds that a Matroska file's header states where its segment has no size; None where either is otherwise."""
    for name, begin, length in _elements(file, 0, file.size()):
        if name == EBML_SEGMENT and length is None:
            return _matroska_s(file, begin)
    return None


def _matroska_s(file: NamelessFile, segment: int) -> float | None:
    for name, begin, length in _elements(file, segment, file.size()):
        if name == EBML_INFO and length is not None:
            info = {
                name: file.read_at(at, min(count or 0, EBML_HEADER_BYTES))
                for name, at, count in _elements(file, begin, begin + length)
            }
            # The scale is of nanoseconds, a million where none is stated (RFC 9559, 5.1.2).
            scale = int.from_bytes(info.get(EBML_TIMESTAMP_SCALE, b"\x0f\x42\x40"), "big")
            code = {4: ">f", 8: ">d"}.get(len(duration := info.get(EBML_DURATION, b"")))
            return struct.unpack(code, duration)[0] * scale * 1e-9 if code else None
    return None


def _elements(file: NamelessFile, at: int, stop: int) -> Iterator[tuple[bytes, int, int | None]]:
    """EBML's elements between two places -> (name, where its content begins, its bytes), up to one of unknown size."""
    for _ in range(MAX_BOXES):
        header = file.read_at(at, EBML_HEADER_BYTES) if at < stop else b""
        name_bytes = _vint_bytes(header)
        count_bytes = _vint_bytes(header[name_bytes:])
        if not name_bytes or not count_bytes:
            return
        mask = (1 << 7 * count_bytes) - 1
        count = int.from_bytes(header[name_bytes : name_bytes + count_bytes], "big") & mask
        at += name_bytes + count_bytes
        yield header[:name_bytes], at, None if count == mask else count
        if count == mask:
            return
        at += count


def _vint_bytes(data: bytes) -> int:
    """How many bytes EBML's number of variable length takes that data begin with; 0 if they do not."""
    length = 9 - data[0].bit_length() if data and data[0] else 0
    return length if length <= len(data) else 0


def _asf(file: NamelessFile) -> str:
    header = file.read_at(0, ASF_HEADER_BYTES)
    at = header.find(ASF_FILE_PROPERTIES)
    if at < 0 or len(header) < at + 104:
        return ""
    counted = int.from_bytes(header[at + 40 : at + 48], "little")
    flags = int.from_bytes(header[at + 88 : at + 92], "little")
    size = file.size()
    return f"{size} of {counted} bytes" if counted > size and not flags & ASF_BROADCAST else ""
