"""Staged shards -> the output, so that whoever reads at any moment sees old or new bytes that the manifest knows.

A commit writes the manifest with the shards `pending`, renames their files, writes `failures.jsonl`, then the manifest
without `pending`. Killed anywhere, the next run finishes it (`pipeline.output.resume`). One process at a time
(`pipeline.output.lock`).
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace

from pipeline import storage
from pipeline.output import ledger, shards
from pipeline.output import manifest as manifests
from pipeline.output.layout import FAILURES, MANIFEST, OutputError, each, explained, join, ledger_name, shard_name
from pipeline.output.manifest import Manifest, Pending
from pipeline.output.staged import ShardResult
from pipeline.settings import Output


def attempt_name(manifest: Manifest) -> str:
    """A name for a run's staged files, new each time; says which settings they are made with."""
    return f"{manifest.fingerprint[:12]}-{uuid.uuid4().hex[:12]}"


def commit(directory: str, results: Iterable[ShardResult], complete: bool = False) -> Manifest:
    """Makes staged shards the output's; of several results of one shard the first counts.

    Raises:
      OutputError: a result does not build on what is committed, or storage fails. What was committed stays whole.
    """
    with explained(directory, "committing shards"):
        found = _expect(directory)
        chosen: dict[int, ShardResult] = {}
        for result in results:
            chosen.setdefault(result.entry.index, result)
        fit = {result.staged for result in fitting(directory, found, chosen.values())}
        if unfit := sorted({result.staged for result in chosen.values()} - fit):
            raise OutputError(
                f"{unfit[0]} in {directory} does not build on what the output holds now",
                "Another run changed the output in the meantime; run the same command again.",
            )
        if not chosen and found.complete == complete:
            return found
        pending = tuple(Pending(result.entry, result.staged) for result in chosen.values())
        if pending:
            found = replace(found, pending=pending, complete=False)
            manifests.write(directory, found)
        return finish_pending(directory, found, complete)


def finish(directory: str, clips_in: int | None = None) -> Manifest:
    """Ends a run: shards that no clip fell into become empty files, totals are checked, the manifest says `complete`.

    Raises:
      OutputError: the ledgers do not add up to `clips_in` clips.
    """
    with explained(directory, "completing the output"):
        found = _expect(directory)
        if clips_in is not None and found.totals["clips_in"] != clips_in:
            raise OutputError(
                f"{directory} accounts for {found.totals['clips_in']} clips, {clips_in} were planned",
                "Run the same command again: it computes what is missing. If this persists, report it.",
            )
        output = Output(directory, found.num_shards, found.settings["record_format"])
        attempt, present = attempt_name(found), {entry.index for entry in found.shards}
        empty = [
            shards.write_shard(output, index, (), attempt) for index in range(found.num_shards) if index not in present
        ]
        return commit(directory, empty, complete=True)


def committed_ledger(directory: str) -> Iterator[ledger.LedgerEntry]:
    """Every clip that the output accounts for, shard by shard; nothing where there is no output."""
    found = manifests.read(directory)
    for entry in found.shards if found else ():
        yield from ledger.read(join(directory, ledger_name(entry.index, found.num_shards)))  # type: ignore[union-attr]


def _expect(directory: str) -> Manifest:
    found = manifests.read(directory)
    if found is None:
        raise OutputError(f"{directory} has no {MANIFEST}", "It was removed during the run; run the command again.")
    return found


def shard_uris(directory: str, manifest: Manifest, index: int) -> tuple[str, str]:
    """URIs of a shard's record file and ledger."""
    return (
        join(directory, shard_name(index, manifest.num_shards)),
        join(directory, ledger_name(index, manifest.num_shards)),
    )


def finish_pending(directory: str, manifest: Manifest, complete: bool) -> Manifest:
    """The second half of a commit, after the manifest with `pending`; may be repeated from its start at any point."""

    def put(item: Pending) -> None:
        data, lines = shard_uris(directory, manifest, item.entry.index)
        for staged, final in ((f"{item.staged}.tfrecord", data), (f"{item.staged}.jsonl", lines)):
            if storage.exists(join(directory, staged)):
                storage.rename(join(directory, staged), final)

    each(directory, put, manifest.pending)
    done = replace(manifests.with_results(manifest, manifest.pending), pending=(), complete=complete)
    write_failures(directory, done)
    manifests.write(directory, done)
    with suppress(OSError):  # the next run removes what is left
        each(directory, lambda item: storage.delete(join(directory, f"{item.staged}.json")), manifest.pending)
    return done


def write_failures(directory: str, manifest: Manifest) -> None:
    """Rewrites `failures.jsonl` from the ledgers of the manifest's shards."""
    with storage.open_write(join(directory, FAILURES)) as file:
        for entry in manifest.shards:
            for line in ledger.read_failures(shard_uris(directory, manifest, entry.index)[1]):
                file.write(line)


def fitting(directory: str, manifest: Manifest, results: Iterable[ShardResult]) -> list[ShardResult]:
    """Those staged shards that are whole, of these settings, and merged with what is committed now."""
    committed = {entry.index: entry.ledger_sha256 for entry in manifest.shards}

    def fits(result: ShardResult) -> bool:
        entry = result.entry
        return (
            result.attempt.startswith(manifest.fingerprint[:12])
            and entry.name == shard_name(entry.index, manifest.num_shards)
            and result.base_ledger_sha256 == committed.get(entry.index, "")
            and all(storage.exists(join(directory, result.staged + suffix)) for suffix in (".tfrecord", ".jsonl"))
        )

    results = list(results)
    return [result for result, fit in zip(results, each(directory, fits, results), strict=True) if fit]


def sha256(uri: str) -> str:
    """A file's sha256, "" where there is none."""
    if not storage.exists(uri):
        return ""
    digest = hashlib.sha256()
    with storage.open_read(uri) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
