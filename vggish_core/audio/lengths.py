"""Lengths of files that FFmpeg decodes, found without its decoder: what an audit compares with."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import av
import soundfile

from vggish_core.audio.source import NamelessFile

BLOCK = 1 << 16
"""Sample frames that are read at a time."""
LIBSNDFILES = (b"fLaC", b"OggS")
"""First bytes of files that it opens, though `open_audio` may leave them to FFmpeg: joined, or with an odd header."""
LATE_S = 0.05
"""Sound that begins later than its container has a length of its own."""


def otherwise(content: NamelessFile, progress: Callable[[], None]) -> tuple[int, int] | None:
    """A file -> (sample frames, rate in Hz): what libsndfile reads of FLAC and Ogg, else by the clock of the packets;
    None where neither tells.

    Args:
      content: a file that `open_audio` leaves to FFmpeg.
      progress: called now and then.
    """
    known = content.read_at(0, 4) in LIBSNDFILES
    return (_by_libsndfile(content, progress) if known else None) or _by_packets(content, progress)


def _by_libsndfile(content: NamelessFile, progress: Callable[[], None]) -> tuple[int, int] | None:
    content.seek(0)
    frames = 0
    try:
        with soundfile.SoundFile(content) as sound:
            with suppress(soundfile.LibsndfileError):  # it counts up to there
                while count := len(sound.read(BLOCK, "float32", always_2d=True)):
                    frames += count
                    progress()
            return (frames, sound.samplerate) if frames else None
    except soundfile.LibsndfileError:
        return None


def _by_packets(content: NamelessFile, progress: Callable[[], None]) -> tuple[int, int] | None:
    content.seek(0)
    first, last, end = None, None, 0
    try:
        with av.open(content, mode="r", metadata_errors="replace") as container:
            stream = container.streams.audio[0]
            for packet in container.demux(stream):
                progress()
                if packet.pts is None:
                    continue
                # Without a length of its own, a packet is taken to be as long as the one before.
                length = packet.duration or (packet.pts - last if last is not None else 0)
                first = packet.pts if first is None else min(first, packet.pts)
                last, end = packet.pts, max(end, packet.pts + length)
            rate = stream.codec_context.sample_rate
            if first is None or end <= first:
                return None
            begins_s = (container.start_time or 0) / av.time_base
            if float(first * stream.time_base) - begins_s > LATE_S and len(container.streams) > 1:
                return None
            return round((end - first) * stream.time_base * rate), rate
    except (av.error.FFmpegError, ValueError, OSError, IndexError, AttributeError):
        return None
