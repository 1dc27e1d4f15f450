"""Every record of an output against its manifest, or of record files of any origin by themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context

from pipeline import storage
from pipeline.checking import expectations
from pipeline.checking.checks import FileReport, Rules, check_file
from pipeline.output.layout import OutputError
from pipeline.output.publishing import parquet_files
from pipeline.output_names import DATA
from pipeline.settings import FrontEnd

Checker = Callable[[Sequence[tuple[str, Rules]]], list[FileReport]]
"""Files and their rules -> their reports, in order."""

_OLD = "missing, or not of the shard as it is; pipeline.run --also parquet writes it"
SMALL_BYTES = 64 << 20
"""Less than this is checked in one process: starting others would take longer."""


@dataclass
class Report:
    """All findings.

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
    promise = expectations.read(directory, manifest_uri)
    report = Report(notes=promise.notes, faults=promise.faults)
    report.files = (check or check_files)(promise.files)
    for file in report.files:
        expectations.compare_shard(promise, file)
    report.faults += expectations.failures_faults(promise)
    report.notes += [f"note: {DATA}/{name}: {_OLD}" for name in parquet_files.outdated(directory, promise.manifest)]
    return report


def verify_files(
    patterns: Sequence[str], hop_seconds: float = FrontEnd.hop_seconds, check: Checker | None = None
) -> Report:
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
    """A file and its rules -> its report; an unreadable file is a fault like any other."""
    try:
        return check_file(*file)
    except OSError as error:
        report = FileReport(file[0], read_to_end=False)
        report.fault(f"cannot be read: {error.strerror or error}")
        return report
