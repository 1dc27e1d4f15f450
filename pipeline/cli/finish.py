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
from pipeline.formatting import clips
from pipeline.output import history
from pipeline.output.layout import REPORT, join
from pipeline.output.manifest import Manifest
from pipeline.output_names import CARD, DATA
from pipeline.reporting import report, source
from pipeline.reporting.options import Options
from pipeline.running.embed_corpus import Finished


def finish_run(
    flags: argparse.Namespace,
    names: Mapping[int, str],
    directory: str,
    done: Finished,
    started: float,
    line: ProgressLine,
) -> int:
    """Prints a finished run's summary; writes the report unless `--report off`, and what `--also` names -> exit status.

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
    line.stage("writing Parquet files" if flags.also else "")
    parquet, written = _parquet(flags, directory, done.manifest)
    line.stage("")
    print(summary.summary(directory, done, time.monotonic() - started, made, parquet), flush=True)
    status = max(_verdict(flags.max_failures, directory, done.manifest), OK if written else FAILED)
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
    audio = flags.report_audio == "on"
    if source.is_current(directory, names, audio):
        return join(directory, REPORT)
    try:
        return report.write(directory, names, options=Options(audio=audio))
    except MissingPackagesError as error:
        print(f"{error}, then python -m pipeline.report {directory}", file=sys.stderr)
        return ""
    except Exception as error:
        found, _ = messages.parts(error)
        print(f"The report was not made: {found}. The data set is whole.", file=sys.stderr)
        print(f"  python -m pipeline.report {directory} tries again.", file=sys.stderr)
        return ""


def _parquet(flags: argparse.Namespace, directory: str, manifest: Manifest) -> tuple[str, bool]:
    """Writes the Parquet files if `--also parquet` -> the summary's words for them, and whether all went well.

    Without the flag, files of earlier runs stay as they are; standard error says so where they are of older shards.
    """
    from pipeline.output.publishing import parquet_files

    try:
        if not flags.also:
            if old := parquet_files.outdated(directory, manifest):
                where = join(directory, DATA)
                files = f"{len(old):,} file{'s' if len(old) > 1 else ''}, {old[0]}{' first' if len(old) > 1 else ''}"
                print(f"note: {where} is older than the records ({files}).", file=sys.stderr)
                print("  --also parquet brings it up to date.", file=sys.stderr)
            return "", True
        done = parquet_files.write(directory)
    except (UserError, OSError) as error:
        messages.show(error, flags.verbose)
        return "", not flags.also
    if not done.card:
        print(f"note: {join(directory, CARD)} is your own, and was left as it is.", file=sys.stderr)
    return f"{join(directory, DATA, '*.parquet')}: {done.made:,} written, {done.kept:,} as they were", True


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
    found = f"{totals['failed']:,} of {clips(int(totals['clips_in']))} failed"
    print(
        f"error: {found}, more than --max_failures {limit} ({allowed:,})",
        *summary.top_failures(directory, manifest.failures),
        sep="\n",
        file=sys.stderr,
    )
    print("  All others are written. Fix the files and run again with --retry_failed, or allow more.", file=sys.stderr)
    return FAILED
