"""Staged shards -> the output, so that whoever reads at any moment sees old or new bytes that the manifest knows.

A commit writes the manifest with the shards `pending`, renames their files, writes `failures.jsonl`, then the manifest
without `pending`. Killed anywhere, the next run finishes it (`pipeline.output.resume`). One process at a time
(`pipeline.output.lock`).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from pipeline import storage
from pipeline.output import ledger, shards
from pipeline.output import manifest as manifests
from pipeline.output.journal import held
from pipeline.output.layout import (
    FAILURES,
    MANIFEST,
    PLAN,
    REMOTE_THREADS,
    STAGED,
    OutputError,
    each,
    explained,
    files_in,
    join,
    ledger_name,
    shard_name,
)
from pipeline.output.manifest import Manifest, Pending
from pipeline.settings import Output
from pipeline.types import ShardEntry, StagedShard


def attempt_name(manifest: Manifest) -> str:
    """A name for a run's plan and staged files, new each time; says which settings they are made with."""
    return attempt_of(manifest.fingerprint)


def attempt_of(fingerprint: str) -> str:
    """The same, by the fingerprint of the settings."""
    return f"{fingerprint[:12]}-{uuid.uuid4().hex[:12]}"


def finish(
    directory: str,
    results: Iterable[StagedShard] = (),
    clips_in: int | None = None,
    made_with: Iterable[Mapping[str, Any]] = (),
) -> Manifest:
    """Makes staged shards the output's, which is then whole; to be called once all shards are staged.

    Shards that no clip fell into become empty files. Row files and plans are removed.

    Args:
      directory: the output.
      results: of several of one shard, from work that an engine tried again, the first counts.
      clips_in: what the ledgers have to add up to.
      made_with: of those who took part in earlier runs.

    Raises:
      OutputError: the ledgers do not add up, a result does not build on what is committed, or storage fails.
    """
    with explained(directory, "completing the output"):
        found = _expect(directory)
        if found.pending:  # an engine tries this again
            found = finish_pending(directory, found)
        there = {entry.index: entry for entry in found.shards}
        chosen: dict[int, StagedShard] = {}
        for result in results:
            if there.get(result.entry.index) != result.entry:
                chosen.setdefault(result.entry.index, result)
        _expect_to_fit(directory, found, chosen.values())
        output = Output(directory, found.num_shards, found.settings["record_format"])
        attempt, present = attempt_name(found), {*there, *chosen}
        missing = [index for index in range(found.num_shards) if index not in present]
        for result in each(directory, lambda index: shards.write_shard(output, index, (), attempt), missing):
            chosen[result.entry.index] = result
        found = manifests.made_also(found, made_with)
        found = manifests.with_unequal_rows(found, sum(result.unequal_rows for result in chosen.values()))
        total = manifests.with_results(found, chosen.values()).totals["clips_in"]
        if clips_in is not None and total != clips_in:
            raise OutputError(
                f"{directory} accounts for {total} clips, {clips_in} were planned",
                "Run the same command again: it computes what is missing. If this persists, report it.",
            )
        done = commit(directory, found, chosen.values())
        with suppress(OSError):  # the next run removes what is left
            held.remove_all(directory)
            remove_staged(directory)
        return done


def remove_staged(directory: str) -> None:
    """Removes what workers staged, and the plans they read."""
    for place in (join(directory, STAGED), join(directory, PLAN)):
        each(directory, storage.delete, [join(place, name) for name in files_in(place)])


def commit(directory: str, manifest: Manifest, results: Iterable[StagedShard]) -> Manifest:
    """Makes staged shards the output's -> its manifest, `complete`.

    Args:
      directory: the output.
      manifest: its content before; written only if something changes.
      results: the shards, each once, all that were missing.
    """
    pending = tuple(Pending(result.entry, result.staged) for result in results)
    if not pending and manifest.complete:
        return manifest
    if pending:
        manifest = replace(manifest, pending=pending, complete=False)
        manifests.write(directory, manifest)
    return finish_pending(directory, manifest)


