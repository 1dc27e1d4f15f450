"""A file's content against its header's counts: all of it is read, or what is missing is reported."""

from __future__ import annotations

import hashlib
import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from tests import made_audio
from tests.made_audio import encode, tone, write
from tests.plain_flac import write_flac
from vggish_core.audio import AudioError, mpeg_frames, open_audio
from vggish_core.audio.ogg import with_checksum
from vggish_core.audio.splices import SplicedFile, replaced

RATE = 44100
SOUND = tone(RATE, 3.0)


@dataclass(frozen=True)
class Counted:
    """A container of PCM that counts the bytes of its samples.

    Attributes:
      name: as libsndfile calls it.
      find: the file -> where the count stands.
      code: how it is packed.
      more: what the count holds beside the samples.
    """

    name: str
    find: Callable[[bytes], int]
    code: str
    more: int = 0


def behind(mark: bytes, bytes_: int = 4) -> Callable[[bytes], int]:
    return lambda content: content.rindex(mark, 0, 4096) + bytes_


CONTAINERS = [
    Counted("WAV", behind(b"data"), "<I"),
    Counted("WAVEX", behind(b"data"), "<I"),
    Counted("RF64", behind(b"ds64", 16), "<Q"),
    Counted("W64", behind(b"data", 16), "<Q", 24),
    Counted("AIFF", behind(b"SSND"), ">I", 8),
    Counted("AU", lambda content: 8, ">I"),
    Counted("CAF", behind(b"data"), ">q", 4),
]
each_container = pytest.mark.parametrize("of", CONTAINERS, ids=lambda of: of.name)


def made(of: Counted) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, SOUND, RATE, format=of.name, subtype="PCM_16")
    return file.getvalue()


def count(content: bytes, of: Counted) -> int:
    return struct.unpack_from(of.code, content, of.find(content))[0] - of.more


def recounted(content: bytes, of: Counted, value: int) -> bytes:
    """The file with another count of bytes."""
    changed = bytearray(content)
    struct.pack_into(of.code, changed, of.find(content), value + of.more)
    return bytes(changed)


def read(content: bytes) -> np.ndarray:
    with open_audio(io.BytesIO(content)) as reader:
        return np.concatenate(list(reader.blocks()))


def failure(content: bytes) -> AudioError:
    with pytest.raises(AudioError) as caught:
        read(content)
    return caught.value


def before_failure(content: bytes) -> np.ndarray:
    """The samples that are read before the fault."""
    found: list[np.ndarray] = []
    with open_audio(io.BytesIO(content)) as reader, pytest.raises(AudioError):
        found.extend(reader.blocks(1000))
    return np.concatenate(found)


@each_container
@pytest.mark.parametrize("counted", [0, 44100, 4 * 44100 - 2])
def test_content_beats_a_count_that_is_too_small(of: Counted, counted: int) -> None:
    content = made(of)
    assert count(content, of) == SOUND.size * 2
    np.testing.assert_array_equal(read(recounted(content, of, counted)), read(content))


@each_container
@pytest.mark.parametrize("counted", [0xFFFFFFFF, 0x7FFFF000, 0x80000000, 0xFFFFFFFF - 36])
def test_counts_of_streams_are_to_the_end(of: Counted, counted: int) -> None:
    content = made(of)
    if of.code == ">I" and counted + of.more > 0xFFFFFFFF:
        counted -= of.more
    np.testing.assert_array_equal(read(recounted(content, of, counted)), read(content))


@pytest.mark.parametrize("name", ["RF64", "W64", "CAF"])
@pytest.mark.parametrize("counted", [-1, (1 << 63) - 1])
def test_counts_of_streams_in_64_bits_are_to_the_end(name: str, counted: int) -> None:
    (of,) = (of for of in CONTAINERS if of.name == name)
    content = bytearray(made(of))
    whole = read(bytes(content))
    content[of.find(content) : of.find(content) + 8] = counted.to_bytes(
        8, "big" if of.code[0] == ">" else "little", signed=True
    )
    np.testing.assert_array_equal(read(bytes(content)), whole)


