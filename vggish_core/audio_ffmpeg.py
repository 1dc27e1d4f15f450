"""What libsndfile does not read, through FFmpeg: M4A, MP4, MKV, WebM, WMA, AMR, unusual FLAC and more."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import av
import numpy as np

from vggish_core.audio import AudioError, AudioReader, NamelessFile, check_rate

OPEN_OPTIONS = {
    # A playlist may name other files and addresses: none of them is opened.
    "protocol_whitelist": "none",
}
DECODER_OPTIONS = {"flac": {"err_detect": "crccheck+explode"}}
"""FFmpeg's FLAC decoder looks at checksums only when told to."""
FULL_SCALE = {"u8": 2.0**7, "s16": 2.0**15, "s32": 2.0**31, "s64": 2.0**63}
"""Of integer samples. Fewer bits (12, 20, 24) come shifted to the left in the next larger type."""


class FFmpegReader(AudioReader):
    """The first audio stream of a file.

    Args:
      file, nameless: the file, and the same as the decoder sees it.
      owned: whether to close the file at the end.
      unrecognised: the reason to give where FFmpeg does not recognise the content either.

    Attributes:
      decoded: sample frames that FFmpeg has decoded, of which `position` have been read.
    """

    def __init__(self, file: BinaryIO, nameless: NamelessFile, owned: bool, unrecognised: str) -> None:
        file.seek(0)
        self._file = file
        self._nameless = nameless
        self._owned = owned
        self._waiting: deque[Sequence[np.ndarray]] = deque()
        """What was decoded and not yet read: of each of FFmpeg's frames an array a channel."""
        self.decoded = 0
        self._end = 0
        """Where the last of them ends on the stream's clock."""
        self._container = self._open_container(unrecognised)
        try:
            self._stream = self._choose_stream(unrecognised)
            container, codec = self._container.format.name, self._stream.codec_context.name
            self.format = f"{','.join(container.split(',')[:2])}/{codec}"
            self._check_whole()
            self.frames = self._promised()
            self.sample_rate_hz = self._stream.codec_context.sample_rate
            self.channels = self._stream.codec_context.channels
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
        stream.codec_context.thread_count = 1
        stream.codec_context.options = DECODER_OPTIONS.get(stream.codec_context.name, {})
        return stream

    def _promised(self) -> int | None:
        """Sample frames that the file states, where it is to be relied on."""
        rate = self._stream.codec_context.sample_rate
        if self._container.format.name in ("flac", "ogg") and self._stream.duration is not None:
            return round(self._stream.duration * self._stream.time_base * rate)
        return None

    def _check_whole(self) -> None:
        """Whether the index (MP4 and relatives) points past the end of the file."""
        entries = getattr(self._stream, "index_entries", None)
        if not self._container.format.name.startswith("mov") or not entries:
            return
        last = entries[len(entries) - 1]
        size = self._nameless.tell() + self._nameless.left()
        if last.pos + last.size > size:
            raise AudioError("truncated", f"{self.format}: {size} of at least {last.pos + last.size} bytes")

    def _decode(self) -> Iterator[Sequence[np.ndarray]]:
        """Decoded frames, each as float32 [n] a channel, n >= 1."""
        packets = self._container.demux(self._stream)
        try:
            for packet in packets:
                if packet.is_corrupt:
                    raise ValueError("damaged packet")
                for frame in packet.decode():
                    if frame.samples:
                        self._check_frame(frame)
                        self.decoded += frame.samples
                        yield _to_channels(frame)
        except (av.error.FFmpegError, ValueError) as error:
            self._nameless.check()
            reason = "truncated" if _is_last(packets) else "corrupt"
            raise AudioError(
                reason, f"{self.format}: {_describe(error)}, after {self.decoded} sample frames"
            ) from error
        self._nameless.check()
        if self.frames is not None and self._end < self.frames:
            raise AudioError("truncated", f"{self.format}: {self._end} of {self.frames} sample frames")

    def _check_frame(self, frame: Any) -> None:
        """A frame must follow the one before in time, and be of its rate and channels."""
        layout = (frame.sample_rate, frame.layout.nb_channels)
        if not self.decoded:
            self.sample_rate_hz, self.channels = layout
            tick = frame.time_base * self.sample_rate_hz
            self._tick = (tick.numerator, tick.denominator)
        elif layout != (self.sample_rate_hz, self.channels):
            raise ValueError(f"(rate, channels) change from {(self.sample_rate_hz, self.channels)} to {layout}")
        pts = frame.pts
        # FFmpeg does not know the time of a last FLAC frame that leaves the rate to the file's header.
        if self._lossless and pts is not None and pts != self._end:
            raise ValueError("frames are missing")
        above, below = self._tick
        start = self._end if pts is None else (2 * pts * above + below) // (2 * below)
        self._end = start + frame.samples

    def holds(self, frames: int) -> bool:
        """Whether at least so many sample frames follow."""
        left = sum(len(channels[0]) for channels in self._waiting)
        while left < frames and (channels := next(self._decoding, None)) is not None:
            self._waiting.append(channels)
            left += len(channels[0])
        return left >= frames

    def _read(self, frames: int) -> np.ndarray:
        block = np.empty((self.channels, frames), np.float32)
        filled = 0
        # Copied as they are decoded, while they are in the cache.
        while filled < frames and (channels := self._next()) is not None:
            taken = min(len(channels[0]), frames - filled)
            for of_block, of_frame in zip(block, channels, strict=True):
                of_block[filled : filled + taken] = of_frame[:taken]
            if taken < len(channels[0]):
                self._waiting.appendleft([channel[taken:] for channel in channels])
            filled += taken
        return block[:, :filled].T

    def _next(self) -> Sequence[np.ndarray] | None:
        """The next samples, float32 [n] a channel; None at the end."""
        return self._waiting.popleft() if self._waiting else next(self._decoding, None)

    def close(self) -> None:
        self._container.close()
        if self._owned:
            self._file.close()


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
    """What FFmpeg says, on one line."""
    return (getattr(error, "strerror", None) or str(error)).replace("\n", " ")
