"""An output's manifest and ledgers -> what its files must hold, checked by `pipeline.verify`."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from pipeline import storage
from pipeline.checking.checks import FileReport, Rules
from pipeline.formatting import number_of
from pipeline.output import ledger
from pipeline.output import manifest as manifests
from pipeline.output.layout import (
    FAILURES,
    MANIFEST,
    STATE,
    OutputError,
    basename,
    files_in,
    is_ledger,
    join,
    ledger_name,
    shard_index,
    shard_name,
)
from pipeline.output.manifest import Manifest
from pipeline.settings import fingerprint_of
from pipeline.types import ShardEntry

DAMAGED_SHOWN = 5


@dataclass
class Promise:
    """A manifest as read, the files to check, and what is wrong before any of them is opened.

    Attributes:
      entries: by shard index: what a shard may be. Two where a commit was interrupted: the old and the new one.
      files: present shards and what to check them against.
      settled: no commit, overwrite or change of the number of shards was interrupted.
    """

    directory: str
    manifest: Manifest
    entries: dict[int, list[ShardEntry]]
    files: list[tuple[str, Rules]] = field(default_factory=list)
    has_ledgers: bool = True
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def settled(self) -> bool:
        return not (self.manifest.pending or self.manifest.clearing or self.manifest.resharding)


def read(directory: str, manifest_uri: str = "") -> Promise:
    """An output's directory, and its manifest if that lies elsewhere -> what is promised.

    Raises:
      OutputError: there is no manifest, or it is not one.
    """
    manifest, data = read_manifest(directory, manifest_uri)
    entries = {entry.index: [entry] for entry in manifest.shards}
    for item in manifest.pending:
        entries.setdefault(item.entry.index, []).append(item.entry)
    promise = Promise(directory, manifest, entries)
    promise.faults += _manifest_faults(manifest, json.loads(data))
    _note_state(promise)
    _list_files(promise)
    promise.notes += _damaged(promise)
    return promise


def read_manifest(directory: str, manifest_uri: str = "") -> tuple[Manifest, bytes]:
    """An output's directory, and its manifest if that lies elsewhere -> the manifest, as it is and in bytes.

    Raises:
      OutputError: there is no manifest, or it is not one.
    """
    uri = manifest_uri or join(directory, MANIFEST)
    if not storage.exists(uri):
        raise OutputError(
            f"there is no {uri}", "Name the folder that holds manifest.json; --manifest none checks record files."
        )
    with storage.open_read(uri) as file:
        data = file.read()
    return manifests.from_json(data, uri), data


def _manifest_faults(manifest: Manifest, content: dict[str, Any]) -> list[str]:
    """The manifest in itself: its fingerprint, its sums, its shards' names."""
    faults = []
    if fingerprint_of(manifest.settings) != manifest.fingerprint:
        faults.append(f"{MANIFEST}: the fingerprint is not that of its settings")
    expected = {"totals": manifest.totals, "failures": manifest.failures, "skips": manifest.skips}
    for name, value in expected.items():
        found = content.get(name)
        if name == "totals" and isinstance(found, dict):
            found = {"damaged": 0, **found}  # which earlier versions did not count
        if found != value:
            faults.append(f"{MANIFEST}: {name} {content.get(name)} are not the shards' sums {value}")
    indices = [entry.index for entry in manifest.shards]
    if indices != sorted(set(indices)) or not all(0 <= index < manifest.num_shards for index in indices):
        faults.append(f"{MANIFEST}: shards {indices} of {manifest.num_shards}")
    faults += [
        f"{MANIFEST}: shard {entry.index} is called {entry.name}"
        for entry in manifest.shards
        if entry.name != shard_name(entry.index, manifest.num_shards)
    ]
    if manifest.complete and (missing := sorted(set(range(manifest.num_shards)) - set(indices))):
        faults.append(f"{MANIFEST}: says complete and lacks shards {missing}")
    return faults


def _note_state(promise: Promise) -> None:
    manifest = promise.manifest
    if manifest.clearing:
        promise.notes.append("note: an overwrite was interrupted; the next run finishes it")
    if manifest.resharding:
        what = f"a change of the number of shards, {manifest.num_shards} now, was interrupted"
        promise.notes.append(f"note: {what}; the next run removes the other {manifest.resharding}")
    if manifest.pending:
        count = number_of(len(manifest.pending), "shard")
        promise.notes.append(f"note: a commit of {count} was interrupted; the next run finishes it")
    if not manifest.complete:
        present = f"{len(manifest.shards)} of {manifest.num_shards} shards are there"
        promise.notes.append(f"note: the data set is not complete: {present}; what is there was checked")


