"""Lengths of files that FFmpeg decodes, found without its decoder: what an audit compares with."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import av
import soundfile

from vggish_core.audio.source import NamelessFile

BLOCK = 1 << 16
"""Sample frames that are read at a time."""
LATE_S = 0.05
"""Sound that begins later than its container has a length of its own."""


def otherwise(content: NamelessFile, progress: Callable[[], None]) -> tuple[int, int] | None:
    """A file -> (sample frames, rate in Hz): what libsndfile reads of it where it opens it, else by the clock of the
    packets; None where neither tells.

    Args:
      content: a file that `open_audio` leaves to FFmpeg.
      progress: called now and then.
    """
    return _by_libsndfile(content, progress) or _by_packets(content, progress)


def _by_libsndfile(content: NamelessFile, progress: Callable[[], None]) -> tuple[int, int] | None:
    content.seek(0)
    frames = 0
    try:
        with soundfile.SoundFile(content) as sound:
            with suppress(soundfile.LibsndfileError):  # it counts up to there
                while count := len(sound.read(BLOCK, "float32", always_2d=True)):
                    frames += count
                    progress()
            return frames, sound.samplerate
    except soundfile.LibsndfileError:
        return None


def _by_packets(content: NamelessFile, progress: Callable[[], None]) -> tuple[int, int] | None:
    content.seek(0)
    first, end = None, 0
    try:
        with av.open(content, mode="r", metadata_errors="replace") as container:
            stream = container.streams.audio[0]
            for packet in container.demux(stream):
                progress()
                if packet.pts is not None:
                    first = packet.pts if first is None else min(first, packet.pts)
                    end = max(end, packet.pts + (packet.duration or 0))
            rate = stream.codec_context.sample_rate
            if first is None or container.start_time is None:
                return None
            late_s = float(first * stream.time_base) - container.start_time / av.time_base
            if late_s > LATE_S and len(container.streams) > 1:
                return None
            return round((end - first) * stream.time_base * rate), rate
    except (av.error.FFmpegError, ValueError, OSError, IndexError, AttributeError):
        return None
