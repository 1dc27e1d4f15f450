"""Readings of real files: which examples and outcomes each segment has, against the whole waveform in memory."""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import subprocess
import sys
import tempfile
import unicodedata
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.corpus.plan import examples_in
from pipeline.decoding import decode, opening, protocol
from pipeline.decoding.segment_decoder import Examples
from pipeline.settings import FrontEnd
from pipeline.storage import seekable
from pipeline.types import Clip, DecodeRequest, Segment
from tests import made_audio
from vggish_core.audio import AudioError
from vggish_core.features.examples import num_examples, waveform_to_examples, wavfile_to_examples
from vggish_core.subprocesses import PACKAGES

RATE = 16000
SECONDS = 9.0


@pytest.fixture(scope="session")
def noise() -> np.ndarray:
    """float32 [n, 2]: what 16 bits can hold, so that lossless formats give it back exactly."""
    rng = np.random.default_rng(4)
    return (rng.integers(-9000, 9000, (round(SECONDS * 44100), 2)) / 32768).astype(np.float32)


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory, noise: np.ndarray) -> dict[str, Path]:
    """The noise in several formats; two of them seek exactly."""
    folder = tmp_path_factory.mktemp("files")
    result = {}
    for name, subtype in (("noise.wav", "PCM_16"), ("noise.flac", "PCM_16"), ("noise.ogg", "VORBIS")):
        result[name] = folder / name
        with soundfile.SoundFile(folder / name, "w", 44100, 2, subtype) as file:
            for start in range(0, len(noise), 4096):  # Vorbis crashes on one long write
                file.write(noise[start : start + 4096])
    return result


@dataclass
class Result:
    """The outcome of a segment."""

    outcome: protocol.Ended | protocol.Failed | None = None
    examples: np.ndarray = field(default_factory=lambda: np.empty((0, 96, 64), np.float32))
    started: bool = False


def read(uri: str | Path, segments: Iterable[Segment | Clip], front_end: FrontEnd | None = None) -> list[Result]:
    """Read; checks that blocks are small, in order, between start and end, and that endings add up."""
    segments = [Segment(s) if isinstance(s, Clip) else s for s in segments]
    results = [Result() for _ in segments]
    for item in decode.read(DecodeRequest(str(uri), tuple(segments)), front_end or FrontEnd(), lambda: None):
        result = results[item.segment]
        assert result.outcome is None
        if isinstance(item, protocol.Started):
            assert not result.started
            result.started = True
        elif isinstance(item, Examples):
            assert result.started
            assert 1 <= len(item.examples) <= 64
            assert item.first_example == segments[item.segment].first_example + len(result.examples)
            result.examples = np.concatenate([result.examples, item.examples])
        else:
            result.outcome = item
    for result in results:
        assert result.outcome is not None
        if isinstance(result.outcome, protocol.Ended):
            assert result.outcome.examples == len(result.examples)
    return results


def write(path: Path, samples: np.ndarray, rate: int = RATE, subtype: str = "FLOAT") -> Path:
    soundfile.write(path, samples, rate, subtype)
    return path


def ended(result: Result) -> protocol.Ended:
    assert isinstance(result.outcome, protocol.Ended), result.outcome
    return result.outcome


def failed(result: Result) -> protocol.Failed:
    assert isinstance(result.outcome, protocol.Failed), result.outcome
    return result.outcome


def whole(path: Path) -> np.ndarray:
    return soundfile.read(path, dtype="float32", always_2d=True)[0]


@pytest.mark.parametrize("hop_seconds", [0.96, 1.0, 0.24])
@pytest.mark.parametrize("name", ["noise.wav", "noise.flac", "noise.ogg"])
def test_a_file_gives_the_examples_of_its_waveform(files: dict[str, Path], name: str, hop_seconds: float) -> None:
    (result,) = read(files[name], [Clip("a", name)], FrontEnd(hop_seconds=hop_seconds))
    expected = waveform_to_examples(whole(files[name]), 44100, round(hop_seconds * 100))
    assert np.array_equal(result.examples, expected)
    ending = ended(result)
    assert (ending.sample_rate_hz, ending.channels, ending.silent) == (44100, 2, False)
    assert ending.audio_s == pytest.approx(SECONDS)
    assert ending.format


