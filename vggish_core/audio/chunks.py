"""WAV, RF64, W64, AIFF, AU, CAF, AVI, SVX and SPHERE: where the samples lie, whatever the header counts.

Recorders that stream, stop early or pass 4 GiB leave counts that are too small, or stand for "unknown": what follows is
audio, up to the next chunk that makes sense or the end of the file. A count beyond the file's end means that the end is
missing. docs/formats.md has the policy.
"""

from __future__ import annotations

import math
import re
from typing import Literal

from vggish_core.audio.chunk_layout import (
    MAX_CHUNKS,
    SURPLUS_BYTES,
    UNKNOWN,
    WRAP,
    Layout,
    Samples,
    end_of_samples,
    more_samples,
)
from vggish_core.audio.source import AudioError, Extent, NamelessFile
from vggish_core.audio.splices import Piece, replaced

MAX_CHANNELS = 1024
"""libsndfile's bound."""
CAF_HEADER = 12
SPHERE_BYTES = 1 << 14
"""Of its header, which has 1,024 as a rule."""

_LITTLE = Layout(12, 4, 4, "little", 2)
_BIG = Layout(12, 4, 4, "big", 2)
_W64 = Layout(40, 16, 8, "little", 8, own=24)
_CAF = Layout(8, 4, 8, "big", 1)


def examine(file: NamelessFile, start: bytes) -> Extent | None:
    """A file and its first 16 bytes -> what its chunks say; None for other formats.

    Raises:
      AudioError: corrupt, for more channels than can be read.
    """
    kind, form = start[:4], start[8:12]
    if kind in (b"RIFF", b"RIFX", b"RF64", b"BW64") and form == b"WAVE":
        return _wave(file, _BIG if kind == b"RIFX" else _LITTLE)
    if kind == b"RIFF" and form == b"AVI ":
        return _avi(file)
    if kind == b"FORM" and form in (b"AIFF", b"AIFC"):
        return _aiff(file)
    if kind == b"FORM" and form in (b"8SVX", b"16SV"):
        return _cut_header(file, _BIG)
    examiners = {b"riff": _w64, b"caff": _caf, b".snd": _au, b"dns.": _au, b"NIST": _sphere}
    return examiners[kind](file) if kind in examiners else None


def _wave(file: NamelessFile, layout: Layout) -> Extent:
    frame, large, form = 1, None, b""
    for name, at, size in layout.chunks(file):
        if name == b"fmt ":
            form = file.read_at(at, min(size, 1 << 16))
            _check_channels(int.from_bytes(form[2:4], layout.order))
            frame = int.from_bytes(form[12:14], layout.order) or 1
        elif name == b"ds64":
            large = int.from_bytes(file.read_at(at + 8, 8), "little")
        elif name == b"data":
            samples = Samples(at, size if large is None or size != WRAP - 1 else large, frame)
            end, missing = end_of_samples(file, layout, samples)
            if end - at == samples.counted and large in (None, samples.counted):
                return Extent(unread=more_samples(file, layout, end, name))
            if end - at >= WRAP - 1 and large is None and layout is _LITTLE:
                return Extent(missing, _as_rf64(form, at, end))
            changes = {4: layout.counted(min(end - 8, WRAP - 1)), at - 4: layout.counted(min(end - at, WRAP - 1))}
            if large is not None:
                changes = {at - 4: layout.counted(WRAP - 1), **_large_counts(file, layout, end, end - at)}
            return Extent(missing, replaced(file.size(), changes, end))
    return _cut_header(file, layout)


def _cut_header(file: NamelessFile, layout: Layout) -> Extent:
    """Of a file without samples: whether it is as long as its first chunk says."""
    size = file.size()
    found = layout.chunk(file, 0)
    known = found is not None and not any(low <= found[1] <= high for low, high in UNKNOWN)
    end = layout.after(8, found[1]) if found and known else 0
    return Extent(f"{size} of {end} bytes" if size < end - 1 else "")


def _as_rf64(form: bytes, begin: int, end: int) -> list[Piece]:
    """The format chunk's content of a WAV file, and where its samples lie -> the same as RF64, which has the counts."""
    header = b"WAVEds64" + _LITTLE.counted(28)
    head = 12 + 36 + 8 + len(form) + 8
    header += (head + end - begin - 8).to_bytes(8, "little") + (end - begin).to_bytes(8, "little") + bytes(12)
    header += b"fmt " + _LITTLE.counted(len(form)) + form + b"data" + _LITTLE.counted(WRAP - 1)
    return [b"RF64" + _LITTLE.counted(WRAP - 1) + header, (begin, end)]


def _large_counts(file: NamelessFile, layout: Layout, end: int, size: int) -> dict[int, bytes]:
    """Of RF64: what its ds64 chunk should hold."""
    at = next(at for name, at, _ in layout.chunks(file) if name == b"ds64")
    return {at: (end - 8).to_bytes(8, "little") + size.to_bytes(8, "little")}


