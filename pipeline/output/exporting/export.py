"""Records -> arrays: one vector a clip, or all frames, beside a table of the clips. Memory is that of the table."""

from __future__ import annotations

import csv
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, get_args

import numpy as np

from pipeline import storage
from pipeline.errors import UserError
from pipeline.formatting import text
from pipeline.output.exporting import hoplite, tfds
from pipeline.output.exporting.clip_rows import ClipRows, clip_rows
from pipeline.output.loading.dataset import WIDTH, Level
from pipeline.output.loading.grouping import grouped
from pipeline.output.matching import Incomplete

Kind = Literal["npy", "npz", "parquet", "hoplite", "tfds"]
COLUMNS = ("row", "rows", "id", "start_seconds", "end_seconds", "labels")
"""Of the table of clips: the clip's first row in X, how many it has, and what its record says."""
Note = Callable[[tuple[Any, ...], tuple[int, ...]], Any]
"""Takes a clip's cells of the table, but for the labels, and its labels."""
ROWS_OF_A_GROUP = 8192
"""Of Parquet: 4 MB of vectors."""


class ExportError(UserError):
    """An export cannot be written as asked."""


@dataclass(frozen=True)
class Exported:
    """What an export holds: clips, and vectors."""

    clips: int
    rows: int


def export_arrays(
    pattern: str, destination: str, kind: Kind = "npy", level: Level = "clip", incomplete: Incomplete = "refuse"
) -> Exported:
    """TFRecord files -> their embeddings as float32 arrays, in the records' order, whole once they have their name.

    "npy": a folder with `X.npy` [rows, 128], which `np.load(..., mmap_mode="r")` opens without reading it, and
    `clips.csv`: each clip's first row and number of rows, id, times in seconds, class indices. "npz": one file with `X`
    and the table's columns as arrays; clip i has the labels `labels[label_offsets[i]:label_offsets[i + 1]]`. "parquet":
    a row a vector, with its clip's id, times and labels, and which of the clip's vectors it is (`frame`). "hoplite": a
    folder with perch-hoplite's database (`pipeline.output.exporting.hoplite`). "tfds": a folder that
    `tfds.builder_from_directory` opens (`pipeline.output.exporting.tfds`).

    Args:
      pattern: path, URI or glob.
      destination: a folder that is not there yet ("npy", "hoplite", "tfds"; on this machine), or a file, which is
        replaced.
      kind: of the files.
      level: "clip": the mean of a clip's frames, zeros for one without a frame; "frame": all frames, clip after clip.
        A record of YouTube-8M's video level has one vector at either.
      incomplete: as `read_records`.

    Raises:
      ExportError: the destination cannot be written to as asked.
      MissingPackagesError: perch-hoplite or tensorflow-datasets is not installed.
      RecordError: as `read_records`; nothing to export, or values that are not finite.
      IncompleteError: as `read_records`.
    """
    for value, known in ((kind, get_args(Kind)), (level, get_args(Level))):
        if value not in known:
            raise ExportError(f"{value!r} is none of {', '.join(known)}", "Give one of them")
    rows = clip_rows(pattern, level, incomplete)
    if kind in ("hoplite", "tfds"):
        (hoplite if kind == "hoplite" else tfds).expect_packages()
        with _new_folder(destination) as draft:
            if kind == "hoplite":
                return Exported(*hoplite.write(rows, draft, pattern, level))
            return Exported(*tfds.write(rows, draft, pattern, level, destination))
    write: Callable[[Iterator[ClipRows], str], Exported]
    write = {"npy": _write_npy, "npz": _write_npz, "parquet": _write_parquet}[kind]
    return write(rows, destination)


def _write_npy(rows: Iterator[ClipRows], destination: str) -> Exported:
    with _new_folder(destination) as draft:
        with (draft / "X.npy").open("w+b") as array, (draft / "clips.csv").open("w", encoding="utf-8", newline="") as f:
            table = csv.writer(f, lineterminator="\n")
            table.writerow(COLUMNS)
            written = _stream(array, rows, lambda cells, labels: table.writerow((*cells, ",".join(map(str, labels)))))
    return written


