"""Ogg: a row of pages, which say where each stream begins and ends (RFC 3533); and Opus in it (RFC 7845)."""

from __future__ import annotations

from vggish_core.audio.source import Extent, NamelessFile
from vggish_core.audio.splices import Piece, replaced

LARGEST_PAGE = 27 + 255 + 255 * 255
"""Bytes of an Ogg page."""
HEAD_OF_PAGE = 27 + 255 + 255
"""Of an Ogg page with one packet of at most 255 bytes, as a stream's first is."""
BEGIN_OF_STREAM, END_OF_STREAM = 2, 4
"""Of an Ogg page's flags."""
OPUS_RATE_HZ = 48_000


def examine(file: NamelessFile) -> Extent:
    """An Ogg file -> what is missing at its end, and what to decode in its place."""
    page = file.read_at(0, HEAD_OF_PAGE)
    return Extent(_missing(file, page), _opus_for_libsndfile(file, page))


def _missing(file: NamelessFile, first: bytes) -> str:
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


def streams(file: NamelessFile) -> list[tuple[int, int, int]]:
    """An Ogg file -> (offset, rate in Hz, channels) of its audio streams, which follow one another in joined files."""
    found: list[tuple[int, int, int]] = []
    at, size = 0, file.size()
    while at < size and len(page := file.read_at(at, LARGEST_PAGE)) >= 27 and page.startswith(b"OggS"):
        head = 27 + page[26]
        if page[5] & BEGIN_OF_STREAM and (kind := _kind(page[head:])) is not None:
            found.append((at, *kind))
        at += head + sum(page[27:head])
    return found


def change(file: NamelessFile) -> str:
    """How the rate or the channels change from one of an Ogg file's streams to another; "" if they do not."""
    found = streams(file)
    for at, hz, channels in found:
        _, old_hz, old_channels = found[0]
        if (hz, channels) != (old_hz, old_channels):
            return f"{old_hz} Hz, {old_channels} channels become {hz} Hz, {channels} channels at byte {at}"
    return ""


def _kind(packet: bytes) -> tuple[int, int] | None:
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


def _opus_for_libsndfile(file: NamelessFile, first: bytes) -> list[Piece] | None:
    """An Opus file with whose header or end libsndfile does not get on -> the same put right; None for any other."""
    if b"OpusHead" not in first:
        return None
    changes = _opus_at_48_khz(first)
    end = _end_of_opus(file)
    if end is not None:
        changes |= end[0]
    return replaced(file.size(), changes, end and end[1]) if changes else None


def _opus_at_48_khz(page: bytes) -> dict[int, bytes]:
    """The first page, where it names another rate -> the same with 48 kHz, the rate of decoding.

    The rate in the header is that of what was encoded, for information (RFC 7845, 5.1), but libsndfile decodes at it.
    """
    head = 27 + (page[26] if len(page) > 26 else 0)
    if page[head : head + 8] != b"OpusHead" or len(page) < head + 19:
        return {}
    rate = (OPUS_RATE_HZ).to_bytes(4, "little")
    if page[head + 12 : head + 16] == rate:
        return {}
    page = page[: head + sum(page[27:head])]
    return {0: with_checksum(page[: head + 12] + rate + page[head + 16 :])}


def _end_of_opus(file: NamelessFile) -> tuple[dict[int, bytes], int] | None:
    """Where a page without packets ends the stream -> the page before it, made the last, and where that ends.

    To libsndfile such a file is damaged.
    """
    size = file.size()
    begin = max(0, size - 2 * LARGEST_PAGE)
    tail = file.read_at(begin, size - begin)
    last = tail.rfind(b"OggS")
    before = tail.rfind(b"OggS", 0, max(last, 0))
    page, empty = tail[before:last], tail[last:]
    if before < 0 or len(page) < 27 or len(empty) not in (27, 28) or (any(empty[26:]) and empty[26:] != b"\1\0"):
        return None
    ends = empty[5] & END_OF_STREAM and empty[14:18] == page[14:18]
    if not ends or len(page) != 27 + page[26] + sum(page[27 : 27 + page[26]]):
        return None
    samples = page[6:14] if empty[6:14] == b"\xff" * 8 else empty[6:14]
    whole = page[:5] + bytes([page[5] | END_OF_STREAM]) + samples + page[14:]
    return {begin + before: with_checksum(whole)}, begin + last


def with_checksum(page: bytes) -> bytes:
    """A changed Ogg page -> the same with its CRC-32, of polynomial 0x04c11db7 over all other bytes (RFC 3533, 6)."""
    crc = 0
    for byte in page[:22] + bytes(4) + page[26:]:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x04C11DB7) & 0xFFFFFFFF if crc & 0x80000000 else crc << 1
    return bytes(page[:22]) + crc.to_bytes(4, "little") + bytes(page[26:])
