"""The table as text, as JSON, and in the documentation: `python -m benchmarks.report FILE.json ... DOCUMENT.md ...`.

What lies between `<!-- benchmark:NAME -->` and `<!-- end -->` in a document is regenerated from the JSON. Several files
are groups that were measured apart, with the same processor and packages.
"""

from __future__ import annotations

import datetime
import json
import math
import os
import platform
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.measure import Row

PACKAGES = ("tensorflow-cpu", "tensorflow", "apache-beam", "numpy", "scipy", "llvmlite", "resampy", "soundfile")
_PART = re.compile(r"(<!-- benchmark:(\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


@dataclass(frozen=True)
class Table:
    """Rows, and where and when they were measured."""

    rows: Sequence[Row]
    date: str
    processor: str
    cores: int
    versions: Mapping[str, str]
    quick: bool
    rounds: int

    @staticmethod
    def of_now(rows: Sequence[Row], quick: bool, rounds: int) -> Table:
        """Rows that were measured here and now."""
        today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
        return Table(rows, today, processor(), len(os.sched_getaffinity(0)), versions(), quick, rounds)

    def to_json(self) -> dict[str, Any]:
        return {**self.__dict__, "rows": [row.to_json() for row in self.rows]}

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> Table:
        return Table(**{**content, "rows": [Row.from_json(row) for row in content["rows"]]})


def processor() -> str:
    """The processor's model name."""
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return found[1] if found else platform.processor()


def versions() -> dict[str, str]:
    """Versions of Python and the packages that decide speed, those that are installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except ImportError:
            continue
    return found


def line(row: Row, judged: bool = True) -> str:
    """A row for the terminal."""
    mark = ("reached" if row.reached else "MISSED ") if judged and row.bar is not None else "       "
    spread = f" ({min(row.rounds):.3g} to {max(row.rounds):.3g})" if len(row.rounds) > 1 else ""
    detail = "; ".join(f"{name} {_figure(value)}" for name, value in row.detail.items())
    return f"{mark}  {row.value:8.3g} {row.unit:5} {_bar(row):7} {row.name}{spread}" + (
        f"\n{'':27}{detail}" if detail else ""
    )


def _bar(row: Row) -> str:
    """What the row has to reach; "" for one that is not judged."""
    return "" if row.bar is None else f"{'≥' if row.at_least else '≤'} {row.bar:g}"


def as_text(table: Table) -> str:
    """The table for the terminal."""
    found = ", ".join(f"{name} {value}" for name, value in table.versions.items())
    where = f"{table.date}, {table.processor}, {table.cores} cores; {found}"
    how = "little of everything, judging nothing" if table.quick else f"medians of {table.rounds} interleaved rounds"
    return "\n".join(["", where, how, *(line(row, not table.quick) for row in table.rows)])


def as_markdown(table: Table) -> str:
    """The table for the documentation."""
    lines = [
        f"{table.processor}, {table.cores} cores, {table.date}; "
        + ", ".join(f"{name} {value}" for name, value in table.versions.items())
        + f"; medians of {table.rounds} interleaved rounds.",
        "",
        "| what | figure | bar | |",
        "| --- | --- | --- | --- |",
    ]
    for row in table.rows:
        detail = "; ".join(f"{name} {_figure(value)}" for name, value in row.detail.items())
        figure = f"{row.value:.3g} {row.unit}"
        what = row.name + (f"<br>*{detail}*" if detail else "")
        lines.append(f"| {what} | {figure} | {_bar(row)} | {'' if row.reached else '**missed**'} |")
    return "\n".join(lines) + "\n"


CORPORA = {"1,000 hours": 1_000, "AudioSet, 5,800 h": 5_800, "YouTube-8M, 350,000 h": 350_000}


def as_cost(table: Table) -> str:
    """Core-hours of corpora, from the whole command's rows."""
    lines = ["| corpus | core-hours, default kernel | direct kernel |", "| --- | --- | --- |"]
    per_hour = [core_hours_an_hour(table, kernel) for kernel in ("winograd", "direct")]
    for name, hours in CORPORA.items():
        costs = ("not measured" if math.isnan(cost) else f"{hours * cost:,.1f}" for cost in per_hour)
        lines.append(f"| {name} | " + " | ".join(costs) + " |")
    return "\n".join(lines) + "\n"


def core_hours_an_hour(table: Table, kernel: str) -> float:
    """Processor hours that an hour of audio costs, start-up apart; NaN if it was not measured."""
    for row in table.rows:
        if f"({kernel})" in row.name and "CPU s an hour of audio" in row.detail:
            return float(row.detail["CPU s an hour of audio"]) / 3600
    return float("nan")


def joined(tables: Sequence[Table]) -> Table:
    """Tables of groups that were measured apart -> one.

    Raises:
      ValueError: they are of different processors, packages or numbers of rounds.
    """
    first = tables[0]
    for table in tables[1:]:
        for name in ("processor", "cores", "versions", "quick", "rounds"):
            if getattr(table, name) != getattr(first, name):
                raise ValueError(f"{name}: {getattr(first, name)} in one table, {getattr(table, name)} in another")
    return replace(first, rows=[row for table in tables for row in table.rows])


PARTS: dict[str, Callable[[Table], str]] = {"table": as_markdown, "cost": as_cost}


def renewed(document: str, table: Table) -> str:
    """A document -> the same with its generated parts made from a table."""
    return _PART.sub(lambda found: f"{found[1]}{PARTS[found[2]](table)}{found[3]}", document)


def main(argv: Sequence[str] | None = None) -> None:
    """Renews the generated parts of documents."""
    paths = [Path(argument) for argument in (sys.argv[1:] if argv is None else argv)]
    sources = [path for path in paths if path.suffix == ".json"]
    table = joined([Table.from_json(json.loads(path.read_text(encoding="utf-8"))) for path in sources])
    for path in paths[len(sources) :]:
        path.write_text(renewed(path.read_text(encoding="utf-8"), table), encoding="utf-8")


def _figure(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:,g}" if value >= 1000 else f"{value:.4g}"


if __name__ == "__main__":
    main()