def _w64(file: NamelessFile) -> Extent:
    frame = 1
    for name, at, size in _W64.chunks(file):
        if name.startswith(b"fmt "):
            form = file.read_at(at, 16)
            _check_channels(int.from_bytes(form[2:4], "little"))
            frame = int.from_bytes(form[12:14], "little") or 1
        elif name.startswith(b"data"):
            samples = Samples(at, size, frame)
            end, missing = end_of_samples(file, _W64, samples)
            changes = {16: end.to_bytes(8, "little"), at - 8: _W64.counted(end - at)}
            return Extent(missing, None if end - at == size else replaced(file.size(), changes, end))
    return Extent()


def _aiff(file: NamelessFile) -> Extent:
    frame = 1
    for name, at, size in _BIG.chunks(file):
        if name == b"COMM":
            form = file.read_at(at, 8)
            channels = int.from_bytes(form[:2], "big")
            _check_channels(channels)
            frame = channels * -(-int.from_bytes(form[6:8], "big") // 8) or 1
        elif name == b"SSND":
            offset = int.from_bytes(file.read_at(at, 4), "big")
            begin = at + 8 + offset
            samples = Samples(begin, size - 8 - offset, frame)
            end, missing = end_of_samples(file, _BIG, samples)
            changes = {4: _BIG.counted(min(end - 8, WRAP - 1)), at - 4: _BIG.counted(min(end - at, WRAP - 1))}
            if end - begin == samples.counted:
                return Extent(missing, unread=more_samples(file, _BIG, end, name))
            return Extent(missing, replaced(file.size(), changes, end))
    return _cut_header(file, _BIG)


def _caf(file: NamelessFile) -> Extent:
    frame = 1
    at = _CAF.first
    for _ in range(MAX_CHUNKS):
        found = _CAF.chunk(file, at)
        if found is None:
            break
        name, size = found
        at += CAF_HEADER
        if name == b"desc":
            form = file.read_at(at, 32)
            frame = int.from_bytes(form[16:20], "big") or 1
            _check_channels(int.from_bytes(form[24:28], "big"))
        elif name == b"data":
            samples = Samples(at + 4, 0 if size == (1 << 64) - 1 else size - 4, frame)
            end, missing = end_of_samples(file, _CAF, samples)
            changes = {at - 8: _CAF.counted(end - at)}
            return Extent(missing, None if end - at == size else replaced(file.size(), changes, end))
        at += size
    return Extent(f"{file.size()} of at least {at} bytes" if at > file.size() else "")


def _au(file: NamelessFile) -> Extent:
    order: Literal["little", "big"] = "big" if file.read_at(0, 4) == b".snd" else "little"
    begin, size, coding, _, channels = (int.from_bytes(file.read_at(at, 4), order) for at in range(4, 24, 4))
    _check_channels(channels)
    widths = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}
    samples = Samples(begin, size, channels * widths.get(coding, 1) or 1)
    end, missing = end_of_samples(file, None, samples)
    return Extent(
        missing, None if end - begin == size else replaced(file.size(), {8: (end - begin).to_bytes(4, order)})
    )


def _sphere(file: NamelessFile) -> Extent:
    """NIST SPHERE: lines of text, `sample_count -i 16000` say, up to as many bytes as the second one states."""
    header = file.read_at(0, SPHERE_BYTES)
    lines = header.split(b"\n", 2)
    fields = dict(re.findall(rb"^(\w+) -i (\d+)", header, re.MULTILINE))
    counts = [int(fields.get(name, b"0")) for name in (b"sample_count", b"channel_count", b"sample_n_bytes")]
    counted, frame = math.prod(counts), counts[1] * counts[2]
    if len(lines) < 2 or not lines[1].strip().isdigit() or b"embedded-" in header:  # compressed
        return Extent()
    there = max(0, file.size() - int(lines[1]))
    return Extent(f"{there} of {counted} bytes of sound" if counted > there + SURPLUS_BYTES + frame else "")


def _avi(file: NamelessFile) -> Extent:
    """Top-level chunks, of which large files have several."""
    at, size = 0, file.size()
    for _ in range(MAX_CHUNKS):
        found = _LITTLE.chunk(file, at)
        if found is None or found[0] != b"RIFF" or any(low <= found[1] <= high for low, high in UNKNOWN):
            break
        at = _LITTLE.after(at + 8, found[1])
        if at - 1 > size:
            return Extent(f"{size} of {at} bytes")
    return Extent()


def _check_channels(channels: int) -> None:
    if channels > MAX_CHANNELS:
        raise AudioError("corrupt", f"its header counts {channels} channels; up to {MAX_CHANNELS} can be read")
