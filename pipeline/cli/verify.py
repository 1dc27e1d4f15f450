"""`python -m pipeline.verify OUTPUT`: every record of an output against its manifest, or of any files by themselves.

Prints a table and a line for each fault; exit status 1 if there is one, 2 if there is nothing to check.
"""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np

from pipeline.checking.checks import FileReport
from pipeline.checking.verify import Checker, Report, check_files, verify_files, verify_output
from pipeline.cli.command import ProgramParser, run_command
from pipeline.cli.flags import positive_float, positive_int, unknown_flag
from pipeline.errors import FlagError
from pipeline.formatting import number_of
from pipeline.output.layout import basename
from pipeline.settings import FrontEnd

ROWS_SHOWN = 40
"""Files with a row of their own; of more, those with faults."""


def table(report: Report) -> str:
    """The report as text: a row per file (of many files only the faulty ones), totals, shares of 0 and 255."""
    rows: list[tuple[str, ...]] = [("file", "records", "frames", "bytes", "faults")]
    many = len(report.files) > ROWS_SHOWN
    for file in report.files:
        if not many or file.fault_count:
            rows.append(_row(basename(file.uri), [file]))
    rows.append(_row(number_of(len(report.files), "file"), report.files))
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
    """The report's faults, one per line, each beginning with its subject."""
    lines = [f"FAULT {line}" for line in report.faults]
    for file in report.files:
        lines += [f"FAULT {basename(file.uri)}: {line}" for line in file.faults]
        if file.fault_count > len(file.faults):
            lines.append(f"FAULT {basename(file.uri)}: and {file.fault_count - len(file.faults)} more")
    return lines


def parser() -> ProgramParser:
    """The command's flags."""
    result = ProgramParser("pipeline.verify", __doc__)
    result.add_argument("output", nargs="+", help="the data set's folder; with --manifest none: record files or globs")
    result.add_argument(
        "--manifest", default="", metavar="FILE|none", help="a manifest kept elsewhere; none: check files by themselves"
    )
    result.add_argument(
        "--hop_seconds",
        type=positive_float,
        default=FrontEnd.hop_seconds,
        metavar="S",
        help="of the records, in seconds, with --manifest none (default: %(default)s s)",
    )
    result.add_argument(
        "--audit", type=positive_int, metavar="N", help="also compute N random clips from their audio and compare bytes"
    )
    result.add_argument("--seed", type=int, default=0, metavar="N", help="of --audit's draw (default: %(default)s)")
    result.add_argument(
        "--checkpoint", default="", metavar="FILE", help="for --audit, if the manifest's path is out of date"
    )
    result.add_argument("--pca_params", default="", metavar="FILE", help="the same")
    result.add_argument(
        "--runner", metavar="NAME", help="check the files in a Beam pipeline; further flags are Beam's (default: none)"
    )
    result.add_argument("--jobs", type=positive_int, metavar="N", help="processes (default: one per core)")
    return result


def _checker(flags: Namespace, beam_flags: Sequence[str]) -> Checker:
    """The checker of the files: processes of this machine, or the engine that --runner names."""
    if flags.runner is None:
        if beam_flags:
            raise unknown_flag(beam_flags[0], list(parser()._option_string_actions))
        return partial(check_files, jobs=flags.jobs or os.cpu_count() or 1)
    from pipeline.checking import transforms
    from pipeline.cli.flags import check_beam_flags
    from pipeline.running.engines import places, runners

    check_beam_flags(beam_flags)
    engine = runners.choose(flags.runner, beam_flags)
    places.look(engine, (("output", uri) for uri in flags.output), shared=True)
    return partial(transforms.check_files, engine=engine)


def _expect_ours(report: Report) -> None:
    """Raises FlagError where no record of the files is one of embeddings: there is nothing to check."""
    if report.files and all(file.others and file.others >= file.records for file in report.files):
        first = report.files[0]
        remedy = "Give records of pipeline.run, of AudioSet, or YouTube-8M's with audio; compressed files unpacked"
        raise FlagError(f"{first.uri}: {first.faults[0]}", remedy)


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
        _expect_ours(report)
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