CUTS = [(0.0, 1.5), (1.25, 4.0), (2.0, 4.0), (4.0, 5.123), (5.123, 7.0), (6.0, 8.97), (8.0, None)]


@pytest.mark.parametrize("name", ["noise.wav", "noise.flac", "noise.ogg"])
def test_clips_cut_from_a_recording_are_waveforms_of_their_own(files: dict[str, Path], name: str) -> None:
    """In one pass: overlapping, adjacent and apart."""
    clips = [Clip(f"{start}", name, start, end, cut=True) for start, end in CUTS]
    samples = whole(files[name])
    for clip, result in zip(clips, read(files[name], clips), strict=True):
        stop = len(samples) if clip.end_s is None else round(clip.end_s * 44100)
        piece = samples[round(clip.start_s * 44100) : stop]
        expected = waveform_to_examples(piece, 44100)
        if clip.end_s is not None:
            expected = expected[: examples_in(clip.end_s - clip.start_s, 96)]
        assert np.array_equal(result.examples, expected)
        assert ended(result).audio_s == len(piece) / 44100


@pytest.mark.parametrize("name", ["noise.wav", "noise.flac", "noise.ogg"])
@settings(max_examples=4, deadline=None)
@given(
    splits=st.sets(st.integers(1, 35), max_size=4),
    hop=st.sampled_from([24, 96, 130]),
    start_s=st.sampled_from([0.0, 0.77]),
)
def test_segments_of_a_clip_are_its_examples_bit_for_bit(
    files: dict[str, Path], name: str, splits: set[int], hop: int, start_s: float
) -> None:
    clip = Clip("a", name, start_s, cut=start_s > 0)
    (result,) = read(files[name], [clip], FrontEnd(hop_seconds=hop / 100))
    edges = [0, *sorted(split for split in splits if split < len(result.examples))]
    segments = [
        Segment(clip, i, len(edges), first, None if i == len(edges) - 1 else edges[i + 1] - first)
        for i, first in enumerate(edges)
    ]
    together = read(files[name], segments, FrontEnd(hop_seconds=hop / 100))
    alone = [read(files[name], [segment], FrontEnd(hop_seconds=hop / 100))[0] for segment in segments]
    for parts in (together, alone):
        assert np.array_equal(np.concatenate([part.examples for part in parts]), result.examples)
        assert sum(ended(part).audio_s for part in parts) == pytest.approx(ended(result).audio_s, abs=1e-9)


