"""Rows of many short segments of one recording: what 1-second rows without gaps cost, against the file as one clip."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.measure import Row, Spent, interleaved, python, ratios, row

GROUP = "segments"
BAR = 1.3
RATE = 44_100
FORMATS = {"MP3": ("mp3", "libmp3lame"), "M4A": ("ipod", "aac"), "Opus": ("ogg", "libopus"), "FLAC": ("flac", "")}


def rows(folder: Path, rounds: int, hours: Sequence[float]) -> list[Row]:
    """A row a format and length: processor time of the command on 1-second rows, divided by that on the whole file, for
    as many examples."""
    result = []
    for length in hours:
        seconds = round(length * 3600)
        for name, (container, codec) in FORMATS.items():
            path = recording(folder, container, codec, seconds)
            listing = folder / f"{path.name}.jsonl"
            lines = ({"uri": path.name, "id": f"{s}", "start_seconds": s, "end_seconds": s + 1} for s in range(seconds))
            listing.write_text("".join(json.dumps(line) + "\n" for line in lines))
            costs = interleaved(
                rounds,
                {
                    "rows": lambda listing=listing: _run(folder, "--manifest", listing),
                    "whole": lambda path=path: _run(folder, "--input", path),
                },
            )
            examples = (100 * seconds - 2) // 96
            values = [cost * examples / seconds for cost in ratios(*([c.cpu_s for c in costs[k]] for k in costs))]
            detail = {f"{kind}, CPU s": round(float(np.median([c.cpu_s for c in costs[kind]])), 1) for kind in costs}
            what = f"1-second rows of {length:g} h of {name} \u00f7 the whole file, CPU time for as many examples"
            result.append(row(GROUP, what, values, BAR, False, detail=detail))
            path.unlink()
    return result


def _run(folder: Path, *inputs: str | Path) -> Spent:
    output = folder / "segments"
    shutil.rmtree(output, ignore_errors=True)
    flags = ["--checkpoint", "standin", "--pca_params", "standin", "--progress", "off", "--report", "off"]
    return python("-m", "pipeline.run", *inputs, "--output", output, *flags)[0]


def recording(folder: Path, container: str, codec: str, seconds: int) -> Path:
    """Stereo noise whose loudness changes from second to second, in a format of FFmpeg's, or FLAC by libsndfile."""
    path = folder / f"recording-{seconds}.{container}"
    rng = np.random.default_rng(0)
    parts = ((rng.uniform(0.01, 0.5) * rng.uniform(-1, 1, (RATE, 2))).astype(np.float32) for _ in range(seconds))
    if codec:
        _by_ffmpeg(path, container, codec, parts)
        return path
    with soundfile.SoundFile(path, "w", RATE, 2) as file:
        for samples in parts:
            file.write(samples)
    return path


def _by_ffmpeg(path: Path, container: str, codec: str, parts: Iterable[np.ndarray]) -> None:
    import av

    with av.open(str(path), "w", format=container) as output:
        stream = output.add_stream(codec, rate=48_000 if codec == "libopus" else RATE, layout="stereo")
        resampler = av.AudioResampler(stream.format.name, "stereo", stream.rate)
        for second, samples in enumerate(parts):
            frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), "flt", "stereo")
            frame.sample_rate, frame.pts = RATE, second * RATE
            for converted in resampler.resample(frame):
                output.mux(stream.encode(converted))
        output.mux(stream.encode(None))
