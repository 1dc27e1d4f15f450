from __future__ import annotations

import tracemalloc
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import reference_front_end as reference
from tests import made_audio
from tests.reference_data import FOLDER, part
from vggish_core import params
from vggish_core.audio import AudioError
from vggish_core.features.examples import (
    ExampleStream,
    input_range,
    num_examples,
    waveform_to_examples,
    wavfile_to_examples,
)
from vggish_core.features.ratio import Ratio
from vggish_core.features.waveforms import mix_down

RATES = [8000, 16000, 22050, 28800, 44100, 48000]


def recording(rate_hz: int, seconds: float, channels: int = 1, dtype: type = np.float32) -> np.ndarray:
    """A tone under noise; different in each channel."""
    rng = np.random.default_rng(7)
    n = int(rate_hz * seconds)
    tone = np.sin(2 * np.pi * 440 / rate_hz * np.arange(n))[:, np.newaxis] * np.linspace(0.1, 0.6, channels)
    samples = tone + 0.1 * rng.uniform(-1, 1, (n, channels))
    if np.issubdtype(dtype, np.integer):
        info = np.iinfo(dtype)
        middle = (info.max + info.min + 1) // 2
        return (np.round(samples * (info.max - middle)) + middle).astype(dtype)
    return samples.astype(dtype)


def streamed(stream: ExampleStream, samples: np.ndarray, sizes: list[int], pad_short: bool = False) -> np.ndarray:
    examples, start, i = [], 0, 0
    while start < len(samples):
        block = samples[start : start + sizes[i % len(sizes)]].copy()
        examples.append(stream.push(block))
        start += len(block)
        block[:] = 1  # a caller may reuse its array
        i += 1
    return np.concatenate([*examples, stream.finish(pad_short)])


def chirp(rate_hz: int) -> np.ndarray:
    t = np.arange(2 * rate_hz) / rate_hz
    return 0.5 * np.sin(2 * np.pi * (60 * t + 1500 * t * t))


def smoke_test_signal() -> np.ndarray:
    return np.sin(2 * np.pi * 1000 * np.arange(0, 3, 1 / 16000))


GOLDEN = 3e-5
"""How far features of files may be from those of float64: what float32 samples make of quiet frames."""


