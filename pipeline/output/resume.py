"""A directory and a job -> an output that is ready to be written to: new, continued, or cleared of its data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pipeline import storage
from pipeline.output import manifest as manifests
from pipeline.output.commit import finish_pending, remove_staged, shard_uris, write_failures
from pipeline.output.journal import held, rows
from pipeline.output.layout import (
    CLASSES,
    CONFIG,
    FAILURES,
    MANIFEST,
    REPORT,
    STAGED,
    STATE,
    OutputError,
    basename,
    contents,
    each,
    explained,
    files_in,
    is_draft,
    is_history,
    is_ledger,
    is_shard,
    join,
    of_number,
)
from pipeline.output.manifest import Manifest
from pipeline.output.publishing import parquet_files
from pipeline.settings import Job
from pipeline.storage.hashed import sha256_of
from pipeline.types import ShardEntry


class SettingsDiffer(OutputError):  # noqa: N818  (a state, not a fault)
    """The output was made with other settings; `differences` has a line for each."""

    def __init__(self, directory: str, differences: list[str]) -> None:
        super().__init__(
            f"{directory} was made with other settings: {'; '.join(differences)}",
            "Use its settings to continue it, another --output, or --overwrite to start over.",
        )
        self.directory = directory
        self.differences = differences

    def __reduce__(self) -> tuple[Any, ...]:
        return (SettingsDiffer, (self.directory, self.differences))


@dataclass(frozen=True)
class OpenedOutput:
    """An output that is ready to be written to.

    Attributes:
      manifest: what it holds.
      finished: shards of an interrupted commit that was finished now.
      lost: names of shards that were missing or not what the manifest says; their clips are to be computed again.
    """

    manifest: Manifest
    finished: int = 0
    lost: tuple[str, ...] = ()


def inspect(directory: str, job: Job, overwrite: bool = False) -> Manifest | None:
    """Whether a job may write to a directory: its manifest if the job continues it, None if it starts over.

    Writes nothing.

    Raises:
      SettingsDiffer: the output's fingerprint is another one.
      OutputError: the directory holds something else, or cannot be read.
    """
    if why_not := storage.why_not_an_output(directory):
        where = "Name a new folder, or that of a data set" + (
            "" if storage.is_local(directory) else ", here, on gs:// or s3://"
        )
        raise OutputError(f"{directory} cannot be written: {why_not}", where)
    with explained(directory, "reading the output"):
        if overwrite:
            return None
        found = manifests.read(directory)
        names = [] if found else contents(directory)
        if MANIFEST in names:  # another task of an array has just begun the output
            found = manifests.read(directory)
        if found is not None:
            if found.fingerprint != job.fingerprint():
                raise SettingsDiffer(directory, differences(found.settings, job.deciding()))
            return found
        if names:
            some = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            raise OutputError(
                f"{directory} is not empty and has no {MANIFEST}: it holds {some}",
                "Choose an empty or new directory; --overwrite replaces a data set there and leaves other files alone.",
            )
        return None


def differences(of_output: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """Two sets of deciding settings -> a line for each name that differs."""
    absent = "(absent)"
    return [
        f"{name} is {of_output.get(name, absent)} in the output, {asked.get(name, absent)} was asked for"
        for name in sorted({*of_output, *asked})
        if of_output.get(name, absent) != asked.get(name, absent)
    ]


def start(directory: str, job: Job, overwrite: bool = False, engine: Mapping[str, Any] | None = None) -> OpenedOutput:
    """Makes an output ready: new, continued (an interrupted commit is finished first), or cleared of its data set.

    Args:
      directory: the output's path or URI.
      job: its settings.
      overwrite: True replaces a data set that is there; files that are not the data set's stay.
      engine: what the manifest is to say of the engine.

    Raises:
      SettingsDiffer, OutputError: as `inspect`.
    """
    if inspect(directory, job, overwrite) is not None:
        opened = recover(directory)
        assert opened is not None
        continued = manifests.continued(opened.manifest, engine)
        if continued.run != opened.manifest.run:
            with explained(directory, "continuing the output"):
                manifests.write(directory, continued)
        return replace(opened, manifest=continued)
    fresh = manifests.new(job, engine)
    with explained(directory, "starting the output"):
        storage.mkdirs(join(directory, STAGED))
        storage.mkdirs(join(directory, rows.ROWS))
        _remove_drafts(directory)
        if overwrite:
            manifests.write(directory, replace(fresh, clearing=True))
            _remove_unnamed(directory, fresh, all_numbers=True)
            remove_staged(directory)
            held.remove_all(directory)
        manifests.write(directory, fresh)
    return OpenedOutput(fresh)


def recover(directory: str) -> OpenedOutput | None:
    """Finishes what an earlier run left half-done; None where there is no output.

    A commit that was begun is finished. Shards that are missing, or not what the manifest says, are struck from it, so
    that their clips are computed again. What is staged, and the plan of a run that is no more, goes.
    """
    with explained(directory, "recovering the output"):
        found = manifests.read(directory)
        if found is None:
            return None
        storage.mkdirs(join(directory, rows.ROWS))
        pending = len(found.pending)
        if found.pending:
            possible = _without_unfinishable(directory, found)
            found = finish_pending(directory, possible, complete=len(possible.pending) == pending)
        found, lost = _without_lost(directory, found)
        return OpenedOutput(tidied(directory, found, changed=bool(lost)), pending, lost)


def tidied(directory: str, manifest: Manifest, changed: bool = False) -> Manifest:
    """Removes what an overwrite or a change of the number of shards has left, drafts, plans and what is staged.

    May be repeated from its start at any point. The output has to be locked.

    Args:
      directory: the output.
      manifest: what it holds.
      changed: it has to be written in any case.
    """
    done = replace(manifest, clearing=False, resharding=0)
    if manifest.clearing:  # what is left is of the data set that was to be replaced
        held.remove_all(directory)
    _remove_unnamed(directory, manifest, all_numbers=manifest.clearing)
    if changed or done != manifest:
        write_failures(directory, done)
        manifests.write(directory, done)
    remove_staged(directory)
    return done


def _without_unfinishable(directory: str, manifest: Manifest) -> Manifest:
    """Strikes from `pending` what can neither be finished nor was: its staged files are gone."""
    possible = []
    for item in manifest.pending:
        data, lines = shard_uris(directory, manifest, item.entry.index)
        wanted = (
            (f"{item.staged}.tfrecord", data, item.entry.sha256),
            (f"{item.staged}.jsonl", lines, item.entry.ledger_sha256),
        )
        if all(storage.exists(join(directory, staged)) or sha256(final) == want for staged, final, want in wanted):
            possible.append(item)
    return replace(manifest, pending=tuple(possible))


def _without_lost(directory: str, manifest: Manifest) -> tuple[Manifest, tuple[str, ...]]:
    """Strikes shards whose record file or ledger is gone, or not the one promised."""
    sizes = files_in(directory, "embeddings-")

    def whole(entry: ShardEntry) -> bool:
        data, lines = shard_uris(directory, manifest, entry.index)
        if sizes.get(entry.name) != entry.bytes:
            return False
        return sha256(data) == entry.sha256 and sha256(lines) == entry.ledger_sha256

    found = list(zip(manifest.shards, each(directory, whole, manifest.shards), strict=True))
    kept = [entry for entry, sound in found if sound]
    lost = tuple(entry.name for entry, sound in found if not sound)
    return (replace(manifest, shards=tuple(kept), complete=False), lost) if lost else (manifest, lost)


def _remove_unnamed(directory: str, manifest: Manifest, all_numbers: bool) -> None:
    """Removes record files and ledgers that the manifest does not name: of its numbers of shards, or of any."""
    named = {name for e in manifest.shards for name in (e.name, basename(shard_uris("", manifest, e.index)[1]))}
    numbers = (manifest.num_shards, manifest.resharding)
    for place, ours in ((directory, is_shard), (join(directory, STATE), is_ledger)):
        found = [name for name in files_in(place) if ours(name) and name not in named]
        gone = [name for name in found if all_numbers or any(of_number(name, number) for number in numbers)]
        each(directory, storage.delete, [join(place, name) for name in gone])
        _remove_drafts(place)
    if all_numbers or manifest.resharding:
        parquet_files.remove_unnamed(directory, manifest)
    if all_numbers:
        history = [join(STATE, name) for name in files_in(join(directory, STATE)) if is_history(name)]
        each(
            directory, storage.delete, [join(directory, name) for name in (FAILURES, REPORT, CLASSES, CONFIG, *history)]
        )


def _remove_drafts(place: str) -> None:
    """Removes what a killed run was about to write in a directory."""
    each(place, storage.delete, [join(place, name) for name in files_in(place) if is_draft(name)])


def sha256(uri: str) -> str:
    """A file's sha256; "" where there is none."""
    try:
        return sha256_of(uri)
    except FileNotFoundError:
        return ""
