"""`python -m pipeline.verify OUTPUT`: every record of an output against its manifest, or of any files by themselves.

Prints a table and a line for each fault; exit status 1 if there is one, 2 if there is nothing to check.
"""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context

import numpy as np

from pipeline import storage
from pipeline.checking import promises
from pipeline.checking.checks import FileReport, Rules, check_file
from pipeline.cli import ending
from pipeline.cli.command import Parser, run_command
from pipeline.cli.flags import FlagError, positive_float, positive_int, unknown_flag
from pipeline.output.layout import OutputError, basename

Checker = Callable[[Sequence[tuple[str, Rules]]], list[FileReport]]
"""Files and their rules -> their reports, in order."""

SMALL_BYTES = 64 << 20
"""Less than this is checked in one process: starting others would take longer."""
ROWS_SHOWN = 40


@dataclass
class Report:
    """All that was found.

    Attributes:
      files: one report a file, in order.
      faults: lines about the output as a whole.
      notes: lines that are no faults.
    """

    files: list[FileReport] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def fault_count(self) -> int:
        return len(self.faults) + sum(file.fault_count for file in self.files)


def verify_output(directory: str, manifest_uri: str = "", check: Checker | None = None) -> Report:
    """An output -> what was found in every record, shard, ledger and the manifest.

    Args:
      directory, manifest_uri: the output, and its manifest if that lies elsewhere.
      check: files and their rules -> their reports, in order; by default in this process.

    Raises:
      OutputError: there is no manifest, or it is not one.
    """
    promise = promises.read(directory, manifest_uri)
    report = Report(notes=promise.notes, faults=promise.faults)
    report.files = (check or check_files)(promise.files)
    for file in report.files:
        promises.compare_shard(promise, file)
    report.faults += promises.failures_faults(promise)
    return report


def verify_files(patterns: Sequence[str], hop_seconds: float = 0.96, check: Checker | None = None) -> Report:
    """Record files of any origin -> what was found in them; OutputError for a pattern that matches nothing."""
    rules = Rules(hop_frames=round(hop_seconds * 100))
    uris: list[str] = []
    for pattern in patterns:
        found = sorted(file.uri for file in storage.match(pattern))
        if not found:
            raise OutputError(f"no file matches {pattern}", "Name record files, or an output without --manifest none.")
        uris += found
    return Report((check or check_files)([(uri, rules) for uri in uris]))


def check_files(files: Sequence[tuple[str, Rules]], jobs: int = 1) -> list[FileReport]:
    """Files and their rules -> their reports, in order, from up to `jobs` processes."""
    if min(jobs, len(files)) <= 1 or sum(_size(uri) for uri, _ in files) < SMALL_BYTES:
        return [check_one(file) for file in files]
    with ProcessPoolExecutor(min(jobs, len(files)), get_context("spawn")) as pool:
        return list(pool.map(check_one, files))


def _size(uri: str) -> int:
    try:
        return storage.size(uri)
    except OSError:
        return 0


def check_one(file: tuple[str, Rules]) -> FileReport:
    """A file and its rules -> its report; that it cannot be read is a fault like others."""
    try:
        return check_file(*file)
    except OSError as error:
        report = FileReport(file[0], read_to_end=False)
        report.fault(f"cannot be read: {error.strerror or error}")
        return report


def table(report: Report) -> str:
    """The report as text: a row a file (of many files only the faulty ones), totals, shares of 0 and 255."""
    rows: list[tuple[str, ...]] = [("file", "records", "frames", "bytes", "faults")]
    many = len(report.files) > ROWS_SHOWN
    for file in report.files:
        if not many or file.fault_count:
            rows.append(_row(basename(file.uri), [file]))
    rows.append(_row(f"{len(report.files)} files", report.files))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) if not column else cell.rjust(width) for column, (cell, width) in enumerate(cells))
        for cells in (list(zip(row, widths, strict=True)) for row in rows)
    ]
    lines.insert(-1, "-" * len(lines[0]))
    counts = sum((file.byte_counts for file in report.files), np.zeros(256, np.int64))
    if total := int(counts.sum()):
        mean = float(counts @ np.arange(256)) / total
        lines.append(f"bytes: {counts[0] / total:.1%} are 0, {counts[255] / total:.1%} are 255, mean {mean:.1f}")
    return "\n".join(lines)


