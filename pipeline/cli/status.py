"""How far an output is: clips done and failed, and the rate, whatever works on it, and from any machine that reads it.

python -m pipeline.status embeddings
python -m pipeline.status s3://bucket/embeddings --json
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict

from pipeline import storage
from pipeline.cli.command import ProgramParser, run_command
from pipeline.cli.console import streams
from pipeline.formatting import clips, duration, times_real_time
from pipeline.output.at_work.status import Status, look


def described(found: Status) -> str:
    """An output's status as text."""
    totals, rows = found.committed, found.rows
    state = "a finished data set" if found.complete else "not finished"
    state += ", being written" if found.since is not None else "" if found.complete else ", nobody is at work"
    lines = [
        f"{found.output}: {state}",
        f"  committed  {clips(int(totals['clips_in']))}: {totals['written']:,} written, {totals['failed']:,} failed, "
        f"{totals['skipped']:,} skipped; {totals['examples']:,} examples of {duration(totals['audio_seconds'])}",
    ]
    if rows.clips or rows.examples:
        lines.append(
            f"  computed   {clips(rows.clips)} not yet committed, {rows.failed:,} of them failed or skipped; "
            f"{rows.examples:,} examples of {duration(found.rows_audio_seconds)}"
        )
    if found.planned:
        share = min(1.0, (found.done or 0) / found.planned)
        lines.append(f"  planned    {clips(found.planned)}, {found.done:,} of them computed ({share:.0%})")
    if found.since is not None:
        rate = f", {times_real_time(found.times_real_time)}" if found.times_real_time is not None else ""
        lines.append(f"  at work    for {duration(max(0.0, time.time() - found.since))}{rate}")
    lines += [f"  command    {name}" for name in found.at_work]
    lines += [f"  job        {job}, unless it has ended: its engine knows" for job in found.jobs]
    return "\n".join(lines)


def _main(argv: Sequence[str]) -> None:
    parser = ProgramParser("pipeline.status", __doc__)
    parser.add_argument("output", help="the output's folder; local, gs:// or s3://")
    parser.add_argument("--json", action="store_true", help="print all figures as JSON (default: for people)")
    flags = parser.parse_args(argv)
    found = look(storage.absolute(flags.output))
    print(json.dumps(asdict(found), indent=1) if flags.json else described(found))
    streams.expect_printed()


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    return run_command(_main, argv, "Nothing was changed.")
