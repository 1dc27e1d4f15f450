"""A finished data set -> the same records in another number of shards, as a fresh run with that number writes them.

New shards are staged, then put beside the old ones; the manifest that names them replaces the one that names those;
then the old ones go. The manifest always names shards that are all there. From before the first new one has its place
until the last old one is gone it also names the other number (`resharding`): shards of that number are left-overs. So
undoing the change and finishing it are one operation, `resume.tidied`, which is a part of opening an output.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import groupby

from pipeline import storage
from pipeline.corpus import plan
from pipeline.formatting import number_of
from pipeline.output import commit, ledger, resume, shards
from pipeline.output import manifest as manifests
from pipeline.output.at_work import submitted
from pipeline.output.journal import rows
from pipeline.output.layout import MANIFEST, STAGED, OutputError, each, explained, join
from pipeline.output.lock import Lock, OutputBusy
from pipeline.output.manifest import Manifest
from pipeline.output.resharding.order import in_order
from pipeline.output.shards import Item
from pipeline.settings import Output, fingerprint_of
from pipeline.types import ShardEntry, StagedShard

ROLE = "a change of its number of shards"
_FIRST = "Run the command that makes the data set to its end, then change the number of shards."
_REPAIR = (
    "Run the command that makes the data set first: what this file held is computed again. Then change the number of "
    "shards."
)
_SPACE = (
    "The data set is whole. Check that there is space for a copy of it, there and in the folder of temporary files "
    "(TMPDIR names another), and that it may be written to, then run the same command again."
)


@dataclass(frozen=True)
class Resharded:
    """A data set whose number of shards was changed.

    Attributes:
      manifest: what it holds now.
      before: how many shards it had.
    """

    manifest: Manifest
    before: int


def reshard(directory: str, num_shards: int | None) -> Resharded:
    """Changes the number of shards of a finished data set, whose lock it holds meanwhile.

    Killed at any moment, the data set is the old or the new one, as its manifest says.

    Args:
      directory: the output.
      num_shards: how many it is to have; None: as many as a new output of these clips has.

    Raises:
      OutputBusy: a run or a task holds the output.
      FlagError: the number is far beyond that of its clips.
      OutputError: there is no data set, it is not finished, an engine's job may still write to it, a shard is damaged,
        or storage fails.
    """
    _expect_finished(directory, manifests.read(directory))  # before a lock makes a folder of what is no output
    with Lock(directory, role=ROLE) as lock:
        for job in submitted.noted(directory).values():
            raise OutputError(
                f"{directory} was given to the job {job}, which may still write to it",
                "Run the command that it was given by again: it finishes the data set, or says what to do",
            )
        return reshard_locked(directory, num_shards, lock.confirm)


def reshard_locked(directory: str, num_shards: int | None, confirm: Callable[[], None]) -> Resharded:
    """As `reshard`, under the output's lock; `confirm` raises OutputBusy where that is lost."""
    with explained(directory, "changing the number of shards", _SPACE):
        found = resume.tidied(directory, _expect_finished(directory, manifests.read(directory)))
        wanted = num_shards or default_num_shards(directory, found)
        if wanted == found.num_shards:
            return Resharded(found, wanted)
        if num_shards:
            plan.expect_filled(num_shards, int(found.totals["clips_in"]))
        try:
            return Resharded(_changed(directory, found, wanted, confirm), found.num_shards)
        except OutputBusy:
            raise
        except (Exception, KeyboardInterrupt):
            with suppress(Exception):  # what this leaves goes with the next command; it may be as large as the data set
                resume.tidied(directory, _expect_finished(directory, manifests.read(directory)))
            raise


def _changed(directory: str, found: Manifest, num_shards: int, confirm: Callable[[], None]) -> Manifest:
    settings = {**found.settings, "num_shards": num_shards}
    new = replace(found, settings=settings, fingerprint=fingerprint_of(settings))
    staged = list(_staged(directory, found, new))
    new = replace(new, shards=tuple(result.entry for result in staged), resharding=found.num_shards)
    _expect_all(directory, found, new)
    confirm()
    manifests.write(directory, replace(found, resharding=num_shards))
    each(directory, lambda result: _put(directory, new, result), staged)
    confirm()
    manifests.write(directory, new)
    return resume.tidied(directory, new)


