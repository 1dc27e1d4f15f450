"""Waveform, file or stream -> log-mel examples float32 [k, 96, 64]: channels averaged, 16 kHz, log-mel, framed.

Example i is log-mel frames [i * hop, i * hop + 96) of the waveform. Its bits depend on the samples of the waveform
alone: not on the blocks they arrive in, nor on whether the stream started at the first sample or at the first one that
the example looks at (docs/design.md, "The absolute grid").
"""

from __future__ import annotations

import os
from typing import BinaryIO

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from vggish_core import params
from vggish_core.features import mel_features
from vggish_core.features.ratio import Ratio
from vggish_core.features.resampling import Resampler

BLOCK_FRAMES = 1 << 16
"""Sample frames that arrays are taken in at a time: larger costs memory, smaller costs calls."""


def num_examples(num_samples: int, rate_hz: int, hop_frames: int = params.EXAMPLE_HOP_FRAMES) -> int:
    """Examples in so many samples at `rate_hz`; a tail shorter than an example (0.975 s) gives none."""
    frames = mel_features.num_frames(Ratio(rate_hz).output_length(num_samples))
    return 0 if frames < params.NUM_FRAMES else 1 + (frames - params.NUM_FRAMES) // hop_frames


def input_range(
    rate_hz: int, hop_frames: int = params.EXAMPLE_HOP_FRAMES, first: int = 0, stop: int | None = None
) -> tuple[int, int | None]:
    """Input samples [start, end) at `rate_hz` that an `ExampleStream` needs for examples [first, stop).

    `start` is where the stream's first sample lies. `end` may lie past the waveform's: resampling looks ahead. It is
    None, for "to the end of the waveform", where `stop` is.
    """
    ratio = Ratio(rate_hz)
    start = ratio.input_start(_first_samples_block(ratio, hop_frames, first))
    if stop is None:
        return start, None
    if stop <= first:
        return start, start
    frames = (stop - 1) * hop_frames + params.NUM_FRAMES
    samples = (frames - 1) * params.STFT_HOP_SAMPLES + params.STFT_WINDOW_SAMPLES
    return start, ratio.input_stop(samples)


def _first_samples_block(ratio: Ratio, hop_frames: int, first_example: int) -> int:
    """The block of 16 kHz samples in which the block of frames begins that the example begins in."""
    frames_block = first_example * hop_frames // mel_features.FRAMES_PER_BLOCK
    return frames_block * mel_features.BLOCK_HOP_SAMPLES // ratio.block


