"""The rules for a record and for a file of records, checked by `pipeline.verify` in any process or engine."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from pipeline import storage
from pipeline.corpus.plan import shard_of
from pipeline.output import ledger
from pipeline.output.records import OtherRecordError, Record, RecordError, parse, read_tfrecord
from pipeline.reasons import REASONS
from pipeline.storage.hashed import HashedReader
from pipeline.types import EmbeddingKind, RecordFormat

FAULTS_SHOWN = 20
"""A file's faults beyond so many are counted, not listed."""


@dataclass(frozen=True)
class Rules:
    """The rules and expectations that a file is checked against.

    Attributes:
      hop_frames: from one example to the next, in frames of 10 ms.
      padded: clips of less than one example were padded to one.
      layout, embeddings: as the manifest says; None: any.
      shard, num_shards: which shard the file is; None: none, its records need not be sorted.
      ledger_uri: the shard's ledger; "": none to compare with.
    """

    hop_frames: int = 96
    padded: bool = False
    layout: RecordFormat | None = None
    embeddings: EmbeddingKind | None = None
    shard: int | None = None
    num_shards: int = 0
    ledger_uri: str = ""


@dataclass
class FileReport:
    """A file's counts and digests, and its faults, a line each; `others` counts records that are none of ours."""

    uri: str
    records: int = 0
    examples: int = 0
    bytes: int = 0
    sha256: str = ""
    read_to_end: bool = True
    others: int = 0
    byte_counts: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))
    ledger_sums: dict[str, Any] | None = None
    ledger_sha256: str = ""
    fault_count: int = 0
    faults: list[str] = field(default_factory=list)

    def fault(self, line: str) -> None:
        """Adds a fault."""
        self.fault_count += 1
        if self.fault_count <= FAULTS_SHOWN:
            self.faults.append(line)


def check_file(uri: str, rules: Rules) -> FileReport:
    """Every record of a file, in one pass, and the ledger beside it -> what was found; OSError if it cannot be read."""
    report = FileReport(uri)
    matching = _Matching(_read_ledger(report, rules)) if rules.ledger_uri else None
    seen: set[tuple[str, float | None, float | None]] = set()
    previous: tuple[str, float] = ("", float("-inf"))
    with storage.open_read(uri) as file:
        hashed = HashedReader(file)
        for index, record in _records(hashed, report, ours=rules.shard is not None):
            for what in record_faults(record, rules):
                report.fault(f"record {index} ({record.id}): {what}")
            key = (record.id, record.start_s, record.end_s)
            if matching:
                for what in matching.faults(record):
                    report.fault(f"record {index} ({record.id}): {what}")
            if key in seen and (not matching or record.start_s is None):  # a ledger tells clips apart by their times
                report.fault(f"record {index} ({record.id}): the same id and times twice")
            seen.add(key)
            position = (record.id, record.start_s or 0.0)
            if rules.shard is not None and position < previous:
                report.fault(f"record {index} ({record.id}): not in order, it follows {previous[0]}")
            previous = position
            report.examples += len(record.values)
            if record.values.dtype == np.uint8:
                report.byte_counts += np.bincount(record.values.ravel(), minlength=256)
        hashed.drain()
    report.bytes, report.sha256 = hashed.size, hashed.sha256.hexdigest()
    if matching and report.read_to_end:
        for entry in matching.missing():
            report.fault(f"{entry.id}: written according to the ledger, but not in the file")
    return report


def record_faults(record: Record, rules: Rules) -> Iterator[str]:
    """A parsed record -> what is wrong with it by itself."""
    if rules.layout and record.layout != rules.layout:
        yield f"layout {record.layout}, not {rules.layout}"
    quantized = record.values.dtype == np.uint8
    if rules.embeddings and quantized != (rules.embeddings == "quantized" and rules.layout != "youtube8m_video"):
        yield f"frames of {record.values.dtype}, not {rules.embeddings}"
    if not quantized and not np.isfinite(record.values).all():
        yield "values that are not finite"
    labels = record.labels if rules.shard is not None else sorted(record.labels)  # others' are in any order
    if any(a >= b for a, b in pairwise(labels)) or min(labels, default=0) < 0:
        yield f"labels {list(record.labels)} do not ascend from 0"
    if not len(record.values):
        yield "no frames"
    for start_s, end_s, of_class, score in record.rated if rules.shard is not None else ():
        if not (0 <= start_s < end_s <= len(record.values) and of_class >= 0 and np.isfinite(score)):
            yield f"a segment from {start_s} to {end_s} s, class {of_class}, score {score:g}"
    if rules.shard is not None and (shard := shard_of(record.id, rules.num_shards)) != rules.shard:
        yield f"belongs in shard {shard}, not {rules.shard}"
    if record.start_s is None or record.end_s is None:
        return
    if not 0 <= record.start_s < record.end_s < float("inf"):
        yield f"times {record.start_s} to {record.end_s} are not a valid interval"
    elif not rules.ledger_uri:  # the ledger knows the decoded duration, which a cut file may not share with its times
        tolerance_s = float(np.spacing(np.float32(record.end_s)) + np.spacing(np.float32(record.start_s)))
        yield from frame_count_faults(len(record.values), record.end_s - record.start_s, tolerance_s, rules)


