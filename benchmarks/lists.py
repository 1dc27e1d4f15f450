"""Rows of long lists: what `--check` of very many rows costs, of which one has audio, against that one row."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.measure import Row, interleaved, peak_memory, python, ratios, row

GROUP = "lists"
CPU_BAR, MEMORY_BAR = 2.5, 1.2
RATE = 16_000


def rows(folder: Path, rounds: int, count: int) -> list[Row]:
    """Processor time and the peak of memory with so many rows, of a manifest and of a segment list, divided by those
    with one."""
    audio = folder / "audio"
    audio.mkdir()
    noise = np.random.default_rng(0).normal(0, 0.1, 10 * RATE)
    soundfile.write(audio / "there.wav", noise.astype(np.float32), RATE)
    classes = folder / "classes.csv"
    classes.write_text("index,mid,display_name\n0,/m/09x0r,Speech\n")
    result = []
    for kind in ("manifest", "segments"):
        commands = {}
        for name, absent in (("many", count), ("one", 0)):
            path = folder / f"{kind}-{name}.csv"
            path.write_text("\n".join([*(manifest if kind == "manifest" else segments)(absent), ""]))
            lists = ["--manifest", path] if kind == "manifest" else _segments_flags(audio, path, classes)
            commands[name] = _command(folder, *lists)
        costs = interleaved(
            rounds,
            {name: lambda command=command: python(*command)[0].cpu_s for name, command in commands.items()},
        )
        peaks = {name: peak_memory(*command) for name, command in commands.items()}
        what = f"{kind} of {count + 1:,} rows, one with audio \u00f7 that one: --check"
        a_row_s = statistics.median(many - one for many, one in zip(costs["many"], costs["one"], strict=True)) / count
        detail = {"CPU µs a row": round(a_row_s * 1e6, 1)}
        result.append(
            row(GROUP, f"{what}, CPU time", ratios(costs["many"], costs["one"]), CPU_BAR, False, detail=detail)
        )
        detail = {f"{name}, MB": round(peak / 1e6) for name, peak in peaks.items()}
        result.append(
            row(GROUP, f"{what}, peak memory", [peaks["many"] / peaks["one"]], MEMORY_BAR, False, detail=detail)
        )
    return result


def manifest(absent: int) -> Sequence[str]:
    """Lines of a manifest with so many rows whose files are not there, and one whose file is."""
    return ["uri", *(f"gone/{number:07d}.wav" for number in range(absent)), "audio/there.wav"]


def segments(absent: int) -> Sequence[str]:
    """As `manifest`, of a segment list."""
    names = [*(f"{number:011d}" for number in range(absent)), "there"]
    return ["# YTID, start_seconds, end_seconds, positive_labels", *(f'{n}, 0.000, 10.000, "/m/09x0r"' for n in names)]


def _segments_flags(audio: Path, path: Path, classes: Path) -> list[str | Path]:
    return ["--input", audio, "--segments", path, "--class_labels", classes]


def _command(folder: Path, *lists: str | Path) -> list[str | Path]:
    flags = ["--checkpoint", "standin", "--pca_params", "standin", "--check"]
    return ["-m", "pipeline.run", *lists, "--output", folder / "lists", *flags]
