"""An audio file -> its length according to its structure, and corrections of its header."""

from __future__ import annotations

from vggish_core.audio import chunks as audio_chunks
from vggish_core.audio import flac_frames, mpeg_frames
from vggish_core.audio import streams as audio_streams
from vggish_core.audio.source import Extent, NamelessFile


def examine(file: NamelessFile, start: bytes) -> Extent:
    """A file and its first 16 bytes -> its extent.

    Raises:
      AudioError: unreadable; corrupt for a header that no decoder can make sense of.
    """
    extent = audio_chunks.examine(file, start) or audio_streams.examine(file, start) or Extent()
    file.check()
    return extent


def cut_at_start(file: NamelessFile) -> str:
    """A file that no decoder opens -> what is missing of it, if it is the start of a FLAC or MP3 file; else ""."""
    flac = flac_frames.header(file)
    if flac is not None and flac.samples and not flac_frames.last_sample(file, flac):
        return f"0 of {flac.samples} sample frames"
    return mpeg_frames.cut_at_start(file)
