"""Packets that are missing from the middle of an Ogg file, found by its clock without decoding."""

from __future__ import annotations

import av

from vggish_core.audio.source import NamelessFile

GAP_S = 0.05
"""Seconds without sound, in the middle or before it begins, that are taken for what they are and not for rounding."""


def in_ogg(file: NamelessFile) -> bool:
    """Whether an Ogg file's clock goes on somewhere without packets; the file stays where it is.

    Of joined files, each of which has a clock of its own, and of those that cannot be read, it is not known.
    """
    position = file.tell()
    file.seek(0)
    try:
        with av.open(file, mode="r", metadata_errors="replace") as container:
            stream = container.streams.audio[0]
            end: int | None = None
            ticks = GAP_S / stream.time_base
            for packet in container.demux(stream):
                if packet.pts is None or not packet.duration:
                    continue
                if end is not None and packet.pts - end > ticks:
                    return True
                end = packet.pts + packet.duration
    except (av.error.FFmpegError, ValueError, OSError, IndexError):
        pass
    finally:
        file.seek(position)
    return False
