from __future__ import annotations

import io
import os
import pickle
import tempfile
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile

from tests import made_audio
from tests.made_audio import encode, tone, video, write
from vggish_core.audio import AudioError, AudioReader, open_audio
from vggish_core.audio.ffmpeg import FFmpegReader
from vggish_core.audio.source import NamelessFile, OpenedFile

# Every file of ../shared/data/audio/formats: what its reader says and how many sample frames there are, or the reason.
OUTCOMES: dict[str, tuple[str, int, int, int] | str] = {
    "LICENSE.pydub": "not_audio",
    "bach.ogg": ("ogg/flac", 44100, 1, 133632),
    "creative_common.mp4": ("mov,mp4/aac", 48000, 2, 108544),
    "flac-01.flac": ("FLAC/PCM_16", 44100, 2, 308700),
    "flac-14.flac": ("FLAC/PCM_16", 44100, 2, 218101),
    "flac-22.flac": ("flac/flac", 44100, 2, 218666),  # 12 bits
    "flac-38.flac": ("FLAC/PCM_16", 44100, 3, 168210),
    "flac-39.flac": ("FLAC/PCM_16", 44100, 4, 253762),
    "flac-42.flac": ("FLAC/PCM_16", 44100, 7, 405749),
    "flac-45.flac": ("flac/flac", 48000, 2, 336410),  # no total-sample count
    "flac-60.flac": ("FLAC/PCM_16", 44100, 1, 227247),
    "flac-62.flac": ("flac/flac", 44100, 1, 227247),  # 20 bits
    "flac-64.flac": ("FLAC/PCM_16", 44100, 1, 187998),
    "format_test.m4a": ("mov,mp4/aac", 44100, 1, 425984),
    "mono.wav": ("WAV/PCM_16", 44100, 1, 5),
    "party.mp3": ("MP3/MPEG_LAYER_III", 44100, 1, 290304),
    "stereo.wav": ("WAV/FLOAT", 44100, 2, 4),
    "test-192khz-32bit.flac": ("FLAC/PCM_24", 192000, 2, 1336184),
    "test1-24bit.wav": ("WAV/PCM_24", 44100, 2, 441000),
    "test1-8bit.wav": ("WAV/PCM_U8", 32000, 2, 320303),
    "test1.mp3": ("MP3/MPEG_LAYER_III", 32000, 2, 320303),
    "test1_empty.wav": "no_samples",
    "test4.wav": ("WAV/PCM_16", 48000, 1, 384000),
    "test5.webm": ("matroska,webm/opus", 48000, 2, 71040),
    "wrong_extension.aac": ("mov,mp4/aac", 44100, 1, 425984),  # an M4A file
}
LOSSLESS = ("FLAC", "WAV", "flac")


def read(reader: AudioReader, max_frames: int = 1 << 16) -> np.ndarray:
    """All samples float32 [n, channels] in [-1, 1]; closes the reader."""
    with reader:
        blocks = list(reader.blocks(max_frames))
    assert len({block.dtype for block in blocks}) <= 1
    assert all(1 <= len(block) <= max_frames for block in blocks)
    return scaled(np.concatenate(blocks))


def scaled(blocks: np.ndarray) -> np.ndarray:
    """Samples as `AudioReader.blocks` gives them -> float32 in [-1, 1]."""
    assert blocks.dtype in (np.float32, np.int16)
    return blocks if blocks.dtype == np.float32 else blocks * np.float32(1 / 32768)


def reason(file: Any) -> str:
    """Why a file cannot be read to its end."""
    with pytest.raises(AudioError) as caught, open_audio(file) as reader:
        for _ in reader.blocks():
            pass
    assert caught.value.message
    assert "\n" not in caught.value.message
    return caught.value.reason


