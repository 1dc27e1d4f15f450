"""The terms and uncommitted work of an array's tasks, in the output's state until the last of them commits it.

`_state/array/plan.json` is written once, by whoever comes first: what there is to do and under which terms. A task
writes only what concerns its own shards: `shard-00007.json` says which staged files are the shard's, replaced in one
step with each piece. So tasks share nothing that two of them write.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from pipeline import storage
from pipeline.output import ledger
from pipeline.output.layout import (
    ARRAY,
    OutputError,
    basename,
    each,
    explained,
    files_in,
    join,
    ledger_name,
    shard_name,
)
from pipeline.output.manifest import Manifest
from pipeline.output.staged import HeldShard, ShardResult, collect, held_uri, read_held
from pipeline.output.tasks import Task
from pipeline.types import Corpus

PLAN_OF_ARRAY = f"{ARRAY}/plan.json"
_STAGED = re.compile(r".*-(\d{5,})-[0-9a-f]{8}\.(tfrecord|jsonl|json)(\.[0-9a-f]{8}\.tmp)?")
_POINTER = re.compile(r"shard-(\d{5,})\.json(\.[0-9a-f]{8}\.tmp)?")


class ArrayDiffers(OutputError):  # noqa: N818  (a state, not a fault)
    """A task was started on other inputs, or with other flags, than the first one of its array."""


@dataclass(frozen=True)
class Terms:
    """The terms that all tasks of an array must agree on.

    Attributes:
      clips, failures, size_bytes: of the inputs: clips to embed, rows that cannot be, bytes of the clips' files.
      listing: sha256 over ids, times, labels, sizes and versions of the clips and over the failures.
      places: sha256 over the paths of the files, which are written into ledgers.
      retry_failed, prune: the flags.
      tasks: how many the first command said there are; for messages.
      finishing: every task is done, and committing their shards was begun.
    """

    clips: int
    failures: int
    size_bytes: int
    listing: str
    places: str
    retry_failed: bool
    prune: bool
    tasks: int
    finishing: bool = False

    def expect(self, mine: Terms) -> None:
        """Raises ArrayDiffers, with both figures, if another command found something else."""
        digests = {
            "listing": "the inputs' ids, times, labels, sizes or modification times",
            "places": "the paths that the inputs lie at",
        }
        found = [
            f"{digests[name]} are others" if name in digests else f"{name} is {now}, the array's is {then}"
            for name, then in asdict(self).items()
            if (now := getattr(mine, name)) != then and name not in ("tasks", "finishing")
        ]
        if found:
            raise ArrayDiffers(
                f"the array of tasks in this output was begun otherwise: {'; '.join(found)}",
                "All tasks need the same inputs at the same paths and the same flags. To go on with what there is now, "
                "run the command once without --task: it keeps what the tasks computed.",
            )


def terms(found: Corpus, retry_failed: bool, prune: bool, tasks: int) -> Terms:
    """The inputs and flags of a command -> what others of its array have to find alike."""
    listing, places, size = hashlib.sha256(), hashlib.sha256(), 0
    for clip in sorted(found.clips, key=lambda clip: clip.key):
        size += clip.size_bytes
        listing.update(_line(clip.key, clip.labels, clip.cut, clip.size_bytes, clip.version))
        places.update(_line(clip.key, clip.uri))
    for failure in sorted(found.failures, key=lambda failure: failure.clip.key):
        listing.update(_line(failure.clip.key, failure.stage, failure.reason))
        places.update(_line(failure.clip.key, failure.clip.uri, failure.message))
    digests = listing.hexdigest(), places.hexdigest()
    return Terms(len(found.clips), len(found.failures), size, *digests, retry_failed, prune, tasks)


def _line(*values: object) -> bytes:
    return json.dumps(values).encode() + b"\n"


def read_terms(directory: str) -> Terms | None:
    """The terms of the array that an output is in, or None."""
    uri = join(directory, PLAN_OF_ARRAY)
    with explained(directory, "reading the array's plan"):
        if not storage.exists(uri):
            return None
        with storage.open_read(uri) as file:
            return Terms(**json.loads(file.read()))


def write_terms(directory: str, agreed: Terms) -> None:
    """Begins an array, or notes that it is being finished."""
    with explained(directory, "writing the array's plan"):
        storage.mkdirs(join(directory, ARRAY))
        storage.write_atomic(join(directory, PLAN_OF_ARRAY), json.dumps(asdict(agreed), indent=1).encode())


def held_shards(directory: str, manifest: Manifest, among: Collection[int] | None = None) -> dict[int, HeldShard]:
    """The tasks' uncommitted work, by shard: only what is whole and builds on what is committed now."""
    committed = {entry.index: entry.ledger_sha256 for entry in manifest.shards}
    with explained(directory, "reading what tasks hold"):
        names = set(files_in(join(directory, ARRAY)))
        numbers = sorted(int(found[1]) for name in names if (found := _POINTER.fullmatch(name)) and not found[2])

        def read(index: int) -> HeldShard | None:
            held = read_held(directory, index)
            if held is None or held.committed_ledger_sha256 != committed.get(index, ""):
                return None
            fits = held.result.attempt.startswith(manifest.fingerprint[:12])
            whole = all(f"{basename(held.result.staged)}.{suffix}" in names for suffix in ("tfrecord", "jsonl"))
            return held if fits and whole and held.result.entry.name == shard_name(index, manifest.num_shards) else None

        wanted = [index for index in numbers if among is None or index in among]
        read_ones = zip(wanted, each(directory, read, wanted), strict=True)
        return {index: held for index, held in read_ones if held is not None}