def frame_count_faults(frames: int, seconds: float, tolerance_s: float, rules: Rules) -> Iterator[str]:
    """Frames of a clip of so many seconds: 25 ms windows every 10 ms, 96 to an example, whole examples only."""
    fewest = examples_in(seconds - tolerance_s - 1 / 16000, rules)
    most = examples_in(seconds + tolerance_s + 1 / 16000, rules)
    if not fewest <= frames <= most:
        expected = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        yield f"{frames} frames in {seconds:.3f} s, {expected} expected at a hop of {rules.hop_frames / 100} s"


def examples_in(seconds: float, rules: Rules) -> int:
    """Duration -> number of examples."""
    samples = int(np.floor(seconds * 16000 + 1e-6))
    frames = (samples - 400) // 160 + 1
    examples = (frames - 96) // rules.hop_frames + 1 if frames >= 96 else 0
    return max(examples, int(rules.padded))


def ledger_faults(entries: list[ledger.LedgerEntry], rules: Rules) -> Iterator[str]:
    """A shard's ledger -> what is wrong with it by itself."""
    for before, entry in pairwise(entries):
        if before.key >= entry.key:
            yield f"{entry.id}: not in order or twice in the ledger"
    for entry in entries:
        if rules.shard is not None and shard_of(entry.id, rules.num_shards) != rules.shard:
            yield f"{entry.id}: in the ledger of shard {rules.shard}, not its own"
        if entry.outcome == "written":
            for what in frame_count_faults(entry.examples, entry.audio_seconds, 0.0, rules):
                yield f"{entry.id}: {what} (ledger)"
        elif entry.reason not in REASONS:
            yield f"{entry.id}: {entry.outcome} for an unknown reason {entry.reason!r}"


class _Matching:
    """Pairs a file's records with its ledger's written entries, each once."""

    def __init__(self, entries: list[ledger.LedgerEntry]) -> None:
        self._waiting: dict[str, deque[ledger.LedgerEntry]] = defaultdict(deque)
        for entry in entries:
            if entry.outcome == "written":
                self._waiting[entry.id].append(entry)

    def faults(self, record: Record) -> Iterator[str]:
        """A record -> how it differs from its entry."""
        waiting = self._waiting[record.id]
        if not waiting:
            yield "not in the ledger, or there more often than the ledger has it"
            return
        entry = waiting.popleft()
        if record.layout != "youtube8m_video" and len(record.values) != entry.examples:
            yield f"{len(record.values)} frames, {entry.examples} in the ledger"
        if record.labels != entry.labels:
            yield f"labels {list(record.labels)}, {list(entry.labels)} in the ledger"
        if record.rated != tuple((*rating[:3], float(np.float32(rating[3]))) for rating in entry.rated):
            yield f"{len(record.rated)} ratings of segments, not those {len(entry.rated)} of the ledger"
        if record.start_s is not None and not (
            _same(record.start_s, entry.start_s) and _same(record.end_s, entry.end_s)
        ):
            yield f"times {record.start_s} to {record.end_s}, {entry.start_s} to {entry.end_s} in the ledger"

    def missing(self) -> Iterator[ledger.LedgerEntry]:
        """Entries that no record was paired with."""
        for waiting in self._waiting.values():
            yield from waiting


def _same(stored: float | None, exact: float | None) -> bool:
    return stored is not None and exact is not None and np.float32(stored) == np.float32(exact)


def _read_ledger(report: FileReport, rules: Rules) -> list[ledger.LedgerEntry]:
    tally = ledger.LedgerSums()
    entries = []
    with storage.open_read(rules.ledger_uri) as file:
        hashed = HashedReader(file)
        lines = hashed.read().splitlines(keepends=True)
    report.ledger_sha256 = hashed.sha256.hexdigest()
    for number, line in enumerate(lines, 1):
        try:
            entry = ledger.from_line(line)
        except ValueError as error:
            report.fault(f"ledger, line {number}: {error}")
            continue
        tally.add(entry)
        entries.append(entry)
    report.ledger_sums = tally.sums()
    for what in ledger_faults(entries, rules):
        report.fault(what)
    return entries


def _records(file: HashedReader, report: FileReport, ours: bool) -> Iterator[tuple[int, Record]]:
    """The readable records; faults of frames and layout go to the report. A damaged frame ends the file.

    Records of others may hold more than ours, and no labels.
    """
    try:
        for index, data in enumerate(read_tfrecord(file)):  # type: ignore[arg-type]
            report.records += 1
            try:
                yield index, parse(data, strict=ours)
            except OtherRecordError as error:
                report.others += 1
                report.fault(f"record {index}: {error.found}")
            except RecordError as error:
                report.fault(f"record {index}: {error}")
    except OtherRecordError as error:
        report.read_to_end = False
        report.others += 1
        report.fault(error.found)
    except RecordError as error:
        report.read_to_end = False
        report.fault(f"{error}; what follows was not read")