def test_golden_features_of_real_files_and_chirps():
    """Figures computed once and kept: ours are near them, and so is the reference that other tests compare with."""
    golden = part("golden")
    for name, expected in np.load(golden / "log_mel_examples.npz").items():
        ours = wavfile_to_examples(FOLDER / name)
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours[: len(expected)], expected, rtol=0, atol=GOLDEN, err_msg=name)
        theirs = reference.file_to_examples(FOLDER / name)[: len(expected)]
        np.testing.assert_allclose(theirs, expected, rtol=0, atol=3e-7, err_msg=name)
    for rate, expected in np.load(golden / "chirp_examples.npz").items():
        samples, rate_hz = chirp(int(rate)), int(rate)
        np.testing.assert_allclose(waveform_to_examples(samples, rate_hz), expected, rtol=0, atol=1e-6, err_msg=rate)
        theirs = reference.waveform_to_examples(samples, rate_hz)
        np.testing.assert_allclose(theirs, expected, rtol=0, atol=3e-7, err_msg=rate)
    expected = np.load(part("smoke_test") / "log_mel_examples.npy")
    np.testing.assert_allclose(waveform_to_examples(smoke_test_signal(), 16000), expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(reference.waveform_to_examples(smoke_test_signal(), 16000), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("made", made_audio.FILES, ids=lambda made: made.name)
def test_features_of_every_format_that_can_be_made(made_formats: Path, made: made_audio.Made):
    """Against the reference's features of what another decoding gives."""
    ours = wavfile_to_examples(made_formats / made.name)
    expected = reference.waveform_to_examples(*made_audio.decoded(made_formats / made.name))
    assert (ours.dtype, ours.shape) == (np.float32, expected.shape)
    assert len(ours) == 2
    np.testing.assert_allclose(ours, expected, rtol=0, atol=GOLDEN)


@pytest.mark.parametrize("rate_hz", [8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000, 96000, 192000])
def test_features_of_chirps(rate_hz: int):
    samples = chirp(rate_hz)
    ours = waveform_to_examples(samples, rate_hz)
    np.testing.assert_allclose(ours, reference.waveform_to_examples(samples, rate_hz), rtol=0, atol=1e-6)


def test_features_of_the_smoke_test_signal():
    ours = waveform_to_examples(smoke_test_signal(), 16000)
    np.testing.assert_allclose(ours, reference.waveform_to_examples(smoke_test_signal(), 16000), rtol=0, atol=1e-6)


# The reference itself is checked where there is nothing to compare with but arithmetic.


def test_the_references_bands_of_a_pure_tone():
    """A cosine on bin 32 of 257 (1 kHz), whole periods in a window: its magnitudes are those of the window's transform,
    a quarter, a half and a quarter of the amplitude's N / 2 at the bins of a 400-point transform."""
    tone = 0.8 * np.cos(2 * np.pi * 1000 / 16000 * np.arange(16000))
    found = np.exp(reference.log_mel(tone)) - 0.01
    window = 0.5 - 0.5 * np.cos(2 * np.pi / 400 * np.arange(400))
    bins = np.arange(257)[:, np.newaxis] / 512 - 1000 / 16000
    positive = np.abs((window * np.exp(-2j * np.pi * bins * np.arange(400))).sum(axis=1)) * 0.8 / 2
    mels = 1127 * np.log(1 + np.arange(257) * 16000 / 512 / 700)
    edges = np.linspace(1127 * np.log(1 + 125 / 700), 1127 * np.log(1 + 7500 / 700), 66)
    triangles = np.stack([np.interp(mels, edges[b : b + 3], [0, 1, 0]) for b in range(64)], axis=1)
    np.testing.assert_allclose(found[10], positive @ triangles, rtol=0, atol=0.01)
    assert found.max() > 50


@pytest.mark.parametrize("rate_hz", [*RATES, 11025, 96000, 44099])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_the_references_features(rate_hz: int, channels: int):
    samples = recording(rate_hz, 2.1, channels)
    ours = waveform_to_examples(samples, rate_hz)
    assert ours.shape == (2, 96, 64)
    np.testing.assert_allclose(ours, reference.waveform_to_examples(samples, rate_hz), rtol=0, atol=2e-6)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.int8, np.uint8, np.uint16, np.float64, np.float16])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_sample_formats(dtype: type, channels: int):
    samples = recording(16000, 1.0, channels, dtype)
    scaled = samples.astype(np.float64)
    if np.issubdtype(dtype, np.integer):
        info = np.iinfo(dtype)
        half = (float(info.max) - info.min + 1) / 2
        scaled = (scaled - (half if info.min == 0 else 0.0)) / half
    mono = np.empty(len(samples))
    mix_down(samples, mono)
    np.testing.assert_allclose(mono, scaled.mean(axis=1), rtol=0, atol=1e-15)
    ours = waveform_to_examples(samples, 16000)
    np.testing.assert_allclose(ours, reference.waveform_to_examples(scaled, 16000), rtol=0, atol=2e-6)


