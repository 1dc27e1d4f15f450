"""Audio that tests make: every format and rate that can be written here, and a plain decoding of it to compare with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from examples import make_audio
from tests.made_once import Once
from tests.plain_flac import write_flac

SECONDS = 2.2
"""Of each file: two examples and a tail, after all that encoders add and drop."""
LAYOUTS = {1: "mono", 2: "stereo", 8: "7.1"}


@dataclass(frozen=True)
class Made:
    """A file to make.

    Attributes:
      name: of the file; what it says of the format need not be true.
      writer: "libsndfile", "FFmpeg" or "verbatim" (`tests.plain_flac`).
      container: as the writer calls it.
      codec: as the writer calls it; of "verbatim" the bits a sample.
      rate_hz: of the samples.
      channels: 1, 2 or more.
      format: what the reader says of it.
      exact: the samples that come out are those that went in, to the last bit that the format holds.
    """

    name: str
    writer: str
    container: str
    codec: str
    rate_hz: int
    channels: int
    format: str
    exact: bool = True

    @property
    def decoded_hz(self) -> int:
        """The rate at which it is decoded: Opus knows one only."""
        return 48_000 if "opus" in self.codec.lower() else self.rate_hz


def _libsndfile(name: str, container: str, subtype: str, rate_hz: int, channels: int, exact: bool = True) -> Made:
    return Made(name, "libsndfile", container, subtype, rate_hz, channels, f"{container}/{subtype}", exact)


FILES = (
    _libsndfile("8 bit.wav", "WAV", "PCM_U8", 32000, 2),
    _libsndfile("16 bit.wav", "WAV", "PCM_16", 16000, 1),
    _libsndfile("16 bit stereo.wav", "WAV", "PCM_16", 44100, 2),
    _libsndfile("24 bit.wav", "WAV", "PCM_24", 48000, 2),
    _libsndfile("32 bit.wav", "WAV", "PCM_32", 96000, 1),
    _libsndfile("float.wav", "WAV", "FLOAT", 22050, 2),
    _libsndfile("double.wav", "WAV", "DOUBLE", 11025, 1),
    _libsndfile("telephone.wav", "WAV", "ULAW", 8000, 1, exact=False),
    _libsndfile("a law.wav", "WAV", "ALAW", 8000, 2, exact=False),
    _libsndfile("adpcm.wav", "WAV", "IMA_ADPCM", 22050, 1, exact=False),
    _libsndfile("microsoft.wav", "WAV", "MS_ADPCM", 11025, 2, exact=False),
    _libsndfile("8 channels.wav", "WAVEX", "PCM_16", 48000, 8),
    _libsndfile("large.rf64", "RF64", "PCM_24", 44100, 2),
    _libsndfile("sony.w64", "W64", "PCM_16", 24000, 2),
    _libsndfile("apple.aiff", "AIFF", "PCM_16", 44100, 2),
    _libsndfile("apple 24 bit.aif", "AIFF", "PCM_24", 96000, 1),
    _libsndfile("sun.au", "AU", "PCM_16", 8000, 1),
    _libsndfile("core.caf", "CAF", "PCM_32", 192000, 2),
    _libsndfile("8 bit.flac", "FLAC", "PCM_S8", 24000, 1),
    _libsndfile("16 bit.flac", "FLAC", "PCM_16", 44100, 2),
    _libsndfile("3 channels.flac", "FLAC", "PCM_16", 22050, 3),
    _libsndfile("8 channels.flac", "FLAC", "PCM_16", 44100, 8),
    _libsndfile("24 bit.flac", "FLAC", "PCM_24", 96000, 2),
    _libsndfile("192 kHz.flac", "FLAC", "PCM_24", 192000, 1),
    _libsndfile("vorbis.ogg", "OGG", "VORBIS", 44100, 1, exact=False),
    _libsndfile("vorbis 8 kHz.ogg", "OGG", "VORBIS", 8000, 2, exact=False),
    _libsndfile("opus.opus", "OGG", "OPUS", 48000, 2, exact=False),
    _libsndfile("opus 24 kHz.opus", "OGG", "OPUS", 24000, 1, exact=False),
    _libsndfile("44 kHz.mp3", "MP3", "MPEG_LAYER_III", 44100, 2, exact=False),
    _libsndfile("22 kHz.mp3", "MP3", "MPEG_LAYER_III", 22050, 1, exact=False),
    _libsndfile("11 kHz.mp3", "MP3", "MPEG_LAYER_III", 11025, 2, exact=False),
    Made("12 bit.flac", "verbatim", "flac", "12", 44056, 2, "flac/flac"),
    Made("20 bit.flac", "verbatim", "flac", "20", 48000, 1, "flac/flac"),
    Made("live.flac", "verbatim", "flac", "16", 32000, 2, "flac/flac"),
    Made("flac.ogg", "FFmpeg", "ogg", "flac", 44100, 1, "ogg/flac"),
    Made("lossless.m4a", "FFmpeg", "ipod", "alac", 48000, 2, "mov,mp4/alac"),
    Made("wavpack.mkv", "FFmpeg", "matroska", "wavpack", 16000, 1, "matroska,webm/wavpack", exact=False),
    Made("aac.m4a", "FFmpeg", "ipod", "aac", 44100, 1, "mov,mp4/aac", exact=False),
    Made("mp4 by content.aac", "FFmpeg", "ipod", "aac", 22050, 2, "mov,mp4/aac", exact=False),
    Made("stream.aac", "FFmpeg", "adts", "aac", 48000, 2, "aac/aac", exact=False),
    Made("film.mp4", "FFmpeg", "mp4", "aac", 48000, 2, "mov,mp4/aac", exact=False),
    Made("film.webm", "FFmpeg", "webm", "libopus", 48000, 2, "matroska,webm/opus", exact=False),
    Made("windows.wma", "FFmpeg", "asf", "wmav2", 44100, 2, "asf/wmav2", exact=False),
    Made("broadcast.ts", "FFmpeg", "mpegts", "aac", 48000, 2, "mpegts/aac", exact=False),
)
PICTURES = {"film.mp4": "mpeg4", "film.webm": "libvpx"}
"""Films: file -> codec of a picture stream that comes before the sound."""
BY_NAME = {made.name: made for made in FILES}


@pytest.fixture(scope="session")
def example_audio(once: Once) -> Path:
    """The audio of `examples.make_audio`, three minutes in many formats; not to be changed."""
    return once("example audio", make_audio.make)


@pytest.fixture(scope="session")
def made_formats(once: Once) -> Path:
    """A folder with all of `FILES`."""
    return once("made formats", lambda folder: [make(folder, made) for made in FILES])


def sound(rate_hz: int, channels: int, seconds: float = SECONDS) -> np.ndarray:
    """float64 [n, channels]: chords, rain, clicks, a rising tone; each channel quieter and later than the last."""
    random = np.random.default_rng(rate_hz + channels)
    t = np.arange(round(rate_hz * seconds)) / rate_hz
    mono = sum(make(t, random) for make in (make_audio.chord, make_audio.rain, make_audio.clicks, make_audio.chirp))
    mono *= 0.7 / np.abs(mono).max()
    late = round(0.004 * rate_hz)
    return np.stack([np.roll(mono, late * c) * 0.9**c for c in range(channels)], axis=1)


def tone(rate_hz: int = 44100, seconds: float = 1.5, channels: int = 2) -> np.ndarray:
    """float64 [n, channels]: another frequency in each channel, and noise."""
    t = np.arange(int(rate_hz * seconds))[:, np.newaxis] / rate_hz
    noise = np.random.default_rng(3).uniform(-0.01, 0.01, (len(t), channels))
    return 0.5 * np.sin(2 * np.pi * 300 * (1 + np.arange(channels)) * t) + noise


def make(folder: Path, made: Made) -> Path:
    """One file of `FILES`."""
    samples, path = sound(made.rate_hz, made.channels), folder / made.name
    if made.writer == "libsndfile":
        return write(path, samples, made.rate_hz, made.container, made.codec)
    if made.writer == "FFmpeg":
        return encode(path, made.container, made.codec, samples, made.rate_hz, pictures=PICTURES.get(made.name))
    bits = int(made.codec)
    whole = np.round(samples * (1 << bits - 1)).astype(np.int64)
    return write_flac(path, whole, made.rate_hz, bits, total=0 if made.name == "live.flac" else None)


def write(path: Path, samples: np.ndarray, rate_hz: int, container: str, subtype: str) -> Path:
    """Samples [n, channels] -> a file written by libsndfile."""
    # In small blocks: libsndfile crashes on a long block of Vorbis.
    with soundfile.SoundFile(path, "w", rate_hz, samples.shape[1], format=container, subtype=subtype) as file:
        for start in range(0, len(samples), 1000):
            file.write(samples[start : start + 1000])
    return path


def encode(
    path: Path,
    container: str,
    codec: str,
    samples: np.ndarray,
    rate_hz: int = 44100,
    pictures: str | None = None,
    **options: str,
) -> Path:
    """Samples [n, channels] -> a file written by FFmpeg; after five pictures, if a codec for them is named."""
    layout = LAYOUTS[samples.shape[1]]
    with av.open(str(path), "w", format=container, options=options) as output:
        film = _picture_stream(output, pictures) if pictures else None
        stream = output.add_stream(codec, rate=rate_hz, layout=layout)
        stream.bit_rate = 128_000
        if film is not None:
            _mux_pictures(output, film)
        sample_format = stream.codec_context.codec.audio_formats[0].name
        frame = av.AudioFrame.from_ndarray(samples.T.astype(np.float32).copy(), format="fltp", layout=layout)
        frame.sample_rate = rate_hz
        resampler = av.AudioResampler(format=sample_format, layout=layout, rate=rate_hz, frame_size=1024)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            output.mux(stream.encode(part))
        # The FLAC encoder ends with an empty packet, which no container takes.
        output.mux([packet for packet in stream.encode(None) if packet.size])
    return path


def video(path: Path, container: str = "mp4", codec: str = "mpeg4") -> Path:
    """A film of five pictures without sound."""
    with av.open(str(path), "w", format=container) as output:
        _mux_pictures(output, _picture_stream(output, codec))
    return path


def _picture_stream(output: av.container.OutputContainer, codec: str) -> av.VideoStream:
    stream = output.add_stream(codec, rate=5)
    stream.width = stream.height = 64
    stream.pix_fmt = "yuv420p"
    return stream


def _mux_pictures(output: av.container.OutputContainer, stream: av.VideoStream) -> None:
    for _ in range(5):
        output.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
    output.mux(stream.encode(None))


def decoded(path: Path) -> tuple[np.ndarray, int]:
    """A file -> (samples float64 [n, channels], rate in Hz): by libsndfile, or else by PyAV; nothing of ours."""
    try:
        info = soundfile.info(path)
        slow_opus = info.subtype == "OPUS" and info.samplerate != 48_000  # which libsndfile decodes at that rate
        if info.frames < 1 << 32 and not slow_opus:  # more is its way to say that the file does not tell
            return soundfile.read(path, dtype="float64", always_2d=True)
    except soundfile.LibsndfileError:
        pass
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        decoder = stream.codec_context
        if decoder.name == "opus":  # FFmpeg's own gives other samples, of speech by far
            better = av.CodecContext.create("libopus", "r")
            better.extradata, better.sample_rate, better.layout = decoder.extradata, 48_000, decoder.layout
            better.options = {"request_sample_fmt": "flt"}
            decoder = better
        packets = container.demux(stream)
        frames = [frame for packet in packets for frame in decoder.decode(packet if packet.size else None)]
        return np.concatenate([_samples(frame) for frame in frames]), stream.rate


def _samples(frame: av.AudioFrame) -> np.ndarray:
    """A decoded frame -> float64 [n, channels]."""
    values = frame.to_ndarray()
    if not frame.format.is_planar:
        values = values.reshape(-1, frame.layout.nb_channels).T
    if np.issubdtype(values.dtype, np.integer):
        values = values / -float(np.iinfo(values.dtype).min)
    return values.T.astype(np.float64)


def write_noise(folder: Path, seconds: Mapping[str, float], rate_hz: int, level: float) -> dict[str, Path]:
    """Float WAVs of noise by their names; "words" is no audio, and "gone" is not there."""
    rng = np.random.default_rng(0)
    files = {name: folder / f"{name}.wav" for name in (*seconds, "words", "gone")}
    for name, length_s in seconds.items():
        soundfile.write(files[name], rng.normal(0, level, round(length_s * rate_hz)), rate_hz, "FLOAT")
    files["words"].write_bytes(b"words " * 100)
    return files
