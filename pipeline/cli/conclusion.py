"""How a run ends for its user: what came of it, the report, and the exit status."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping

from pipeline import report
from pipeline.cli import messages, streams, summary
from pipeline.cli.flags import failures_allowed
from pipeline.manifest import Manifest
from pipeline.output import history

OK, FAILED = 0, 1


def conclude(
    flags: argparse.Namespace,
    names: Mapping[int, str],
    directory: str,
    manifest: Manifest,
    computed_s: float,
    elapsed_s: float,
    kept: int,
) -> int:
    """Prints what a finished run came to, and writes the report unless `--report off` -> the exit status.

    Args:
      flags: the command's.
      names: display names of classes, by index.
      directory, manifest, computed_s, elapsed_s, kept: as `summary.summary`.
    """
    made = _report(flags, names, directory)
    print(summary.summary(directory, manifest, computed_s, elapsed_s, kept, made), flush=True)
    status = _verdict(flags.max_failures, directory, manifest)
    if lost := streams.unwritten(sys.stdout) + streams.unwritten(sys.stderr):
        history.note_unprinted(directory, lost)
    return status


def _report(flags: argparse.Namespace, names: Mapping[int, str], directory: str) -> str:
    """The path or URI of the report; "" without one. The data set is done: what goes wrong here is told, no more."""
    if flags.report == "off":
        return ""
    try:
        return report.write(directory, names)
    except Exception as error:
        found, _ = messages.parts(error)
        print(f"The report was not made: {found}. The data set is whole.", file=sys.stderr)
        print(f"  python -m pipeline.report {directory} tries again.", file=sys.stderr)
        return ""


def _verdict(limit: str, directory: str, manifest: Manifest) -> int:
    """The exit status: 1 if more clips failed than --max_failures allows."""
    totals = manifest.totals
    allowed = failures_allowed(limit, int(totals["clips_in"]))
    if totals["failed"] <= allowed:
        return OK
    found = f"{totals['failed']:,} of {totals['clips_in']:,} clips failed"
    print(
        f"error: {found}, more than --max_failures {limit} ({allowed:,})",
        *summary.top_failures(directory, manifest.failures),
        sep="\n",
        file=sys.stderr,
    )
    print("  All others are written. Mend the files and run again with --retry_failed, or allow more.", file=sys.stderr)
    return FAILED
