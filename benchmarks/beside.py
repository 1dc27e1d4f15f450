"""Rows of commands that share a machine: an array's tasks with a core each, and two commands that know nothing of each
other."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks import corpus
from benchmarks.measure import Row, Spent, commands, interleaved, ratios, row
from benchmarks.whole import Scale, command

GROUP = "beside"
TASKS_BAR, TWO_BAR = 0.95, 1.1


def rows(folder: Path, scale: Scale) -> list[Row]:
    """Two tasks of an array, and two commands, against one command with two cores; start-up included."""
    if len(os.sched_getaffinity(0)) < 2:
        print(f"  {GROUP}: needs two cores")
        return []
    first, second = sorted(os.sched_getaffinity(0))[:2]
    both = {first, second}
    clips = corpus.flac_corpus(folder, scale.clips)
    output, other = folder / "output", folder / "other-output"

    def one() -> Spent:
        return commands([command(clips, output)], [both])[0]

    def tasks() -> Spent:
        shares = [command(clips, output, "--task", f"{index}/2") for index in range(2)]
        return _last(commands(shares, [{first}, {second}]))

    def two() -> Spent:
        return _last(commands([command(clips, output), command(clips, other)], [both, both]))

    costs = interleaved(scale.rounds, {"one": one, "tasks": tasks, "two": two})
    walls = {name: [cost.wall_s for cost in values] for name, values in costs.items()}
    corpus_of = f"{scale.clips:,} FLAC clips of 10 s"
    halves = [slower / 2 for slower in ratios(walls["two"], walls["one"])]
    return [
        row(GROUP, f"--task 0/2 and 1/2 at once, a core each, {corpus_of} ÷ one run on two cores, rate",
            ratios(walls["one"], walls["tasks"]), TASKS_BAR, True),
        row(GROUP, f"two commands at once, {corpus_of} each, the slower one's time ÷ twice that of one alone",
            halves, TWO_BAR, False),
    ]  # fmt: skip


def _last(side_by_side: list[Spent]) -> Spent:
    """Commands that ran side by side took as long as the last of them."""
    return max(side_by_side, key=lambda cost: cost.wall_s)
