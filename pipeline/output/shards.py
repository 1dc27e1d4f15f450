"""Rows of a shard and what it held before -> a sorted record file and its ledger, staged for the commit."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from heapq import merge as merge_sorted
from itertools import groupby
from typing import BinaryIO, cast

from pipeline import storage
from pipeline.output import ledger, records
from pipeline.output.assemble import ClipResult
from pipeline.output.journal import merged
from pipeline.output.layout import STAGED, OutputError, explained, join, ledger_name, shard_name
from pipeline.output.tfrecord import frame
from pipeline.settings import Output
from pipeline.storage.hashed import HashedReader
from pipeline.types import ClipKey, Failure, Removal, RowsRef, ShardEntry, StagedShard

ShardInput = RowsRef | Failure | Removal | ShardEntry
"""What a shard is made of: rows, failures found while planning, clips to leave out, the committed shard."""
Item = tuple[ledger.LedgerEntry, "bytes | None"]
"""A clip's ledger entry and, if it is written, its record."""


def write_shard(output: Output, index: int, pieces: Iterable[ShardInput], attempt: str) -> StagedShard:
    """All that there is on the clips of a shard -> the staged shard: old ∪ new, new first, `Removal`s left out.

    One clip at a time is held in memory, besides failures and removals.

    Raises:
      OutputError: storage fails, or the committed shard or a row file is damaged.
      AssemblyError: pieces of a clip are missing or contradict each other.
    """
    found = list(pieces)
    base = next((piece for piece in found if isinstance(piece, ShardEntry)), None)
    dropped = {piece.clip.key for piece in found if isinstance(piece, Removal)}
    refs = sorted({piece for piece in found if isinstance(piece, RowsRef)}, key=lambda ref: ref.name)
    failures = [piece for piece in found if isinstance(piece, Failure)]
    staged = f"{STAGED}/{attempt}-{index:05d}-{uuid.uuid4().hex[:8]}"
    with explained(output.directory, f"writing shard {index}"):
        storage.mkdirs(join(output.directory, STAGED))
        try:
            results = merged.results(output.directory, refs, failures)
            return _merged(output, index, base, results, dropped, staged)
        except Exception as error:
            for suffix in (".tfrecord", ".jsonl"):
                with suppress(Exception):
                    storage.delete(join(output.directory, staged + suffix))
            if not isinstance(error, OSError):
                merged.expect_undamaged(output.directory, refs)
            raise


def _merged(
    output: Output,
    index: int,
    base: ShardEntry | None,
    results: Iterable[ClipResult],
    dropped: Collection[ClipKey],
    staged: str,
) -> StagedShard:
    unequal = 0

    def new() -> Iterator[Item]:
        nonlocal unequal
        for result in results:
            unequal += result.unequal_rows
            yield result.entry, _serialize(result, output)

    entry = stage(output, index, staged, merge(committed(output, base) if base else (), new(), dropped))
    return StagedShard(entry, staged, base.ledger_sha256 if base else "", unequal)


def stage(output: Output, index: int, staged: str, items: Iterable[Item]) -> ShardEntry:
    """A shard's clips by key -> its files, staged under a name, and what the manifest will say of them."""
    tally = ledger.LedgerSums()
    with (
        storage.open_write(join(output.directory, f"{staged}.tfrecord")) as data_file,
        storage.open_write(join(output.directory, f"{staged}.jsonl")) as ledger_file,
    ):
        data = _HashedWriter(data_file)
        for entry, record in items:
            if record is not None:
                data.write(frame(record))
            ledger_file.write(tally.add(entry))
    return ShardEntry(
        index=index,
        name=shard_name(index, output.num_shards),
        bytes=data.size,
        sha256=data.sha256.hexdigest(),
        ledger_sha256=tally.sha256,
        **tally.sums(),
    )


def merge(old: Iterable[Item], new: Iterable[Item], dropped: Collection[ClipKey] = ()) -> Iterator[Item]:
    """Two sequences of (entry, record or None), each sorted by key -> one; of a key in both the new one.

    Args:
      old, new: the sequences.
      dropped: keys whose old ones are left out.
    """
    kept = (item for item in old if item[0].key not in dropped)
    # The merge is stable: of equal keys the new one comes first.
    for _, items in groupby(merge_sorted(new, kept, key=_key), key=_key):
        yield next(items)


def _key(item: Item) -> ClipKey:
    return item[0].key


def _serialize(result: ClipResult, output: Output) -> bytes | None:
    if result.values is None:
        return None
    entry = result.entry
    assert entry.end_s is not None
    return records.to_sequence_example(
        entry.id, entry.start_s, entry.end_s, entry.labels, result.values, output.record_format, entry.rated
    )


def committed(output: Output, base: ShardEntry) -> Iterator[Item]:
    """A committed shard -> its clips, streamed from both its files, which have to be those of the manifest.

    Raises:
      OutputError: one of them is not; known for sure after the last clip.
    """
    data_uri = join(output.directory, shard_name(base.index, output.num_shards))
    ledger_uri = join(output.directory, ledger_name(base.index, output.num_shards))
    with storage.open_read(data_uri) as data_file, storage.open_read(ledger_uri) as ledger_file:
        data, lines = HashedReader(data_file), HashedReader(ledger_file)
        rest = records.read_tfrecord(cast(BinaryIO, data), data_uri)
        try:
            for line in lines:
                entry = ledger.from_line(line)
                record = next(rest) if entry.outcome == "written" else None
                if record is not None and (found := records.parse(record).id) != entry.id:
                    raise _damaged(data_uri, f"holds {found!r} where its ledger says {entry.id!r}")
                yield entry, record
            if next(rest, None) is not None:
                raise _damaged(data_uri, "holds more records than its ledger")
        except StopIteration:
            raise _damaged(data_uri, "holds fewer records than its ledger") from None
        except records.RecordError as error:
            raise _damaged(data_uri, str(error).removeprefix(f"{data_uri}: ")) from None
        except ValueError as error:
            raise _damaged(ledger_uri, str(error)) from None
    for uri, file, promised in ((data_uri, data, base.sha256), (ledger_uri, lines, base.ledger_sha256)):
        if file.sha256.hexdigest() != promised:
            raise _damaged(uri, "is not the file that the manifest names")


def _damaged(uri: str, found: str) -> OutputError:
    return OutputError(f"{uri}: {found}", "Run the same command again: what this file held is computed again.")


class _HashedWriter:
    """A file that is hashed and measured while it is written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = 0
        self.sha256 = hashlib.sha256()

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self.sha256.update(data)
        self.size += len(data)
