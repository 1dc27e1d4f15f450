"""FLAC files of any number of bits a sample, as neither libsndfile nor FFmpeg writes them: every frame verbatim.

After RFC 9639. Such files (12 and 20 bits; no count of samples, as of a live stream) are real, and libsndfile refuses
them: they take another way through the reader.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

FRAME = 4096
SIZES = {8: 1, 12: 2, 16: 4, 20: 5, 24: 6}
"""Bits a sample -> their code in a frame's header."""
RATES = {32000: 8, 44100: 9, 48000: 10}
"""Rates -> the same; frames of other rates refer to the file's header, as the format allows."""


def write_flac(path: Path, samples: np.ndarray, rate_hz: int, bits: int, total: int | None = None) -> Path:
    """Integer samples [n, channels] -> a file; `total` is what its header states as their number, 0 for unknown."""
    count, channels = samples.shape
    numbers = rate_hz << 44 | (channels - 1) << 41 | (bits - 1) << 36 | (count if total is None else total)
    stream_info = struct.pack(">HH6xQ16x", FRAME, FRAME, numbers)
    frames = [
        _frame(samples[start : start + FRAME], number, rate_hz, bits)
        for number, start in enumerate(range(0, count, FRAME))
    ]
    path.write_bytes(b"fLaC" + struct.pack(">I", 1 << 31 | len(stream_info)) + stream_info + b"".join(frames))
    return path


def _frame(samples: np.ndarray, number: int, rate_hz: int, bits: int) -> bytes:
    count, channels = samples.shape
    start = bytes([0xFF, 0xF8, 0b0111_0000 | RATES.get(rate_hz, 0), (channels - 1) << 4 | SIZES[bits] << 1])
    start += chr(number).encode() + struct.pack(">H", count - 1)
    start += _crc(start, 8, 0x07).to_bytes(1, "big")
    verbatim = np.unpackbits(np.array([0b0000_0010], np.uint8))
    places = np.arange(bits - 1, -1, -1)
    content = [np.concatenate([verbatim, (channel[:, None] >> places & 1).ravel()]) for channel in samples.T]
    frame = start + np.packbits(np.concatenate(content).astype(np.uint8)).tobytes()
    return frame + _crc(frame, 16, 0x8005).to_bytes(2, "big")


def _crc(data: bytes, width: int, polynomial: int) -> int:
    table = _table(width, polynomial)
    value = 0
    for byte in data:
        value = (value << 8 & (1 << width) - 1) ^ table[value >> width - 8 ^ byte]
    return value


def _table(width: int, polynomial: int) -> list[int]:
    rows = []
    for value in range(256):
        value <<= width - 8
        for _ in range(8):
            value = (value << 1 ^ (polynomial if value >> width - 1 else 0)) & (1 << width) - 1
        rows.append(value)
    return rows