def test_two_integer_channels_do_not_overflow():
    loud = np.full((4, 2), 32767, np.int16)
    mono = np.empty(4)
    mix_down(loud, mono)
    np.testing.assert_array_equal(mono, 32767 / 32768)


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("layout", ["contiguous", "every other", "columns"])
def test_integers_give_the_bits_of_the_same_floats(channels: int, layout: str):
    edges = np.array([-32768, -32767, -1, 0, 1, 32766, 32767])
    rows = np.stack(np.meshgrid(*[edges] * channels), axis=-1).reshape(-1, channels).astype(np.int16)
    rows = {"contiguous": rows, "every other": rows.repeat(2, axis=0)[::2], "columns": np.asfortranarray(rows)}[layout]
    mono, expected = np.empty(len(rows)), np.empty(len(rows))
    mix_down(rows, mono)
    mix_down(rows * np.float32(1 / 32768), expected)
    np.testing.assert_array_equal(mono, expected)


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        (np.zeros((2, 2, 2)), "shape"),
        (np.zeros(()), "shape"),
        (np.zeros((5, 0)), "shape"),
        (np.zeros(9, complex), "type"),
        (np.zeros(9, bool), "type"),
        (np.full(16000, np.nan), "NaN"),
    ],
)
def test_unusable_waveforms_are_refused(samples: np.ndarray, said: str):
    with pytest.raises(ValueError, match=said):
        waveform_to_examples(samples, 16000)


@pytest.mark.parametrize("rate_hz", [100, 2_000_000])
def test_unsupported_rates_are_refused(rate_hz: int):
    with pytest.raises(ValueError, match="sample rate"):
        waveform_to_examples(np.zeros(100_000), rate_hz)


@pytest.mark.parametrize("hop", [0, -1])
def test_unusable_hops_are_refused(hop: int):
    with pytest.raises(ValueError, match="hop"):
        ExampleStream(16000, hop)


@pytest.mark.parametrize("rate_hz", RATES)
@pytest.mark.parametrize("hop", [1, 48, 96, 100, 250])
def test_number_of_examples(rate_hz: int, hop: int):
    threshold = next(n for n in range(int(0.97 * rate_hz), rate_hz) if Ratio(rate_hz).output_length(n) >= 15600)
    for length in (0, 1, threshold - 1, threshold, threshold + 1, int(4.7 * rate_hz)):
        examples = waveform_to_examples(recording(rate_hz, 4.7)[:length], rate_hz, hop)
        assert len(examples) == num_examples(length, rate_hz, hop)
        assert (len(examples) > 0) == (length >= threshold)


def test_released_record_lengths():
    # The layout of the released records: floor((100 * duration - 2) / 96) examples.
    for seconds in range(1, 21):
        assert num_examples(44100 * seconds, 44100) == (100 * seconds - 2) // 96


def test_hops_are_slices_of_the_same_frames():
    samples = recording(22050, 5.3)
    every_frame = waveform_to_examples(samples, 22050, 1)
    for hop in (7, 96, 100, 250):
        np.testing.assert_array_equal(waveform_to_examples(samples, 22050, hop), every_frame[::hop])


