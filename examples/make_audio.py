"""Example audio of our own making: a few minutes in several formats and rates, with two files that give no record.

    python -m examples.make_audio demo/audio

The same sounds each time: they come from formulas and one fixed seed. Files that are there already are left alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

Sound = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""Times in seconds [n] and random numbers -> samples [n] in [-1, 1]."""

BLOCK_FRAMES = 4096
"""libsndfile's Vorbis encoder crashes on very long blocks."""


def chirp(t: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A tone that rises from 100 Hz by 300 Hz a second, and falls silent at 7 kHz."""
    return np.sin(2 * np.pi * (100 * t + 150 * t**2)) * (100 + 300 * t < 7000)


def rain(t: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Noise that swells and fades."""
    return random.normal(0, 0.25, len(t)) * (0.55 + 0.45 * np.sin(2 * np.pi * 0.15 * t))


def clicks(t: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Two clicks a second, each a damped ring."""
    since = t % 0.5
    return np.exp(-60 * since) * np.sin(2 * np.pi * 1800 * since)


def voice(t: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A buzzing pitch of 120 Hz through three resonances that wander between vowels, in syllables."""
    wander = 0.5 + 0.5 * np.sin(2 * np.pi * 0.7 * t)
    total = np.zeros_like(t)
    for low, high, width in ((300, 750, 90), (900, 2200, 120), (2400, 2800, 160)):
        resonance = low + (high - low) * wander
        for harmonic in range(1, 28):
            loud = np.exp(-0.5 * ((120 * harmonic - resonance) / width) ** 2)
            total += loud * np.sin(2 * np.pi * 120 * harmonic * t)
    return 0.3 * total * np.clip(np.sin(2 * np.pi * 2.5 * t) * 3, 0, 1)


def chord(t: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Chords of three plucked notes, a new one every second."""
    roots = np.array([220.0, 174.6, 261.6, 196.0])[(t % 4).astype(int)]
    notes = sum(np.sin(2 * np.pi * roots * ratio * (t % 1)) for ratio in (1, 1.25, 1.5))
    return 0.3 * notes * np.exp(-2.5 * (t % 1))


@dataclass(frozen=True)
class Example:
    """A file to make."""

    name: str
    sound: Sound
    seconds: float
    rate_hz: int
    channels: int = 1
    subtype: str | None = None


EXAMPLES = (
    Example("tones/chirp.wav", chirp, 20, 16000),
    Example("tones/chirp fast.wav", chirp, 10, 48000, 2, "PCM_24"),
    Example("tones/float.wav", chord, 12, 32000, 1, "FLOAT"),
    Example("weather/rain.flac", rain, 30, 44100, 2),
    Example("weather/drizzle.ogg", rain, 15, 44100),
    Example("machines/clock.mp3", clicks, 20, 44100, 2),
    Example("machines/clock slow.opus", clicks, 12, 48000),
    Example("voices/vowels.m4a", voice, 15, 44100, 2),
    Example("voices/telephone.wav", voice, 10, 8000),
    Example("music/chords.flac", chord, 45, 22050),
    Example("music/studio.flac", chord, 10, 96000, 2, "PCM_24"),
    Example("too short.wav", clicks, 0.6, 16000),
)
BROKEN = "notes.wav"


def samples(example: Example) -> np.ndarray:
    """An example -> float32 [n, channels]; channels after the first are quieter and a little late."""
    random = np.random.default_rng(2017)
    t = np.arange(round(example.seconds * example.rate_hz)) / example.rate_hz
    mono = 0.8 * np.clip(example.sound(t, random), -1, 1)
    late = round(0.004 * example.rate_hz)
    return np.stack([np.roll(mono, late * c) * 0.9**c for c in range(example.channels)], axis=1).astype(np.float32)


def write(path: Path, example: Example) -> None:
    """Make one file, in the format of its extension."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".m4a":
        _write_aac(path, samples(example), example.rate_hz)
        return
    import soundfile

    kind = {".opus": ("OGG", "OPUS"), ".ogg": ("OGG", "VORBIS"), ".mp3": ("MP3", None)}.get(path.suffix, (None, None))
    data = samples(example)
    with soundfile.SoundFile(
        path, "w", example.rate_hz, example.channels, example.subtype or kind[1], format=kind[0]
    ) as file:
        for start in range(0, len(data), BLOCK_FRAMES):
            file.write(data[start : start + BLOCK_FRAMES])


def _write_aac(path: Path, data: np.ndarray, rate_hz: int) -> None:
    import av

    layout = "mono" if data.shape[1] == 1 else "stereo"
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=rate_hz, layout=layout)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(data.T), format="fltp", layout=layout)
        frame.sample_rate = rate_hz
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)


def make(directory: Path) -> list[Path]:
    """A folder -> the files in it: the examples, and a text that is called a WAV; made where they are not there."""
    made = []
    for example in EXAMPLES:
        made.append(directory / example.name)
        if not made[-1].exists():  # left alone otherwise: a file that is written again counts as changed
            draft = made[-1].with_name(f".{made[-1].name}")
            write(draft, example)
            draft.replace(made[-1])
    made.append(directory / BROKEN)
    if not made[-1].exists():
        made[-1].write_text("This is no audio, whatever its name says.\n")
    return made


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m examples.make_audio", description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path, help="where to put the files")
    made = make(parser.parse_args().directory)
    minutes = sum(example.seconds for example in EXAMPLES) / 60
    size = sum(path.stat().st_size for path in made) / 1e6
    print(f"made {len(made)} files, {minutes:.1f} minutes, {size:.1f} MB:")
    for path in made:
        print(f"  {path}")


if __name__ == "__main__":
    main()
