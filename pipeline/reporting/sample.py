"""A report's data, read in seconds whatever the output's size: its manifest, and a sample of its records.

A clip's shard is a hash of its id, so the clips of any shard are a fair sample of all. Shards are taken in an order of
their own until they hold `SAMPLE` records; of these the records whose hashes are smallest are kept. Nothing is random:
the same output gives the same report.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from math import fsum

import numpy as np

from pipeline import storage
from pipeline.checking import expectations
from pipeline.output import history, ledger
from pipeline.output.layout import FAILURES, OutputError, basename, files_in, is_shard, join, ledger_name
from pipeline.output.ledger import LedgerEntry
from pipeline.output.manifest import Manifest
from pipeline.output.matching import Incomplete, expect_whole, frames
from pipeline.output.records import Record, RecordError, expect_finite, parse_placed
from pipeline.types import ShardEntry

SAMPLE = 2_000
"""Records that are looked at."""
ENTRIES = 20_000
"""About so many lines of ledgers are looked at, of many more."""
FAILURE_LINES = 200_000
"""Lines of `failures.jsonl` that are looked at."""
FAILURES_SHOWN = 500
"""Of these about so many are shown, as many of each reason."""
FILES_BYTES = 128 << 20
"""Of files without a manifest, which have to be read to be counted, at least so much is read."""


@dataclass
class Sample:
    """An output, or files, as a report shows them.

    Attributes:
      name: the output, or the patterns.
      manifest: None of files by themselves.
      totals: as in the manifest; of files: `written`, `examples` and `audio_seconds` of those that were read.
      files, files_read: record files, and those that the sample is from.
      records: the sample, in the order of their hashes.
      entries: ledger entries of the sample's shards; none where there are no ledgers.
      sources: id and start (None in layouts without times) of each record -> its ledger entry.
      failures: some clips without a record, as in `failures.jsonl`.
      runs: what each run took.
    """

    name: str
    manifest: Manifest | None = None
    totals: dict[str, int | float] = field(default_factory=dict)
    files: int = 0
    files_read: int = 0
    records: list[Record] = field(default_factory=list)
    entries: list[LedgerEntry] = field(default_factory=list)
    sources: dict[tuple[str, float | None], LedgerEntry] = field(default_factory=dict)
    failures: list[dict[str, str]] = field(default_factory=list)
    runs: list[history.RunRecord] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether the totals are of everything there is."""
        return self.manifest is not None or self.files == self.files_read

    @property
    def quantized(self) -> bool:
        return bool(self.records) and self.records[0].values.dtype.kind == "u"


def of_output(directory: str, manifest_uri: str = "", incomplete: Incomplete = "refuse") -> Sample:
    """An output, and its manifest if that lies elsewhere -> what its report is made of.

    Raises:
      OutputError: there is no manifest, or it is not one.
      IncompleteError: the output is not what the manifest promises, and `incomplete` is not "use".
      RecordError: a record is damaged.
      OSError: a file cannot be read.
    """
    manifest, _ = expectations.read_manifest(directory, manifest_uri)
    sizes = {name: size for name, size in files_in(directory, "embeddings-").items() if is_shard(name)}
    if incomplete == "refuse":
        expect_whole(directory, manifest, sizes)
    result = Sample(storage.absolute(directory), manifest, dict(manifest.totals), files=len(manifest.shards))
    chosen, held = [], 0
    there = [shard for shard in manifest.shards if shard.records and shard.name in sizes]
    for shard in sorted(there, key=lambda shard: _order(shard.name)):
        if held >= SAMPLE:
            break
        chosen.append(shard)
        held += shard.records
    result.files_read = len(chosen)
    promised = {shard.name: shard for shard in chosen} if incomplete == "refuse" else {}
    pairs = (pair for shard in chosen for pair in frames(join(directory, shard.name), promised.get(shard.name)))
    result.records = _of_one_kind(_smallest(pairs))
    _add_entries(result, directory, chosen)
    most = FAILURES_SHOWN // max(1, len(manifest.failures) + len(manifest.skips))
    result.failures = _failures(join(directory, FAILURES), most)
    result.runs = history.read(directory)
    return result