def default_num_shards(directory: str, manifest: Manifest) -> int:
    """The number of shards that a new output of a data set's clips has, by its ledgers."""
    clips = size = 0
    for shard in manifest.shards:
        with _repairable(uri := commit.shard_uris(directory, manifest, shard.index)[1]):
            for entry in ledger.read(uri):
                clips += 1
                if entry.stage not in ("find", "plan"):  # a run counts no bytes of these either
                    size += plan.cost_bytes(entry.clip)
    return plan.default_num_shards(clips, size)


def _expect_finished(directory: str, manifest: Manifest | None) -> Manifest:
    """Raises OutputError where there is no data set, or one that a run has still to do with."""
    if manifest is None:
        raise OutputError(f"there is no {join(directory, MANIFEST)}", "Name the folder of a data set.")
    unfinished = ""
    if manifest.clearing:
        unfinished = "an overwrite of it was begun"
    elif manifest.pending:
        unfinished = f"a commit of {number_of(len(manifest.pending), 'shard')} was begun"
    elif not manifest.complete:
        unfinished = f"{len(manifest.shards)} of {manifest.num_shards} shards are there so far"
    elif names := rows.names(directory):
        unfinished = f"an interrupted run has left {number_of(len(names), 'file')} of finished rows"
    if unfinished:
        raise OutputError(f"{directory} is not finished: {unfinished}", _FIRST)
    return manifest


def _staged(directory: str, found: Manifest, new: Manifest) -> Iterator[StagedShard]:
    """Stages all new shards, one after another; each old one is read once."""
    storage.mkdirs(join(directory, STAGED))
    output = Output(directory, new.num_shards, new.settings["record_format"])
    attempt = commit.attempt_name(new)
    items = (item for entry in found.shards for item in _read(directory, found, entry))
    with tempfile.TemporaryDirectory(prefix="vggish-shards-") as folder:
        left = groupby(in_order(folder, items, new.num_shards), key=lambda item: _shard(item, new.num_shards))
        following = next(left, None)
        for index in range(new.num_shards):
            own: Iterator[Item] = iter(())
            if following is not None and following[0] == index:
                own = following[1]
            staged = f"{STAGED}/{attempt}-{index:05d}"
            yield StagedShard(shards.stage(output, index, staged, own), staged, "")
            if following is not None and following[0] == index:
                following = next(left, None)


def _shard(item: Item, num_shards: int) -> int:
    return plan.shard_of(item[0].id, num_shards)


def _read(directory: str, manifest: Manifest, entry: ShardEntry) -> Iterator[Item]:
    """A shard's clips; OutputError where it is not the one that the manifest names."""
    output = Output(directory, manifest.num_shards, manifest.settings["record_format"])
    with _repairable(join(directory, entry.name)):
        yield from shards.committed(output, entry)


@contextmanager
def _repairable(uri: str) -> Iterator[None]:
    """Errors about a file that is gone or damaged say how it is made again."""
    try:
        yield
    except storage.MissingError as error:
        raise OutputError(f"{error.uri}: the file is gone", _REPAIR) from error
    except ValueError as error:
        raise OutputError(f"{uri}: {error}", _REPAIR) from error
    except OutputError as error:
        raise OutputError(error.found, _REPAIR) from error


def _expect_all(directory: str, old: Manifest, new: Manifest) -> None:
    """Raises OutputError if a clip was lost on the way."""
    counts = ("clips_in", "written", "damaged", "failed", "skipped", "examples")
    before, after = ({name: of.totals[name] for name in counts} for of in (old, new))
    if before != after:
        raise OutputError(f"{directory} holds {before}, its new shards {after}", "Nothing was changed. Report this.")


def _put(directory: str, manifest: Manifest, result: StagedShard) -> None:
    data, lines = commit.shard_uris(directory, manifest, result.entry.index)
    storage.rename(join(directory, f"{result.staged}.tfrecord"), data)
    storage.rename(join(directory, f"{result.staged}.jsonl"), lines)