def test_rf64_whose_data_chunk_has_its_own_count_is_read() -> None:
    content = bytearray(made(CONTAINERS[2]))
    whole = read(bytes(content))
    struct.pack_into("<I", content, content.index(b"data") + 4, SOUND.size * 2)
    struct.pack_into("<Q", content, CONTAINERS[2].find(content), 0)
    np.testing.assert_array_equal(read(bytes(content)), whole)


def test_a_caf_file_of_unknown_length_is_to_the_end() -> None:
    content = made(CONTAINERS[-1])
    np.testing.assert_array_equal(read(recounted(content, CONTAINERS[-1], -5)), read(content))


@each_container
def test_44_bytes_too_many_are_no_fault(of: Counted) -> None:
    content = made(of)
    np.testing.assert_array_equal(read(recounted(content, of, SOUND.size * 2 + 44)), read(content))


@each_container
def test_what_is_missing_is_reported_with_both_figures(of: Counted) -> None:
    content = made(of)
    cut = content[: content.index(read(content)[:4].astype(">i2" if of.code[0] == ">" else "<i2").tobytes()) + 176_400]
    if of.name == "CAF":  # written in the processor's order
        cut = content[: of.find(content) + 8 + 4 + 176_400]
    error = failure(cut)
    assert error.reason == "truncated"
    assert f"176400 of {SOUND.size * 2} bytes" in error.message
    assert "1.000 s" in error.message
    np.testing.assert_array_equal(before_failure(cut)[:44_000], read(content)[:44_000])


HEADERS = [of for of in CONTAINERS if of.name in ("WAV", "RF64", "AIFF", "AU", "CAF")]


@pytest.mark.parametrize("of", HEADERS, ids=lambda of: of.name)
def test_a_cut_within_the_header_is_truncated(of: Counted) -> None:
    content = made(of)
    for size in (21, of.find(content) - 1):
        assert failure(content[:size]).reason in ("truncated", "corrupt")
    if of.name in ("AU", "CAF"):
        assert failure(content[:23] if of.name == "AU" else content[:300]).reason == "truncated"


@pytest.mark.parametrize("name", ["WAV", "AIFF"])
def test_samples_in_a_second_chunk_or_file_are_reported(name: str) -> None:
    (of,) = (of for of in CONTAINERS if of.name == name)
    content = made(of)
    mark = b"data" if name == "WAV" else b"SSND"
    for more in (content, content[content.index(mark) :]):
        error = failure(content + more)
        assert error.reason == "corrupt"
        assert f"at byte {len(content)}, are not read" in error.message
        assert len(before_failure(content + more)) > len(SOUND) - 1000


@pytest.mark.parametrize("name", ["NIST", "SVX"])
def test_sphere_and_svx_files_that_are_cut_say_so(name: str) -> None:
    file = io.BytesIO()
    soundfile.write(file, SOUND[:, 0], RATE, format=name, subtype="PCM_16")
    content = file.getvalue()
    assert len(read(content)) == len(SOUND)
    for left in (0.01, 0.5, 0.999):
        error = failure(content[: int(left * len(content))])
        assert error.reason == "truncated"
        assert f"{len(SOUND) * 2 if name == 'NIST' else len(content)} bytes" in error.message


CHUNKS = {
    "a list": b"LIST" + struct.pack("<I", 12) + b"INFOIART\0\0\0\0",
    "an odd one": b"note" + struct.pack("<I", 5) + b"hello\0",
    "padding": bytes(500),
    "a tag": b"TAG" + bytes(125),
    "scraps": b"\x01",
}


@pytest.mark.parametrize("chunk", CHUNKS)
def test_what_follows_the_samples_is_no_audio(chunk: str) -> None:
    content = made(CONTAINERS[0])
    np.testing.assert_array_equal(read(content + CHUNKS[chunk]), read(content))


