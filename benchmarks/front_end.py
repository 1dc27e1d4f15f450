"""Rows of the front end: processor time from a file to its examples, against the reference that tests compare with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from benchmarks import corpus, reference_front_end
from benchmarks.measure import Row, interleaved, ratios, row, spent

GROUP = "front_end"
BARS = {"FLAC": 10.0, "MP3": 12.0, "Vorbis": 8.0, "WAV": 18.0}


def rows(folder: Path, rounds: int, clips: int) -> list[Row]:
    """A row a format, each of `clips` clips of 10 s; products of matrices on one thread, as in a decoder process."""
    from threadpoolctl import threadpool_limits

    from vggish_core.features.examples import wavfile_to_examples

    result = []
    for index, name in enumerate(corpus.FORMATS):
        paths = corpus.clips(folder / f"format-{index}", name, clips)
        calls = {"ours": wavfile_to_examples, "reference": reference_front_end.file_to_examples}
        with threadpool_limits(1):
            _round(calls, paths)  # compiles, reads tables; a decoder process is at work for long
            measured = [_round(calls, paths) for _ in range(rounds)]
        costs = {who: [one[who] for one in measured] for who in calls}
        result.append(
            row(
                GROUP,
                f"front end, {name}: CPU time of the reference ÷ ours",
                ratios(costs["reference"], costs["ours"]),
                BARS[name.split()[0]],
                True,
                detail={
                    f"{who}, ms a clip of 10 s": round(1000 * min(seconds) / clips, 2) for who, seconds in costs.items()
                },
            )
        )
    return result


def _round(calls: Mapping[str, Callable[[Path], object]], paths: Sequence[Path]) -> dict[str, float]:
    """CPU seconds of each over all clips, clip by clip in turn: what the machine does beside it meets both alike."""
    costs = [interleaved(1, {who: partial(_cpu_s, call, path) for who, call in calls.items()}) for path in paths]
    return {who: sum(cost[who][0] for cost in costs) for who in calls}


def _cpu_s(to_examples: Callable[[Path], object], path: Path) -> float:
    return spent(lambda: to_examples(path)).cpu_s
