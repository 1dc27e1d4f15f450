"""Some seconds of a file to listen to: 16 kHz, mono, as the network hears them, in MP3, which every browser plays."""

from __future__ import annotations

import base64
import io
from contextlib import ExitStack

import numpy as np

from pipeline.decoding.decode import BLOCK_FRAMES, explain
from pipeline.decoding.opening import Progress, open_file
from pipeline.decoding.protocol import Excerpted, ExcerptRequest
from vggish_core import params
from vggish_core.audio import AudioError, AudioReader, open_audio
from vggish_core.features.resampling import Resampler

MOST_SKIPPED_S = 600.0
"""Seconds that are decoded at most to reach an excerpt's start, in files that do not seek."""
COMPRESSION = 0.5
"""Of libsndfile, from 0 to 1: the middle of LAME's qualities of variable bit rate, 10 to 35 kb/s at 16 kHz in mono."""


def take(request: ExcerptRequest, progress: Progress) -> Excerpted:
    """A request -> its excerpt, or why there is none."""
    try:
        with ExitStack() as stack:
            audio = stack.enter_context(open_audio(open_file(request.uri, stack, progress, place=request.place)))
            audio.content_sum, audio.close_gaps = None, True  # what is damaged can be heard, as far as it goes
            start = max(0, round(request.start_s * audio.sample_rate_hz) - audio.lead)
            if not audio.seekable_exactly and start > MOST_SKIPPED_S * audio.sample_rate_hz:
                return Excerpted("", "it begins far into a file that has to be decoded from its start")
            _go_to(audio, start, progress)
            samples = _samples(audio, round(request.seconds * audio.sample_rate_hz), progress)
    except Exception as error:
        reason, message = explain(error)
        return Excerpted("", f"{reason}: {message}")
    if not len(samples):
        return Excerpted("", "its file ends before it")
    return encoded(samples)


def encoded(samples: np.ndarray) -> Excerpted:
    """Samples float [n] at 16 kHz -> the excerpt, or why libsndfile does not write it: it may be built without LAME."""
    import soundfile

    file = io.BytesIO()
    try:
        soundfile.write(
            file,
            np.clip(samples, -1.0, 1.0),
            params.SAMPLE_RATE,
            format="MP3",
            subtype="MPEG_LAYER_III",
            compression_level=COMPRESSION,
            bitrate_mode="VARIABLE",
        )
    except (soundfile.LibsndfileError, ValueError, OSError) as error:
        return Excerpted("", f"libsndfile writes no MP3 here: {error}")
    return Excerpted(base64.b64encode(file.getvalue()).decode(), "")


def _go_to(audio: AudioReader, frame: int, progress: Progress) -> None:
    if audio.seekable_exactly:
        audio.seek(frame)
    while audio.position < frame:
        before = audio.position
        audio.seek(min(frame, before + BLOCK_FRAMES))
        if audio.position == before:
            return
        progress()


def _samples(audio: AudioReader, frames: int, progress: Progress) -> np.ndarray:
    """The next samples [<= frames, channels], mixed and resampled -> float32 [n] at 16 kHz, up to damage if need be."""
    resampler = Resampler(audio.sample_rate_hz, np.float32)
    parts: list[np.ndarray] = []
    left = frames
    try:
        while left > 0 and (block := next(audio.blocks(min(left, BLOCK_FRAMES)), None)) is not None:
            parts.append(resampler.push(block).copy())
            left -= len(block)
            progress()
    except AudioError:
        if not parts:
            raise
    parts.append(resampler.finish())
    return np.concatenate(parts)
