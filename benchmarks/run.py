"""The speed and memory table: `python -m benchmarks.run [--quick] [--json FILE] [--only GROUP ...]`.

Every row is a ratio of figures that were measured in the same run, in interleaved rounds, and is judged by the rounds'
median. The full table takes about 40 minutes on two cores; --quick about two, prints and judges nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import beside, front_end, lists, loader, network, report, search, segments, small, start, whole
from benchmarks.measure import Row

os.environ.setdefault("NO_GCE_CHECK", "true")  # Beam would ask the network whether this is a cloud machine


@dataclass(frozen=True)
class Counts:
    """How much is measured."""

    rounds: int
    front_end_clips: int
    rate_examples: int
    distance_examples: int
    seeds: int
    training_steps: int
    records: int
    hours: tuple[float, ...]
    listed: int
    searched: int
    scale: whole.Scale


FULL = Counts(5, 10, 1024, 256, 3, 40, 5000, (1, 3), 200_000, 1_000_000, whole.Scale(5, 600, 60, 6000, 1024))
QUICK = Counts(
    1, 2, 128, 64, 1, 0, 1000, (), 20_000, 100_000, whole.Scale(1, 24, 3, 48, 128, ("winograd",), warm_up=False)
)


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints, writes; the exit status: 0, or 1 if a row of the full table misses its bar."""
    flags = _parser().parse_args(argv)
    counts = QUICK if flags.quick else FULL
    only = flags.only or (QUICK_GROUPS if flags.quick else GROUPS)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="vggish-benchmark-", dir=flags.folder) as folder:
        for name, group in _groups(Path(folder), counts).items():
            if name in only:
                print(f"{name} ...", flush=True)
                rows += group()
                table = report.Table.of_now(rows, quick=flags.quick, rounds=counts.rounds)
                if flags.json:  # after each group: the whole takes long, and may be stopped
                    Path(flags.json).write_text(json.dumps(table.to_json(), indent=1) + "\n", encoding="utf-8")
    print(report.as_text(table))
    return 0 if flags.quick or all(row.reached for row in rows) else 1


def _groups(folder: Path, counts: Counts) -> dict[str, Callable[[], list[Row]]]:
    from vggish_core.weights import standin

    def weights(name: str) -> Path:
        return standin.files() / name

    def checkpoint() -> Path:
        return weights(standin.CHECKPOINT_FILE)

    def pca() -> Path:
        return weights(standin.PCA_FILE)

    rounds, scale = counts.rounds, counts.scale
    return {
        small.HELP: lambda: small.help_rows(rounds),
        start.GROUP: lambda: start.rows(folder, rounds, checkpoint(), pca()),
        small.RECORDS: lambda: small.record_rows(folder, rounds, counts.records),
        small.JOURNAL: lambda: small.journal_rows(folder, rounds, counts.records, checkpoint()),
        loader.GROUP: lambda: loader.rows(folder, rounds, counts.records),
        front_end.GROUP: lambda: front_end.rows(folder, rounds, counts.front_end_clips),
        network.RATE: lambda: network.rate_rows(checkpoint(), rounds, counts.rate_examples),
        network.DISTANCE: lambda: network.distance_rows(
            folder, counts.distance_examples, counts.seeds, counts.training_steps
        ),
        whole.WHOLE: lambda: whole.speed_rows(folder, checkpoint(), pca(), scale),
        whole.WORKERS: lambda: whole.worker_rows(folder, checkpoint(), scale),
        beside.GROUP: lambda: beside.rows(folder, scale),
        whole.MEMORY: lambda: whole.memory_rows(folder, scale),
        segments.GROUP: lambda: segments.rows(folder, min(3, rounds), counts.hours),
        lists.GROUP: lambda: lists.rows(folder, min(3, rounds), counts.listed),
        search.GROUP: lambda: search.rows(folder, checkpoint(), counts.searched, counts.distance_examples),
    }


GROUPS = (
    "help",
    "start",
    "records",
    "journal",
    "loader",
    "front_end",
    "embedder",
    "distance",
    "whole",
    "workers",
    "beside",
    "memory",
    "segments",
    "lists",
    "search",
)
LONG_GROUPS = {"workers", "beside", "segments", "start", "search"}
"""Eight processes for one row; five for two; hours of audio; two dozen starts; an index of a million frames."""
QUICK_GROUPS = tuple(name for name in GROUPS if name not in LONG_GROUPS)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="little of everything, to see that it works")
    parser.add_argument("--json", metavar="FILE", help="write the table there as JSON")
    parser.add_argument("--only", nargs="+", choices=GROUPS, metavar="GROUP", help=f"of {', '.join(GROUPS)}")
    parser.add_argument("--folder", help="where to make temporary files, 500 MB (default: the system's)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
