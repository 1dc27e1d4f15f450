"""Audio file, by path or open in binary mode -> blocks of float32 samples [n, channels] in [-1, 1].

libsndfile reads what it can (`libsndfile`), FFmpeg the rest (`ffmpeg`). Content decides
which, never a file's name. Every failure is one `AudioError` with a reason.

What a decoder gives is taken as it is. Both decoders leave out the encoder's priming and padding where the file states
them (LAME tag, edit list, Opus pre-skip, Vorbis granule positions); where it does not, they are samples like others.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import BinaryIO, cast

from vggish_core.audio import mpeg_frames
from vggish_core.audio.extent import cut_at_start, examine
from vggish_core.audio.reader import AudioReader
from vggish_core.audio.source import AudioError, NamelessFile, OpenedFile
from vggish_core.audio.splices import SplicedFile

BINARY_MAGIC = (b"\x1aE\xdf\xa3", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11")
"""Matroska (and WebM), ASF (and WMA)."""
MAGIC: dict[int, tuple[bytes, ...]] = {
    0: (
        b"RIFF",
        b"RIFX",
        b"RF64",
        b"riff",
        b"FORM",
        b"fLaC",
        b"OggS",
        b"ID3",
        b"caff",
        b".snd",
        b"#!AMR",
        *BINARY_MAGIC,
    ),
    4: (b"ftyp",),
}
"""First bytes, by position, of files that mean to be audio: what no decoder opens is damaged, not something else."""


def open_audio(file: str | os.PathLike[str] | BinaryIO) -> AudioReader:
    """A local path, or a seekable binary file, which stays open -> reader.

    Raises:
      AudioError: the file is missing, unreadable or empty, no decoder recognises it, its rate is unsupported, or it is
        a video without sound.
    """
    if not isinstance(file, (str, os.PathLike)):
        return _open(file, owned=False)
    try:
        opened = Path(file).open("rb", buffering=0)  # noqa: SIM115 - the reader closes it
    except FileNotFoundError as error:
        raise AudioError("missing", "no such file") from error
    except OSError as error:
        raise AudioError("unreadable", error.strerror or str(error)) from error
    try:
        return _open(opened, owned=True)
    except BaseException:
        opened.close()
        raise


def open_otherwise(file: BinaryIO) -> AudioReader | None:
    """A seekable binary file -> the reader of the decoder that `open_audio` would not choose; None if there is none.

    It takes the file as that decoder does, whatever we know of its structure: to check the one by the other.

    Raises:
      AudioError: as `open_audio`.
    """
    from vggish_core.audio.ffmpeg import FFmpegReader
    from vggish_core.audio.libsndfile import open_soundfile

    opened = OpenedFile(file, NamelessFile(file), owned=False, plain=True)
    first = open_soundfile(opened)
    if first is None:
        return None
    first.close()
    return FFmpegReader(opened, unrecognised="corrupt")


def _open(file: BinaryIO, owned: bool) -> AudioReader:
    nameless = NamelessFile(file)
    start = nameless.read_at(0, 16)
    nameless.check()
    if not start:
        raise AudioError("empty", "the file has no bytes")
    extent = examine(nameless, start)
    if extent.pieces is not None:
        nameless = NamelessFile(cast(BinaryIO, io.BufferedReader(SplicedFile(file, extent.pieces))))
    try:
        reader = _reader(OpenedFile(file, nameless, owned, extent.pieces is None), start)
    except AudioError as error:
        if error.reason in ("corrupt", "no_samples", "not_audio", "no_audio_stream"):
            missing = extent.missing or cut_at_start(nameless)
            if missing:
                raise AudioError("truncated", f"{missing}; nothing of it can be decoded") from error
        raise
    reader.missing = reader.missing or extent.missing
    reader.unread = extent.unread
    return reader


def _reader(opened: OpenedFile, start: bytes) -> AudioReader:
    from vggish_core.audio.libsndfile import open_soundfile

    reader = open_soundfile(opened)
    if reader is not None:
        return reader
    from vggish_core.audio.ffmpeg import FFmpegReader

    means_audio = any(start[at:].startswith(magic) for at, magics in MAGIC.items() for magic in magics)
    missing = mpeg_frames.cut_at_start(opened.content)
    reader = FFmpegReader(opened, unrecognised="corrupt" if means_audio else "not_audio")
    reader.missing = missing
    return reader
