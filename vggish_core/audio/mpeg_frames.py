"""MPEG audio (MP3) as a row of frames: what the first one counts, and what lies between the others.

Players skip a tag between frames, as files have that were joined; FFmpeg ends there. So tags are cut out.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache

from vggish_core.audio.source import NamelessFile
from vggish_core.audio.splices import Piece

FIRST_BYTES = 1 << 12
"""Behind the tags, in which the first frame lies."""
MAX_UNHEARD = 2 * 4095
"""Sample frames of delay and padding, together, that a LAME header can state."""
_BLOCK = 1 << 20
_LONGEST_FRAME = 4 * 1152
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
"""Hz, by the version's bits: 1, 2 and 2.5."""
_KBITS = {
    (True, 3): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 1): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 3): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 1): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""By (version 1, the layer's bits: I, II, III); without "free" (ISO 11172-3 and 13818-3)."""


@dataclass(frozen=True)
class Header:
    """Of a frame: its bytes, sample frames, rate and channels."""

    size: int
    samples: int
    rate_hz: int
    channels: int


@lru_cache(maxsize=4096)
def header(data: bytes) -> Header | None:
    """Four bytes -> the frame that begins with them, if one does and says how long it is."""
    if len(data) < 4 or data[0] != 0xFF or data[1] & 0xE0 != 0xE0:
        return None
    version, layer = data[1] >> 3 & 3, data[1] >> 1 & 3
    kbits, rate, padding = data[2] >> 4, data[2] >> 2 & 3, data[2] >> 1 & 1
    if version == 1 or layer == 0 or rate == 3 or kbits in (0, 15):
        return None
    first = version == 3
    bits, hertz = _KBITS[first, layer][kbits - 1] * 1000, _RATES[version][rate]
    samples = 384 if layer == 3 else 1152 if layer == 2 or first else 576
    size = (12 * bits // hertz + padding) * 4 if layer == 3 else samples // 8 * bits // hertz + padding
    return Header(size, samples, hertz, 1 if data[3] >> 6 == 3 else 2)


@dataclass(frozen=True)
class Count:
    """The counts of a Xing, Info or VBRI header.

    Attributes:
      samples: sample frames, the encoder's delay and padding among them.
      exact: whether those two stand beside it.
      frame: sample frames of an MPEG frame.
      stop: where the counted bytes end; None where they are not counted.
    """

    samples: int
    exact: bool
    frame: int
    stop: int | None


def after_tags(file: NamelessFile, at: int = 0) -> int:
    """Where a file goes on behind the tags that begin there."""
    while True:
        tag = file.read_at(at, 32)
        if tag.startswith(b"ID3") and len(tag) >= 10 and max(tag[3:5]) < 0xFF and max(tag[6:10]) < 0x80:
            size = sum((byte & 0x7F) << shift for byte, shift in zip(tag[6:10], (21, 14, 7, 0), strict=True))
            at += 10 + size + (10 if tag[5] & 0x10 else 0)
        elif tag.startswith(b"TAG"):
            at += 128
        elif tag.startswith(b"APETAGEX") and len(tag) == 32:
            header_too = int.from_bytes(tag[20:24], "little") >> 29 & 1
            at += int.from_bytes(tag[12:16], "little") + 32 if header_too else 32
        else:
            return at


def counted(file: NamelessFile) -> Count | None:
    """The counts in the first frame of a file, if it has any."""
    at = after_tags(file)
    data = file.read_at(at, FIRST_BYTES)
    begin = 0 if not at else max(data.find(b"\xff"), 0)
    first = header(data[begin : begin + 4])
    if first is None:
        return None
    side = {(1152, 2): 32, (1152, 1): 17, (576, 2): 17, (576, 1): 9}.get((first.samples, first.channels), 0)
    info = data[begin + 4 + side :]
    if info[:4] in (b"Xing", b"Info") and len(info) > 160 and info[7] & 1:
        flags = info[7]
        frames, size = struct.unpack(">II", info[8:16])
        if not frames:
            return None
        lame = 8 + sum(field for bit, field in ((1, 4), (2, 4), (4, 100), (8, 4)) if flags & bit)
        stop = at + begin + size if flags & 2 else None
        return Count(frames * first.samples, any(info[lame + 21 : lame + 24]), first.samples, stop)
    info = data[begin + 36 :]
    if info[:4] == b"VBRI" and len(info) >= 18:
        size, frames = struct.unpack(">II", info[10:18])
        return Count(frames * first.samples, False, first.samples, at + begin + size) if frames else None
    return None


def _count(data: bytes, first: Header) -> int | None:
    """A frame -> the sample frames that it counts, of those behind it; None if it is a frame like any other."""
    side = {(1152, 2): 32, (1152, 1): 17, (576, 2): 17, (576, 1): 9}.get((first.samples, first.channels), 0)
    info = data[4 + side : 16 + side]
    if info[:4] not in (b"Xing", b"Info") or len(info) < 12:
        return None
    return int.from_bytes(info[8:12], "big") * first.samples if info[7] & 1 else 0


def cut_at_start(file: NamelessFile) -> str:
    """A file's missing part if it ends within a tag or its first frames, as far as they say; "" for any other."""
    size = file.size()
    begin = after_tags(file)
    if begin > size:
        return f"{size} of at least {begin} bytes"
    if size >= 2 * _LONGEST_FRAME:
        return ""
    count = counted(file)
    if count is not None and count.stop is not None:
        whole = count.stop
    else:
        first = header(file.read_at(0, 4))
        whole = 0 if first is None else first.size
    return f"{size} of {whole} bytes" if size < whole else ""


def frames_at(file: NamelessFile, at: int) -> bool:
    """Whether frames, two at least, follow there, behind a tag perhaps."""
    data = file.read_at(after_tags(file, at), 2 * _LONGEST_FRAME)
    place = data.find(b"\xff")
    found = header(data[place : place + 4]) if place >= 0 else None
    return found is not None and header(data[place + found.size : place + found.size + 4]) is not None


@dataclass
class Frames:
    """All frames of a file.

    Attributes:
      pieces: the file without the tags between them.
      samples: sample frames of all.
      change: how the rate or the channels change, if they do.
      missing: sample frames that the header of one of several joined files counts and that do not follow, if any.
    """

    pieces: list[Piece]
    samples: int = 0
    change: str = ""
    missing: str = ""
    _begin: int = 0
    _promised: int = 0

    def part_ends(self, counted: int = 0) -> None:
        """A file of several that are joined ends here, and one of so many sample frames begins."""
        there = self.samples - self._begin
        if there < self._promised and not self.missing:
            self.missing = f"in one of several joined files {there} of {self._promised} sample frames"
        self._begin, self._promised = self.samples, counted


def walk(file: NamelessFile) -> Frames:
    """A file -> its frames."""
    size = file.size()
    at = begin = after_tags(file)
    found = Frames([])
    kind: tuple[int, int] | None = None
    data, data_at = b"", 0
    while at < size:
        if not data_at <= at <= data_at + len(data) - _LONGEST_FRAME:
            data, data_at = file.read_at(at, _BLOCK), at
        place = at - data_at
        frame = header(data[place : place + 4])
        if frame is not None:
            if kind is not None and kind != (frame.rate_hz, frame.channels) and not found.change:
                now = f"{frame.rate_hz} Hz, {frame.channels} channels"
                found.change = f"{kind[0]} Hz, {kind[1]} channels become {now} after {found.samples} sample frames"
            kind = kind or (frame.rate_hz, frame.channels)
            if (count := _count(data[place : place + FIRST_BYTES], frame)) is not None:
                found.part_ends(count)
            found.samples += frame.samples
            at += frame.size
        elif (behind := after_tags(file, at)) > at:
            found.pieces.append((begin, at))
            at = begin = min(behind, size)
        else:
            at = _next_frame(file, at + 1, size)
    found.pieces.append((begin, size))
    found.part_ends()
    return found


def _next_frame(file: NamelessFile, at: int, size: int) -> int:
    """Behind what is neither frame nor tag, where the next of either begins, or the file's end."""
    while at < size:
        data = file.read_at(at, _BLOCK)
        for place in range(len(data) - 4):
            if data[place] == 0xFF and (found := header(data[place : place + 4])) is not None:
                follower = file.read_at(at + place + found.size, 4)
                if header(follower) is not None or at + place + found.size >= size:
                    return at + place
            elif data[place] in b"ITA" and after_tags(file, at + place) > at + place:
                return at + place
        at += max(1, len(data) - 4)
    return size
