"""Missing ends of MP4, Matroska and ASF files, and pauses of MP4's edits, found in their structure before decoding."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from vggish_core.audio import ogg
from vggish_core.audio.source import Extent, NamelessFile

MAX_BOXES = 4096
MAX_EDITS_BYTES = 1 << 20
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
        return ogg.examine(file)
    if start[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide"):
        return Extent(_mp4(file))
    if start.startswith(b"\x1aE\xdf\xa3"):
        return Extent(_matroska(file))
    if start.startswith(b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"):
        return Extent(_asf(file))
    return None


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


def mp4_pause(file: NamelessFile) -> str:
    """The pause between two edits of an MP4 or MOV file's first sound track, which FFmpeg fills with other sound."""
    edits = _sound_edits(file)
    heard = [place for place, (_, sounds) in enumerate(edits) if sounds]
    for place, (pause_s, sounds) in enumerate(edits):
        if not sounds and pause_s and heard and heard[0] < place < heard[-1]:
            begin_s = sum(seconds for seconds, _ in edits[:place])
            return f"its edits pause from {begin_s:.3f} to {begin_s + pause_s:.3f} s, which cannot be read"
    return ""


def _sound_edits(file: NamelessFile) -> list[tuple[float, bool]]:
    """An MP4 or MOV file -> its first sound track's edits, (seconds, whether it is heard)."""
    moov = next((box for box in _boxes(file, 0, file.size()) if box[0] == b"moov"), None)
    if moov is None:
        return []
    inside = list(_boxes(file, *moov[1:]))
    header = next((file.read_at(at, 32) for name, at, _ in inside if name == b"mvhd"), b"")
    ticks = int.from_bytes(header[20:24] if header[:1] == b"\1" else header[12:16], "big")
    for name, begin, stop in inside:
        if name == b"trak" and _is_sound(file, begin, stop):
            at, end = _within(file, begin, stop, b"edts", b"elst")
            return _edits(file.read_at(at, min(end - at, MAX_EDITS_BYTES)), ticks or 1)
    return []


def _edits(data: bytes, ticks: int) -> list[tuple[float, bool]]:
    """The content of a box of edits (ISO 14496-12, 8.6.6); a time of -1 in the media is a pause."""
    code = ">QqI" if data[:1] == b"\1" else ">IiI"
    whole = len(data[8:]) // struct.calcsize(code) * struct.calcsize(code)
    return [(length / ticks, time >= 0) for length, time, _ in struct.iter_unpack(code, data[8 : 8 + whole])]


def _is_sound(file: NamelessFile, begin: int, stop: int) -> bool:
    at, _ = _within(file, begin, stop, b"mdia", b"hdlr")
    return file.read_at(at + 8, 4) == b"soun"


def _within(file: NamelessFile, begin: int, stop: int, *names: bytes) -> tuple[int, int]:
    """A box's content -> where that of the box within boxes of these names begins and ends; equal if there is none."""
    for name in names:
        begin, stop = next((box[1:] for box in _boxes(file, begin, stop) if box[0] == name), (stop, stop))
    return begin, stop


def _boxes(file: NamelessFile, at: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    """MP4's boxes between two places -> (name, where its content begins and ends)."""
    for _ in range(MAX_BOXES):
        header = file.read_at(at, 16) if at < stop else b""
        length, head = int.from_bytes(header[:4], "big"), 8
        if length == 1 and len(header) == 16:
            length, head = int.from_bytes(header[8:], "big"), 16
        if len(header) < 8 or length < head:
            return
        yield header[4:8], at + head, min(at + length, stop)
        at += length


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
