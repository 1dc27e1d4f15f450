"""Formats that libsndfile does not read, through FFmpeg: M4A, MP4, MKV, WebM, WMA, AMR, unusual FLAC and more."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import av
import numpy as np

from vggish_core.audio import flac_frames, ogg
from vggish_core.audio import streams as audio_streams
from vggish_core.audio.gaps import GAP_S
from vggish_core.audio.reader import AudioReader, check_rate
from vggish_core.audio.source import AudioError, GapError, OpenedFile

OPEN_OPTIONS = {
    # A playlist may name other files and addresses: none of them is opened.
    "protocol_whitelist": "none",
}
DECODER_OPTIONS = {
    # FFmpeg's FLAC decoder looks at checksums only when asked to.
    "flac": {"err_detect": "crccheck+explode"},
    # As libsndfile's decoder gives them.
    "libopus": {"request_sample_fmt": "flt"},
}
DECODERS = {"opus": "libopus"}
"""In place of FFmpeg's own, where its samples are others than those of the codec's authors: of speech, by far."""
STATED_WITHIN_S = 1.0
"""Browsers record without a duration; scripts put one into the header afterwards, by the clock on the wall."""
FULL_SCALE = {"u8": 2.0**7, "s16": 2.0**15, "s32": 2.0**31, "s64": 2.0**63}
"""Of integer samples. Fewer bits (12, 20, 24) come shifted to the left in the next larger type."""


class FFmpegReader(AudioReader):
    """The first audio stream of a file.

    Args:
      opened: the file.
      unrecognised: the reason to give where FFmpeg does not recognise the content either.

    Attributes:
      decoded: sample frames that FFmpeg has decoded, of which `position` have been read.
    """

    def __init__(self, opened: OpenedFile, unrecognised: str) -> None:
        opened.content.seek(0)
        self._opened = opened
        self._nameless = opened.content
        self._waiting: deque[Sequence[np.ndarray] | int] = deque()
        """Decoded and not yet read: an array per channel for each of FFmpeg's frames; a length for a gap."""
        self.decoded = 0
        self._end = 0
        """Where the last of them ends on the stream's clock."""
        self._read_to = 0
        """Where the last that was read ends, in sample frames from the first one."""
        self._container = self._open_container(unrecognised)
        try:
            self._stream = self._choose_stream(unrecognised)
            container, codec = self._container.format.name, self._stream.codec_context.name
            self.format = f"{','.join(container.split(',')[:2])}/{codec}"
            position = self._nameless.tell()
            self._check_whole()
            self.frames = self._promised()
            self._stated_s = self._stated()
            self._nameless.seek(position)
            self.sample_rate_hz = self._stream.codec_context.sample_rate
            self.channels = self._stream.codec_context.channels
            self._decoder = self._choose_decoder()
            self._lossless = self._container.format.name == "flac"
            self._tick = (1, 1)
            """Sample frames that the clock's unit lasts, above and below the line: a `Fraction` a frame takes long."""
            self._decoding = self._decode()
            # The stream's header may state another rate than its frames have (HE-AAC): the first frame decides.
            if not self.holds(1):
                raise AudioError("no_samples", f"a {self.format} header without samples")
            check_rate(self.sample_rate_hz)
        except BaseException:
            self._container.close()
            raise

    def _open_container(self, unrecognised: str) -> Any:
        try:
            return av.open(self._nameless, mode="r", options=OPEN_OPTIONS, metadata_errors="replace")
        except (av.error.FFmpegError, ValueError, OSError) as error:
            self._nameless.check()
            raise AudioError(unrecognised, f"neither libsndfile nor FFmpeg opens it: {_describe(error)}") from error

    def _choose_stream(self, unrecognised: str) -> Any:
        streams = self._container.streams
        name = self._container.format.name
        if not streams.audio:
            if not len(streams):
                raise AudioError(unrecognised, f"a file of format {name} without any stream")
            if streams.video and not name.endswith("_pipe"):
                raise AudioError("no_audio_stream", f"a file of format {name} without sound")
            raise AudioError("not_audio", f"a file of format {name} without audio")
        stream = streams.audio[0]
        if stream.codec_context is None:
            raise AudioError("not_audio", f"a file of format {name} whose audio codec has no decoder")
        return stream

    def _choose_decoder(self) -> Any:
        """The stream's decoder, or a better one."""
        decoder = self._stream.codec_context
        name = DECODERS.get(decoder.name, "")
        if name in av.codecs_available:
            better = av.CodecContext.create(name, "r")
            better.extradata, better.sample_rate = decoder.extradata, decoder.sample_rate
            better.layout = decoder.layout
            decoder = better
        decoder.thread_count = 1
        decoder.options = DECODER_OPTIONS.get(decoder.name, {})
        return decoder

    def _promised(self) -> int | None:
        """Sample frames that the file states, where it is to be relied on."""
        flac = flac_frames.header(self._nameless) if self._container.format.name == "flac" else None
        if flac is None:
            return None
        last = flac_frames.last_sample(self._nameless, flac)
        if last <= flac.samples:  # of frames beyond the header's total nobody knows whether the sum includes them
            self.content_sum = flac_frames.content_sum(flac)
        return max(flac.samples, last) or None

    def _stated(self) -> float | None:
        """Seconds that the header of a live Matroska file states, if nothing but sound can last so long."""
        only_sound = all(stream.type == "audio" for stream in self._container.streams)
        matroska = self._container.format.name.startswith("matroska")
        return audio_streams.live_matroska_s(self._nameless) if matroska and only_sound else None

    def _check_whole(self) -> None:
        """Whether the index (MP4 and relatives) points past the end of the file."""
        entries = getattr(self._stream, "index_entries", None)
        if not self._container.format.name.startswith("mov") or not entries:
            return
        if pause := audio_streams.mp4_pause(self._nameless):
            raise AudioError("corrupt", f"{self.format}: {pause}")
        last = entries[len(entries) - 1]
        size = self._nameless.size()
        if last.pos + last.size > size:
            raise AudioError("truncated", f"{self.format}: {size} of at least {last.pos + last.size} bytes")

    def _decode(self) -> Iterator[Sequence[np.ndarray] | int]:
        """Decoded frames, each as float32 [n] a channel, n >= 1; and the sample frames of gaps between them."""
        packets = self._container.demux(self._stream)
        try:
            for packet in packets:
                if packet.is_corrupt:
                    raise ValueError("damaged packet")
                for frame in self._decoder.decode(packet if packet.size else None):
                    if frame.samples:
                        if gap := self._check_frame(frame):
                            yield gap
                        self.decoded += frame.samples
                        yield _to_channels(frame)
        except (av.error.FFmpegError, ValueError) as error:
            self._nameless.check()
            reason, what = "truncated" if _is_last(packets) else "corrupt", _describe(error)
            if self._container.format.name == "ogg" and (change := ogg.change(self._nameless)):
                reason, what = "corrupt", change
            raise AudioError(reason, f"{self.format}: {what}, after {self.decoded} sample frames") from error
        self._nameless.check()
        if self.frames is not None and self._end < self.frames:
            raise AudioError("truncated", f"{self.format}: {self._end} of {self.frames} sample frames")
        ends_s = self._end / self.sample_rate_hz
        if self._stated_s is not None and ends_s < self._stated_s - STATED_WITHIN_S:
            raise AudioError("truncated", f"{self.format}: {ends_s:.3f} of {self._stated_s:.3f} s")

    def _check_frame(self, frame: Any) -> int:
        """A frame must follow the one before in time, and be of its rate and channels -> the gap before it."""
        layout = (frame.sample_rate, frame.layout.nb_channels)
        if not self.decoded:
            self.sample_rate_hz, self.channels = layout
            tick = frame.time_base * self.sample_rate_hz
            self._tick = (tick.numerator, tick.denominator)
        elif layout != (self.sample_rate_hz, self.channels):
            (old_hz, old_channels), (hz, channels) = (self.sample_rate_hz, self.channels), layout
            raise ValueError(f"{old_hz} Hz, {old_channels} channels become {hz} Hz, {channels} channels")
        pts = frame.pts
        # FFmpeg does not know the time of a last FLAC frame that leaves the rate to the file's header.
        if self._lossless and pts is not None and pts != self._end:
            raise ValueError("frames are missing")
        above, below = self._tick
        start = self._end if pts is None else (2 * pts * above + below) // (2 * below)
        gap = start - self._end
        if not self.decoded:
            self.lead, gap = self._lead(frame), 0
        self._end = start + frame.samples
        return gap if gap > GAP_S * self.sample_rate_hz and not self._joined() else 0

    def _lead(self, frame: Any) -> int:
        """Sample frames from the container's start to the first frame."""
        if frame.pts is None or self._container.start_time is None or len(self._container.streams) < 2:
            return 0
        late_s = float(frame.pts * frame.time_base) - self._container.start_time / av.time_base
        return round(late_s * self.sample_rate_hz) if late_s > GAP_S else 0

    def _joined(self) -> bool:
        """Whether streams follow one another, each with a clock of its own."""
        if self._container.format.name != "ogg":
            return False
        position = self._nameless.tell()
        joined = len(ogg.streams(self._nameless)) > 1
        self._nameless.seek(position)
        return joined

    def holds(self, frames: int) -> bool:
        """Whether at least so many sample frames follow."""
        left = sum(len(part[0]) for part in self._waiting if not isinstance(part, int))
        while left < frames and (part := next(self._decoding, None)) is not None:
            self._waiting.append(part)
            left += 0 if isinstance(part, int) else len(part[0])
        return left >= frames

    def _read(self, frames: int) -> np.ndarray:
        block = np.empty((self.channels, frames), np.float32)
        filled = 0
        # Copied as they are decoded, while they are in the cache.
        while filled < frames and (part := self._next()) is not None:
            if isinstance(part, int):
                if filled:
                    self._waiting.appendleft(part)
                    break
                self._read_to += part
                raise GapError(self._read_to - part, self._read_to, self.lead, self.sample_rate_hz)
            taken = min(len(part[0]), frames - filled)
            for of_block, of_frame in zip(block, part, strict=True):
                of_block[filled : filled + taken] = of_frame[:taken]
            if taken < len(part[0]):
                self._waiting.appendleft([channel[taken:] for channel in part])
            filled += taken
            self._read_to += taken
        return block[:, :filled].T

    def _next(self) -> Sequence[np.ndarray] | int | None:
        """The next samples, float32 [n] a channel; or sample frames that are missing; None at the end."""
        return self._waiting.popleft() if self._waiting else next(self._decoding, None)

    def close(self) -> None:
        self._container.close()
        if self._opened.owned:
            self._opened.file.close()


def _to_channels(frame: Any) -> Sequence[np.ndarray]:
    """A decoded frame -> float32 [n] a channel, in [-1, 1]; integers scaled as libsndfile does."""
    if frame.format.name == "fltp":  # what most codecs give: seen where it lies
        return [np.frombuffer(plane, np.float32, frame.samples) for plane in frame.planes]
    array = frame.to_ndarray()
    samples = array if frame.format.is_planar else array.reshape(frame.samples, -1).T
    kind = frame.format.packed.name
    if kind in FULL_SCALE:
        scale = FULL_SCALE[kind]
        if kind == "u8":
            samples = samples.astype(np.float32) - np.float32(scale)
        samples = samples.astype(np.float32, copy=False) * np.float32(1 / scale)
    return list(samples.astype(np.float32, copy=False))


def _is_last(packets: Iterator[Any]) -> bool:
    """Whether no packet with content follows."""
    try:
        return not any(packet.size for packet in packets)
    except (av.error.FFmpegError, ValueError):
        return False


def _describe(error: Exception) -> str:
    """FFmpeg's message, on one line."""
    return (getattr(error, "strerror", None) or str(error)).replace("\n", " ")
