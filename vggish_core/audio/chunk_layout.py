"""Files of chunks: how they are laid out, and where the samples in one of them end, whatever the header counts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from vggish_core.audio.source import NamelessFile

SURPLUS_BYTES = 44
"""By which some recorders count too many: the header's own size."""
UNKNOWN = (
    (-24, 0),
    (0x7EFFFF00, 0x7F000100),
    (0x7FFFE000, 0x80002000),
    (0xFFFFE000, 0xFFFFFFFF),
    ((1 << 63) - 0x2000, 1 << 64),
)
"""Counts that streaming writers leave, give or take a header: none, sox's of AIFF, sox's and others', FFmpeg's; of 64
bits the largest, and negative ones."""
TAIL_BYTES = 1 << 20
"""At a file's end, in which chunks behind the samples are looked for."""
PADDING_BYTES = 4096
"""Zeros behind the samples, if they are fewer, are padding and no silence."""
MAX_CHUNKS = 4096
KNOWN_CHUNKS = re.compile(
    rb"LIST|list|id3 |ID3 |bext|cue |smpl|inst|fact|PAD |JUNK|junk|FLLR|iXML|_PMX|afsp|DISP|acid|strc|plst|adtl|LGWV"
    rb"|minf|elm1|regn|umid|cart|axml|chna|PEAK|levl|MD5 |MARK|INST|APPL|NAME|AUTH|ANNO|COMT|\(c\) |info|strg|uuid|free"
)
TAGS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICSBEGIN")
WRAP = 1 << 32
"""Where counts of 32 bits start again."""


@dataclass(frozen=True)
class Layout:
    """How chunks are laid out.

    Attributes:
      first: where the first one begins.
      name, count: bytes of these two, its header.
      order: of the count's bytes.
      align: chunks are padded to multiples of it.
      own: bytes of the header that the count includes.
    """

    first: int
    name: int
    count: int
    order: Literal["little", "big"]
    align: int
    own: int = 0

    @property
    def header(self) -> int:
        return self.name + self.count

    def chunk(self, file: NamelessFile, at: int) -> tuple[bytes, int] | None:
        """A position -> the name and content bytes of the chunk that begins there; None where no header fits."""
        header = file.read_at(at, self.header)
        if len(header) < self.header:
            return None
        return header[: self.name], int.from_bytes(header[self.name :], self.order) - self.own

    def after(self, at: int, size: int) -> int:
        """Where the chunk ends whose content of so many bytes begins there."""
        return at + size + -(self.own + size) % self.align

    def chunks(self, file: NamelessFile) -> Iterator[tuple[bytes, int, int]]:
        """(name, where the content begins, its bytes) of each up to the file's end, or to one that is none."""
        at = self.first
        for _ in range(MAX_CHUNKS):
            found = self.chunk(file, at)
            if found is None or found[1] < 0:
                return
            yield found[0], at + self.header, found[1]
            at = self.after(at + self.header, found[1])

    def counted(self, size: int) -> bytes:
        """The count of a content of so many bytes."""
        return (size + self.own).to_bytes(self.count, self.order)


@dataclass(frozen=True)
class Samples:
    """Samples as a header describes them: where they begin, how many bytes they are, and how many a frame has."""

    begin: int
    counted: int
    frame: int

    @property
    def unknown(self) -> bool:
        return any(low <= self.counted <= high for low, high in UNKNOWN)


def end_of_samples(file: NamelessFile, layout: Layout | None, samples: Samples) -> tuple[int, str]:
    """Where the samples end, and what is missing of them."""
    size = file.size()
    there = max(0, size - samples.begin)
    if samples.counted > there and not samples.unknown:
        missing = samples.counted > there + SURPLUS_BYTES + samples.frame
        return samples.begin + there, f"{there} of {samples.counted} bytes of sound" if missing else ""
    counted = 0 if samples.unknown and samples.counted > there else max(0, samples.counted)
    end = samples.begin + counted
    if there <= 0 or any(_ends_at(file, layout, at, samples.frame) for at in {end, end + end % 2}):
        return min(end, samples.begin + there), ""
    if layout is None:
        return size, ""
    wrapped = (at for at in range(end + WRAP, size, WRAP) if _ends_at(file, layout, at, samples.frame))
    return next(wrapped, None) or _chunks_at_the_end(file, layout, end), ""


def more_samples(file: NamelessFile, layout: Layout, end: int, name: bytes) -> str:
    """What is not read behind the samples that end there: a second chunk of samples, or another file; "" if nothing."""
    at = end + end % 2
    for _ in range(MAX_CHUNKS):
        found = layout.chunk(file, at)
        if found is None or found[1] < 0:
            return ""
        if found[1] and found[0] in (name, b"RIFF", b"FORM"):
            return f"more samples, in a chunk {found[0].decode()} at byte {at}, are not read"
        at = layout.after(at + layout.header, found[1])
    return ""


def _ends_at(file: NamelessFile, layout: Layout | None, at: int, frame: int) -> bool:
    """Whether what lies there is no audio: the file's end, scraps, padding, a tag, chunks."""
    size = file.size()
    rest = file.read_at(at, PADDING_BYTES) if at < size else b""
    if len(rest) < max(frame, 8) or rest.startswith(TAGS) or (len(rest) < PADDING_BYTES and not any(rest)):
        return True
    return layout is not None and (KNOWN_CHUNKS.match(rest) is not None or _all_chunks(file, layout, at))


def _all_chunks(file: NamelessFile, layout: Layout, at: int) -> bool:
    """Whether nothing but chunks follows, whatever they are called."""
    size = file.size()
    for _ in range(MAX_CHUNKS):
        found = layout.chunk(file, at)
        if found is None or not found[0][:4].isascii() or not found[0][:4].decode("ascii").isprintable():
            return False
        at = layout.after(at + layout.header, found[1])
        if found[1] < 0 or at > size + layout.align - 1:
            return False
        if at >= size:
            return True
    return False


def _chunks_at_the_end(file: NamelessFile, layout: Layout, begin: int) -> int:
    """Where the chunks begin that end with the file; its end, where none do."""
    size = file.size()
    begin = max(begin, size - TAIL_BYTES)
    for match in KNOWN_CHUNKS.finditer(file.read_at(begin, size - begin)):
        if _all_chunks(file, layout, begin + match.start()):
            return begin + match.start()
    return size
