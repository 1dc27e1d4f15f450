"""An output, or record files of any origin, as a page for people: one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pipeline import extras, storage
from pipeline.output.layout import REPORT, explained, join
from pipeline.output.matching import Incomplete
from pipeline.reporting.options import DEFAULTS, Options

if TYPE_CHECKING:
    from pipeline.reporting.sample import Sample


def write(
    directory: str,
    class_labels: str | Mapping[int, str] | None = None,
    manifest_uri: str = "",
    to: str = "",
    incomplete: Incomplete = "refuse",
    options: Options = DEFAULTS,
) -> str:
    """An output -> its report's path or URI, which is replaced.

    Args:
      directory: the output.
      class_labels: AudioSet's `class_labels_indices.csv` or one like it, or the names of class indices themselves;
        None: those that the output has numbered.
      manifest_uri: of a manifest that lies elsewhere.
      to: where the report goes; "": into the output.
      incomplete: "refuse" compares the output with its manifest first: whether it is complete, each shard is there, of
        its size, and no other; and the sha256 of the shards that the sample is from. "use" reports on what is there.
      options: what it shows beyond the data set.

    Raises:
      IncompleteError: the output is not what its manifest promises.
      MissingPackagesError, OutputError, RecordError, SourceError, OSError: something that it is made of cannot be read.
    """
    expect_packages()
    from pipeline.checking import expectations
    from pipeline.output import classes
    from pipeline.reporting import sample as report_sample
    from pipeline.reporting import source

    expectations.read_manifest(directory, manifest_uri)  # its error is the one that says what the folder is
    names = classes.numbered(directory) if class_labels is None else _names(class_labels)
    # First: what changes meanwhile makes it old.
    digest = "" if manifest_uri else source.digest(directory, names, options.audio)
    sample = report_sample.of_output(directory, manifest_uri, incomplete)
    return _write(sample, names, to or join(directory, REPORT), options, digest)


def write_files(
    patterns: Sequence[str], class_labels: str | None = None, to: str = REPORT, options: Options = DEFAULTS
) -> str:
    """Record files of any origin, as paths, URIs or globs -> the path or URI of the report on them, as `write`."""
    expect_packages()
    from pipeline.reporting import sample as report_sample

    return _write(report_sample.of_files(patterns), _names(class_labels), to, options)


def expect_packages() -> None:
    """Raises MissingPackagesError without the packages that make the page and its figures."""
    extras.needs("report", "jinja2", for_=REPORT)


def _write(sample: Sample, names: Mapping[int, str], to: str, options: Options, source: str = "") -> str:
    from pipeline.reporting import page as report_page

    data = report_page.page(sample, names, source, options).encode("utf-8", "replace")
    with explained(to, "writing the report"):
        storage.write_atomic(to, data)
    return to


def _names(class_labels: str | Mapping[int, str] | None) -> Mapping[int, str]:
    """A table of class labels -> display names by class index."""
    if not isinstance(class_labels, str):
        return class_labels or {}
    from pipeline.corpus.class_labels import read_class_labels

    return read_class_labels(class_labels).names
