"""The check of an output's files as a Beam pipeline: a file an element, one list of reports at the end."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence

import apache_beam as beam

from pipeline import storage
from pipeline.checking import verify
from pipeline.checking.checks import FileReport, Rules
from pipeline.running import plain
from pipeline.running.engines import graphs, runners
from pipeline.running.engines.exchange import place


def check_files(files: Sequence[tuple[str, Rules]], engine: runners.Engine) -> list[FileReport]:
    """Files and their rules -> their reports, in order, from an engine's workers.

    The reports, a few kB a file, come back through a file (`pipeline.running.engines.exchange`).

    Raises:
      NoPlaceError: an engine elsewhere has no --temp_location.
    """
    if not files:
        return []
    with place(engine, "reports") as folder:
        uri = storage.join(folder, f"verify-{uuid.uuid4().hex}.reports")
        graphs.run(engine, lambda root: build(root, files, uri))
        with storage.open_read(uri) as file:
            reports = dict(plain.loads(file.read()))
        storage.delete(uri)
    return [reports[index] for index in range(len(files))]


def build(root: beam.Pipeline, files: Sequence[tuple[str, Rules]], uri: str) -> beam.PCollection:
    """The graph: (index, (file, rules)) -> reports -> all of them in one file at `uri`."""
    return (
        root
        | "Files" >> beam.Create([plain.dumps((index, *file)) for index, file in enumerate(files)])
        | "Check" >> beam.Map(_checked).with_output_types(tuple[int, bytes])
        | "Collect" >> beam.GroupByKey()
        | "Write reports" >> beam.Map(_write, uri).with_output_types(int)
    )


def _checked(file: bytes) -> tuple[int, bytes]:
    """A file's place, its name and how to check it -> 0, and its place and its report."""
    index, name, rules = plain.loads(file)
    return 0, plain.dumps((index, verify.check_one((name, rules))))


def _write(collected: tuple[int, Iterable[bytes]], uri: str) -> int:
    reports = [plain.loads(report) for report in collected[1]]
    storage.write_atomic(uri, plain.dumps(reports))
    return len(reports)
