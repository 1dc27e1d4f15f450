"""The end of a run: its summary, the report and the exit status."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping

from pipeline.cli import config, options, summary
from pipeline.cli.console import messages, streams
from pipeline.cli.console.progress import ProgressLine
from pipeline.cli.flags import failures_allowed
from pipeline.errors import FAILED, OK, UserError
from pipeline.extras import MissingPackagesError
from pipeline.output import history
from pipeline.output.layout import REPORT, join
from pipeline.output.manifest import Manifest
from pipeline.reporting import report, source
from pipeline.running.embed_corpus import Finished


def finish_run(
    flags: argparse.Namespace,
    names: Mapping[int, str],
    directory: str,
    done: Finished,
    started: float,
    line: ProgressLine,
) -> int:
    """Prints a finished run's summary, and writes the report unless `--report off` -> the exit status.

    Args:
      flags: the command's.
      names: display names of classes, by index.
      directory: the output.
      done: what the run came to.
      started: when it began, on the monotonic clock.
      line: shows the stage.
    """
    _keep_flags(flags, directory)
    line.stage("drawing the report")
    made = _report(flags, names, directory)
    line.stage("")
    print(summary.summary(directory, done, time.monotonic() - started, made), flush=True)
    status = _verdict(flags.max_failures, directory, done.manifest)
    if lost := streams.unwritten(sys.stdout) + streams.unwritten(sys.stderr):
        history.note_unprinted(directory, lost)
    return status


def _keep_flags(flags: argparse.Namespace, directory: str) -> None:
    """Keeps the flags in the output. The data set is done: an error here is only reported."""
    try:
        config.keep(directory, config.kept(options.parser(), flags, flags.beam_flags))
    except UserError as error:
        print(f"The flags were not kept: {error.found}. The data set is whole.", file=sys.stderr)


def _report(flags: argparse.Namespace, names: Mapping[int, str], directory: str) -> str:
    """The path or URI of the report; "" without one. The data set is done: errors here are only reported."""
    if flags.report == "off":
        return ""
    if source.is_current(directory, names):
        return join(directory, REPORT)
    try:
        return report.write(directory, names)
    except MissingPackagesError as error:
        print(f"{error}, then python -m pipeline.report {directory}", file=sys.stderr)
        return ""
    except Exception as error:
        found, _ = messages.parts(error)
        print(f"The report was not made: {found}. The data set is whole.", file=sys.stderr)
        print(f"  python -m pipeline.report {directory} tries again.", file=sys.stderr)
        return ""


def _verdict(limit: str, directory: str, manifest: Manifest) -> int:
    """The exit status: 1 if more clips failed than --max_failures allows."""
    totals = manifest.totals
    allowed = failures_allowed(limit, int(totals["clips_in"]))
    if totals["clips_in"] and manifest.skips.get("not_audio") == totals["clips_in"]:
        print(
            f"error: none of {totals['clips_in']:,} files is audio",
            "  Name the folder of the audio.",
            sep="\n",
            file=sys.stderr,
        )
        return FAILED
    if totals["failed"] <= allowed:
        return OK
    found = f"{totals['failed']:,} of {totals['clips_in']:,} clips failed"
    print(
        f"error: {found}, more than --max_failures {limit} ({allowed:,})",
        *summary.top_failures(directory, manifest.failures),
        sep="\n",
        file=sys.stderr,
    )
    print("  All others are written. Fix the files and run again with --retry_failed, or allow more.", file=sys.stderr)
    return FAILED