def _damaged(promise: Promise) -> list[str]:
    """Which records hold what decodes of damaged files, and why: some, and how many there are."""
    count = int(promise.manifest.totals["damaged"])
    notes: list[str] = []
    for (_, rules), entry in zip(promise.files, promise.manifest.shards, strict=False):
        if len(notes) >= DAMAGED_SHOWN or not entry.damaged or not rules.ledger_uri:
            continue
        try:
            entries = [line for line in ledger.read(rules.ledger_uri) if line.damaged]
        except (OSError, ValueError):
            continue  # reported with its shard
        notes += [f"note: damaged, what decodes was kept: {line.id}: {line.damaged}" for line in entries]
    shown = min(len(notes), DAMAGED_SHOWN)
    return [*notes[:shown], *([f"note: {count} records in all are damaged"] if count > shown else [])]


def _list_files(promise: Promise) -> None:
    """Compares the files that are there with those that should be."""
    directory, manifest = promise.directory, promise.manifest
    present = set(files_in(directory, "embeddings-"))
    ledgers = {name for name in files_in(join(directory, STATE), "ledger-") if is_ledger(name)}
    promise.has_ledgers = bool(ledgers)
    if manifest.shards and not ledgers:
        promise.notes.append(f"note: there is no {STATE}, as in a copy for readers; clips were not checked against it")
    expected_ledgers, required = set(), {entry.index for entry in manifest.shards}
    for index, entries in sorted(promise.entries.items()):
        name, lines = shard_name(index, manifest.num_shards), ledger_name(index, manifest.num_shards)
        expected_ledgers.add(basename(lines))
        if name in present:
            has_ledger = basename(lines) in ledgers and len(entries) == 1
            rules = _rules(manifest, index, join(directory, lines) if has_ledger else "")
            promise.files.append((join(directory, name), rules))
        elif index in required:
            promise.faults.append(f"{name}: missing")
        if index in required and ledgers and basename(lines) not in ledgers:
            promise.faults.append(f"{lines}: missing")
    if manifest.clearing:
        return
    names = {shard_name(index, manifest.num_shards) for index in promise.entries}
    left_over = [*sorted(present - names), *(f"{STATE}/{name}" for name in sorted(ledgers - expected_ledgers))]
    unexplained = [name for name in left_over if not manifest.leaves(name)]
    promise.faults += [f"{name}: not in the manifest, a left-over" for name in unexplained]


def _rules(manifest: Manifest, index: int, ledger_uri: str) -> Rules:
    settings = manifest.settings
    return Rules(
        hop_frames=round(settings["hop_seconds"] * 100),
        padded=settings["short_clips"] == "pad",
        layout=settings["record_format"],
        embeddings=settings["embeddings"],
        shard=index,
        num_shards=manifest.num_shards,
        ledger_uri=ledger_uri,
    )


def compare_shard(promise: Promise, report: FileReport) -> None:
    """Adds to a shard's report where it is not what the manifest promises."""
    entries = promise.entries[shard_index(basename(report.uri))]
    entry = next((entry for entry in entries if entry.sha256 == report.sha256), None)
    if entry is None:
        expected = " or ".join(f"{each.sha256[:12]}… of {each.bytes} bytes" for each in entries)
        report.fault(f"sha256 {report.sha256[:12]}… of {report.bytes} bytes, {expected} in the manifest")
        entry = entries[-1]
    # Of YouTube-8M's video level a record holds one mean, of however many examples.
    means = promise.manifest.settings["record_format"] == "youtube8m_video"
    examples = entry.records if means else entry.examples
    if report.read_to_end and (report.records, report.examples) != (entry.records, examples):
        found = f"{report.records} records, {report.examples} {'means' if means else 'examples'}"
        report.fault(f"{found}; {entry.records} and {examples} in the manifest")
    if report.ledger_sums is None:
        return
    if report.ledger_sha256 != entry.ledger_sha256:
        report.fault(f"ledger's sha256 {report.ledger_sha256[:12]}…, {entry.ledger_sha256[:12]}… in the manifest")
    for name, value in report.ledger_sums.items():
        if value != getattr(entry, name):
            report.fault(f"{name} {value} in the ledger, {getattr(entry, name)} in the manifest")


def failures_faults(promise: Promise) -> list[str]:
    """Whether `failures.jsonl` has a line for each clip without a record, and no other."""
    uri, manifest = join(promise.directory, FAILURES), promise.manifest
    if not promise.settled:
        return []
    if not storage.exists(uri):
        return [f"{FAILURES}: missing"] if manifest.complete or manifest.shards else []
    with storage.open_read(uri) as file:
        found = file.read().splitlines(keepends=True)
    expected = int(manifest.totals["failed"] + manifest.totals["skipped"])
    if len(found) != expected:
        return [f"{FAILURES}: {len(found)} lines, {expected} clips without a record in the manifest"]
    if not promise.has_ledgers:
        return []
    try:
        lines = [
            line for _, rules in promise.files if rules.ledger_uri for line in ledger.read_failures(rules.ledger_uri)
        ]
    except ValueError:
        return []  # a damaged ledger: reported with its shard
    for number, (line, wanted) in enumerate(zip(found, lines, strict=False), 1):
        if line != wanted:
            return [f"{FAILURES}, line {number}: not what the ledgers say: {line.decode(errors='replace').strip()}"]
    return []
