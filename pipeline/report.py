"""An output, or record files of any origin, as a page for people: report.html, one self-contained file.

python -m pipeline.report OUTPUT                                        writes OUTPUT/report.html
python -m pipeline.report --manifest none 'released/*.tfrecord'         writes ./report.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline import storage
from pipeline.cli import ending
from pipeline.cli.command import Parser, run_command
from pipeline.output.layout import REPORT, OutputError, explained, join


def write(
    directory: str, class_labels: str | Mapping[int, str] | None = None, manifest_uri: str = "", to: str = ""
) -> str:
    """An output -> its report's path or URI, which is replaced.

    Args:
      directory: the output.
      class_labels: AudioSet's `class_labels_indices.csv` or one like it, or the names of class indices themselves.
      manifest_uri: of a manifest that lies elsewhere.
      to: where the report goes; "": into the output.

    Raises:
      OutputError, RecordError, SourceError, OSError: something that it is made of cannot be read.
    """
    from pipeline.reporting import sample as report_sample

    return _write(report_sample.of_output(directory, manifest_uri), class_labels, to or join(directory, REPORT))


def write_files(patterns: Sequence[str], class_labels: str | None = None, to: str = REPORT) -> str:
    """Record files of any origin, as paths, URIs or globs -> the path or URI of the report on them, as `write`."""
    from pipeline.reporting import sample as report_sample

    return _write(report_sample.of_files(patterns), class_labels, to)


def _write(sample, class_labels: str | Mapping[int, str] | None, to: str) -> str:  # type: ignore[no-untyped-def]
    from pipeline.reporting import page as report_page

    data = report_page.page(sample, _names(class_labels)).encode("utf-8", "replace")
    with explained(to, "writing the report"):
        storage.write_atomic(to, data)
    return to


def _names(class_labels: str | Mapping[int, str] | None) -> Mapping[int, str]:
    """A table of class labels -> display names by class index."""
    if not isinstance(class_labels, str):
        return class_labels or {}
    from pipeline.inputs.class_labels import read_class_labels

    return read_class_labels(class_labels).names


def _main(argv: Sequence[str]) -> None:
    parser = Parser("pipeline.report", __doc__)
    parser.add_argument("output", nargs="+", help="the data set's folder; with --manifest none: record files or globs")
    parser.add_argument(
        "--manifest", default="", metavar="FILE|none", help="a manifest kept elsewhere; none: files by themselves"
    )
    parser.add_argument("--class_labels", metavar="CSV", help="class_labels_indices.csv: names of the labels")
    parser.add_argument("--to", default="", metavar="FILE", help="where the report goes (default: into the output)")
    flags = parser.parse_args(argv)
    if flags.manifest == "none":
        print(write_files(flags.output, flags.class_labels, flags.to or REPORT))
        return
    if len(flags.output) > 1:
        raise OutputError(f"{len(flags.output)} folders were named", "Name one, or files with --manifest none.")
    print(write(flags.output[0], flags.class_labels, flags.manifest, flags.to))


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    return run_command(_main, argv)


if __name__ == "__main__":
    ending.run(main)
