"""An index on disk: arrays of a set's frames, clips and table, and FAISS's lists where there are many; all or nothing.

It lies below the output's `_state`, which no listing of inputs enters and `verify` does not compare: it is a cache.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import storage
from pipeline.analysis.similar import table
from pipeline.analysis.similar.cosine import unit
from pipeline.analysis.sources import Source, SourceFile, clips
from pipeline.errors import UserError
from pipeline.extras import needs
from pipeline.output.layout import MANIFEST, STATE, basename, join
from pipeline.output.loading.clip_vectors import clip_mean
from pipeline.output.loading.dataset import Level
from pipeline.output.records import Record, RecordError

FORMAT = 1
LEVELS: tuple[Level, ...] = ("frame", "clip")
EXACT = 50_000
"""Vectors up to which none but an exact search is worth anything: it takes some 50 ms."""
SAMPLE = 64
"""Vectors for each of FAISS's lists, of which their centres are learnt."""
PROBES = 64
"""Of FAISS's lists that a query looks into."""
ADDED = 65_536
"""Vectors that FAISS is given at a time: 32 MB."""
_ABANDONED_S = 6 * 3600
"""After which a draft that nobody wrote to is of a build that was killed."""
_SUMMARY = "index.json"


class IndexingError(UserError):
    """An index cannot be made or read as asked."""


@dataclass(frozen=True)
class Stored:
    """What an index's folder holds.

    Attributes:
      folder: where it is.
      files: name and sha256 of each of the set's files, or its size and version where no manifest promises one.
    """

    folder: Path
    files: list[list[str]]


def place(name: str, given: str | None = None) -> Path | None:
    """A set's name -> the folder of its index; None: only a folder that is given would do.

    Raises:
      IndexingError: the folder is not on this machine.
    """
    if given is not None:
        if not storage.is_local(given):
            raise IndexingError(f"{given} is not on this machine: an index is memory-mapped", "Name a folder here")
        return Path(storage.absolute(given))
    if not storage.is_local(name) or not storage.exists(join(name, MANIFEST)):
        return None
    return Path(storage.absolute(name)) / STATE / "search"


def read(folder: Path | None) -> Stored | None:
    """A folder -> the index in it; None where there is none, or one of another format."""
    if folder is None or not (folder / _SUMMARY).is_file():
        return None
    try:
        content = json.loads((folder / _SUMMARY).read_bytes())
        return Stored(folder, content["files"]) if content["format"] == FORMAT else None
    except (ValueError, TypeError, KeyError):
        return None


def fits(stored: Stored, source: Source) -> bool:
    """Whether an index is of a set as it is now."""
    return stored.files == _identity(source)


def vectors(folder: Path, level: Level) -> np.ndarray:
    """The vectors of an index, memory-mapped, uint8 or float32 [n, 128]."""
    path = folder / f"{level}s.npy"
    return np.load(path, mmap_mode="r") if path.stat().st_size > 256 else np.load(path)


def collect(source: Source) -> tuple[table.Table, dict[Level, np.ndarray]]:
    """A set -> its table and its vectors by level, in memory."""
    found = in_memory(record for file in source.files for record in clips(file, as_stored=True))
    if found is None:
        raise _nothing(source)
    return found


def in_memory(records: Iterable[Record]) -> tuple[table.Table, dict[Level, np.ndarray]] | None:
    """Records, one after another -> as `collect`; None of no records."""
    writer, frames, means = table.TableWriter(), [], []
    for record in records:
        writer.add(record)
        frames.append(record.values)
        means.append(clip_mean(record.values))
    return (writer.table(), {"frame": np.concatenate(frames), "clip": np.stack(means)}) if frames else None


def build(source: Source, folder: Path) -> None:
    """A set -> its index in a folder, in place of one that is there.

    Reads the set once. Memory is that of the table and, beyond 50,000 vectors, of FAISS's lists: 136 bytes a vector.

    Raises:
      IndexingError: the folder cannot be written to, or holds something else.
      MissingPackagesError: FAISS is not installed and there are many vectors.
      RecordError, IncompleteError: as `clips`; there is no record.
    """
    if folder.exists() and not (folder / _SUMMARY).is_file() and any(folder.iterdir()):
        raise IndexingError(f"{folder} holds something else than an index", "Name another folder with --index")
    try:
        with _draft(folder) as draft:
            counts = _write(source, draft)
            for level in LEVELS:
                if counts[level] > EXACT:
                    write_lists(draft, level)
            content = {"format": FORMAT, "files": _identity(source), "made": source.made.to_json()}
            (draft / _SUMMARY).write_text(json.dumps(content, indent=2) + "\n")
    except OSError as error:
        raise IndexingError(f"{folder}: {error.strerror or error}", "Name another folder with --index") from error