@pytest.mark.parametrize("counted", [0, 1000, 0xFFFFFFFF])
def test_audio_beyond_the_count_ends_where_chunks_begin(counted: int) -> None:
    content = made(CONTAINERS[0])
    chunks = CHUNKS["a list"] + b"id3 " + struct.pack("<I", 4) + b"ID3\0"
    longer = recounted(content, CONTAINERS[0], counted) + chunks
    np.testing.assert_array_equal(read(longer), read(content))


def test_a_wav_file_without_samples_has_none() -> None:
    content = recounted(made(CONTAINERS[0])[:44], CONTAINERS[0], 0)
    for end in (b"", CHUNKS["a list"]):
        assert failure(content + end).reason == "no_samples"


def sparse_wav(path: Path, frames: int, counted: int) -> Path:
    """A mono file of 8 bits that says so much; silence, but for a mark at the end."""
    header = b"RIFF" + struct.pack("<I", (counted + 36) % (1 << 32)) + b"WAVEfmt "
    header += struct.pack("<IHHIIHH", 16, 1, 1, 8000, 8000, 1, 8) + b"data" + struct.pack("<I", counted)
    with path.open("wb") as file:
        file.write(header)
        file.truncate(44 + frames)
        file.seek(44 + frames - 8000)
        file.write(bytes([128]) * 7999 + b"\xff")
    return path


@pytest.mark.parametrize("counted", [(1 << 32) + 90_000 - (1 << 32), 0xFFFFFFFF, 0])
def test_a_wav_file_beyond_4_gib_is_read_to_its_end(tmp_path: Path, counted: int) -> None:
    frames = (1 << 32) + 90_000
    with open_audio(sparse_wav(tmp_path / "a.wav", frames, counted)) as reader:
        assert reader.frames == frames
        assert reader.seekable_exactly
        reader.seek(frames - 3)
        (block,) = reader.blocks()
    np.testing.assert_allclose(block[:, 0], [0, 0, 127 / 128])


def test_channels_beyond_all_reason_are_named() -> None:
    content = bytearray(made(CONTAINERS[0]))
    struct.pack_into("<H", content, 22, 65_535)
    error = failure(bytes(content))
    assert error.reason == "corrupt"
    assert "65535 channels" in error.message


FORMATS = [made for made in made_audio.FILES if made.name not in ("stream.aac", "broadcast.ts")]
"""Those that can tell; docs/formats.md lists the others."""


@pytest.mark.parametrize("made", FORMATS, ids=lambda made: made.name)
def test_files_that_are_cut_say_so(made_formats: Path, made: made_audio.Made, full: bool) -> None:
    content = (made_formats / made.name).read_bytes()
    assert len(read(content)) >= 2 * made.rate_hz
    block = 512 if "ADPCM" in made.codec else 0
    rng = np.random.default_rng(len(content))
    for left in rng.uniform(0, 1, 30 if full else 8):
        cut = content[: 64 + int(left * (len(content) - 64))]
        if made.writer == "libsndfile" and len(content) - len(cut) <= 44 + max(block, 2 * made.channels * 8):
            continue  # by which headers are known to overcount
        error = failure(cut)
        assert error.reason == "truncated", (left, error)


@pytest.mark.parametrize(("container", "codec"), [("matroska", "flac"), ("webm", "libopus")])
def test_live_matroska_is_as_long_as_it_states(tmp_path: Path, container: str, codec: str) -> None:
    content = bytearray(encode(tmp_path / "made", container, codec, SOUND[:, :1], 48_000).read_bytes())
    segment = content.index(b"\x18\x53\x80\x67") + 4
    assert content[segment] == 1
    content[segment + 1 : segment + 8] = b"\xff" * 7  # size unknown
    whole = len(read(bytes(content)))
    for left in np.random.default_rng(3).uniform(0.1, 0.6, 5):
        error = failure(bytes(content[: int(left * len(content))]))
        assert error.reason == "truncated"
    duration = content.index(b"\x44\x89\x88") + 3
    (stated,) = struct.unpack(">d", content[duration : duration + 8])
    content[duration : duration + 8] = struct.pack(">d", stated + 900)
    assert len(read(bytes(content))) == whole
    content[duration : duration + 8] = struct.pack(">d", stated + 1100)
    assert f" of {stated / 1000 + 1.1:.3f} s" in failure(bytes(content)).message


