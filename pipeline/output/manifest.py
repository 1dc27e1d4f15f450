"""`manifest.json`: what an output is, how it was made, and which bytes it promises. Reading and writing it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from math import fsum
from typing import Any

from pipeline import storage
from pipeline.output.layout import MANIFEST, STAGED, OutputError, is_shard, is_staged, join, of_number
from pipeline.output.made_with import made_with
from pipeline.settings import Job
from pipeline.types import ShardEntry, StagedShard

FORMAT_VERSION = 1
_REMEDY = "Restore it from a copy, or run with --overwrite to start over."


@dataclass(frozen=True)
class Pending:
    """A shard in the middle of a commit: the entry that it will have, and where its staged files are."""

    entry: ShardEntry
    staged: str


@dataclass(frozen=True)
class Manifest:
    """The content of `manifest.json`.

    Attributes:
      fingerprint, settings: of the job (`Job.fingerprint`, `Job.deciding`).
      models: name and sha256 of the checkpoint and of the PCA parameters.
      shards: complete ones, by index.
      complete: True when every clip of the last finished run is accounted for and every shard is there.
      pending: shards of a commit that was begun; each file is the old or the new one until the next run finishes it.
      clearing: an overwrite was begun: files that the manifest does not name are left-overs.
      resharding: a change of the number of shards was begun (`pipeline.output.resharding`): shards of this other number
        are left-overs, whether it was to be or has been; 0: none was.
      run: what changes no bytes: times, versions, processor, engine.
    """

    fingerprint: str
    settings: dict[str, Any]
    models: dict[str, dict[str, str]]
    shards: tuple[ShardEntry, ...] = ()
    complete: bool = False
    pending: tuple[Pending, ...] = ()
    clearing: bool = False
    resharding: int = 0
    run: dict[str, Any] = field(default_factory=dict)

    @property
    def num_shards(self) -> int:
        return int(self.settings["num_shards"])

    @property
    def totals(self) -> dict[str, int | float]:
        """Sums over the shards; clips_in = written + failed + skipped."""
        return totals(self.shards)

    @property
    def failures(self) -> dict[str, int]:
        """Failed clips by reason, most frequent first."""
        return _summed(entry.failures for entry in self.shards)

    @property
    def skips(self) -> dict[str, int]:
        """Skipped clips by reason, most frequent first."""
        return _summed(entry.skips for entry in self.shards)

    def leaves(self, name: str) -> bool:
        """Whether a shard or ledger, by its name, is left over from a change of the number of shards."""
        return bool(self.resharding) and of_number(name, self.resharding)

    def to_json(self) -> bytes:
        content = {
            "format_version": FORMAT_VERSION,
            "complete": self.complete,
            "fingerprint": self.fingerprint,
            "settings": self.settings,
            "models": self.models,
            "totals": self.totals,
            "failures": self.failures,
            "skips": self.skips,
            "shards": [asdict(entry) for entry in self.shards],
            "run": self.run,
        }
        if self.pending:
            content["pending"] = [asdict(item) for item in self.pending]
        if self.clearing:
            content["clearing"] = True
        if self.resharding:
            content["resharding"] = self.resharding
        return json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n"


def from_json(data: bytes, name: str) -> Manifest:
    """The bytes of a `manifest.json` -> its content.

    Raises:
      OutputError: it is none, it is of a later version, or it names files that are not an output's own: a commit moves
        and replaces what it names, so a name must not lead out of the output's folder.
    """
    try:
        content = json.loads(data)
    except ValueError as error:
        raise OutputError(f"{name} is damaged: it is no JSON ({error})", _REMEDY) from None
    try:
        version = content["format_version"]
        if version != FORMAT_VERSION:
            raise OutputError(
                f"{name} has format version {version}, this software writes {FORMAT_VERSION}",
                "Use the version that wrote it, or run with --overwrite to start over.",
            )
        found = Manifest(
            fingerprint=content["fingerprint"],
            settings=content["settings"],
            models=content["models"],
            shards=tuple(ShardEntry(**entry) for entry in content["shards"]),
            complete=content["complete"],
            pending=tuple(Pending(ShardEntry(**item["entry"]), item["staged"]) for item in content.get("pending", ())),
            clearing=content.get("clearing", False),
            resharding=content.get("resharding", 0),
            run=content["run"],
        )
        _expect_own_names(found, name)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise OutputError(f"{name} is not a manifest of this software ({error!r})", _REMEDY) from None
    return found


def _expect_own_names(manifest: Manifest, name: str) -> None:
    other = manifest.resharding
    if type(other) is not int or other < 0 or other == manifest.num_shards:
        raise OutputError(f"{name} gives {other!r} as another number of shards than {manifest.num_shards}", _REMEDY)
    for entry in (*manifest.shards, *(item.entry for item in manifest.pending)):
        if not is_shard(entry.name):
            raise OutputError(f"{name} names a shard {entry.name!r}, which is no record file of an output", _REMEDY)
        if type(entry.index) is not int or entry.index < 0:
            raise OutputError(f"{name} gives {entry.name} the index {entry.index!r}, not a number from 0", _REMEDY)
    for item in manifest.pending:
        if not is_staged(item.staged):
            raise OutputError(f"{name} names a staged file {item.staged!r}, outside {STAGED}", _REMEDY)


def read(directory: str) -> Manifest | None:
    """The manifest of an output, or None where there is none."""
    uri = join(directory, MANIFEST)
    if not storage.exists(uri):
        return None
    with storage.open_read(uri) as file:
        return from_json(file.read(), uri)


def write(directory: str, manifest: Manifest) -> None:
    """Replaces the manifest, atomically: the commit point of every change to an output."""
    run = {**manifest.run, "updated": _now()}
    storage.write_atomic(join(directory, MANIFEST), replace(manifest, run=run).to_json())


def new(job: Job, engine: Mapping[str, Any] | None = None) -> Manifest:
    """A job -> the manifest of its output before anything is written."""
    model = job.model
    models = {"checkpoint": {"name": model.checkpoint_name or model.checkpoint, "sha256": model.checkpoint_sha256}}
    if model.embeddings != "raw":
        models["pca_params"] = {"name": model.pca_name or model.pca_params, "sha256": model.pca_sha256}
    run = {
        "created": _now(),
        "updated": _now(),
        **made_with(engine),
    }
    return Manifest(job.fingerprint(), job.deciding(), models, run=run)


def continued(manifest: Manifest, engine: Mapping[str, Any] | None = None) -> Manifest:
    """The manifest with this run's versions, processor and engine; differing ones of earlier runs are kept by."""
    now = made_with(engine)
    before = {name: manifest.run.get(name) for name in now}
    return made_also(replace(manifest, run={**manifest.run, **now}), [before])


