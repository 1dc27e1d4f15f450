"""Sets of embeddings as they are named to be compared: output folders, record files, Parquet; and their clips."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline import storage
from pipeline.errors import UserError
from pipeline.output import provenance
from pipeline.output.layout import MANIFEST, join
from pipeline.output.loading.dataset import dequantize
from pipeline.output.matching import Incomplete, frames, matching
from pipeline.output.records import Record, RecordError, expect_finite, parse_placed
from pipeline.output.tfrecord import read_tfrecord
from pipeline.types import ShardEntry

PARQUET = ".parquet"


class MadeDifferentlyError(UserError):
    """Sets whose embeddings do not mean the same."""


@dataclass(frozen=True)
class SourceFile:
    """A file of a set.

    Attributes:
      uri: a TFRecord file, or one that `to_parquet` wrote.
      quantized: whether its embeddings are bytes.
      promised: what a manifest says of it.
    """

    uri: str
    quantized: bool
    promised: ShardEntry | None = None


@dataclass(frozen=True)
class Source:
    """A set of embeddings.

    Attributes:
      name: as it was given.
      files: its files, by name.
      made: what made it.
    """

    name: str
    files: tuple[SourceFile, ...]
    made: provenance.Provenance

    @property
    def raw(self) -> bool:
        """Whether its embeddings are the network's, and not projected by a PCA."""
        return self.made.settings["embeddings"] == "raw"


def find(name: str, incomplete: Incomplete = "refuse") -> Source | None:
    """An output's folder, or a path, URI, folder or glob of record or Parquet files -> the set; None: it is audio.

    Raises:
      RecordError: nothing matches, or files of several sets that were made differently.
      IncompleteError: as `read_records`.
    """
    if storage.exists(join(name, MANIFEST)):
        return _of_records(name, join(name, "embeddings-*.tfrecord"), incomplete)
    in_folder = [file.uri for file in storage.list_folder(name)]
    for ending in (".tfrecord", PARQUET):
        if any(uri.endswith(ending) for uri in in_folder):
            return _of_pattern(name, join(name, f"*{ending}"), incomplete)
    files = storage.match(name)
    if not files:
        raise RecordError(f"no file matches {name}", "Check the path, and quote patterns")
    known = files[0].uri.endswith(PARQUET) or are_records(files[0].uri)
    return _of_pattern(name, name, incomplete) if known else None


def _of_pattern(name: str, pattern: str, incomplete: Incomplete) -> Source:
    files = [file.uri for file in storage.match(pattern)]
    return _of_parquet(name, files) if files[0].endswith(PARQUET) else _of_records(name, pattern, incomplete)


def are_records(uri: str) -> bool:
    """Whether a file is a TFRecord file, by its first frame."""
    try:
        with storage.open_read(uri) as file:
            return next(read_tfrecord(file, uri), None) is not None
    except (RecordError, OSError):
        return False


def expect_alike(sources: Sequence[Source]) -> None:
    """Raises MadeDifferentlyError, with the settings' names, unless all sets' embeddings mean what the first's do."""
    first = sources[0]
    for other in sources[1:]:
        if different := provenance.differences(first.made, other.made):
            flags = " ".join(f"--{line.partition(' is ')[0]}" for line in different)
            raise MadeDifferentlyError(
                f"{other.name} and {first.name} were made differently: {'; '.join(different)}",
                f"Embed one of them again with the other's {flags} (python -m pipeline.run), or name its audio",
            )


def clips(file: SourceFile, as_stored: bool = False) -> Iterator[Record]:
    """A file of a set -> its records, in order, with `values` float32 [k, 128]: bytes dequantized, unless `as_stored`.

    Raises:
      RecordError: a damaged record, one of bytes among floats, values that are not finite; names its place.
      IncompleteError: the file is another than was promised.
    """
    for place, record in _placed(file):
        if (record.values.dtype == np.uint8) is not file.quantized and len(record.values):
            kinds = ("floats", "quantized") if file.quantized else ("quantized", "floats")
            raise RecordError(f"{place} ({record.id}) holds {kinds[0]}, the set's first record {kinds[1]}")
        expect_finite(record, place)
        quantized = record.values.dtype == np.uint8 and not as_stored
        yield replace(record, values=dequantize(record.values) if quantized else record.values)


def _placed(file: SourceFile) -> Iterator[tuple[str, Record]]:
    if file.uri.endswith(PARQUET):
        from pipeline.output.loading.parquet import parquet_records

        yield from parquet_records(file.uri)
        return
    for place, data in frames(file.uri, file.promised):
        yield place, parse_placed(data, place)


def _of_records(name: str, pattern: str, incomplete: Incomplete) -> Source:
    made = provenance.of(pattern, incomplete)
    matched = matching(pattern, incomplete)
    quantized = made.settings["embeddings"] == "quantized"
    return Source(name, tuple(SourceFile(uri, quantized, matched.promised.get(uri)) for uri in matched.files), made)


def _of_parquet(name: str, files: Sequence[str]) -> Source:
    from pipeline.output.loading.parquet import made_by

    if others := [uri for uri in files if not uri.endswith(PARQUET)]:
        raise RecordError(f"{name}: {others[0]} lies among Parquet files", "Name the Parquet files alone")
    found = [made_by(uri) for uri in files]
    for uri, other in zip(files[1:], found[1:], strict=True):
        if different := provenance.differences(found[0], other):
            raise RecordError(f"{files[0]} and {uri} were made differently: {'; '.join(different)}", "Give one kind")
    quantized = found[0].settings["embeddings"] == "quantized"
    return Source(name, tuple(SourceFile(uri, quantized) for uri in files), found[0])
