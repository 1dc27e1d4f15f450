"""Formats that libsndfile reads: WAV, FLAC, Ogg Vorbis, Opus, MP3, AIFF, AU, CAF, W64, RF64 and more."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any, BinaryIO, Literal, cast

import numpy as np
import soundfile

from vggish_core.audio import flac_frames, gaps, mpeg_frames, ogg
from vggish_core.audio.reader import AudioReader, check_rate
from vggish_core.audio.source import AudioError, NamelessFile, OpenedFile
from vggish_core.audio.splices import SplicedFile

EXACT_FORMATS = frozenset({"WAV", "WAVEX", "W64", "RF64", "AIFF", "AU", "CAF", "FLAC"})
EXACT_SUBTYPES = frozenset({"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"})
"""Containers and codecs in which any sample frame is found exactly."""
INTEGERS = frozenset({"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "ULAW", "ALAW"})
SHORT = "PCM_16"
"""Given as the integers that they are: libsndfile takes long to scale those of WAV, and their mean is quickly taken."""
COUNTED_FORMATS = frozenset({"FLAC", "OGG"})
"""Containers whose count of sample frames is true: fewer are a fault. Files that end early have another count in WAV
and Ogg, an error in FLAC; fewer in Ogg are pages lost on the way."""
UNKNOWN_FRAMES = 1 << 62
"""The count that libsndfile has of joined Ogg files is larger. It does not read them to their end."""
UNSURE_FORMATS = frozenset({"MP3", "OGG"})
"""Containers that libsndfile may stop reading early: at the length that the first link of a chained Ogg file has, or
that it estimates for an MP3 file of variable bit rate, which need not state its own."""
READ_AHEAD = 1 << 13
"""Bytes that are left unread at the end of a whole file of these at most: the last frame, a tag."""
MAX_PADDING = 4608
"""Sample frames that an encoder pads a file with at most, which FFmpeg may not leave out."""


class _Sequential(soundfile.SoundFile):
    """A file that says it cannot seek, though `seek` works.

    Where it can, soundfile seeks to where it is after every read: FLAC is then searched for the position each time, and
    an Opus decoder that has passed a lost page is sent back to fill the gap with what follows.
    """

    def seekable(self) -> bool:
        return False


def open_soundfile(opened: OpenedFile) -> AudioReader | None:
    """The reader of a file, or None where libsndfile does not read it, or not whole.

    Raises:
      AudioError: unreadable, unsupported_rate.
    """
    content = opened.content
    flac = flac_frames.header(content)
    if flac is not None and (not flac.samples or flac_frames.last_sample(content, flac) > flac.samples):
        return None  # libFLAC stops where the header does
    count = mpeg_frames.counted(content)
    joined = ogg.joined(content)
    content.seek(0)
    try:
        # A descriptor is read without calls back into Python.
        source: Any = opened.file.fileno() if opened.owned and opened.plain else content
        sound = _Sequential(source, closefd=False)
    except soundfile.LibsndfileError:
        content.check()
        return None
    if sound.frames < UNKNOWN_FRAMES:
        reader = SoundFileReader(sound, opened, count, joined)
        reader.content_sum = None if flac is None else flac_frames.content_sum(flac)
        return reader
    sound.close()
    return None


class SoundFileReader(AudioReader):
    """A file that libsndfile opened."""

    def __init__(self, sound: _Sequential, opened: OpenedFile, count: mpeg_frames.Count | None, joined: bool) -> None:
        self._sound = sound
        self._opened = opened
        self._nameless = opened.content
        self._rest: AudioReader | None = None
        self._counted = 0
        """Sample frames that an MP3 file's header counts, at least."""
        self._stop: int | None = None
        """Where it says that they end."""
        self.sample_rate_hz = sound.samplerate
        self.channels = sound.channels
        # libsndfile is asked for the names each time.
        self._container, subtype = sound.format, sound.subtype
        self.format = f"{self._container}/{subtype}"
        self.frames: int = sound.frames
        self.integers = subtype in INTEGERS
        self._joined = joined
        self._dtype: Literal["int16", "float32"] = "int16" if subtype == SHORT else "float32"
        if count and self._container == "MP3":
            # Where the encoder's delay is not stated, counts were seen that include the header's own frame.
            self._counted = sound.frames - (0 if count.exact else count.frame)
            # Of a short rest of a file libsndfile counts what it finds.
            self._counted = max(self._counted, count.samples - mpeg_frames.MAX_UNHEARD)
            self._stop = count.stop
        exact = self._container in EXACT_FORMATS and subtype in EXACT_SUBTYPES
        self.seekable_exactly = exact and super(_Sequential, sound).seekable()
        check_rate(self.sample_rate_hz)

    def _read(self, frames: int) -> np.ndarray:
        if self._rest is not None:
            return self._rest._read(frames)
        if self._container == "FLAC":
            # Behind the last frame there may be a tag, in which libFLAC looks for another one, and fails.
            frames = min(frames, self.frames - self.position)
        try:
            block = np.empty((frames, self.channels), self._dtype)
            block = block[: self._sound.buffer_read_into(block, self._dtype)] if frames else block
        except soundfile.LibsndfileError as error:
            self._nameless.check()
            if self._container == "OGG" and self.missing:  # to libsndfile an Opus stream without an end is damaged
                return np.empty((0, self.channels), np.float32)
            reason = "truncated" if self._is_cut() else "corrupt"
            raise AudioError(reason, self._progress(error.error_string.rstrip("."))) from error
        self._nameless.check()
        if len(block):
            return block
        if self._container in COUNTED_FORMATS and self.position < self.frames and not self.missing:
            reason = "truncated" if self._container == "FLAC" else "corrupt"
            raise AudioError(reason, self._progress("the audio ends early"))
        if self.position < self._counted:
            self.missing = f"{self.position} of {max(self.frames, self._counted)} sample frames"
        elif self._container == "FLAC":
            self._check_alone()
        elif self._goes_on():
            return self._read_on(frames)
        return np.empty((0, self.channels), np.float32)

    def _is_cut(self) -> bool:
        """Whether the end of a FLAC file is missing: to libsndfile one that stops within a frame is damaged."""
        position = self._nameless.tell()  # which the decoder may share
        flac = flac_frames.header(self._nameless)
        cut = flac is not None and not flac_frames.ends_whole(self._nameless, flac)
        self._nameless.seek(position)
        return cut

    def _goes_on(self) -> bool:
        """Whether something may follow that libsndfile did not read."""
        if self._container not in UNSURE_FORMATS:
            return False
        if self._joined or self._nameless.left() > READ_AHEAD:
            return True
        stop = self._stop
        return stop is not None and stop < self._nameless.size() and mpeg_frames.frames_at(self._nameless, stop)

    def _check_alone(self) -> None:
        """Raise AudioError if another FLAC file follows at the end of this one."""
        position = self._nameless.tell()
        if position < self._nameless.size() and (at := flac_frames.another(self._nameless, position)):
            raise AudioError("corrupt", self._progress(f"another FLAC file follows at byte {at}"))
        self._nameless.seek(position)

    def _progress(self, what: str) -> str:
        return f"{self.format}: {what}, after {self.position} of {self.frames} sample frames or more"

    def _read_on(self, frames: int) -> np.ndarray:
        """The audio that FFmpeg finds after the point where libsndfile ends."""
        from vggish_core.audio.ffmpeg import FFmpegReader

        opened = replace(self._opened, owned=False)
        if self._container == "MP3":
            found = mpeg_frames.walk(self._nameless)
            if found.samples <= self.position + MAX_PADDING:
                return np.empty((0, self.channels), np.float32)
            if found.change:
                raise AudioError("corrupt", self._progress(found.change))
            self.missing = found.missing
            spliced = io.BufferedReader(SplicedFile(cast(BinaryIO, self._nameless), found.pieces))
            opened = replace(opened, content=NamelessFile(cast(BinaryIO, spliced)), plain=False)
        rest = FFmpegReader(opened, unrecognised="corrupt")
        try:
            rest.seek(self.position)
            if rest.position == self.position and rest.holds(1 if self._joined else MAX_PADDING):
                if (rest.sample_rate_hz, rest.channels) != (self.sample_rate_hz, self.channels):
                    raise AudioError("corrupt", self._progress("its rate or channels change"))
                self._rest = rest
                return rest._read(frames)
        except BaseException:
            rest.close()
            raise
        rest.close()
        return np.empty((0, self.channels), np.float32)

    def keep_clock(self) -> None:
        """Where packets are missing, libsndfile reads on behind as if nothing were: FFmpeg knows where that belongs."""
        from vggish_core.audio.ffmpeg import FFmpegReader

        if self._container == "OGG" and not self._joined and gaps.in_ogg(self._nameless):
            self._rest = FFmpegReader(replace(self._opened, owned=False), unrecognised="corrupt")

    def seek(self, frame: int) -> None:
        if not self.seekable_exactly:
            super().seek(frame)
            return
        frame = min(frame, self.frames)
        try:
            self._sound.seek(frame)
        except soundfile.LibsndfileError as error:
            self._nameless.check()
            reason = "truncated" if self._is_cut() else "corrupt"
            raise AudioError(reason, self._progress(f"sample frame {frame} is not found")) from error
        self.position = frame

    def close(self) -> None:
        if self._rest is not None:
            self._rest.close()
        self._sound.close()
        if self._opened.owned:
            self._opened.file.close()
