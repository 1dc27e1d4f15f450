"""What a person waits for: one clip, a rerun, an estimate, the first run ever; and the parent's own work an example."""

from __future__ import annotations

import os
import re
import resource
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import soundfile

from benchmarks import corpus
from benchmarks.measure import Row, Spent, python, row
from benchmarks.whole import command
from vggish_core.cache import CACHE_VARIABLE

GROUP = "start"
ONE_BARS, RERUN_BARS, CHECK_BAR_S, FIRST_BAR_S = (2.5, 3.0), (1.0, 1.2), 4.0, 20.0
PARENT_BAR_MS = 0.05
OFF_BAR = 0.25
DURATIONS_S = {1: 400, 5: 400, 10: 200, 600: 6}
"""Seconds of a clip -> how many."""
PARENT_CLIPS = (20, 620)
RATE_HZ = 16_000


def rows(folder: Path, rounds: int, checkpoint: Path, pca: Path) -> list[Row]:
    """All rows of the group."""
    one, output = _clips(folder / "one", 1, 5), folder / "start"
    python(*command(one, output))
    runs = [python(*command(one, output))[0] for _ in range(rounds)]
    again = [argument for argument in command(one, folder / "another") if argument != "--overwrite"]
    again[again.index(str(folder / "another"))] = str(output)
    reruns = [python(*again)[0] for _ in range(rounds)]
    found = [
        *_both("one clip of 5 s, second run", runs, ONE_BARS),
        *_both("a rerun with nothing to do", reruns, RERUN_BARS),
        _first(folder, one, min(rounds, 3), checkpoint, pca),
        _parent(folder),
    ]
    return [*found, *(row for seconds in DURATIONS_S for row in _estimates(folder, seconds, min(rounds, 3)))]


def _both(name: str, spent: Sequence[Spent], bars: tuple[float, float]) -> list[Row]:
    cpu, wall = [one.cpu_s for one in spent], [one.wall_s for one in spent]
    return [
        row(GROUP, f"{name}, CPU time", cpu, bars[0], False, unit="s"),
        row(GROUP, f"{name}, clock", wall, bars[1], False, unit="s"),
    ]


def _first(folder: Path, clips: Path, rounds: int, checkpoint: Path, pca: Path) -> Row:
    """A run with an empty cache, the weights at hand."""
    seconds = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(dir=folder) as cache, mock.patch.dict(os.environ, {CACHE_VARIABLE: cache}):
            flags = ["--checkpoint", str(checkpoint), "--pca_params", str(pca)]
            seconds.append(python(*command(clips, folder / "first", *flags))[0].wall_s)
    return row(
        GROUP, "first run on a machine, one clip, without downloads, clock", seconds, FIRST_BAR_S, False, unit="s"
    )


def _parent(folder: Path) -> Row:
    """Processor time of the command's own process for an example, with decoders at work and a network of zeros."""
    spent = []
    for count in PARENT_CLIPS:
        clips = _clips(folder / f"parent-{count}", count, 10)
        with _no_network():
            from pipeline.cli import run

            before = resource.getrusage(resource.RUSAGE_SELF)
            status = run.main([*command(clips, folder / "parent")[2:], "--report", "off"])
            after = resource.getrusage(resource.RUSAGE_SELF)
        if status:
            raise RuntimeError(f"the command ended with status {status}")
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    examples = (PARENT_CLIPS[1] - PARENT_CLIPS[0]) * corpus.EXAMPLES_A_CLIP
    each_ms = (spent[1] - spent[0]) / examples * 1000
    name = "CPU time of the command's own process for an example of 10 s clips, without network and decoding"
    return row(GROUP, name, [each_ms], PARENT_BAR_MS, False, unit="ms")


@contextmanager
def _no_network() -> Iterator[None]:
    from pipeline.embedding import embed, models

    def load(model: object, check: bool = False) -> models.EmbedFunction:
        return lambda examples: (np.zeros((len(examples), 128), np.uint8), np.ones(len(examples), bool))

    with mock.patch.object(models, "load", load), mock.patch.object(embed, "_workers", {}):
        yield


def _estimates(folder: Path, seconds: int, rounds: int) -> list[Row]:
    """`--check` of clips of a duration: how long it takes, and its estimate divided by the run's time."""
    count = DURATIONS_S[seconds]
    clips = _clips(folder / f"check-{seconds}", count, seconds)
    output = folder / "checked"
    took, off = [], []
    for _ in range(rounds):
        with tempfile.NamedTemporaryFile("r", dir=folder) as said:
            check = python("-m", "benchmarks.start", said.name, *command(clips, output, "--check")[2:])[0]
            foretold = _seconds(said.read())
        took.append(check.wall_s)
        off.append(foretold / python(*command(clips, output))[0].wall_s)
    worst = max(off, key=lambda ratio: abs(ratio - 1))
    name = f"--check of {count} clips of {seconds} s"
    detail = {"estimate ÷ run": round(statistics.median(off), 2), "worst": round(worst, 2)}
    found = [row(GROUP, f"{name}: estimate ÷ run, distance from 1", [abs(o - 1) for o in off], OFF_BAR, False,
                 detail=detail)]  # fmt: skip
    if count == 400:
        found.append(row(GROUP, f"{name}, clock", took, CHECK_BAR_S, False, unit="s"))
    return found


def _seconds(said: str) -> float:
    """What `--check` printed -> the seconds that it foretells on this machine."""
    found = re.search(r"core-hours, (?:(\d+) h )?(?:(\d+) min)? ?(?:(\d+) s)? on this machine", said)
    if found is None:
        raise RuntimeError(f"no estimate in {said!r}")
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return 3600.0 * hours + 60 * minutes + seconds


def _clips(folder: Path, count: int, seconds: int) -> Path:
    """So many clips of noise, FLAC at 16 kHz; links to at most ten files."""
    if folder.is_dir():
        return folder
    folder.mkdir()
    originals = []
    for number in range(min(count, 10)):
        originals.append(folder / f"{number:05d}.flac")
        samples = np.random.default_rng(number).normal(0, 0.1, seconds * RATE_HZ)
        soundfile.write(originals[-1], samples, RATE_HZ)
    for number in range(len(originals), count):
        os.link(originals[number % len(originals)], folder / f"{number:05d}.flac")
    return folder


if __name__ == "__main__":
    import sys
    from contextlib import redirect_stdout

    from pipeline.cli import run

    with Path(sys.argv[1]).open("w", encoding="utf-8") as file, redirect_stdout(file):
        status = run.main(sys.argv[2:])
    sys.exit(status)