def test_ogg_without_an_end_is_truncated(tmp_path: Path) -> None:
    content = write(tmp_path / "a.ogg", SOUND, RATE, "OGG", "VORBIS").read_bytes()
    pages = [at for at in range(len(content)) if content.startswith(b"OggS", at)]
    error = failure(content[: pages[-1]])
    assert error.reason == "truncated"
    assert "ends the stream" in error.message


@pytest.mark.parametrize(("subtype", "rate_hz"), [("VORBIS", RATE), ("OPUS", 48_000)])
def test_joined_ogg_files_are_read_however_short_and_have_to_end(tmp_path: Path, subtype: str, rate_hz: int) -> None:
    long, short = (
        write(tmp_path / "a.ogg", tone(rate_hz, seconds, 1), rate_hz, "OGG", subtype).read_bytes()
        for seconds in (2.0, 0.2)
    )
    for joined in (long + short, short + long):
        assert abs(len(read(joined)) - 2.2 * rate_hz) < 0.02 * rate_hz
    error = failure(long[: long.rindex(b"OggS")] + short)
    assert error.reason == "truncated"
    assert "no page ends the stream before byte" in error.message


def test_opus_whose_last_page_does_not_end_it_is_truncated(tmp_path: Path) -> None:
    content = write(tmp_path / "a.opus", tone(48_000, 2.0, 1), 48_000, "OGG", "OPUS").read_bytes()
    at = content.rindex(b"OggS")
    page = bytearray(content[at:])
    page[5] &= ~4
    error = failure(content[:at] + with_checksum(page))
    assert error.reason == "truncated"
    assert "no page that ends the stream" in error.message


@pytest.mark.parametrize("segments", [b"", b"\0"])
def test_opus_that_a_page_without_packets_ends_is_whole(tmp_path: Path, segments: bytes) -> None:
    content = write(tmp_path / "a.opus", tone(48_000, 2.0, 1), 48_000, "OGG", "OPUS").read_bytes()
    at = content.rindex(b"OggS")
    page = bytearray(content[at:])
    page[5] &= ~4
    number = int.from_bytes(page[18:22], "little") + 1
    empty = page[:5] + b"\4" + page[6:18] + number.to_bytes(4, "little") + bytes(4) + bytes([len(segments)]) + segments
    ended = content[:at] + with_checksum(page) + with_checksum(empty)
    np.testing.assert_array_equal(read(ended), read(content))


def test_flac_frames_beyond_the_header_s_total_are_read(tmp_path: Path) -> None:
    content = bytearray(write(tmp_path / "a.flac", SOUND, RATE, "FLAC", "PCM_16").read_bytes())
    whole = read(bytes(content))
    for total in (1, 4096, len(SOUND) - 1):
        content[22:26] = total.to_bytes(4, "big")
        np.testing.assert_allclose(read(bytes(content)), whole / np.float32(32768), rtol=0, atol=1e-7)


TAGS_BEHIND = {
    "ID3v1": b"TAG" + bytes(125),
    "ID3v2": b"ID3\x04\0\0\0\0\x10\0" + b"\xff\xf8" * 1024,
    "APE": b"APETAGEX" + struct.pack("<IIII", 2000, 32, 0, 1 << 31) + bytes(8),
    "zeros": bytes(3000),
}


@pytest.mark.parametrize("tag", TAGS_BEHIND)
def test_a_tag_behind_the_last_flac_frame_is_no_damage(tmp_path: Path, tag: str) -> None:
    content = write(tmp_path / "a.flac", SOUND, RATE, "FLAC", "PCM_16").read_bytes()
    np.testing.assert_array_equal(read(content + TAGS_BEHIND[tag]), read(content))


