"""An output, or record files of any origin, as a page for people: report.html, one self-contained file.

python -m pipeline.report OUTPUT                                        writes OUTPUT/report.html
python -m pipeline.report --manifest none 'released/*.tfrecord'         writes ./report.html
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.cli.command import ProgramParser, add_incomplete, run_command
from pipeline.output.layout import REPORT, OutputError
from pipeline.reporting.report import write, write_files


def _main(argv: Sequence[str]) -> None:
    parser = ProgramParser("pipeline.report", __doc__)
    parser.add_argument("output", nargs="+", help="the data set's folder; with --manifest none: record files or globs")
    parser.add_argument(
        "--manifest", default="", metavar="FILE|none", help="a manifest kept elsewhere; none: files by themselves"
    )
    parser.add_argument("--class_labels", metavar="CSV", help="class_labels_indices.csv: names of the labels")
    parser.add_argument("--to", default="", metavar="FILE", help="where the report goes (default: into the output)")
    add_incomplete(parser)
    flags = parser.parse_args(argv)
    if flags.manifest == "none":
        print(write_files(flags.output, flags.class_labels, flags.to or REPORT))
        return
    if len(flags.output) > 1:
        raise OutputError(f"{len(flags.output)} folders were named", "Name one, or files with --manifest none.")
    print(write(flags.output[0], flags.class_labels, flags.manifest, flags.to, flags.incomplete))


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    return run_command(_main, argv)
