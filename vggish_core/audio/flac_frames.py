"""FLAC's header, the sum of its samples, and the last of its frames, which says where it lies (RFC 9639)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vggish_core.audio.mpeg_frames import after_tags
from vggish_core.audio.source import NamelessFile

HEADER_BYTES = 42
"""The marker, and the block that comes first."""
TAIL_BYTES = 1 << 17
"""At a file's end, in which its last frame lies."""
FRAME_HEADER_BYTES = 16
ID3V1_BYTES = 128
"""Of a tag that some programs write behind the last frame."""
RATES_HZ = (0, 88200, 176400, 192000, 8000, 16000, 22050, 24000, 32000, 44100, 48000, 96000)
READ_AHEAD = 1 << 14
"""Bytes that libFLAC may have read beyond the last frame."""
REST_BYTES = 1 << 20
"""Of what follows the last frame, in which another file is looked for."""
BITS = (0, 8, 12, 0, 16, 20, 24, 32)


@dataclass(frozen=True)
class Header:
    """The first block of metadata; `samples` is 0 and `md5` zeros where they are unknown."""

    block: int
    rate_hz: int
    channels: int
    bits: int
    samples: int
    md5: bytes


def header(file: NamelessFile) -> Header | None:
    """A file's header; None if it is not FLAC."""
    data = file.read_at(0, HEADER_BYTES)
    if data.startswith(b"ID3"):
        data = file.read_at(after_tags(file), HEADER_BYTES)
    if not data.startswith(b"fLaC") or len(data) < HEADER_BYTES:
        return None
    numbers = int.from_bytes(data[18:26], "big")
    return Header(
        block=int.from_bytes(data[8:10], "big"),
        rate_hz=numbers >> 44,
        channels=(numbers >> 41 & 7) + 1,
        bits=(numbers >> 36 & 31) + 1,
        samples=numbers & ((1 << 36) - 1),
        md5=data[26:42],
    )


class ContentSum:
    """The MD5 of a file's samples, which its header states, taken as they are read from the first to the last.

    Attributes:
      samples: sample frames that it is the sum of.
    """

    def __init__(self, of: Header) -> None:
        self.samples = of.samples
        self._stated = of.md5
        self._bits = of.bits
        self._bytes = -(-of.bits // 8)
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._taken = 0

    def take(self, block: np.ndarray, start: int) -> None:
        """Samples [n, channels], int16 or float32 in [-1, 1), from sample frame `start` on.

        What does not follow the block before it is left out: there is no sum of a part of a file.
        """
        if start != self._taken:
            return
        if block.dtype != np.int16:
            # A float32 holds 24 bits exactly.
            block = (block * np.float32(1 << self._bits - 1)).astype("<i4")
        stored = np.ascontiguousarray(block).view(np.uint8).reshape(block.size, block.itemsize)
        self._md5.update(np.ascontiguousarray(stored[:, : self._bytes]).data)
        self._taken += len(block)

    def fault(self) -> str:
        """How the sum differs from the header's; "" if it does not, or not all samples were taken."""
        found = self._md5.digest()
        if self._taken != self.samples or found == self._stated:
            return ""
        return f"the samples' MD5 is {found.hex()}, by the file's header {self._stated.hex()}"


def content_sum(of: Header) -> ContentSum | None:
    """The sum to compare with a header's; None where it states none, or its samples have more bits than a float32."""
    return ContentSum(of) if of.samples and any(of.md5) and of.bits <= 24 else None


def last_sample(file: NamelessFile, of: Header) -> int:
    """The sample behind the last frame that begins in a file; 0 if there is none near its end."""
    return next((end for end, _ in _last_frames(file, of)), 0)


def another(file: NamelessFile, at: int) -> int:
    """Where another FLAC file begins near a place, up to which one was read; 0 if none does."""
    begin = max(HEADER_BYTES, at - READ_AHEAD)
    found = file.read_at(begin, REST_BYTES).find(b"fLaC\0\0\0\x22")
    return begin + found if found >= 0 else 0


def ends_whole(file: NamelessFile, of: Header) -> bool:
    """Whether a file ends with the last of the frames that its header counts, and all of that."""
    for end, data in _last_frames(file, of):
        frame = data[:-ID3V1_BYTES] if data[-ID3V1_BYTES:].startswith(b"TAG") else data
        if end == of.samples and _crc16(frame) == 0:
            return True
    return False


def _last_frames(file: NamelessFile, of: Header) -> Iterator[tuple[int, bytes]]:
    """A file -> (the sample behind a frame, the bytes from there to the file's end), the last frame first."""
    size = file.size()
    begin = max(0, size - TAIL_BYTES)
    tail = file.read_at(begin, size - begin)
    at = len(tail)
    while (at := tail.rfind(b"\xff", 0, at)) >= 0:
        if end := _frame_end(tail[at : at + FRAME_HEADER_BYTES], of):
            yield end, tail[at:]


def _frame_end(data: bytes, of: Header) -> int:
    """A possible frame header -> the sample after the frame; 0 if it is not one, or belongs to another stream."""
    if len(data) < 6 or data[1] & 0xFE != 0xF8 or not _fits(data, of):
        return 0
    number, at = _coded_number(data, 4)
    size, rate = data[2] >> 4, data[2] & 15
    if size in (6, 7):
        block = int.from_bytes(data[at : at + size - 5], "big") + 1
        at += size - 5
    else:
        block = 192 if size == 1 else 576 << size - 2 if size < 6 else 256 << size - 8
    at += (0, 1, 2, 2)[rate - 11] if rate in (12, 13, 14) else 0
    if number < 0 or at >= len(data) or _crc8(data[:at]) != data[at]:
        return 0
    return (number if data[1] & 1 else number * of.block) + block


def _fits(data: bytes, of: Header) -> bool:
    """Whether a frame's header says what the file's does."""
    size, rate, channels, bits = data[2] >> 4, data[2] & 15, data[3] >> 4, data[3] >> 1 & 7
    if size == 0 or rate == 15 or channels > 10 or bits == 3 or data[3] & 1:
        return False
    rate_fits = rate in (0, 12, 13, 14) or RATES_HZ[rate] == of.rate_hz
    return rate_fits and (channels + 1 if channels < 8 else 2) == of.channels and (not bits or BITS[bits] == of.bits)


def _coded_number(data: bytes, at: int) -> tuple[int, int]:
    """A number coded as UTF-8 codes characters, of up to 36 bits -> (it, what is behind it); -1 if it is none."""
    first = data[at]
    ones = 8 - (first ^ 0xFF).bit_length()
    if ones == 0:
        return first, at + 1
    rest = data[at + 1 : at + ones]
    if ones in (1, 8) or len(rest) < ones - 1 or any(byte & 0xC0 != 0x80 for byte in rest):
        return -1, at
    number = first & ((1 << 7 - ones) - 1)
    for byte in rest:
        number = number << 6 | byte & 0x3F
    return number, at + ones


def _crc8(data: bytes) -> int:
    """The checksum of frames' headers: polynomial x^8 + x^2 + x + 1."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x07) & 0xFF if crc & 0x80 else crc << 1
    return crc


def _crc16(data: bytes) -> int:
    """The checksum of frames, which is zero over all of one: polynomial x^16 + x^15 + x^2 + 1."""
    table = []
    for byte in range(256):
        crc = byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x8005) & 0xFFFF if crc & 0x8000 else crc << 1
        table.append(crc)
    crc = 0
    for byte in data:
        crc = (crc << 8 & 0xFFFF) ^ table[crc >> 8 ^ byte]
    return crc