def test_joined_flac_files_are_corrupt_by_name(tmp_path: Path) -> None:
    content = write(tmp_path / "a.flac", SOUND, RATE, "FLAC", "PCM_16").read_bytes()
    error = failure(content + content)
    assert error.reason == "corrupt"
    assert f"another FLAC file follows at byte {len(content)}" in error.message


@pytest.mark.parametrize("bits", [8, 12, 16, 20, 24])
def test_flac_whose_samples_are_not_those_of_its_sum_is_corrupt(tmp_path: Path, bits: int) -> None:
    samples = np.round(SOUND * (1 << bits - 1)).astype("<i4")
    content = bytearray(write_flac(tmp_path / "a.flac", samples, RATE, bits).read_bytes())
    whole = read(bytes(content))  # without a sum
    stored = samples.view(np.uint8).reshape(-1, 4)[:, : -(-bits // 8)]
    content[26:42] = hashlib.md5(stored.tobytes()).digest()
    np.testing.assert_array_equal(read(bytes(content)), whole)
    content[41] ^= 0x80
    error = failure(bytes(content))
    assert error.reason == "corrupt"
    assert f"by the file's header {content[26:42].hex()}" in error.message


def test_flac_of_unknown_length_that_ends_within_a_frame_is_truncated(tmp_path: Path) -> None:
    content = encode(tmp_path / "made", "flac", "flac", SOUND[:, :1]).read_bytes()
    assert content[22:26] == bytes(4)
    np.testing.assert_allclose(read(content), SOUND[:, :1], rtol=0, atol=2**-15)
    for left in np.random.default_rng(1).uniform(0.2, 1.0, 20):
        assert failure(content[: int(left * len(content))]).reason == "truncated"


TAG = b"ID3\x04\0\0" + bytes([0, 0, 100, 10]) + bytes(100 * 128 + 10)


def mp3(tmp_path: Path, rate_hz: int = RATE, channels: int = 1, seconds: float = 2.0) -> bytes:
    samples = tone(rate_hz, seconds, channels)
    return write(tmp_path / "a.mp3", samples, rate_hz, "MP3", "MPEG_LAYER_III").read_bytes()


@pytest.mark.parametrize("tag", [b"", TAG, TAG + TAG, b"TAG" + bytes(125), b"\0" * 700])
def test_joined_mp3_files_are_read_to_the_end(tmp_path: Path, tag: bytes) -> None:
    one = mp3(tmp_path)
    first = tag if tag.startswith(b"ID3") else b""
    joined = read(first + one + tag + one)
    assert 2 * 2.0 * RATE <= len(joined) <= 2 * 2.0 * RATE + 5 * 1152
    np.testing.assert_array_equal(joined[: 2 * RATE - 2000], read(one)[: 2 * RATE - 2000])


@pytest.mark.parametrize(("rate_hz", "channels"), [(22050, 1), (RATE, 2)])
def test_joined_mp3_files_that_differ_are_corrupt_by_name(tmp_path: Path, rate_hz: int, channels: int) -> None:
    error = failure(mp3(tmp_path) + TAG + mp3(tmp_path, rate_hz, channels))
    assert error.reason == "corrupt"
    assert f"44100 Hz, 1 channels become {rate_hz} Hz, {channels} channels" in error.message


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_mp3_frames_beyond_the_header_s_count_are_read(tmp_path: Path, share: float) -> None:
    content = bytearray(mp3(tmp_path, seconds=6.0))
    whole = len(read(bytes(content)))
    at = max(content.find(b"Xing"), content.find(b"Info")) + 8
    (frames,) = struct.unpack_from(">I", content, at)
    struct.pack_into(">I", content, at, int(share * frames))
    assert whole - 1152 <= len(read(bytes(content))) <= whole + 2 * 1152


def test_a_cut_within_an_mp3_file_s_tag_is_truncated(tmp_path: Path) -> None:
    error = failure((TAG + mp3(tmp_path))[:5000])
    assert error.reason == "truncated"
    assert f"5000 of at least {len(TAG)} bytes" in error.message


def test_joined_mp3_files_one_of_which_is_cut_are_reported(tmp_path: Path) -> None:
    one = mp3(tmp_path, seconds=6.0)
    cut = one[: len(one) // 2]
    error = failure(one + cut)
    assert error.reason == "truncated"
    assert "one of several joined files" in error.message
    # The frame that is cut takes the next one's start: decoders may also stumble there.
    assert failure(cut + one).reason in ("corrupt", "truncated")


def test_an_mp3_file_s_own_tags_are_no_audio(tmp_path: Path) -> None:
    one = mp3(tmp_path)
    for end in (TAG, b"TAG" + bytes(125), TAG + bytes(9000)):
        np.testing.assert_array_equal(read(one + end), read(one))


def test_frames_of_mpeg_audio(tmp_path: Path) -> None:
    from vggish_core.audio.source import NamelessFile

    content = mp3(tmp_path)
    counted = mpeg_frames.counted(NamelessFile(io.BytesIO(content)))
    assert counted is not None
    assert counted.exact
    assert counted.stop == len(content)
    found = mpeg_frames.walk(NamelessFile(io.BytesIO(TAG + content + TAG + content[: len(content) // 2] + b"TAG" * 50)))
    assert found.pieces[0] == (len(TAG), len(TAG) + len(content))
    assert found.pieces[1][0] == 2 * len(TAG) + len(content)
    assert not found.change
    assert found.samples // 1152 > 1.4 * counted.samples // 1152


@given(
    content=st.binary(max_size=60),
    changes=st.dictionaries(st.integers(0, 4), st.binary(min_size=1, max_size=8), max_size=3),
    steps=st.lists(st.tuples(st.integers(-10, 70), st.integers(0, 2), st.integers(-1, 30)), max_size=10),
)
def test_a_spliced_file_is_as_one_that_holds_its_bytes(
    content: bytes, changes: dict[int, bytes], steps: list[tuple[int, int, int]]
) -> None:
    content = content.ljust(60, b".")
    changes = {10 * place: data for place, data in changes.items()}
    expected = bytearray(content[:55])
    for place, data in changes.items():
        expected[place : place + len(data)] = data
    plain = io.BytesIO(bytes(expected))
    spliced = io.BufferedReader(SplicedFile(io.BytesIO(content), replaced(60, changes, 55)), 8)
    for offset, whence, size in steps:
        if whence == 0 or offset <= 0:
            offset = max(0, offset) if whence == 0 else max(offset, -spliced.tell() if whence == 1 else -55)
            assert spliced.seek(offset, whence) == plain.seek(offset, whence)
        assert spliced.read(size) == plain.read(size)
        assert spliced.tell() == plain.tell()


def edited(content: bytes, *edits: tuple[int, int]) -> bytes:
    """An MP4 file of one track whose index comes last -> with edits of (milliseconds, place in the media or -1)."""
    moov, trak = content.rindex(b"moov") - 4, content.rindex(b"trak") - 4
    edts = content.index(b"edts", trak) - 4
    whole = bytearray(content)
    entries = b"".join(struct.pack(">IiI", *edit, 0x10000) for edit in edits)
    box = struct.pack(">I4sI4sII", 24 + len(entries), b"edts", 16 + len(entries), b"elst", 0, len(edits)) + entries
    old = int.from_bytes(content[edts : edts + 4], "big")
    for at in (moov, trak):
        struct.pack_into(">I", whole, at, int.from_bytes(content[at : at + 4], "big") + len(box) - old)
    whole[edts : edts + old] = box
    return bytes(whole)


def test_a_pause_between_edits_is_reported(tmp_path: Path) -> None:
    content = encode(tmp_path / "a.m4a", "ipod", "aac", SOUND[:, :1]).read_bytes()
    assert len(read(edited(content, (500, -1), (2000, 1024)))) > 1.9 * RATE
    error = failure(edited(content, (500, -1), (1000, 1024), (250, -1), (1000, 1024)))
    assert error.reason == "corrupt"
    assert "pause from 1.500 to 1.750 s" in error.message
