"""`ReadEmbeddings`: records, ours or released ones, as elements of a Beam pipeline."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict

import apache_beam as beam

from pipeline import storage
from pipeline.formatting import printable
from pipeline.output.matching import Incomplete, frames, matching
from pipeline.output.records import RecordError, parse_placed
from pipeline.running import display
from pipeline.running.clips.elements import EmbeddedClip, embedded
from pipeline.types import ShardEntry


class ReadEmbeddings(beam.PTransform):
    """Records -> PCollection of `EmbeddedClip`s, one a record, a file an element of the work.

    Of our data sets, AudioSet and YouTube-8M (frames or video level), as `pipeline.read_records`. The elements' `uri`
    is "", their times are None where records have none; their `labels` stand in the record's order.

    Args:
      pattern: a data set's folder, a path, URI or glob of TFRecord files, or several. They are looked for, and compared
        with the manifests beside them, when the pipeline runs.
      incomplete: "use" reads whatever is there, without looking at manifests.

    Errors that end the pipeline: `RecordError` for what matches nothing, a damaged record, or an id that is not UTF-8,
    which rows cannot hold; `IncompleteError` for files that are not what the manifest beside them promises.
    """

    def __init__(self, pattern: str | list[str], incomplete: Incomplete = "refuse") -> None:
        super().__init__()
        self.patterns = [pattern] if isinstance(pattern, str) else list(pattern)
        self.incomplete = incomplete

    def display_data(self) -> display.Shown:
        return {"records": printable(" ".join(self.patterns)), "incomplete": self.incomplete}

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection:
        patterns = [storage.to_bytes(pattern) for pattern in self.patterns]
        return (
            root
            | "Start" >> beam.Impulse()
            | "Match" >> beam.FlatMap(files_of, patterns, self.incomplete).with_output_types(bytes)
            | "Spread" >> beam.Reshuffle()
            | "Read" >> beam.FlatMap(clips_of).with_output_types(EmbeddedClip)
        )


def files_of(_: bytes, patterns: list[bytes], incomplete: Incomplete) -> Iterator[bytes]:
    """The pipeline's impulse -> files, and what their manifests promise of them, as JSON."""
    for pattern in patterns:
        matched = matching(storage.from_bytes(pattern), incomplete)
        for uri in matched.files:
            promised = matched.promised.get(uri)
            yield json.dumps([uri, asdict(promised) if promised else None]).encode()


def clips_of(file: bytes) -> Iterator[EmbeddedClip]:
    """A file -> its records as elements."""
    uri, promised = json.loads(file)
    for place, data in frames(uri, ShardEntry(**promised) if promised else None):
        record = parse_placed(data, place)
        try:
            record.id.encode()
        except UnicodeEncodeError:
            raise RecordError(f"{place}: its id {record.id!r} is not UTF-8, which Beam's rows cannot hold") from None
        yield embedded(record.id, "", record.start_s, record.end_s, record.labels, record.values)