class ExampleStream:
    """Samples in blocks of any size -> examples float32 [k, 96, 64]; memory is that of a block and a constant.

    Args:
      rate_hz: of the samples, 1,000 to 1,600,000.
      hop_frames: log-mel frames of 10 ms from one example's start to the next, 1 or more.
      first_example: index of the first example to give. The first sample pushed is then sample
        `input_range(rate_hz, hop_frames, first_example)[0]` of the waveform.
      examples: how many to give; None: all up to the waveform's end.

    Attributes:
      samples: how many samples (of each channel) were pushed.
      silent: True as long as all of them were zero.
    """

    def __init__(
        self,
        rate_hz: int,
        hop_frames: int = params.EXAMPLE_HOP_FRAMES,
        first_example: int = 0,
        examples: int | None = None,
    ) -> None:
        if hop_frames < 1 or first_example < 0 or (examples is not None and examples < 0):
            raise ValueError(
                f"hop_frames={hop_frames}, first_example={first_example}, examples={examples}: "
                "the hop must be 1 or more, the others 0 or more"
            )
        ratio = Ratio(rate_hz)
        block = _first_samples_block(ratio, hop_frames, first_example)
        first_frame = first_example * hop_frames
        frames_block = first_frame // mel_features.FRAMES_PER_BLOCK
        self.samples = 0
        self.silent = True
        self._hop = hop_frames
        self._first_example = first_example
        self._left = examples
        self._ratio = ratio
        self._resampler = Resampler(rate_hz, np.float64, first_block=block)
        self._log_mel = mel_features.LogMel()
        self._skip_samples = frames_block * mel_features.BLOCK_HOP_SAMPLES - block * ratio.block
        self._skip_frames = first_frame - frames_block * mel_features.FRAMES_PER_BLOCK
        self._frames = np.empty((0, params.NUM_BANDS), np.float32)

    @property
    def done(self) -> bool:
        """Whether all examples that were asked for have been given: what is pushed now is only counted."""
        return self._left == 0

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Samples [n] or [n, channels] -> the examples that they complete.

        Floating samples are in [-1, 1], integers are scaled (`waveforms.mix_down`).
        """
        self.samples += len(samples)
        if self.silent and samples.any():
            self.silent = False
        if self.done:
            return _no_examples()
        return self._frame(self._log_mel.push(self._from_first_frame(self._resampler.push(samples))))

    def finish(self, pad_short: bool = False) -> np.ndarray:
        """The waveform is complete -> the examples that are left.

        With `pad_short`, a waveform of at least one sample that is too short for an example gives one: zeros are added
        at its end, at 16 kHz.
        """
        if self.done:
            return _no_examples()
        frames = [self._log_mel.push(self._from_first_frame(self._resampler.finish()))]
        missing = params.EXAMPLE_SAMPLES - self._ratio.output_length(self.samples)
        if pad_short and self._first_example == 0 and self.samples and missing > 0:
            frames.append(self._log_mel.push(np.zeros(missing)))
        frames.append(self._log_mel.finish())
        return self._frame(np.concatenate(frames))

    def _from_first_frame(self, samples: np.ndarray) -> np.ndarray:
        skipped = min(self._skip_samples, len(samples))
        self._skip_samples -= skipped
        return samples[skipped:]

    def _frame(self, frames: np.ndarray) -> np.ndarray:
        """Frames [t, 64] that follow those kept -> the examples [k, 96, 64] in them; keeps what later ones need."""
        if len(self._frames):
            frames = np.concatenate([self._frames, frames])
        skipped = min(self._skip_frames, len(frames))
        frames = frames[skipped:]
        count = max(0, (len(frames) - params.NUM_FRAMES) // self._hop + 1)
        if self._left is not None:
            count = min(count, self._left)
            self._left -= count
        self._skip_frames += count * self._hop - skipped
        rest = min(self._skip_frames, len(frames))
        self._frames = frames[rest:].copy()
        self._skip_frames -= rest
        if not count:
            return _no_examples()
        if self._hop == params.NUM_FRAMES:
            return frames[: count * self._hop].reshape(count, params.NUM_FRAMES, params.NUM_BANDS)
        windows = sliding_window_view(frames, params.NUM_FRAMES, axis=0)[:: self._hop][:count]
        return np.ascontiguousarray(windows.transpose(0, 2, 1))


def _no_examples() -> np.ndarray:
    return np.empty((0, params.NUM_FRAMES, params.NUM_BANDS), np.float32)


def first_not_finite(examples: np.ndarray) -> tuple[int, int] | None:
    """Examples [k, 96, 64] -> index of the first example with a NaN or infinite value, and of its frame, if any.

    Finite samples can give one: the magnitudes of some 1e38 are beyond float32.
    """
    if np.isfinite(examples).all():
        return None
    example, frame = np.argwhere(~np.isfinite(examples).all(axis=2))[0]
    return int(example), int(frame)


def waveform_to_examples(data: np.ndarray, sample_rate: int, hop_frames: int = params.EXAMPLE_HOP_FRAMES) -> np.ndarray:
    """Samples [n] or [n, channels] at `sample_rate` Hz -> log-mel examples float32 [k, 96, 64].

    Floating samples are in [-1, 1]; integers are scaled by their type. Channels are averaged. Fewer than 0.975 s give
    k = 0.

    Raises:
      ValueError: another shape or type, a rate outside 1 to 1,600 kHz, samples that are NaN, infinite or so large that
        the log-mel is.
    """
    data = np.asarray(data)
    if data.ndim not in (1, 2):
        raise ValueError(f"samples of shape {data.shape}: they must be [n] or [n, channels]")
    stream = ExampleStream(int(sample_rate), hop_frames)
    blocks = [stream.push(data[i : i + BLOCK_FRAMES]) for i in range(0, len(data), BLOCK_FRAMES)]
    examples = np.concatenate([_no_examples(), *blocks, stream.finish()])
    if first_not_finite(examples) is not None:
        raise ValueError("the samples hold NaN, infinite or far too large values: repair or leave out the waveform")
    return examples


def wavfile_to_examples(
    wav_file: str | os.PathLike[str] | BinaryIO, hop_frames: int = params.EXAMPLE_HOP_FRAMES
) -> np.ndarray:
    """Audio file, by path or open in binary mode -> log-mel examples float32 [k, 96, 64].

    Any format that `audio.open_audio` reads, not only WAV. Fewer than 0.975 s give k = 0.

    Raises:
      audio.AudioError: the file cannot be decoded.
    """
    from vggish_core.audio import AudioError, open_audio

    with open_audio(wav_file) as reader:
        stream = ExampleStream(reader.sample_rate_hz, hop_frames)
        blocks = [stream.push(block) for block in reader.blocks()]
    examples = np.concatenate([_no_examples(), *blocks, stream.finish()])
    if (place := first_not_finite(examples)) is not None:
        raise AudioError("not_finite", not_finite_at(place, 0, hop_frames))
    return examples


def not_finite_at(place: tuple[int, int], first_example: int, hop_frames: int) -> str:
    """The result of `first_not_finite` in examples from `first_example` on -> one line for the user."""
    frame = (first_example + place[0]) * hop_frames + place[1]
    seconds = frame * params.STFT_HOP_LENGTH_SECONDS
    return f"the log-mel {seconds:.2f} s from the start is not finite: the samples there are far too large"