def committed_ledger(
    directory: str, manifest: Manifest | None = None, among: range | None = None
) -> Iterator[ledger.LedgerEntry]:
    """Every clip that the output accounts for, shard by shard; nothing where there is no output.

    Args:
      directory: the output.
      manifest: its content; None: as it is there.
      among: indices of the shards that are meant; None: all.
    """
    found = manifest or manifests.read(directory)
    if found is None:
        return
    shards_ = [entry.index for entry in found.shards if among is None or entry.index in among]
    if storage.is_local(directory):
        for index in shards_:
            yield from ledger.read(join(directory, ledger_name(index, found.num_shards)))
        return
    num_shards = found.num_shards
    for entries in each(directory, lambda i: list(ledger.read(join(directory, ledger_name(i, num_shards)))), shards_):
        yield from entries


def _expect(directory: str) -> Manifest:
    found = manifests.read(directory)
    if found is None:
        raise OutputError(f"{directory} has no {MANIFEST}", "It was removed during the run; run the command again.")
    return found


def _expect_to_fit(directory: str, manifest: Manifest, results: Iterable[StagedShard]) -> None:
    """Raises OutputError for staged shards that are gone, of other settings, or not built on what is committed now."""
    committed = {entry.index: entry.ledger_sha256 for entry in manifest.shards}
    ours = f"{STAGED}/{manifest.fingerprint[:12]}-"  # not of a job that goes on though the output was begun again
    there = _staged(directory)
    for result in results:
        whole = {f"{result.staged}.tfrecord", f"{result.staged}.jsonl"} <= there
        builds_on = committed.get(result.entry.index, "") == result.base_ledger_sha256
        if not (whole and builds_on and result.staged.startswith(ours)):
            raise OutputError(
                f"{result.staged} in {directory} does not build on what the output holds now",
                "Another run changed the output in the meantime; run the same command again.",
            )


def _staged(directory: str) -> set[str]:
    """Names, below the output's directory, of what is staged: one listing, where each question costs a request."""
    return {f"{STAGED}/{name}" for name in files_in(join(directory, STAGED))}


def shard_uris(directory: str, manifest: Manifest, index: int) -> tuple[str, str]:
    """URIs of a shard's record file and ledger."""
    return (
        join(directory, shard_name(index, manifest.num_shards)),
        join(directory, ledger_name(index, manifest.num_shards)),
    )


def finish_pending(directory: str, manifest: Manifest, complete: bool = True) -> Manifest:
    """The second half of a commit, after the manifest with `pending`; may be repeated from its start at any point.

    The output is `complete` then if it was to be, and if all its shards are there.
    """

    there = _staged(directory)

    def put(item: Pending) -> None:
        data, lines = shard_uris(directory, manifest, item.entry.index)
        for staged, final in ((f"{item.staged}.tfrecord", data), (f"{item.staged}.jsonl", lines)):
            if staged in there:
                storage.rename(join(directory, staged), final)

    each(directory, put, manifest.pending)
    done = replace(manifests.with_results(manifest, manifest.pending), pending=())
    done = replace(done, complete=complete and len(done.shards) == done.num_shards)
    write_failures(directory, done)
    manifests.write(directory, done)
    return done


def write_failures(directory: str, manifest: Manifest) -> None:
    """Rewrites `failures.jsonl` from the ledgers of the manifest's shards."""

    def lines(entry: ShardEntry) -> bytes:
        return b"".join(ledger.read_failures(shard_uris(directory, manifest, entry.index)[1]))

    failing = [entry for entry in manifest.shards if entry.failed or entry.skipped]
    with storage.open_write(join(directory, FAILURES)) as file:
        for at in range(0, len(failing), REMOTE_THREADS):  # all at once might be more than memory holds
            file.writelines(each(directory, lines, failing[at : at + REMOTE_THREADS]))