@contextmanager
def _new_folder(destination: str) -> Iterator[Path]:
    """A folder beside a destination, which becomes it when the block ends, and is removed if that fails."""
    if not storage.is_local(destination):
        raise ExportError(f"{destination} is not on this machine", "Export to a folder here, and copy it")
    target = Path(storage.local_path(destination))
    if target.exists():
        raise ExportError(f"{destination} is there already", "Name another folder, or remove it")
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f"{target.name}.{os.urandom(4).hex()}.tmp")
    draft.mkdir()
    try:
        yield draft
        for path in filter(Path.is_file, draft.rglob("*")):
            with path.open("r+b") as file:
                os.fsync(file.fileno())
        draft.rename(target)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def _stream(array: IO[bytes], rows: Iterator[ClipRows], note: Note) -> Exported:
    """Writes the vectors as an .npy file, and notes the clips."""
    written = Exported(0, 0)
    _write_header(array, 0)
    for each in rows:
        array.write(np.ascontiguousarray(each.vectors, "<f4").data)
        record = each.record
        note((each.row, len(each.vectors), text(record.id), record.start_s, record.end_s), record.labels)
        written = Exported(written.clips + 1, each.row + len(each.vectors))
    array.seek(0)
    _write_header(array, written.rows)
    return written


def _write_header(array: IO[bytes], rows: int) -> None:
    """An .npy file's header, which NumPy pads so that it keeps its length whatever the number of rows."""
    np.lib.format.write_array_header_1_0(array, {"descr": "<f4", "fortran_order": False, "shape": (rows, WIDTH)})


def _write_npz(rows: Iterator[ClipRows], destination: str) -> Exported:
    table: list[tuple[Any, ...]] = []
    labels: list[tuple[int, ...]] = []

    def note(cells: tuple[Any, ...], classes: tuple[int, ...]) -> None:
        table.append(cells)
        labels.append(classes)

    with tempfile.TemporaryFile() as array:
        written = _stream(array, rows, note)
        with storage.open_write(destination) as file, zipfile.ZipFile(file, "w") as archive:
            with archive.open("X.npy", "w", force_zip64=True) as member:
                array.seek(0)
                shutil.copyfileobj(array, member, 1 << 20)
            for name, values in _columns(table, labels).items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, values, allow_pickle=False)
    return written


def _columns(table: list[tuple[Any, ...]], labels: list[tuple[int, ...]]) -> dict[str, np.ndarray]:
    """The table's columns as arrays, NaN for times that there are not, and the labels end to end."""
    types = (np.int64, np.int64, np.str_, np.float64, np.float64)
    columns = zip(*table, strict=True)
    found = {name: np.array(column, type_) for name, column, type_ in zip(COLUMNS, columns, types, strict=False)}
    found["labels"] = np.array([label for each in labels for label in each], np.int64)
    found["label_offsets"] = np.cumsum([0, *map(len, labels)])
    return found


def _write_parquet(rows: Iterator[ClipRows], destination: str) -> Exported:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        {
            "id": pa.string(),
            "start": pa.float32(),
            "end": pa.float32(),
            "labels": pa.list_(pa.int64()),
            "frame": pa.int64(),
            "embedding": pa.list_(pa.float32(), WIDTH),
        }
    )
    clips = count = 0
    with storage.open_write(destination) as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for group in grouped(rows, lambda each: len(each.vectors), ROWS_OF_A_GROUP):
            records = [each.record for each in group for _ in each.vectors]
            vectors = np.concatenate([each.vectors for each in group])
            columns = [
                pa.array([text(record.id) for record in records], pa.string()),
                pa.array([record.start_s for record in records], pa.float32()),
                pa.array([record.end_s for record in records], pa.float32()),
                pa.array([list(record.labels) for record in records], pa.list_(pa.int64())),
                pa.array([frame for each in group for frame in range(len(each.vectors))], pa.int64()),
                pa.FixedSizeListArray.from_arrays(vectors.ravel(), WIDTH),
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
            clips, count = clips + len(group), count + len(vectors)
    return Exported(clips, count)
