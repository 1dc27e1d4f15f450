"""Rows of the front end: processor time from a file to its examples, against the reference that tests compare with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from benchmarks import corpus, reference_front_end
from benchmarks.measure import Row, interleaved, ratios, row, spent

GROUP = "front_end"
FLAC_BAR, BAR = 10.0, 8.0


def rows(folder: Path, rounds: int, clips: int) -> list[Row]:
    """A row a format, each of `clips` clips of 10 s; products of matrices on one thread, as in a decoder process."""
    from threadpoolctl import threadpool_limits

    from vggish_core.examples import wavfile_to_examples

    result = []
    for index, name in enumerate(corpus.FORMATS):
        paths = corpus.clips(folder / f"format-{index}", name, clips)
        calls = {"ours": wavfile_to_examples, "reference": reference_front_end.file_to_examples}
        measures = {who: partial(_cpu_s, to_examples, paths) for who, to_examples in calls.items()}
        with threadpool_limits(1):
            for measure in measures.values():
                measure()  # compiles, reads tables; a decoder process is at work for long
            costs = interleaved(rounds, measures)
        result.append(
            row(
                GROUP,
                f"front end, {name}: CPU time of the reference ÷ ours",
                ratios(costs["reference"], costs["ours"]),
                FLAC_BAR if "FLAC" in name else BAR,
                True,
                detail={
                    f"{who}, ms a clip of 10 s": round(1000 * min(seconds) / clips, 2) for who, seconds in costs.items()
                },
            )
        )
    return result


def _cpu_s(to_examples: Callable[[Path], object], paths: Sequence[Path]) -> float:
    def all_of_them() -> None:
        for path in paths:
            to_examples(path)

    return spent(all_of_them).cpu_s
