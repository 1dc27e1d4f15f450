"""The check of an output's files as a Beam pipeline: a file an element, one list of reports at the end."""

from __future__ import annotations

import pickle
import uuid
from collections.abc import Iterable, Sequence

import apache_beam as beam

from pipeline import storage
from pipeline.checking import verify
from pipeline.checking.checks import FileReport, Rules
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
            reports = dict(pickle.loads(file.read()))  # ours, written a moment ago
        storage.delete(uri)
    return [reports[index] for index in range(len(files))]


def build(root: beam.Pipeline, files: Sequence[tuple[str, Rules]], uri: str) -> beam.PCollection:
    """The graph: (index, (file, rules)) -> reports -> all of them in one file at `uri`."""
    return (
        root
        | "Files" >> beam.Create([(index, storage.to_bytes(name), rules) for index, (name, rules) in enumerate(files)])
        | "Check" >> beam.MapTuple(_checked)
        | "Collect" >> beam.combiners.ToList()
        | "Write reports" >> beam.Map(_write, uri)
    )


def _checked(index: int, name: bytes, rules: Rules) -> tuple[int, bytes]:
    """A file's place, its name and how to check it -> its place, and its report, pickled."""
    return index, pickle.dumps(verify.check_one((storage.from_bytes(name), rules)))


def _write(reports: Iterable[tuple[int, bytes]], uri: str) -> None:
    storage.write_atomic(uri, pickle.dumps([(index, pickle.loads(report)) for index, report in reports]))
