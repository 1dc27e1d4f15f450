"""A finished output -> `data/*.parquet` beside its records, a file a shard, and `README.md`, the data set's card.

A file says of which shard it was made, by the shard's sha256: only those of other shards are made again. Files get
their names when they are whole; killed anywhere, the next call makes what is missing.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline import storage
from pipeline.formatting import text
from pipeline.output import manifest as manifests
from pipeline.output import provenance
from pipeline.output.layout import MANIFEST, OutputError, basename, each, explained, files_in, is_draft, join
from pipeline.output.loading.parquet import source_of, write_records
from pipeline.output.manifest import Manifest
from pipeline.output.matching import Matched
from pipeline.output.publishing import card
from pipeline.output.records import records_of
from pipeline.output_names import CARD, DATA, is_parquet, parquet_name
from pipeline.types import ShardEntry

_REMEDY = "The data set is whole. Check that there is space; the same command writes what is missing."


@dataclass(frozen=True)
class Written:
    """Parquet files of an output: how many were made, are as they were, and were removed; whether it has our card."""

    made: int
    kept: int
    removed: int
    card: bool


def write(directory: str) -> Written:
    """An output -> its Parquet files and card, brought up to date. A shard without a record has no file.

    Raises:
      OutputError: it is not a finished data set, or storage fails.
      RecordError, IncompleteError: its shards are not those that the manifest names.
    """
    found = manifests.read(directory)
    if found is None or not found.complete:
        raise OutputError(f"{directory} has no {MANIFEST} of a finished data set", "Run pipeline.run to its end")
    with explained(directory, "writing Parquet files", _REMEDY):
        folder = join(directory, DATA)
        storage.mkdirs(folder)
        there = files_in(folder)
        wanted = {parquet_name(entry.index, found.num_shards): entry for entry in found.shards if entry.records}
        gone = [name for name in there if is_draft(name) or (is_parquet(name) and name not in wanted)]
        each(directory, storage.delete, [join(folder, name) for name in gone])
        old = _outdated(directory, found, [name for name in wanted if name in there])
        todo = [name for name in wanted if name not in there or name in old]
        for name in todo:
            _write_shard(directory, found, wanted[name])
        return Written(len(todo), len(wanted) - len(todo), len(gone), _write_card(directory, found))


def outdated(directory: str, manifest: Manifest) -> list[str]:
    """Parquet files beside an output's records that are not of its shards as they are, by name; none if it has none."""
    there = [name for name in files_in(join(directory, DATA)) if is_parquet(name)]
    wanted = {parquet_name(entry.index, manifest.num_shards) for entry in manifest.shards if entry.records}
    if not there:
        return []
    others = (set(there) ^ wanted) | set(_outdated(directory, manifest, [name for name in there if name in wanted]))
    return sorted(others)


def remove_unnamed(directory: str, manifest: Manifest) -> None:
    """Removes Parquet files of shards that an output no longer has; without shards the card, too.

    A card in which somebody has written stays.
    """
    named = {parquet_name(entry.index, manifest.num_shards) for entry in manifest.shards}
    folder = join(directory, DATA)
    gone = [name for name in files_in(folder) if is_draft(name) or (is_parquet(name) and name not in named)]
    each(directory, storage.delete, [join(folder, name) for name in gone])
    if not manifest.shards and (before := _read_card(directory)) is not None and card.is_untouched(before):
        storage.delete(join(directory, CARD))


def _outdated(directory: str, manifest: Manifest, names: list[str]) -> list[str]:
    shards = {parquet_name(entry.index, manifest.num_shards): entry for entry in manifest.shards}
    made = provenance.from_manifest(manifest)
    found = each(directory, lambda name: source_of(join(directory, DATA, name)), names)
    return [name for name, source in zip(names, found, strict=True) if source != (shards[name].sha256, made)]


def _write_shard(directory: str, manifest: Manifest, entry: ShardEntry) -> None:
    uri = join(directory, entry.name)
    path = join(directory, DATA, parquet_name(entry.index, manifest.num_shards))
    records = records_of(Matched(uri, (uri,), {uri: entry}))
    made = provenance.from_manifest(manifest)
    write_records(path, records, made.hop_s, made, entry.sha256)


def _write_card(directory: str, manifest: Manifest) -> bool:
    """Writes the card, unless there is one that is somebody's own; whether it is ours."""
    before = _read_card(directory)
    now = card.made(manifest, text(basename(storage.absolute(directory))), before)
    if now is not None and now != before:
        storage.write_atomic(join(directory, CARD), now.encode("utf-8", "surrogateescape"))
    return now is not None


def _read_card(directory: str) -> str | None:
    uri = join(directory, CARD)
    if not storage.exists(uri):
        return None
    with storage.open_read(uri) as file:
        return file.read().decode("utf-8", "surrogateescape")