def _row(name: str, files: Iterable[FileReport]) -> tuple[str, ...]:
    files = list(files)
    sums = (getattr(file, what) for what in ("records", "examples", "bytes", "fault_count") for file in files)
    values = np.fromiter(sums, np.int64).reshape(4, len(files)).sum(axis=1)
    return (name, *(f"{value:,}" for value in values))


def fault_lines(report: Report) -> list[str]:
    """The report's faults, one a line, each beginning with what it is about."""
    lines = [f"FAULT {line}" for line in report.faults]
    for file in report.files:
        lines += [f"FAULT {basename(file.uri)}: {line}" for line in file.faults]
        if file.fault_count > len(file.faults):
            lines.append(f"FAULT {basename(file.uri)}: and {file.fault_count - len(file.faults)} more")
    return lines


def parser() -> Parser:
    """The command's flags."""
    result = Parser("pipeline.verify", __doc__)
    result.add_argument("output", nargs="+", help="the data set's folder; with --manifest none: record files or globs")
    result.add_argument(
        "--manifest", default="", metavar="FILE|none", help="a manifest kept elsewhere; none: check files by themselves"
    )
    result.add_argument(
        "--hop_seconds",
        type=positive_float,
        default=0.96,
        metavar="S",
        help="of the records, in seconds, with --manifest none (default: %(default)s s)",
    )
    result.add_argument(
        "--audit", type=positive_int, metavar="N", help="also compute N random clips from their audio and compare bytes"
    )
    result.add_argument("--seed", type=int, default=0, metavar="N", help="of --audit's draw (default: %(default)s)")
    result.add_argument("--checkpoint", default="", metavar="FILE", help="for --audit, if the manifest's name is stale")
    result.add_argument("--pca_params", default="", metavar="FILE", help="likewise")
    result.add_argument(
        "--runner", metavar="NAME", help="check the files in a Beam pipeline; further flags are Beam's (default: none)"
    )
    result.add_argument("--jobs", type=positive_int, metavar="N", help="processes (default: one a core)")
    return result


def _checker(flags: Namespace, beam_flags: Sequence[str]) -> Checker:
    """What checks the files: processes of this machine, or the engine that --runner names."""
    if flags.runner is None:
        if beam_flags:
            raise unknown_flag(beam_flags[0], list(parser()._option_string_actions))
        return partial(check_files, jobs=flags.jobs or os.cpu_count() or 1)
    from pipeline.checking import transforms
    from pipeline.cli.flags import check_beam_flags
    from pipeline.engines import engine

    check_beam_flags(beam_flags)
    return partial(transforms.check_files, on=engine.choose(flags.runner, beam_flags))


def _add_audit(report: Report, flags: Namespace) -> None:
    from pipeline.checking.audit import audit

    found = audit(flags.output[0], flags.audit, flags.seed, flags.checkpoint, flags.pca_params, flags.manifest)
    report.faults += found.faults
    report.notes += found.notes


def _main(argv: Sequence[str]) -> int:
    flags, beam_flags = parser().parse_known_args(argv)
    check = _checker(flags, beam_flags)
    if flags.manifest == "none":
        if flags.audit:
            raise FlagError("--audit needs a manifest, --manifest is none", "Leave --manifest none out, or --audit")
        report = verify_files(flags.output, flags.hop_seconds, check)
    elif len(flags.output) > 1:
        raise FlagError(f"{len(flags.output)} folders were named", "Name one, or files with --manifest none")
    else:
        report = verify_output(flags.output[0], flags.manifest, check)
        if flags.audit:
            _add_audit(report, flags)
    print(table(report))
    for line in (*report.notes, *fault_lines(report)):
        print(line)
    print("no faults" if not report.fault_count else f"{report.fault_count} faults")
    return 1 if report.fault_count else 0


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    return run_command(_main, argv)


if __name__ == "__main__":
    ending.run(main)