@given(
    hundredths=st.integers(0, 4000), hop=st.sampled_from([1, 24, 96, 100]), rate=st.sampled_from([8000, 16000, 44100])
)
@settings(max_examples=50, deadline=None)
def test_a_promise_is_what_so_much_audio_gives(hundredths: int, hop: int, rate: int) -> None:
    duration = hundredths / 100
    assert examples_in(duration, hop) == num_examples(round(duration * rate), rate, hop)
    if hop == 96:
        assert examples_in(duration, hop) == max(0, (hundredths - 2) // 96)


def test_a_clip_past_its_file_s_end_fails_and_its_neighbours_do_not(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", np.full(5 * RATE, 0.1))
    spans = [(0.0, 2.0), (3.0, 6.0), (4.0, 5.0), (7.0, 9.0), (7.5, None)]
    results = read(path, [Clip(str(i), "a", start, end, cut=True) for i, (start, end) in enumerate(spans)])
    assert [type(result.outcome).__name__ for result in results] == ["Ended", "Failed", "Ended", "Failed", "Failed"]
    assert [failed(results[i]).reason for i in (1, 3, 4)] == ["past_end"] * 3
    assert failed(results[1]).message == "the clip ends at 6 s, its file at 5 s"
    assert failed(results[4]).message == "the clip starts at 7.5 s, its file ends at 5 s"


def test_a_few_missing_samples_that_no_example_needs_are_no_fault(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", np.full(5 * RATE - 300, 0.1))
    (result,) = read(path, [Clip("a", "a", 1.0, 5.0, cut=True)])
    assert ended(result).examples == 4
    assert ended(result).audio_s == 4 - 300 / RATE


def test_a_file_that_is_the_stretch_is_cut_off_at_its_duration(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, 5 * RATE).astype(np.float32)
    path = write(tmp_path / "a.wav", samples)
    (result,) = read(path, [Clip("a", "a", 30.0, 33.0)])
    assert np.array_equal(result.examples, waveform_to_examples(samples[: 3 * RATE], RATE))
    assert ended(result).audio_s == 3.0
    (result,) = read(path, [Clip("a", "a", 30.0, 40.0)])
    assert failed(result) == protocol.Failed(0, "past_end", "the clip should last 10 s, its file holds 5 s")


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("skip", ("too_short", True)), ("fail", ("too_short", False)), ("pad", None)],
)
@pytest.mark.parametrize("times", [(0.0, None), (0.0, 0.5), (1.0, 1.5)])
def test_short_clips_follow_the_policy(
    tmp_path: Path, policy: str, expected: tuple[str, bool] | None, times: tuple[float, float | None]
) -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, (3 if times[0] else 1) * RATE // 2).astype(np.float32)
    path = write(tmp_path / "a.wav", samples)
    front_end = FrontEnd(short_clips=policy)  # type: ignore[arg-type]
    (result,) = read(path, [Clip("a", "a", *times, cut=times[1] is not None)], front_end)
    if expected:
        assert (failed(result).reason, failed(result).skipped) == expected
        assert failed(result).message == "the clip lasts 0.5 s, an example needs 0.975 s"
    else:
        padded = np.concatenate([samples[round(times[0] * RATE) :], np.zeros(RATE, np.float32)])[: round(0.975 * RATE)]
        assert np.array_equal(result.examples, waveform_to_examples(padded, RATE))
        assert ended(result).audio_s == 0.5


def test_padding_does_not_hide_missing_audio(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", np.full(round(1.2 * RATE), 0.1))
    (result,) = read(path, [Clip("a", "a", 1.0, 1.5, cut=True)], FrontEnd(short_clips="pad"))
    assert failed(result).reason == "past_end"


def test_too_long_clips_fail_by_their_times_or_their_header_or_where_the_limit_is_passed(
    tmp_path: Path, files: dict[str, Path]
) -> None:
    limit = FrontEnd(max_duration_seconds=4.0)
    for name in ("noise.wav", "noise.ogg"):
        times = [(0.0, 3.0), (0.0, None), (1.0, 6.0), (5.0, 9.0)]
        clips = [Clip(str(i), name, start, end, cut=end is not None) for i, (start, end) in enumerate(times)]
        results = read(files[name], clips, limit)
        assert [type(result.outcome).__name__ for result in results] == ["Ended", "Failed", "Failed", "Ended"]
        assert [failed(results[i]).reason for i in (1, 2)] == ["too_long"] * 2
        assert "above the limit of 4 s" in failed(results[1]).message
        if name == "noise.wav":
            assert len(results[1].examples) == 0  # nothing was decoded for it


def test_silence_is_embedded_and_said(tmp_path: Path) -> None:
    samples = np.zeros(6 * RATE, np.float32)
    samples[-1] = 1e-3
    path = write(tmp_path / "a.wav", samples)
    first, second = read(path, [Clip("a", "a", 0.0, 3.0, cut=True), Clip("b", "a", 3.0, 6.0, cut=True)])
    assert (ended(first).silent, ended(second).silent) == (True, False)
    assert len(first.examples) == 3


def test_damage_costs_the_clips_that_it_is_in(tmp_path: Path) -> None:
    samples = np.full(10 * RATE, 0.1, np.float32)
    samples[5 * RATE + 7] = np.nan
    path = write(tmp_path / "a.wav", samples)
    spans = [(0.0, 3.0), (2.0, 6.0), (4.0, 5.0), (5.0, 7.0), (5.5, 9.0), (8.0, 10.0)]
    results = read(path, [Clip(str(i), "a", *span, cut=True) for i, span in enumerate(spans)])
    reasons = [result.outcome.reason if isinstance(result.outcome, protocol.Failed) else "" for result in results]
    assert reasons == ["", "not_finite", "", "not_finite", "", ""]


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "missing"), (b"", "empty"), (b"no audio at all, only words\n" * 40, "not_audio")],
)
def test_files_that_cannot_be_opened_fail_all_their_segments(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    path = tmp_path / "a.wav"
    if content is not None:
        path.write_bytes(content)
    results = read(path, [Clip("a", "a", 0.0, 2.0, cut=True), Clip("b", "a", 5.0, 7.0, cut=True)])
    assert [failed(result).reason for result in results] == [reason] * 2


def test_a_file_without_samples_says_so(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", np.zeros(0))
    assert failed(read(path, [Clip("a", "a")])[0]).reason == "no_samples"


@pytest.mark.parametrize("missing", ["caf\u00e9.wav", "bl\u00e5/noise.wav"])
def test_a_missing_file_s_look_alike_is_named(files: dict[str, Path], tmp_path: Path, missing: str) -> None:
    there = unicodedata.normalize("NFD", missing)
    (tmp_path / there).parent.mkdir(exist_ok=True)
    (tmp_path / there).write_bytes(files["noise.wav"].read_bytes())
    message = failed(read(tmp_path / missing, [Clip("a", "a")])[0]).message
    assert message.startswith("no such file; ")
    assert str(tmp_path / there.partition("/")[0]) in message
    assert failed(read(tmp_path / "other é.wav", [Clip("a", "a")])[0]).message == "no such file"


def test_a_directory_is_unreadable(tmp_path: Path) -> None:
    assert failed(read(tmp_path, [Clip("a", "a")])[0]).reason == "unreadable"


def test_a_flac_file_whose_header_misleads_seeking_is_read_on(files: dict[str, Path], tmp_path: Path) -> None:
    """The header says another size of blocks than there are: places cannot be computed from numbers of blocks."""
    data = bytearray(files["noise.flac"].read_bytes())
    assert data[8:12] == b"\x10\x00\x10\x00"
    data[8:12] = b"\x08\x00\x08\x00"
    path = tmp_path / "noise.flac"
    path.write_bytes(data)
    assert decode.probe(str(path), lambda: None) is None
    clips = [Clip("a", "a", 1.0, 3.0, cut=True), Clip("b", "a", 6.0, 8.0, cut=True)]
    for result, sound in zip(read(path, clips), read(files["noise.flac"], clips), strict=True):
        assert np.array_equal(result.examples, sound.examples)
        assert ended(result) == ended(sound)


WRAPPERS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "deflate": zlib.compress}


@pytest.mark.parametrize("extension", WRAPPERS)
def test_compressed_wrappers_give_their_content(files: dict[str, Path], tmp_path: Path, extension: str) -> None:
    packed = WRAPPERS[extension](files["noise.wav"].read_bytes())
    path = tmp_path / f"noise.wav.{extension}"
    path.write_bytes(packed)
    clips = [Clip("a", "a", 1.0, 3.0, cut=True), Clip("b", "a", 6.0, 8.0, cut=True)]
    expected = read(files["noise.wav"], clips)
    for result, plain in zip(read(path, clips), expected, strict=True):
        assert np.array_equal(result.examples, plain.examples)
    path.write_bytes(packed[: len(packed) // 2])
    assert failed(read(path, clips)[0]).reason == "truncated"
    path.write_bytes(packed[:100] + bytes(100) + packed[200:])
    assert failed(read(path, clips)[0]).reason == "corrupt"


def test_samples_too_large_for_the_features_fail_their_own_segment(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, 12 * RATE)
    samples[round(3.5 * RATE)] = 1e38  # a finite number
    path = write(tmp_path / "a.wav", samples, subtype="FLOAT")
    clips = [Clip("a", "a", start, start + 3, cut=True) for start in (0.0, 2.0, 6.0, 3.0)]
    before, within, behind, also_within = read(path, clips)
    assert (ended(before).examples, ended(behind).examples) == (3, 3)
    for result, place in ((within, 1.5), (also_within, 0.5)):
        assert failed(result).reason == "not_finite"
        at_s = float(failed(result).message.split(" s from the start")[0].split()[-1])
        assert place - 0.03 < at_s <= place
    with pytest.raises(AudioError, match=r"not_finite: the log-mel 3\.4\d s from the start"):
        wavfile_to_examples(path)
    samples[round(3.5 * RATE)] = 1e36
    assert ended(read(write(tmp_path / "b.wav", samples, subtype="FLOAT"), [Clip("b", "b")])[0]).examples == 12


def test_without_a_folder_for_temporary_files_nothing_is_lost(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where its disk is full, Python finds no such folder, and says that a file is missing."""

    def none_usable() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none_usable)
    monkeypatch.setattr(seekable, "IN_MEMORY_BYTES", 1 << 18)
    (tmp_path / "a.wav.gz").write_bytes(gzip.compress(files["noise.wav"].read_bytes(), 1))
    (packed,), (plain,) = read(tmp_path / "a.wav.gz", [Clip("a", "a")]), read(files["noise.wav"], [Clip("a", "a")])
    assert ended(packed) == ended(plain)
    assert np.array_equal(packed.examples, plain.examples)


@pytest.mark.parametrize(("limit_s", "unpacked_s"), [(20.0, 700), (None, 1200)])
def test_a_packed_recording_is_unpacked_as_far_as_it_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit_s: float | None, unpacked_s: int
) -> None:
    monkeypatch.setattr(seekable, "IN_MEMORY_BYTES", 4 << 20)
    plain = write(tmp_path / "a.wav", np.zeros(1200 * RATE), subtype="PCM_16")
    (tmp_path / "a.wav.gz").write_bytes(gzip.compress(plain.read_bytes(), 1))
    sizes = []
    check = opening._Bound.check
    monkeypatch.setattr(opening._Bound, "check", lambda *of: (sizes.append(of[1]), check(*of)))
    (result,) = read(tmp_path / "a.wav.gz", [Clip("a", "a")], FrontEnd(max_duration_seconds=limit_s))
    assert sizes[-1] <= unpacked_s * 2 * RATE + 44
    if limit_s is None:
        assert ended(result).examples == 1249
    else:
        assert failed(result).reason == "too_long"
        (cut,) = read(
            tmp_path / "a.wav.gz", [Clip("a", "a", 1100.0, 1110.0, cut=True)], FrontEnd(max_duration_seconds=limit_s)
        )
        assert ended(cut).examples == 10


KEEP = FrontEnd(damaged="keep")


def test_a_file_whose_end_is_missing_fails_what_would_need_it(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, 8 * RATE).astype(np.float32)
    path = write(tmp_path / "a.wav", samples, subtype="PCM_16")
    path.write_bytes(path.read_bytes()[: 44 + 5 * RATE * 2])
    clips = [Clip("a", "a", start, start + 2, cut=True) for start in (0.0, 2.9, 4.0, 6.0)]
    for clip, result in zip(clips, read(path, clips), strict=True):
        if clip.start_s < 3:
            assert ended(result).examples == 2
        else:
            assert failed(result).reason == "truncated"
            assert "160000 of 256000 bytes" in failed(result).message
    clip = Clip("a", "a")
    assert failed(read(path, [clip])[0]).reason == "truncated"
    (kept,) = read(path, [clip], KEEP)
    assert ended(kept).audio_s == 5.0
    assert ended(kept).damaged.startswith("truncated: WAV/PCM_16: 160000 of 256000 bytes")
    # As planned from the header: the last two segments find little and nothing.
    segments = [Segment(clip, i, 3, 3 * i, 3 if i < 2 else None) for i in range(3)]
    parts = read(path, segments, KEEP)
    assert [ended(part).examples for part in parts] == [3, 2, 0]
    assert [bool(ended(part).damaged) for part in parts] == [False, True, True]
    assert np.array_equal(np.concatenate([part.examples for part in parts]), kept.examples)
    assert sum(ended(part).audio_s for part in parts) == pytest.approx(5.0)


def test_damage_in_the_middle_ends_what_is_kept(files: dict[str, Path], tmp_path: Path) -> None:
    data = bytearray(files["noise.flac"].read_bytes())
    data[len(data) * 2 // 3] ^= 0x55
    (tmp_path / "a.flac").write_bytes(data)
    (fails,) = read(tmp_path / "a.flac", [Clip("a", "a")])
    assert failed(fails).reason == "corrupt"
    kept, early, late = (
        read(tmp_path / "a.flac", [clip], KEEP)[0]
        for clip in (Clip("a", "a"), Clip("b", "a", 0.0, 2.0, cut=True), Clip("c", "a", 7.0, 9.0, cut=True))
    )
    assert ended(kept).damaged.startswith("corrupt: ")
    assert 5 < ended(kept).audio_s < 6.1
    (whole,) = read(files["noise.flac"], [Clip("a", "a")])
    assert np.array_equal(kept.examples, whole.examples[: len(kept.examples)])
    assert not ended(early).damaged
    assert not ended(late).damaged
    (tmp_path / "b.flac").write_bytes(data[:3000])
    assert failed(read(tmp_path / "b.flac", [Clip("b", "b")], KEEP)[0]).reason == "truncated"  # nothing to keep


def test_a_wrong_sum_of_flac_fails_the_whole_file_only(files: dict[str, Path], tmp_path: Path) -> None:
    """However it is cut into segments; a clip that is cut out of it is not the whole."""
    data = bytearray(files["noise.flac"].read_bytes())
    data[30] ^= 1
    path = tmp_path / "a.flac"
    path.write_bytes(data)
    clip = Clip("a", "a")
    stated = f"by the file's header {data[26:42].hex()}"
    (fails,) = read(path, [clip])
    assert failed(fails).reason == "corrupt"
    assert stated in failed(fails).message
    (timed,) = read(path, [Clip("a", "a", 3.0, 3.0 + SECONDS)])
    assert failed(timed) == failed(fails)
    parts = [Segment(clip, 0, 3, 0, 3), Segment(clip, 1, 3, 3, 3), Segment(clip, 2, 3, 6, None)]
    assert [type(read(path, [part])[0].outcome) for part in parts[:2]] == [protocol.Ended] * 2
    (last,) = read(path, parts[2:])
    assert failed(last).message == failed(fails).message
    (sound,) = read(files["noise.flac"], [clip])
    for kept, of in ((read(path, [clip], KEEP)[0], sound), (read(path, parts[2:], KEEP)[0], None)):
        assert stated in ended(kept).damaged
        assert np.array_equal(kept.examples, sound.examples if of else sound.examples[6:])
    cut = Clip("a", "a", 0.0, SECONDS, cut=True)
    assert not ended(read(path, [cut])[0]).damaged


LATE_S = 3.0


def film(path: Path, lost_s: tuple[float, float] = (0.0, 0.0), late_s: float = LATE_S) -> np.ndarray:
    """Makes a film whose sound begins late, without some of its packets; gives the sound float32 [n, 1]."""
    samples = np.random.default_rng(5).normal(0, 0.1, 12 * RATE).astype(np.float32)
    with av.open(str(path), "w") as output:
        picture = output.add_stream("mpeg4", rate=5)
        picture.width = picture.height = 64
        picture.pix_fmt = "yuv420p"
        sound = output.add_stream("pcm_s16le", rate=RATE, layout="mono")
        for _ in range(round(5 * (12 + late_s))):
            black = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            output.mux(picture.encode(black))
        for start in range(0, len(samples), 160):
            if not lost_s[0] <= start / RATE < lost_s[1]:
                block = np.round(samples[np.newaxis, start : start + 160] * 32767).astype(np.int16)
                frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
                frame.sample_rate, frame.time_base = RATE, Fraction(1, RATE)
                frame.pts = start + round(late_s * RATE)
                output.mux(sound.encode(frame))
        output.mux(picture.encode(None))
        output.mux(sound.encode(None))
    return np.round(samples[:, np.newaxis] * 32767).astype(np.int16).astype(np.float32) / 32768


def expected_examples(sound: np.ndarray, start_s: float, end_s: float) -> np.ndarray:
    return waveform_to_examples(sound[round(start_s * RATE) : round(end_s * RATE)], RATE)


def test_times_count_from_the_container_s_start(tmp_path: Path) -> None:
    path = tmp_path / "film.mkv"
    sound = film(path)
    clips = [Clip("a", "a", start, start + 5, cut=True) for start in (0.0, 2.0, 3.0, 6.0, 10.0, 11.0)]
    results = read(path, clips)
    for clip, result in zip(clips, results, strict=True):
        if clip.start_s < LATE_S:
            assert failed(result).reason == "before_sound"
            assert f"starts at {clip.start_s:g} s, its file's sound at 3 s" in failed(result).message
        elif clip.start_s == 11.0:
            assert failed(result).reason == "past_end"
            assert "ends at 16 s, its file at 15 s" in failed(result).message
        else:
            expected = expected_examples(sound, clip.start_s - LATE_S, clip.start_s - LATE_S + 5)
            assert np.array_equal(result.examples, expected)
    (whole,) = read(path, [Clip("a", "a")])
    assert np.array_equal(whole.examples, waveform_to_examples(sound, RATE))
    assert ended(whole).audio_s == 12.0


def test_sound_that_is_hardly_late_begins_with_its_file(tmp_path: Path) -> None:
    sound = film(tmp_path / "film.mkv", late_s=0.04)
    (result,) = read(tmp_path / "film.mkv", [Clip("a", "a", 0.0, 2.0, cut=True)])
    assert np.array_equal(result.examples, expected_examples(sound, 0.0, 2.0))


def test_missing_packets_fail_what_touches_them_and_shift_nothing(tmp_path: Path) -> None:
    path = tmp_path / "film.mkv"
    sound = film(path, lost_s=(5.0, 7.0))
    starts = (3.0, 4.5, 6.0, 8.2, 9.0, 10.0, 12.0)
    clips = [Clip("a", "a", start, start + 3, cut=True) for start in starts]
    for clip, result in zip(clips, read(path, clips), strict=True):
        if 5.0 < clip.start_s < 10.0:
            assert failed(result).reason == "corrupt"
            assert "no sound from 8.000 to 10.000 s" in failed(result).message
        else:
            expected = expected_examples(sound, clip.start_s - LATE_S, clip.start_s - LATE_S + 3)
            assert np.array_equal(result.examples, expected), clip
    assert failed(read(path, [Clip("a", "a")])[0]).reason == "corrupt"
    (kept,) = read(path, [Clip("a", "a")], KEEP)
    assert ended(kept).audio_s == 10.0
    assert "no sound from 8.000 to 10.000 s" in ended(kept).damaged
    rest = np.concatenate([sound[: 5 * RATE], sound[7 * RATE :]])
    assert np.array_equal(kept.examples, waveform_to_examples(rest, RATE))


@pytest.mark.parametrize(("codec", "rate_hz"), [("VORBIS", 44_100), ("OPUS", 48_000)])
def test_a_lost_page_of_ogg_fails_what_touches_it_and_shifts_nothing(tmp_path: Path, codec: str, rate_hz: int) -> None:
    whole = made_audio.write(tmp_path / "whole.ogg", made_audio.sound(rate_hz, 1, 9.0), rate_hz, "OGG", codec)
    content = whole.read_bytes()
    pages = [at for at in range(len(content)) if content.startswith(b"OggS", at)]
    middle = len(pages) // 2
    lost_s = [int.from_bytes(content[at + 6 : at + 14], "little") / rate_hz for at in pages[middle - 1 : middle + 1]]
    (tmp_path / "lost.ogg").write_bytes(content[: pages[middle]] + content[pages[middle + 1] :])
    begin, end = lost_s[0] - 0.1, lost_s[1] + 0.1
    clips = [Clip("a", "a", start, start + 2, cut=True) for start in (begin - 2, begin - 1, begin + 0.2, end)]
    before, across, within, behind = read(tmp_path / "lost.ogg", clips)
    for result in (across, within):
        assert failed(result).reason == "corrupt"
        assert "packets are missing" in failed(result).message
    for result, expected in zip((before, behind), read(whole, [clips[0], clips[-1]]), strict=True):
        np.testing.assert_allclose(result.examples, expected.examples, rtol=0, atol=0.5)
        assert np.mean(np.abs(result.examples - expected.examples)) < 0.01


def test_a_short_gap_is_no_gap(tmp_path: Path) -> None:
    sound = film(tmp_path / "film.mkv", lost_s=(5.0, 5.04))
    (result,) = read(tmp_path / "film.mkv", [Clip("a", "a")])
    rest = np.concatenate([sound[: 5 * RATE], sound[5 * RATE + 640 :]])
    assert np.array_equal(result.examples, waveform_to_examples(rest, RATE))


UNPRIVILEGED = """
import os, sys
from pipeline.decoding import decode
from pipeline.settings import FrontEnd
from pipeline.types import Clip, DecodeRequest, Segment
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)  # permissions do not bind root
print(*decode.read(DecodeRequest(sys.argv[1], (Segment(Clip("a", "a")),)), FrontEnd(), lambda: None))
"""


def test_a_file_without_permission_is_unreadable() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = write(Path(folder) / "a.wav", np.zeros(RATE))
        path.chmod(0)
        command = [sys.executable, "-c", UNPRIVILEGED, str(path)]
        said = subprocess.run(command, cwd=PACKAGES, capture_output=True, text=True, check=True).stdout
    assert "Failed(segment=0, reason='unreadable', message='" in said
    assert "ermission" in said
