"""A file being decoded: blocks of float32 or int16 samples [n, channels], gaps and faults as `AudioError`s."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from types import TracebackType

import numpy as np

from vggish_core import params
from vggish_core.audio.flac_frames import ContentSum
from vggish_core.audio.source import AudioError, GapError

BLOCK_FRAMES = 1 << 16
"""Sample frames of a block by default: what is made of a block stays in the processor's cache. Half as many, or twice,
cost 2 to 4 % more time from file to examples."""
MAX_BLOCK_SAMPLES = 1 << 20
"""Samples over all channels in a block at most: a file of 1,000 channels gets shorter blocks."""


class AudioReader(ABC):
    """A file being decoded; made by `open_audio`, to be closed or used in a `with` statement.

    Attributes:
      sample_rate_hz: 1,000 to 1,600,000.
      channels: 1 or more.
      format: container and codec, "WAV/PCM_16" or "mov,mp4/aac" say.
      frames: sample frames that the file promises; None where it does not say. Not to be relied on for lossy formats.
      integers: whether the samples are stored as integers, none of which is NaN or infinite.
      seekable_exactly: whether `seek` is quick, and decodes from there on the same bits as from the start.
      position: the next sample frame, on the container's clock: what is missing in the middle counts.
      lead: sample frames from the container's start to the sound's first, at position 0; 0 where they are hardly any.
      content_sum: what the samples' sum should be, where the file states it and it is to be looked at.
      close_gaps: whether `blocks` reads on where packets are missing or the sum differs, instead of raising.
      gap: the last one that was come across.
      wrong_sum: how the sum differs; "" if it does not, or not all has been read.
      missing: what the file's structure says is missing at its end; "" if nothing.
      unread: what the file holds behind its end; "" if nothing.
    """

    sample_rate_hz: int
    channels: int
    format: str
    frames: int | None
    integers = False
    seekable_exactly = False
    position = 0
    lead = 0
    content_sum: ContentSum | None = None
    close_gaps = False
    gap: GapError | None = None
    wrong_sum = ""
    missing = ""
    unread = ""

    @property
    def damage(self) -> str:
        """The damage that was skipped: reason and message; "" if there is none."""
        if self.wrong_sum:
            return f"corrupt: {self.format}: {self.wrong_sum}"
        return "" if self.gap is None else str(self.gap)

    def blocks(self, max_frames: int = BLOCK_FRAMES) -> Iterator[np.ndarray]:
        """Decode on -> blocks [n, channels], 1 <= n <= max_frames, up to the end of the audio.

        Blocks are float32 in [-1, 1], or, where the file's samples are, int16 that stand for 1 / 32768 each
        (`waveforms.mix_down` takes either).

        Raises:
          GapError: where packets are missing; the next call reads on behind.
          AudioError: corrupt or truncated; not_finite for NaN or infinite samples; no_samples where the whole file has
            none; unreadable where the storage fails.
        """
        step = max(1, min(max_frames, MAX_BLOCK_SAMPLES // self.channels))
        while len(block := self._read_past_gaps(step)):
            self._check_finite(block)
            if self.content_sum is not None:
                self.content_sum.take(block, self.position)
            self.position += len(block)
            self._check_sum()
            yield block
        if self.missing:
            decoded_s = self.position / self.sample_rate_hz
            raise AudioError("truncated", f"{self.format}: {self.missing}; {decoded_s:.3f} s of sound are there")
        if self.unread:
            raise AudioError("corrupt", f"{self.format}: {self.unread}")
        if self.position == 0:
            raise AudioError("no_samples", f"a {self.format} header without samples")

    def _read_past_gaps(self, frames: int) -> np.ndarray:
        while True:
            try:
                return self._read(frames)
            except GapError as gap:
                self.gap = gap
                if not self.close_gaps:
                    self.position = gap.stop
                    raise

    def _check_finite(self, block: np.ndarray) -> None:
        if self.integers:
            return
        # A sum of squares is finite only where its terms are, and cheaper than a test of each.
        flat = block.ravel(order="K")
        with np.errstate(invalid="ignore", over="ignore"):
            if np.isfinite(np.dot(flat, flat)):
                return
        bad = np.flatnonzero(~np.isfinite(block).all(axis=1))
        if len(bad):
            raise AudioError("not_finite", f"sample frame {self.position + bad[0]} is {block[bad[0]].tolist()}")

    def _check_sum(self) -> None:
        """Once all has been read; not behind the last block, which nobody may ask for."""
        if self.content_sum is not None and self.position == self.content_sum.samples:
            self.wrong_sum = self.content_sum.fault()
            if self.wrong_sum and not self.close_gaps:
                raise AudioError("corrupt", f"{self.format}: {self.wrong_sum}")

    def keep_clock(self) -> None:  # noqa: B027 - most do so anyway
        """Before the first block: count positions by the container's clock, which matters to parts of a file.

        Raises:
          AudioError: as `blocks`.
        """

    def seek(self, frame: int) -> None:
        """Go to a sample frame, or to the end if that comes before; or behind the gap that it lies in.

        Where `seekable_exactly` is False, what lies between is decoded.

        Raises:
          ValueError: a frame before `position` in a file that is not seekable exactly.
          AudioError: as `blocks`.
        """
        if frame < self.position:
            raise ValueError(f"seek to sample frame {frame}: {self.format} is read forwards, and at {self.position}")
        while self.position < frame:
            try:
                skipped = len(self._read(min(BLOCK_FRAMES, frame - self.position)))
            except GapError as gap:
                self.gap, self.position = gap, gap.stop
                continue
            if not skipped:
                return
            self.position += skipped

    @abstractmethod
    def _read(self, frames: int) -> np.ndarray:
        """Up to so many sample frames [n, channels], float32 or int16; n = 0 only at the end.

        Raises GapError once where packets are missing.
        """

    @abstractmethod
    def close(self) -> None:
        """Release the decoder, and the file if `open_audio` opened it."""

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def check_rate(sample_rate_hz: int) -> None:
    """Raise AudioError unsupported_rate outside 1 to 1,600 kHz."""
    if not params.MIN_SAMPLE_RATE <= sample_rate_hz <= params.MAX_SAMPLE_RATE:
        raise AudioError("unsupported_rate", f"{sample_rate_hz} Hz; 1,000 to 1,600,000 Hz can be read")