def of_files(patterns: Sequence[str]) -> Sample:
    """Record files of any origin, as paths, URIs or globs -> what their report is made of.

    Raises:
      OutputError: a pattern matches nothing.
      RecordError, OSError: as `of_output`.
    """
    found = []
    for pattern in patterns:
        files = storage.match(pattern)
        if not files:
            raise OutputError(f"no file matches {pattern}", "Name record files, or an output without --manifest none.")
        found += files
    uris = sorted({file.uri: file.size_bytes for file in found}.items(), key=lambda file: _order(basename(file[0])))
    result = Sample(" ".join(patterns), files=len(uris))
    chosen, left = [], FILES_BYTES
    for uri, size in uris:
        if left <= 0:
            break
        chosen.append(uri)
        left -= size
    result.files_read = len(chosen)
    counted = _Counted()
    result.records = _of_one_kind(_smallest(counted.pairs(chosen)))
    result.totals = counted.totals()
    return result


class _Counted:
    """Counts the records of files while they pass."""

    def __init__(self) -> None:
        self._records = self._examples = 0
        self._seconds: list[float] = []

    def pairs(self, uris: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Files -> (place, record) of each record."""
        for uri in uris:
            for place, data in frames(uri):
                record = _parsed(data, place)
                self._records += 1
                self._examples += len(record.values)
                if record.start_s is not None and record.end_s is not None:
                    self._seconds.append(record.end_s - record.start_s)
                yield place, data

    def totals(self) -> dict[str, int | float]:
        return {"written": self._records, "examples": self._examples, "audio_seconds": round(fsum(self._seconds), 6)}


def _order(name: str) -> bytes:
    """A name -> its place in an order that has nothing to do with it."""
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()


def _smallest(pairs: Iterable[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """(place, record) pairs -> those whose records have the smallest hashes, in their order."""
    return heapq.nsmallest(SAMPLE, pairs, key=lambda pair: zlib.crc32(pair[1]))


def _parsed(data: bytes, place: str) -> Record:
    try:
        record = parse_placed(data, place)
    except RecordError as error:
        raise RecordError(str(error), "python -m pipeline.verify lists all faults") from None
    expect_finite(record, place)
    return record


def _add_entries(result: Sample, directory: str, shards: Sequence[ShardEntry]) -> None:
    """Adds ledger entries of shards: a fair choice, by the hashes of their lines, and those of the sample's records."""
    assert result.manifest is not None
    lines = sum(shard.records + shard.failed + shard.skipped for shard in shards)
    stride = -(-lines // ENTRIES)
    wanted = {(record.id, record.start_s) for record in result.records}
    timed = any(start_s is not None for _, start_s in wanted)
    beginnings = {ledger.beginning(clip_id) for clip_id, _ in wanted}
    for shard in shards:
        uri = join(directory, ledger_name(shard.index, result.manifest.num_shards))
        if not storage.exists(uri):
            continue
        with storage.open_read(uri) as file:
            for line in file:
                fair = zlib.crc32(line) % stride == 0
                if not fair and line.partition(ledger.AFTER_ID)[0] not in beginnings:
                    continue
                entry = ledger.from_line(line)
                if fair:
                    result.entries.append(entry)
                # A record's times are float32.
                key = (entry.id, float(np.float32(entry.start_s)) if timed else None)
                if entry.outcome == "written" and key in wanted:
                    result.sources[key] = entry


def _failures(uri: str, most: int) -> list[dict[str, str]]:
    """`failures.jsonl` -> its lines, up to so many of each reason."""
    found: list[dict[str, str]] = []
    if not storage.exists(uri):
        return found
    counts: Counter[str] = Counter()
    with storage.open_read(uri) as file:
        for line in islice(file, FAILURE_LINES):
            content = json.loads(line)
            counts[content["reason"]] += 1
            if counts[content["reason"]] <= most:
                found.append(content)
    return found


def _of_one_kind(pairs: Iterable[tuple[str, bytes]]) -> list[Record]:
    """(place, record) pairs -> the records, which are of one layout and type."""
    placed = [(place, _parsed(data, place)) for place, data in pairs]
    kinds = [f"{record.layout} {record.values.dtype}" for _, record in placed]
    for (place, record), kind in zip(placed, kinds, strict=True):
        if kind != kinds[0]:
            found = f"{place} ({record.id}) is {kind}, {placed[0][0]} ({placed[0][1].id}) is {kinds[0]}"
            raise RecordError(found, "Report on files of each kind apart")
    return [record for _, record in placed]
