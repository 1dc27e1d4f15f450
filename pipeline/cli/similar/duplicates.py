"""Near-identical clips and stretches of a data set, or of two: what is in it twice, what leaks from train to test.

    python -m pipeline.duplicates embeddings --csv twice.csv
    python -m pipeline.duplicates train --against test --json leaks.json
    python -m pipeline.duplicates train --runner PortableRunner --job_endpoint HOST:PORT

The score is the cosine between embeddings: of the means of whole clips, or the mean over a stretch's frames.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from typing import TYPE_CHECKING

from pipeline.analysis.similar import LEAST, RAW_THRESHOLD, THRESHOLD
from pipeline.cli.command import ProgramParser, add_incomplete, run_command
from pipeline.cli.console import streams
from pipeline.cli.flags import check_beam_flags, positive_float, positive_int
from pipeline.errors import FlagError
from pipeline.formatting import short, text

if TYPE_CHECKING:
    from pipeline.analysis.similar.duplicates import Compare, Duplicate, Duplicates
    from pipeline.analysis.sources import Source

SHOWN = 20
"""Of what was found, without --csv or --json."""


def _cosine(given: str) -> float:
    value = positive_float(given)
    if value > 1:
        raise argparse.ArgumentTypeError(f"{given!r} is not a number above 0, up to 1")
    return value


def _parser() -> ProgramParser:
    parser = ProgramParser("pipeline.duplicates", __doc__)
    parser.add_argument("output", help="the data set's folder, or record or Parquet files")
    parser.add_argument("--against", metavar="SET", help="another set: what both have (default: the set with itself)")
    parser.add_argument(
        "--threshold",
        type=_cosine,
        metavar="C",
        help=f"least cosine (default: {THRESHOLD}, of raw embeddings {RAW_THRESHOLD})",
    )
    parser.add_argument(
        "--least", type=positive_int, default=LEAST, metavar="N", help="frames of a stretch (default: %(default)s)"
    )
    parser.add_argument("--csv", metavar="FILE", help="write all that is found as CSV")
    parser.add_argument("--json", metavar="FILE", help="the same as JSON, with what was left out")
    parser.add_argument(
        "--runner",
        metavar="NAME",
        help="compare all frames, however many, in a Beam pipeline; further flags are Beam's (default: none)",
    )
    add_incomplete(parser)
    return parser


def _main(argv: Sequence[str]) -> None:
    parser = _parser()
    flags, rest = parser.parse_known_args(argv)
    if rest and flags.runner is None:
        parser.parse_args(argv)  # for its error
    from pipeline.analysis.similar.duplicates import duplicates

    with _compared(flags.runner, rest) as compare:
        against = _source(flags.against, flags) if flags.against else None
        found = duplicates(_source(flags.output, flags), against, flags.threshold, flags.least, compare)
    _write(flags, found)
    clips = sum(each.kind == "clip" for each in found.found)
    print(f"{clips:,} pairs of clips, {len(found.found) - clips:,} stretches")
    for each in found.found[:SHOWN]:
        print(line(each))
    if len(found.found) > SHOWN:
        written = flags.csv or flags.json or "--csv FILE writes all"
        print(f"… {len(found.found) - SHOWN:,} more: {written}")
    for note in found.notes:
        print(f"note: {note}", file=sys.stderr)
    if not (flags.csv or flags.json):
        streams.expect_printed()


@contextmanager
def _compared(runner: str | None, rest: Sequence[str]) -> Iterator[Compare | None]:
    """A runner and Beam's flags -> what compares all pairs there; None of none: this process does."""
    if runner is None:
        yield None
        return
    check_beam_flags(rest)
    from pipeline.analysis.similar.jobs import Job
    from pipeline.running.engines import exchange, places, runners

    engine = runners.choose(runner, rest)
    places.look_at_temporary(engine, shared=True)
    with exchange.place(engine, "vectors") as place:
        yield Job(engine, place)


def _source(name: str, flags: Namespace) -> Source:
    from pipeline.analysis.sources import find

    source = find(name, flags.incomplete)
    if source is None:
        raise FlagError(f"{name} holds no records", "Name a data set; python -m pipeline.run makes one of audio")
    return source


def line(each: Duplicate) -> str:
    """A pair as a line of text."""
    first = f"{short(each.first)} {each.first_start_s:.2f}–{each.first_end_s:.2f} s"
    return f"{each.score:.4f}  {first}  {short(each.second)} {each.second_start_s:.2f}–{each.second_end_s:.2f} s"


def _write(flags: Namespace, found: Duplicates) -> None:
    from pipeline import storage

    if flags.csv:
        storage.write_atomic(flags.csv, to_csv(found).encode("utf-8", "replace"))
    if flags.json:
        pairs = [{**asdict(each), "first": text(each.first), "second": text(each.second)} for each in found.found]
        content = {"threshold": found.threshold, "least": flags.least, "notes": list(found.notes), "found": pairs}
        storage.write_atomic(flags.json, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def to_csv(found: Duplicates) -> str:
    """All pairs as CSV."""
    from pipeline.analysis.similar.duplicates import Duplicate

    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    names = [each.name for each in fields(Duplicate)]
    writer.writerow([f"{name.removesuffix('_s')}_seconds" if name.endswith("_s") else name for name in names])
    for each in found.found:
        writer.writerow([text(value) if isinstance(value, str) else value for value in asdict(each).values()])
    return lines.getvalue()


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    return run_command(_main, argv)