def made_also(manifest: Manifest, others: Iterable[Mapping[str, Any]]) -> Manifest:
    """The manifest with the versions, processors and engines (`made_with`) of others that took part, if they differ."""
    earlier = list(manifest.run.get("earlier", []))
    for other in others:
        if any(manifest.run.get(name) != value for name, value in other.items()):
            earlier = [each for each in earlier if each != other] + [dict(other)]
    return replace(manifest, run={**manifest.run, "earlier": earlier}) if earlier else manifest


def with_unequal_rows(manifest: Manifest, count: int) -> Manifest:
    """The manifest with so many more rows that two kinds of processors made, and that were a step apart."""
    if not count:
        return manifest
    return replace(manifest, run={**manifest.run, "unequal_rows": manifest.run.get("unequal_rows", 0) + count})


def with_results(manifest: Manifest, results: Iterable[StagedShard | Pending]) -> Manifest:
    """The manifest with the results' shards in place of those of the same index."""
    shards = {entry.index: entry for entry in manifest.shards}
    shards.update({result.entry.index: result.entry for result in results})
    return replace(manifest, shards=tuple(shards[index] for index in sorted(shards)))


def totals(shards: Iterable[ShardEntry]) -> dict[str, int | float]:
    """Sums over some shards; clips_in = written + failed + skipped, and damaged are among the written."""
    entries = list(shards)
    written = sum(entry.records for entry in entries)
    failed = sum(entry.failed for entry in entries)
    skipped = sum(entry.skipped for entry in entries)
    return {
        "clips_in": written + failed + skipped,
        "written": written,
        "damaged": sum(entry.damaged for entry in entries),
        "failed": failed,
        "skipped": skipped,
        "examples": sum(entry.examples for entry in entries),
        "audio_seconds": round(fsum(entry.audio_seconds for entry in entries), 6),
    }


def _summed(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