def library(for_: str) -> Any:
    """FAISS; raises MissingPackagesError. Untyped: its stubs lack what its Python wrappers add."""
    needs("search", "faiss", for_=for_)
    return importlib.import_module("faiss")


def lists(folder: Path, level: Level) -> Any:
    """FAISS's index of one level, memory-mapped; None where there are few vectors."""
    path = folder / f"{level}s.faiss"
    if not path.is_file():
        return None
    faiss = library(f"the index {path}")
    found = faiss.read_index(str(path), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
    inverted = faiss.downcast_InvertedLists(found.invlists)
    if hasattr(inverted, "prefetch_nthread"):
        inverted.prefetch_nthread = 0  # or each query starts 32 threads to read what is mapped anyway
    return found


def _write(source: Source, folder: Path) -> dict[Level, int]:
    """Writes the table and both levels' vectors -> how many vectors each has."""
    writer = table.TableWriter()
    counts: dict[Level, int] = dict.fromkeys(LEVELS, 0)
    dtype = np.dtype(np.uint8 if source.files[0].quantized else "<f4")
    with (folder / "frames.npy").open("wb") as frames, (folder / "clips.npy").open("wb") as means:
        outputs: dict[Level, tuple[Any, np.dtype[Any]]] = {"frame": (frames, dtype), "clip": (means, np.dtype("<f4"))}
        for file, kind in outputs.values():
            _header(file, kind, 0)
        for each in source.files:
            for record in clips(each, as_stored=True):
                writer.add(record)
                rows = record.values.astype(dtype, copy=False)
                found: dict[Level, np.ndarray] = {"frame": rows, "clip": clip_mean(record.values)[np.newaxis]}
                for level, (file, _) in outputs.items():
                    file.write(np.ascontiguousarray(found[level]).data)
                    counts[level] += len(found[level])
        if not counts["clip"]:
            raise _nothing(source)
        for level, (file, kind) in outputs.items():
            file.seek(0)
            _header(file, kind, counts[level])
    writer.table().save(folder)
    return counts


def _header(file: Any, dtype: np.dtype[Any], rows: int) -> None:
    """An .npy header, which NumPy pads so that it keeps its length whatever the number of rows."""
    descr = np.lib.format.dtype_to_descr(dtype)
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": (rows, 128)})


def write_lists(folder: Path, level: Level) -> None:
    """Sorts vectors into as many lists as the root of their number, a byte a value, by FAISS."""
    found = vectors(folder, level)
    faiss = library(f"an index of {len(found):,} vectors")
    width = found.shape[1]
    count = round(len(found) ** 0.5)
    quantizer = faiss.IndexFlatIP(width)
    index = faiss.IndexIVFScalarQuantizer(
        quantizer, width, count, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
    )
    index.cp.spherical = True
    index.cp.niter = 8
    index.cp.seed = 1
    index.cp.max_points_per_centroid = SAMPLE
    rows = np.sort(np.random.default_rng(1).choice(len(found), min(len(found), SAMPLE * count), replace=False))
    index.train(unit(found[rows]))
    for at in range(0, len(found), ADDED):
        index.add(unit(found[at : at + ADDED]))
    faiss.write_index(index, str(folder / f"{level}s.faiss"))


@contextmanager
def _draft(folder: Path) -> Iterator[Path]:
    """A folder beside an index's, which takes its place when the block ends, and is removed if that fails."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    for old in folder.parent.glob(f"{folder.name}.*.tmp"):
        if time.time() - max(path.stat().st_mtime for path in [old, *old.iterdir()]) > _ABANDONED_S:
            shutil.rmtree(old, ignore_errors=True)
    draft = folder.with_name(f"{folder.name}.{os.urandom(4).hex()}.tmp")
    draft.mkdir()
    try:
        yield draft
        if folder.exists():
            shutil.rmtree(folder)
        draft.rename(folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def _identity(source: Source) -> list[list[str]]:
    return [[basename(file.uri), _of_file(file)] for file in source.files]


def _of_file(file: SourceFile) -> str:
    if file.promised:
        return file.promised.sha256
    info = storage.info(file.uri)
    return f"{info.size_bytes} bytes, version {info.version}"


def _nothing(source: Source) -> RecordError:
    return RecordError(f"{source.name}: no record in the files", "Name other files")