def hold(directory: str, results: Iterable[ShardResult], finished: Collection[int], made_with: dict[str, Any]) -> None:
    """Makes staged shards those that the array holds; killed at any point, each shard is the old or the new one.

    Args:
      directory: the output.
      results: what was staged; of several of one shard the first counts.
      finished: indices of shards on which nothing is left to do.
      made_with: see `HeldShard`.
    """
    chosen: dict[int, ShardResult] = {}
    for result in results:
        chosen.setdefault(result.entry.index, result)

    def put(result: ShardResult) -> None:
        index = result.entry.index
        before = read_held(directory, index)
        base = before.result.entry.ledger_sha256 if before else None
        if base is not None and base != result.base_ledger_sha256:
            raise OutputError(
                f"{result.staged} in {directory} does not build on what the array holds of shard {index}",
                "Another task changed it in the meantime; run the same command again.",
            )
        committed = before.committed_ledger_sha256 if before else result.base_ledger_sha256
        _point(directory, HeldShard(result, committed, index in finished, made_with))
        storage.delete(join(directory, f"{result.staged}.json"))
        if before and before.result.staged != result.staged:
            _remove(directory, before.result.staged)

    with explained(directory, "keeping the task's shards"):
        each(directory, put, chosen.values())


def close(directory: str, indices: Iterable[int]) -> None:
    """Notes of held shards that nothing is left to do on them."""
    for index in indices:
        held = read_held(directory, index)
        if held is not None and not held.finished:
            _point(directory, replace(held, finished=True))


def resume(directory: str, manifest: Manifest, task: Task, made_with: dict[str, Any]) -> None:
    """Makes a task's shards ready to be written: holds what a killed task had staged, removes what is of no use."""
    own = [index for index in range(manifest.num_shards) if task.owns(index)]
    held = held_shards(directory, manifest, own)
    with explained(directory, "continuing the task"):
        for name in files_in(join(directory, ARRAY)):
            found = _POINTER.fullmatch(name)
            if found and int(found[1]) in own and (found[2] or int(found[1]) not in held):
                storage.delete(join(directory, f"{ARRAY}/{name}"))
        committed = {entry.index: entry.ledger_sha256 for entry in manifest.shards}
        left: dict[int, ShardResult] = {}
        for result in collect(directory, manifest.fingerprint[:12], ARRAY):
            index = result.entry.index
            base = held[index].result.entry.ledger_sha256 if index in held else committed.get(index, "")
            staged = [join(directory, f"{result.staged}.{suffix}") for suffix in ("tfrecord", "jsonl")]
            if index in own and result.base_ledger_sha256 == base and all(map(storage.exists, staged)):
                left.setdefault(index, result)
        hold(directory, left.values(), (), made_with)
        used = {basename(item.result.staged) for item in held_shards(directory, manifest, own).values()}
        for name in files_in(join(directory, ARRAY)):
            found = _STAGED.fullmatch(name)
            if found and int(found[1]) in own and name.partition(".")[0] not in used:
                storage.delete(join(directory, f"{ARRAY}/{name}"))


def finished(held: Mapping[int, HeldShard]) -> set[int]:
    """Indices of the held shards on which nothing is left to do."""
    return {index for index, item in held.items() if item.finished}


def ledger_of(
    directory: str, manifest: Manifest, held: dict[int, HeldShard], among: Sequence[int]
) -> Iterator[ledger.LedgerEntry]:
    """Every clip that some shards account for: as tasks hold them, else as they are committed."""
    committed = {entry.index for entry in manifest.shards}
    for index in among:
        if index in held:
            yield from ledger.read(join(directory, f"{held[index].result.staged}.jsonl"))
        elif index in committed:
            yield from ledger.read(join(directory, ledger_name(index, manifest.num_shards)))


def remove(directory: str) -> None:
    """Removes all that an array left; its plan last, so that what is left of it is known as such."""
    place = join(directory, ARRAY)
    names = [name for name in files_in(place) if name != basename(PLAN_OF_ARRAY)]
    each(directory, storage.delete, [join(place, name) for name in names])
    storage.delete(join(directory, PLAN_OF_ARRAY))


def _point(directory: str, held: HeldShard) -> None:
    storage.write_atomic(held_uri(directory, held.result.entry.index), held.to_json())


def _remove(directory: str, staged: str) -> None:
    for suffix in (".json", ".tfrecord", ".jsonl"):
        storage.delete(join(directory, staged + suffix))