def test_real_files(real_formats: Path, esc10: Path, tmp_path: Path):
    """Each has its format, rate, channels and length, or its reason; and decoders agree."""
    assert {path.name for path in real_formats.iterdir()} == set(OUTCOMES)
    for name, expected in OUTCOMES.items():
        path = real_formats / name
        if isinstance(expected, str):
            assert reason(path) == expected, name
            continue
        reader = open_audio(path)
        assert (reader.format, reader.sample_rate_hz, reader.channels) == expected[:3], name
        samples = read(reader)
        assert samples.shape == (expected[3], expected[2]), name
        with path.open("rb") as file:
            np.testing.assert_array_equal(read(open_audio(file)), samples, err_msg=name)
        if expected[0].startswith((*LOSSLESS, "MP3")):
            tolerance = 0 if expected[0].startswith(LOSSLESS) else 1e-3
            np.testing.assert_allclose(read(through_ffmpeg(path)), samples, rtol=0, atol=tolerance, err_msg=name)
    for path in sorted(esc10.glob("*/*.ogg"))[::80]:
        np.testing.assert_allclose(read(through_ffmpeg(path)), read(open_audio(path)), rtol=0, atol=1e-3)
    for name in ("flac-22.flac", "flac-45.flac", "flac-62.flac"):
        shortened_and_damaged((real_formats / name).read_bytes(), tmp_path)
    for name in ("creative_common.mp4", "format_test.m4a"):
        content = (real_formats / name).read_bytes()
        assert reason(io.BytesIO(content[: len(content) // 2])) == "truncated"


def through_ffmpeg(path: Path) -> FFmpegReader:
    file = path.open("rb")
    return FFmpegReader(OpenedFile(file, NamelessFile(file), owned=True), unrecognised="not_audio")


@pytest.mark.parametrize("made", made_audio.FILES, ids=lambda made: made.name)
def test_every_format_that_can_be_made(made_formats: Path, made: made_audio.Made):
    path = made_formats / made.name
    reader = open_audio(path)
    assert (reader.format, reader.sample_rate_hz, reader.channels) == (made.format, made.decoded_hz, made.channels)
    samples = read(reader)
    expected, _ = made_audio.decoded(path)
    # The scaling of integers apart, decoders are the same: at most a rounding to float32.
    np.testing.assert_allclose(samples, expected, rtol=0, atol=1e-7 if made.exact else 1e-4)
    if made.exact:
        sound = made_audio.sound(made.rate_hz, made.channels)
        step = 2.0 ** (1 - bits(made))
        np.testing.assert_allclose(samples, sound, rtol=0, atol=step + 2**-24)
    with path.open("rb") as file:
        np.testing.assert_array_equal(read(open_audio(file)), samples)


def bits(made: made_audio.Made) -> int:
    """Of a sample of a lossless file."""
    of_codecs = {"PCM_U8": 8, "PCM_S8": 8, "FLOAT": 24, "DOUBLE": 24, "flac": 16, "alac": 24}
    return of_codecs.get(made.codec) or int(made.codec.removeprefix("PCM_"))


# FFmpeg counts the samples of Opus otherwise, and reads CAF and RF64 otherwise; it is not asked for them.
BOTH = [
    made
    for made in made_audio.FILES
    if made.writer == "libsndfile" and made.container not in ("RF64", "CAF") and made.codec != "OPUS"
]
APART = {"MS_ADPCM": 0.01, "DOUBLE": 1e-7}
"""Where decoders differ by more than rounding: predictions of predictions, and float64 that is rounded."""


@pytest.mark.parametrize("made", BOTH, ids=lambda made: made.name)
def test_both_decoders_agree(made_formats: Path, made: made_audio.Made):
    path = made_formats / made.name
    ours, other = read(open_audio(path)), read(through_ffmpeg(path))
    tolerance = APART.get(made.codec, 0 if made.exact else 1e-3)
    np.testing.assert_allclose(other, ours, rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    ("container", "subtype", "tolerance"),
    [
        ("WAV", "PCM_U8", 1 / 128),
        ("WAV", "PCM_16", 1 / 32768),
        ("WAV", "PCM_24", 1e-6),
        ("WAV", "PCM_32", 1e-7),
        ("WAV", "FLOAT", 1e-7),
        ("WAV", "DOUBLE", 1e-7),
        ("WAV", "ULAW", 0.02),
        ("WAVEX", "PCM_16", 1 / 32768),
        ("RF64", "PCM_16", 1 / 32768),
        ("W64", "PCM_16", 1 / 32768),
        ("AIFF", "PCM_24", 1e-6),
        ("AU", "PCM_16", 1 / 32768),
        ("CAF", "PCM_32", 1e-7),
        ("FLAC", "PCM_S8", 1 / 128),
        ("FLAC", "PCM_16", 1 / 32768),
        ("FLAC", "PCM_24", 1e-6),
    ],
)
def test_exactly_seekable_formats(tmp_path: Path, container: str, subtype: str, tolerance: float):
    samples = tone(seconds=3.0)
    path = write(tmp_path / "no extension", samples, 44100, container, subtype)
    whole = read(open_audio(path))
    np.testing.assert_allclose(whole, samples, rtol=0, atol=tolerance)
    np.testing.assert_array_equal(whole, soundfile.read(path, dtype="float32")[0])
    np.testing.assert_array_equal(read(open_audio(path), 777), whole)
    if subtype != "DOUBLE" and container not in ("RF64", "CAF"):
        np.testing.assert_array_equal(read(through_ffmpeg(path)), whole)
    reader = open_audio(path)
    assert reader.seekable_exactly
    assert reader.frames == len(samples)
    for frame in (100_000, 0, 1, 4095, 4096, 99_999):
        reader.seek(frame)
        np.testing.assert_array_equal(scaled(next(reader.blocks(500))), whole[frame : frame + 500])
    reader.seek(10**9)
    assert list(reader.blocks()) == []
    reader.close()


@pytest.mark.parametrize(
    ("container", "subtype"), [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"), ("WAV", "IMA_ADPCM")]
)
def test_other_formats_of_libsndfile_seek_by_decoding(tmp_path: Path, container: str, subtype: str):
    path = write(tmp_path / "a", tone(48000), 48000, container, subtype)
    whole = read(open_audio(path))
    np.testing.assert_allclose(whole[2000:-2000], tone(48000)[2000 : len(whole) - 2000], atol=0.15)
    reader = open_audio(path)
    assert not reader.seekable_exactly
    reader.seek(30_001)
    assert reader.position == 30_001
    np.testing.assert_array_equal(np.concatenate(list(reader.blocks(1234))), whole[30_001:])
    with pytest.raises(ValueError, match="forwards"):
        reader.seek(0)
    reader.close()


@pytest.mark.parametrize(
    ("container", "codec", "name"),
    [
        ("ipod", "aac", "mov,mp4/aac"),
        ("adts", "aac", "aac/aac"),
        ("matroska", "libopus", "matroska,webm/opus"),
        ("ogg", "flac", "ogg/flac"),
        ("asf", "wmav2", "asf/wmav2"),
        ("mov", "alac", "mov,mp4/alac"),
        ("mp4", "libmp3lame", "mov,mp4/mp3float"),
        ("matroska", "pcm_f32le", "matroska,webm/pcm_f32le"),
        ("mpegts", "aac", "mpegts/aac"),
    ],
)
def test_formats_of_ffmpeg(tmp_path: Path, container: str, codec: str, name: str):
    samples = tone(48000)
    path = encode(tmp_path / "x.wav", container, codec, samples, 48000)  # the extension does not matter
    reader = open_audio(path)
    assert (reader.format, reader.sample_rate_hz, reader.channels) == (name, 48000, 2)
    assert not reader.seekable_exactly
    whole = read(reader)
    assert abs(len(whole) - len(samples)) <= 4096
    # What the encoder adds in front is not always marked: find the shift.
    shift = min(range(2300), key=lambda s: float(np.abs(whole[s + 9000 : s + 9400] - samples[9000:9400]).sum()))
    n = min(len(whole) - shift, len(samples)) - 3000
    np.testing.assert_allclose(whole[shift + 3000 : shift + n], samples[3000:n], atol=0.15)
    reader = open_audio(path)
    reader.seek(30_001)
    np.testing.assert_array_equal(np.concatenate(list(reader.blocks(1234))), whole[30_001:])
    reader.close()
    with path.open("rb") as file:
        np.testing.assert_array_equal(read(open_audio(file)), whole)


@pytest.mark.parametrize("name", made_audio.PICTURES)
def test_first_audio_stream_of_a_video(made_formats: Path, name: str):
    with av.open(str(made_formats / name)) as container:
        assert container.streams[0].type == "video"
        frames = sum(frame.samples for frame in container.decode(audio=0))
    assert len(read(open_audio(made_formats / name))) == frames


@pytest.mark.parametrize("extension", ["wav", "raw", "mp3", "gsm", "vox", "txt", "flac"])
def test_names_decide_nothing(tmp_path: Path, extension: str):
    content = tmp_path / f"wave.{extension}"
    write(content, tone(), 44100, "WAV", "PCM_16")
    assert open_audio(content).format == "WAV/PCM_16"
    with content.open("rb") as file:
        assert open_audio(file).format == "WAV/PCM_16"
    text = tmp_path / f"text.{extension}"
    text.write_bytes(b"It was a dark and stormy night.\n" * 500)
    assert reason(text) == "not_audio"
    with text.open("rb") as file:
        assert reason(file) == "not_audio"


def test_reasons_of_files_that_are_no_audio(tmp_path: Path):
    def content(data: bytes) -> Path:
        (tmp_path / "content").write_bytes(data)
        return tmp_path / "content"

    assert reason(tmp_path / "nothing") == "missing"
    assert reason(tmp_path) == "unreadable"
    assert reason(content(b"")) == "empty"
    assert reason(io.BytesIO()) == "empty"
    assert reason(content(np.random.default_rng(0).bytes(100_000))) == "not_audio"
    assert reason(content(b"1\n00:00:00,000 --> 00:00:02,000\nhello\n\n")) == "not_audio"
    assert reason(video(tmp_path / "film.mp4")) == "no_audio_stream"
    assert reason(video(tmp_path / "film.mkv", "matroska")) == "no_audio_stream"
    for start in (b"RIFF\x00\x00\x00\x00WAVE", b"fLaC", b"OggS", b"\x00\x00\x00\x18ftypM4A ", b"\x1aE\xdf\xa3"):
        assert reason(content(start + b"\x00" * 40)) == "corrupt"


def test_no_permission():
    user = os.geteuid()
    with tempfile.TemporaryDirectory() as folder:  # pytest's own is closed to others
        Path(folder).chmod(0o755)
        path = write(Path(folder) / "a.wav", tone(), 44100, "WAV", "PCM_16")
        path.chmod(0)
        os.seteuid(user or 65534)  # root would read everything
        try:
            assert path.parent.is_dir()
            assert reason(path) == "unreadable"
        finally:
            os.seteuid(user)


def test_playlists_open_nothing(tmp_path: Path):
    target = write(tmp_path / "target.wav", tone(), 44100, "WAV", "PCM_16")
    playlist = tmp_path / "list"
    playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nfile://{target}\n#EXT-X-ENDLIST\n")
    assert reason(playlist) == "not_audio"
    playlist.write_text(f"ffconcat version 1.0\nfile {target.name}\n")
    assert reason(playlist) == "not_audio"


@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_16", "PCM_24"])
def test_shortened_and_damaged_flac(tmp_path: Path, subtype: str):
    content = write(tmp_path / "a", tone(seconds=3.0), 44100, "FLAC", subtype).read_bytes()
    for share in (0.2, 0.5, 0.9, 0.999):
        (tmp_path / "short").write_bytes(content[: int(len(content) * share)])
        assert reason(tmp_path / "short") == "truncated"
        with (tmp_path / "short").open("rb") as file:
            assert reason(file) == "truncated"
        damaged = bytearray(content)
        damaged[int(len(content) * share * 0.9)] ^= 0x40
        (tmp_path / "damaged").write_bytes(damaged)
        assert reason(tmp_path / "damaged") == "corrupt"


@pytest.mark.parametrize("name", ["12 bit.flac", "20 bit.flac", "live.flac"])
def test_shortened_and_damaged_flac_through_ffmpeg(made_formats: Path, tmp_path: Path, name: str):
    shortened_and_damaged((made_formats / name).read_bytes(), tmp_path)


def shortened_and_damaged(content: bytes, tmp_path: Path) -> None:
    for share in (0.3, 0.6, 0.99):
        (tmp_path / "short").write_bytes(content[: int(len(content) * share)])
        assert reason(tmp_path / "short") == "truncated"
        damaged = bytearray(content)
        damaged[int(len(content) * share * 0.9)] ^= 0x40
        (tmp_path / "damaged").write_bytes(damaged)
        assert reason(tmp_path / "damaged") == "corrupt"


def test_lost_pages_of_ogg(tmp_path: Path):
    content = bytearray(write(tmp_path / "a", tone(48000, 10.0), 48000, "OGG", "OPUS").read_bytes())
    content[len(content) // 2] ^= 0x40
    assert reason(io.BytesIO(bytes(content))) == "corrupt"


def test_shortened_mp4(tmp_path: Path):
    samples = tone(seconds=3.0)
    streamable = encode(
        tmp_path / "a", "mp4", "aac", samples, movflags="faststart"
    ).read_bytes()  # its index is in front
    assert reason(io.BytesIO(streamable[: len(streamable) // 2])) == "truncated"
    m4a = encode(tmp_path / "b", "ipod", "aac", samples).read_bytes()  # at the end
    assert reason(io.BytesIO(m4a[: len(m4a) // 2])) == "truncated"


def test_mp3_that_does_not_state_its_length(tmp_path: Path):
    # Variable bit rate without a Xing header: libsndfile takes the first frames' rate for all and stops early.
    loud, quiet = tone(channels=1), tone(channels=1) * 0.01
    parts = []
    for samples, bit_rate in ((loud, 320_000), (quiet, 32_000)):
        with io.BytesIO() as file:
            with av.open(file, "w", format="mp3", options={"write_xing": "0", "id3v2_version": "0"}) as output:
                stream = output.add_stream("libmp3lame", rate=44100, layout="mono")
                stream.bit_rate = bit_rate
                for start in range(0, len(samples) - 1152, 1152):
                    block = np.ascontiguousarray(samples[start : start + 1152].T, np.float32)
                    frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="mono")
                    frame.sample_rate, frame.pts = 44100, start
                    output.mux(stream.encode(frame))
                output.mux(stream.encode(None))
            parts.append(file.getvalue())
    path = tmp_path / "a.mp3"
    path.write_bytes(parts[0] + parts[1] * 6)
    with open_audio(path) as reader:
        assert reader.format.startswith("MP3")
        promised = reader.frames
    whole = read(open_audio(path))
    assert promised is not None
    assert len(whole) > 2 * promised
    np.testing.assert_allclose(whole, read(through_ffmpeg(path)), rtol=0, atol=1e-3)


def test_chained_ogg(tmp_path: Path):
    content = write(tmp_path / "a", tone(seconds=4.0), 44100, "OGG", "VORBIS").read_bytes()
    once = read(open_audio(io.BytesIO(content)))
    twice = read(open_audio(io.BytesIO(content * 2)))
    np.testing.assert_array_equal(twice[: len(once)], once)
    assert 2 * len(once) <= len(twice) <= 2 * len(once) + 4608


def test_large_tag_after_an_mp3_adds_nothing(tmp_path: Path):
    content = write(tmp_path / "a", tone(), 44100, "MP3", "MPEG_LAYER_III").read_bytes()
    whole = read(open_audio(io.BytesIO(content)))
    tagged = read(open_audio(io.BytesIO(content + b"APETAGEX" + bytes(100_000))))
    np.testing.assert_array_equal(tagged, whole)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite(tmp_path: Path, bad: float):
    samples = tone()
    samples[50_000, 1] = bad
    path = write(tmp_path / "a", samples, 44100, "WAV", "FLOAT")
    with open_audio(path) as reader, pytest.raises(AudioError, match="sample frame 50000 is") as caught:
        for _ in reader.blocks(4096):
            pass
    assert caught.value.reason == "not_finite"


def test_huge_finite_samples_are_finite(tmp_path: Path):
    samples = np.full((1000, 2), 3e38)
    path = write(tmp_path / "a", samples, 44100, "WAV", "FLOAT")
    assert len(read(open_audio(path))) == 1000


@pytest.mark.parametrize("rate_hz", [500, 1_600_001])
def test_unsupported_rates(tmp_path: Path, rate_hz: int):
    assert reason(write(tmp_path / "a", tone(1000), rate_hz, "WAV", "PCM_16")) == "unsupported_rate"


@pytest.mark.parametrize("rate_hz", [1000, 1_600_000])
def test_supported_rates(tmp_path: Path, rate_hz: int):
    assert open_audio(write(tmp_path / "a", tone(1000), rate_hz, "WAV", "PCM_16")).sample_rate_hz == rate_hz


class FailingStorage(io.BytesIO):
    """A file whose storage fails after so many bytes."""

    allowed = 100_000

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() > self.allowed:
            raise TimeoutError("storage went away")
        return super().read(size)


@pytest.mark.parametrize(("container", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("CAF", "PCM_24")])
def test_storage_that_fails(tmp_path: Path, container: str, subtype: str):
    content = write(tmp_path / "a", tone(seconds=5.0), 44100, container, subtype).read_bytes()
    assert reason(FailingStorage(content)) == "unreadable"


def test_storage_that_fails_under_ffmpeg(tmp_path: Path):
    content = encode(tmp_path / "a", "matroska", "pcm_s16le", tone(seconds=5.0)).read_bytes()
    assert reason(FailingStorage(content)) == "unreadable"


def test_a_reader_closes_what_it_opened(tmp_path: Path):
    path = write(tmp_path / "a", tone(), 44100, "WAV", "PCM_16")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for file in (path, encode(tmp_path / "b", "ipod", "aac", tone())):
        with open_audio(file) as reader:
            next(reader.blocks())
    (tmp_path / "c").write_bytes(b"fLaC nothing")
    assert reason(tmp_path / "c") == "corrupt"
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    with path.open("rb") as opened:
        read(open_audio(opened))
        assert not opened.closed


def test_many_channels_get_short_blocks(tmp_path: Path):
    samples = np.zeros((5000, 300))
    path = write(tmp_path / "a", samples, 16000, "WAV", "PCM_16")
    with open_audio(path) as reader:
        assert max(block.size for block in reader.blocks()) <= 1 << 20


def test_errors_travel_between_processes():
    error = pickle.loads(pickle.dumps(AudioError("corrupt", "damaged")))
    assert (error.reason, error.message, str(error)) == ("corrupt", "damaged", "corrupt: damaged")
