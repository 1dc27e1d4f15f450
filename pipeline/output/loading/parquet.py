"""Records <-> Parquet: one row a record, and nothing lost either way."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, BinaryIO, cast, get_args

import numpy as np

from pipeline import storage
from pipeline.output import provenance
from pipeline.output.loading.dataset import WIDTH, frame_starts
from pipeline.output.matching import Incomplete, matching
from pipeline.output.records import Record, RecordError, records_of, to_sequence_example, write_tfrecord
from pipeline.types import RecordFormat

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_OF_A_GROUP = 4096
"""Records in memory at a time, and rows of a group of the Parquet file."""
LAYOUT_KEY = b"vggish.layout"
HOP_KEY = b"vggish.hop_seconds"
DEQUANTIZER_KEY = b"vggish.dequantize"
MADE_KEY = b"vggish.made"
SHARD_KEY = b"vggish.shard_sha256"

Placed = tuple[str, Record]
"""A record, after its place for messages."""
_AGAIN = "Make it again with pipeline.parquet"
_READ = ("id", "id_bytes", "start", "end", "embeddings", "labels")


def to_parquet(pattern: str, path: str, *, hop_s: float | None = None, incomplete: Incomplete = "refuse") -> int:
    """TFRecord files -> one Parquet file; returns how many records.

    `start` and `end` float32 (s; null in YouTube-8M's layouts), `frame_times` list of float64 (s, each frame's start),
    `embeddings` list of fixed-size lists of 128 uint8 or float32, `labels` list of int64. The file's metadata names the
    layout, the hop, the dequantizer and, unless `hop_s` is given, what made the embeddings.

    Args:
      pattern: path, URI or glob.
      path: of the Parquet file, which is replaced if there is one.
      hop_s: from one frame to the next; None: as the manifest beside the records says, or the published files' where
        there is none.
      incomplete: as `read_records`.

    Raises:
      RecordError: as `read_records`; or records of different layouts or types, which one file cannot hold.
      IncompleteError: as `read_records`.
    """
    records = records_of(matching(pattern, incomplete))
    first = next(records, None)
    if first is None:
        raise RecordError(f"{pattern}: no record in the files")
    made = None if hop_s else provenance.of(pattern, incomplete)
    hop = hop_s or (made.hop_s if made else 0.0)
    return write_records(path, chain([first], records), hop, made)


def write_records(
    path: str, records: Iterator[Placed], hop: float, made: provenance.Provenance | None, shard_sha256: str = ""
) -> int:
    """At least one record -> a Parquet file as `to_parquet`'s; returns how many.

    Args:
      path: of the file, which is replaced.
      records: of one layout and type.
      hop: from one frame to the next, in seconds.
      made: what made the embeddings, if it is known.
      shard_sha256: of the one file that the records are of, for `source_of`.
    """
    import pyarrow.parquet as pq

    group = list(islice(records, ROWS_OF_A_GROUP))
    first = group[0]
    schema = _schema(first[1], hop, made, shard_sha256)
    count = 0
    with storage.open_write(path) as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        while group:
            writer.write_table(_table(group, first, hop, schema))
            count += len(group)
            group = list(islice(records, ROWS_OF_A_GROUP))
    return count


def from_parquet(path: str, output: str) -> int:
    """A file that `to_parquet` wrote -> one TFRecord file of the layout it came from; returns how many records.

    Raises:
      RecordError: it is no Parquet file, or columns are missing or of other types; names the row.
    """
    with storage.open_read(path) as file, storage.open_write(output) as out:
        parquet, layout = _opened(file, path)
        return write_tfrecord(out, _serialized(parquet, path, layout))


def parquet_records(path: str) -> Iterator[Placed]:
    """A file that `to_parquet` wrote -> its records, each after its place for messages: "a.parquet: row 3".

    Raises:
      RecordError: it is no such file, or a row cannot be read.
    """
    number = 0
    with storage.open_read(path) as file:
        parquet, layout = _opened(file, path)
        try:
            for row in _rows(parquet):
                times = (row["start"], row["end"])
                record = Record(_exact_id(row), *times, tuple(row["labels"] or ()), row["values"], layout)
                yield f"{path}: row {number}", record
                number += 1
        except (ValueError, TypeError, AttributeError, OSError) as error:  # pyarrow's own are of all kinds
            raise RecordError(f"{path}: row {number}: {error}", _AGAIN) from None


def made_by(path: str) -> provenance.Provenance:
    """A file that `to_parquet` wrote -> what made its embeddings; source "unknown" if its metadata does not say.

    Raises:
      RecordError: it is no such file.
    """
    import pyarrow as pa

    with storage.open_read(path) as file:
        parquet, layout = _opened(file, path)
    schema = parquet.schema_arrow
    if found := schema.metadata.get(MADE_KEY):
        return provenance.from_json(json.loads(found))
    settings = {**provenance.PUBLISHED[layout], "hop_seconds": float(schema.metadata[HOP_KEY])}
    if layout != "youtube8m_video" and schema.field("embeddings").type.value_type.value_type != pa.uint8():
        settings["embeddings"] = "raw"
    return provenance.unknown(settings)


def source_of(path: str) -> tuple[str, provenance.Provenance] | None:
    """A Parquet file -> sha256 of the shard that `write_records` made it of, and what made that; None: of none."""
    try:
        with storage.open_read(path) as file:
            parquet, _ = _opened(file, path)
            metadata = parquet.schema_arrow.metadata
        return metadata[SHARD_KEY].decode(), provenance.from_json(json.loads(metadata[MADE_KEY]))
    except (RecordError, KeyError, ValueError, TypeError):
        return None


def _opened(file: BinaryIO, path: str) -> tuple[Any, RecordFormat]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        parquet = pq.ParquetFile(file)
    except (pa.ArrowException, OSError) as error:
        raise RecordError(f"{path} cannot be read as a Parquet file ({error})", _AGAIN) from None
    layout = _layout(parquet, path)
    if missing := [name for name in _READ if name not in parquet.schema_arrow.names]:
        raise RecordError(f"{path} has no column {missing[0]}, only {parquet.schema_arrow.names}", _AGAIN)
    return parquet, layout


def _serialized(parquet: Any, path: str, layout: RecordFormat) -> Iterator[bytes]:
    number = 0
    try:
        for row in _rows(parquet):
            yield _to_bytes(row, layout)
            number += 1
    except (RecordError, ValueError, TypeError, AttributeError, OSError) as error:  # pyarrow's own are of all kinds
        raise RecordError(f"{path}: row {number}: {error}", _AGAIN) from None


def _schema(first: Record, hop: float, made: provenance.Provenance | None, shard_sha256: str) -> pa.Schema:
    import pyarrow as pa

    element = pa.uint8() if first.values.dtype == np.uint8 else pa.float32()
    metadata = {LAYOUT_KEY: first.layout.encode(), HOP_KEY: repr(hop).encode()}
    if made:
        metadata[MADE_KEY] = json.dumps(made.to_json()).encode()
    if shard_sha256:
        metadata[SHARD_KEY] = shard_sha256.encode()
    if element == pa.uint8():
        metadata[DEQUANTIZER_KEY] = b"x = q * 4 / 255 + 4 / 512 - 2"
    columns = {
        "id": pa.string(),
        "id_bytes": pa.binary(),
        "start": pa.float32(),
        "end": pa.float32(),
        "frame_times": pa.list_(pa.float64()),
        "embeddings": pa.list_(pa.list_(element, WIDTH)),
        "labels": pa.list_(pa.int64()),
    }
    return pa.schema(list(columns.items()), metadata)


def _table(placed: Sequence[Placed], first: Placed, hop: float, schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    for each in placed:
        if _kind(each) != _kind(first):
            found = f"{_named(each)} is {_kind(each)}, {_named(first)} is {_kind(first)}"
            raise RecordError(found, "Convert data sets of different layouts or types apart")
    records = [record for _, record in placed]
    offsets = np.cumsum([0] + [len(record.values) for record in records]).astype(np.int32)
    times = np.concatenate([frame_starts(len(record.values), record.start_s or 0.0, hop) for record in records])
    rows = pa.FixedSizeListArray.from_arrays(np.concatenate([record.values for record in records]).ravel(), WIDTH)
    arrays = [
        pa.array([_text(record.id) for record in records], pa.string()),
        pa.array([_inexact(record.id) for record in records], pa.binary()),
        pa.array([record.start_s for record in records], pa.float32()),
        pa.array([record.end_s for record in records], pa.float32()),
        pa.ListArray.from_arrays(offsets, times),
        pa.ListArray.from_arrays(offsets, rows),
        pa.array([list(record.labels) for record in records], pa.list_(pa.int64())),
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _named(placed: Placed) -> str:
    return f"{placed[0]} ({placed[1].id})"


def _kind(placed: Placed) -> str:
    return f"{placed[1].layout} {placed[1].values.dtype}"


def _text(clip_id: str) -> str:
    return clip_id.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _inexact(clip_id: str) -> bytes | None:
    return None if clip_id == _text(clip_id) else clip_id.encode("utf-8", "surrogateescape")


def _layout(parquet: Any, path: str) -> RecordFormat:
    layout = (parquet.schema_arrow.metadata or {}).get(LAYOUT_KEY, b"").decode()
    if layout not in get_args(RecordFormat):
        raise RecordError(f"{path} was not written by pipeline.parquet: its metadata has no {LAYOUT_KEY.decode()}")
    return cast(RecordFormat, layout)


def _rows(parquet: Any) -> Iterator[dict[str, Any]]:
    for batch in parquet.iter_batches(ROWS_OF_A_GROUP, columns=list(_READ)):
        embeddings = batch.column("embeddings")
        offsets = embeddings.offsets.to_numpy()
        flat = embeddings.values.values.to_numpy().reshape(-1, WIDTH)
        columns = {name: batch.column(name).to_pylist() for name in _READ if name != "embeddings"}
        for i in range(len(batch)):
            row = {name: column[i] for name, column in columns.items()}
            yield {**row, "values": flat[offsets[i] : offsets[i + 1]]}


def _to_bytes(row: dict[str, Any], layout: RecordFormat) -> bytes:
    return to_sequence_example(
        _exact_id(row), row["start"] or 0.0, row["end"] or 0.0, row["labels"], row["values"], record_format=layout
    )


def _exact_id(row: dict[str, Any]) -> str:
    exact = row["id_bytes"]
    return row["id"] if exact is None else exact.decode("utf-8", "surrogateescape")