@settings(max_examples=30, deadline=None)
@given(
    rate_hz=st.sampled_from(RATES),
    channels=st.sampled_from([1, 2, 5]),
    dtype=st.sampled_from([np.float32, np.float64, np.int16]),
    seconds=st.floats(0.0, 4.0),
    hop=st.sampled_from([10, 96, 100, 131]),
    sizes=st.lists(st.integers(1, 100_000), min_size=1, max_size=4),
    cuts=st.lists(st.integers(0, 40), max_size=2),
)
def test_neither_blocks_nor_segments_change_a_bit(
    rate_hz: int, channels: int, dtype: type, seconds: float, hop: int, sizes: list[int], cuts: list[int]
):
    samples = recording(rate_hz, seconds, channels, dtype)
    sizes = [max(size, 1 + len(samples) // 200) for size in sizes]
    whole = waveform_to_examples(samples, rate_hz, hop)
    assert len(whole) == num_examples(len(samples), rate_hz, hop)
    np.testing.assert_array_equal(streamed(ExampleStream(rate_hz, hop), samples, sizes), whole)
    bounds = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    for first, stop in pairwise(bounds):
        start, end = input_range(rate_hz, hop, first, stop)
        assert end is not None
        stream = ExampleStream(rate_hz, hop, first, stop - first)
        part = streamed(stream, samples[start:end], sizes)
        np.testing.assert_array_equal(part, whole[first:stop])
        # A reader that goes on past the segment's end changes nothing, nor does the waveform's end.
        stream = ExampleStream(rate_hz, hop, first, stop - first)
        np.testing.assert_array_equal(streamed(stream, samples[start:], sizes), whole[first:stop])
        assert stream.done
        start, end = input_range(rate_hz, hop, first)
        assert end is None
        np.testing.assert_array_equal(
            streamed(ExampleStream(rate_hz, hop, first), samples[start:], sizes), whole[first:]
        )


def test_segments_late_in_a_recording():
    # Two minutes, so that the input starts of segments lie on many blocks.
    samples = recording(11025, 120.0)
    whole = waveform_to_examples(samples, 11025)
    for first in (1, 17, 18, 63, 110, 124):
        start, end = input_range(11025, 96, first, first + 1)
        assert 0 < start < end <= len(samples) + 11025 // 10
        assert end - start < 4 * 11025
        part = streamed(ExampleStream(11025, 96, first), samples[start:end], [4096])
        np.testing.assert_array_equal(part[:1], whole[first : first + 1])


def test_single_samples_do_not_change_a_bit():
    samples = recording(22050, 1.0, 2)
    np.testing.assert_array_equal(streamed(ExampleStream(22050), samples, [1]), waveform_to_examples(samples, 22050))


@pytest.mark.parametrize("rate_hz", [16000, 44100])
@pytest.mark.parametrize("length", [1, 1000, 15599])
def test_short_waveforms_are_padded_to_one_example(rate_hz: int, length: int):
    samples = recording(rate_hz, 1.0)[:length]
    padded = streamed(ExampleStream(rate_hz), samples, [700], pad_short=True)
    assert padded.shape == (1, 96, 64)
    at_16_khz = np.zeros(params.EXAMPLE_SAMPLES)
    if Ratio(rate_hz).output_length(length):
        resampled = reference.resample(samples[:, 0].astype(np.float64), rate_hz)
        at_16_khz[: len(resampled)] = resampled
    np.testing.assert_allclose(padded, reference.waveform_to_examples(at_16_khz, 16000), rtol=0, atol=2e-6)


def test_only_what_is_short_is_padded():
    assert len(ExampleStream(44100).finish(pad_short=True)) == 0
    exact = recording(16000, 0.975)
    whole = streamed(ExampleStream(16000), exact, [9999], pad_short=True)
    np.testing.assert_array_equal(whole, waveform_to_examples(exact, 16000))
    assert len(whole) == 1
    longer = recording(16000, 1.9)
    assert len(streamed(ExampleStream(16000), longer, [9999], pad_short=True)) == 1


def test_silence_is_noticed():
    stream = ExampleStream(44100)
    stream.push(np.zeros((50_000, 2), np.float32))
    assert stream.silent
    assert stream.samples == 50_000
    quiet = np.zeros((10, 2), np.float32)
    quiet[3, 1] = 1e-9
    stream.push(quiet)
    assert not stream.silent
    assert stream.samples == 50_010


def test_memory_does_not_grow_with_the_length():
    def peak(blocks: int) -> int:
        block = np.zeros((48000, 2), np.float32)
        tracemalloc.start()
        stream = ExampleStream(48000)
        for _ in range(blocks):
            stream.push(block)
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    peak(1)  # fills the caches
    assert peak(100) < peak(30) * 1.05


def test_files(tmp_path: Path):
    samples = recording(44100, 2.5, 2, np.int16)
    path = tmp_path / "a name.without extension"
    soundfile.write(path, samples, 44100, format="WAV", subtype="PCM_16")
    examples = wavfile_to_examples(path)
    np.testing.assert_array_equal(examples, waveform_to_examples(samples, 44100))
    with path.open("rb") as file:
        np.testing.assert_array_equal(wavfile_to_examples(file), examples)
        assert not file.closed
    np.testing.assert_array_equal(wavfile_to_examples(str(path), 50), waveform_to_examples(samples, 44100, 50))
    with pytest.raises(AudioError, match="missing"):
        wavfile_to_examples(tmp_path / "nothing")
