"""The outcomes of a shard and what it held before -> a sorted record file and its ledger, staged for the commit."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from heapq import merge as merge_sorted
from typing import BinaryIO

from pipeline import storage
from pipeline.output import ledger, records
from pipeline.output.assemble import ClipResult, assemble
from pipeline.output.layout import OutputError, explained, join, ledger_name, shard_name, staging
from pipeline.output.staged import ShardEntry, ShardResult, read_held
from pipeline.output.tfrecord import frame
from pipeline.settings import Output
from pipeline.types import ClipKey, Outcome, Removal

Item = tuple[ledger.LedgerEntry, "bytes | None"]
"""A clip's ledger entry and, if it is written, its record."""


def write_shard(output: Output, index: int, outcomes: Iterable[Outcome], attempt: str) -> ShardResult:
    """All that a run has on the clips of a shard -> the staged shard: old ∪ new, new first, `Removal`s left out.

    Embeddings of the shard's new clips are held in memory; records that it held before are streamed.

    Raises:
      OutputError: storage fails, or the committed shard is damaged.
      AssemblyError: pieces of a clip are missing or contradict each other.
    """
    items = list(outcomes)
    dropped = {item.clip.key for item in items if isinstance(item, Removal)}
    new = assemble(items)
    staged = f"{staging(output.array)}/{attempt}-{index:05d}-{uuid.uuid4().hex[:8]}"
    with explained(output.directory, f"writing shard {index}"):
        storage.mkdirs(join(output.directory, staging(output.array)))
        try:
            result = _stage(output, index, new, dropped, attempt, staged)
            storage.write_atomic(join(output.directory, f"{staged}.json"), result.to_json())
        except Exception:
            for suffix in (".tfrecord", ".jsonl"):
                with suppress(Exception):
                    storage.delete(join(output.directory, staged + suffix))
            raise
    return result


def _stage(
    output: Output, index: int, new: list[ClipResult], dropped: set[ClipKey], attempt: str, staged: str
) -> ShardResult:
    data_uri, ledger_uri = _base(output, index)
    base_lines, base_sha256 = _base_ledger(ledger_uri)
    replaced = dropped | {result.entry.key for result in new}
    merged = merge(_base_items(data_uri, base_lines), ((r.entry, _serialize(r, output)) for r in new), replaced)
    tally = ledger.LedgerSums()
    with (
        storage.open_write(join(output.directory, f"{staged}.tfrecord")) as data_file,
        storage.open_write(join(output.directory, f"{staged}.jsonl")) as ledger_file,
    ):
        data = _Hashed(data_file)
        for entry, record in merged:
            if record is not None:
                data.write(frame(record))
            ledger_file.write(tally.add(entry))
    entry_of_shard = ShardEntry(
        index=index,
        name=shard_name(index, output.num_shards),
        bytes=data.size,
        sha256=data.sha256.hexdigest(),
        ledger_sha256=tally.sha256,
        **tally.sums(),
    )
    return ShardResult(entry_of_shard, attempt, staged, base_sha256)


def merge(old: Iterable[Item], new: Iterable[Item], replaced: Collection[ClipKey]) -> Iterator[Item]:
    """Two sequences of (entry, record or None), each sorted by key -> one, without the old ones under `replaced`."""
    kept = (item for item in old if item[0].key not in replaced)
    return merge_sorted(kept, new, key=lambda item: item[0].key)


def _serialize(result: ClipResult, output: Output) -> bytes | None:
    if result.values is None:
        return None
    entry = result.entry
    assert entry.end_s is not None
    return records.to_sequence_example(
        entry.id, entry.start_s, entry.end_s, entry.labels, result.values, output.record_format
    )


def _base(output: Output, index: int) -> tuple[str, str]:
    """URIs of the record file and ledger that new clips are merged with: the committed ones, or those a task holds."""
    if output.array and (held := read_held(output.directory, index)):
        staged = join(output.directory, held.result.staged)
        return f"{staged}.tfrecord", f"{staged}.jsonl"
    names = shard_name(index, output.num_shards), ledger_name(index, output.num_shards)
    return join(output.directory, names[0]), join(output.directory, names[1])


def _base_ledger(uri: str) -> tuple[list[ledger.LedgerEntry], str]:
    """Entries of a ledger and its sha256; nothing and "" where the shard is not yet there."""
    if not storage.exists(uri):
        return [], ""
    tally = ledger.LedgerSums()
    try:
        entries = list(ledger.read(uri))
    except ValueError as error:
        raise _damaged(uri, str(error)) from None
    for entry in entries:
        tally.add(entry)
    return entries, tally.sha256


def _base_items(uri: str, entries: list[ledger.LedgerEntry]) -> Iterator[Item]:
    """Entries of a ledger -> each with its record's bytes, streamed from the record file."""
    if not entries:
        return
    with storage.open_read(uri) as file:
        rest = records.read_tfrecord(file, uri)
        try:
            for entry in entries:
                record = next(rest) if entry.outcome == "written" else None
                if record is not None and (found := records.parse(record).id) != entry.id:
                    raise _damaged(uri, f"holds {found!r} where its ledger says {entry.id!r}")
                yield entry, record
            if next(rest, None) is not None:
                raise _damaged(uri, "holds more records than its ledger")
        except StopIteration:
            raise _damaged(uri, "holds fewer records than its ledger") from None
        except records.RecordError as error:
            raise _damaged(uri, str(error)) from None


def _damaged(uri: str, found: str) -> OutputError:
    return OutputError(f"{uri}: {found}", "Delete this file and run the same command again, which recreates it.")


class _Hashed:
    """A file that is hashed and measured while it is written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = 0
        self.sha256 = hashlib.sha256()

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self.sha256.update(data)
        self.size += len(data)
