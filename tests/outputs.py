"""Small data sets made through the real writer and commit, for tests of what stands on them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.corpus.plan import shard_of
from pipeline.output import commit, resume, shards
from pipeline.output import manifest as manifests
from pipeline.output.journal import held, rows
from pipeline.output.manifest import Manifest
from pipeline.settings import FrontEnd, Job, Model, Output
from pipeline.types import (
    Clip,
    Embedding,
    EmbeddingKind,
    Failure,
    Outcome,
    RecordFormat,
    Removal,
    RowsRef,
    SegmentEnd,
    ShardEntry,
    StagedShard,
)

WIDTH = 128


def job(
    directory: Path | str,
    num_shards: int = 3,
    record_format: RecordFormat = "audioset",
    embeddings: EmbeddingKind = "quantized",
    hop_seconds: float = 0.96,
) -> Job:
    """A job that writes to a directory."""
    model = Model("standin", "standin", checkpoint_sha256="c" * 64, pca_sha256="p" * 64, embeddings=embeddings)
    return Job(Output(str(directory), num_shards, record_format), model, FrontEnd(hop_seconds))


def clip(number: int, version: str = "1") -> Clip:
    """A clip whose content follows from its number and version."""
    return Clip(f"folder/clip {number:03d}", f"/audio/folder/clip {number:03d}.wav", labels=(1, 7), version=version)


def values_of(item: Clip, kind: EmbeddingKind = "quantized") -> np.ndarray:
    """The embeddings [k, 128] of a clip, by its id and version."""
    rng = np.random.default_rng([*item.id.encode(), *item.version.encode()])
    shape = (int(rng.integers(1, 12)), WIDTH)
    if kind == "quantized":
        return rng.integers(0, 256, shape).astype(np.uint8)
    return rng.normal(size=shape).astype(np.float32)


def ending(item: Clip, examples: int, segment: int = 0, segments: int = 1) -> SegmentEnd:
    """The ending of a segment of so many examples and half a second more."""
    return SegmentEnd(item, segment, segments, examples, examples * 0.96 + 0.5, 44100, 2, "WAV/PCM_16")


def outcomes_of(item: Clip, kind: EmbeddingKind = "quantized") -> list[Outcome]:
    """The writer's input for a clip: every tenth is corrupt, every eleventh too short."""
    number = int(item.id.rpartition(" ")[2])
    if number % 10 == 9:
        return [Failure(item, "extract", "corrupt", "damaged at byte 17")]
    if number % 11 == 10:
        return [Failure(item, "extract", "too_short", "0.5 s", skipped=True)]
    values = values_of(item, kind)
    return [Embedding(item, 0, 0, values), ending(item, len(values))]


def leave(of: Job, clips: Iterable[Clip]) -> list[RowsRef]:
    """Clips -> their outcomes in row files, as a job's workers leave them, five clips a file."""
    every, parts = list(clips), []
    for at in range(0, len(every), 5):
        found = rows.gathered(out for item in every[at : at + 5] for out in outcomes_of(item, of.model.embeddings))
        parts += rows.write(of.output.directory, of.fingerprint(), of.output.num_shards, found, {})
    return parts


def stage(of: Job, manifest: Manifest, clips: Iterable[Clip], drops: Sequence[Clip] = ()) -> list[StagedShard]:
    """Clips -> the staged shards that they fall into."""
    return merge(of, manifest, leave(of, clips), drops)


def merge(of: Job, manifest: Manifest, parts: Iterable[RowsRef], drops: Sequence[Clip] = ()) -> list[StagedShard]:
    """Parts of row files -> staged shards."""
    by_shard: dict[int, list[shards.ShardInput]] = {}
    for part in parts:
        by_shard.setdefault(part.shard, []).append(part)
    for item in map(Removal, drops):
        by_shard.setdefault(shard_of(item.clip.id, of.output.num_shards), []).append(item)
    for entry in manifest.shards:
        if entry.index in by_shard:
            by_shard[entry.index].append(entry)
    attempt = commit.attempt_name(manifest)
    return [shards.write_shard(of.output, index, found, attempt) for index, found in sorted(by_shard.items())]


def write(of: Job, clips: Iterable[Clip], drops: Sequence[Clip] = ()) -> Manifest:
    """A whole run: start or continue, stage, commit. Row files that are there already are used too."""
    opened = resume.start(of.output.directory, of)
    there = held.files_of(of.output.directory, of.fingerprint()).parts(range(of.output.num_shards))
    staged = merge(of, opened.manifest, {*there, *leave(of, clips)}, drops)
    return commit.finish(of.output.directory, staged)


def promise(directory: Path, of: Job) -> None:
    """Writes the manifest of a complete data set whose record files, made by hand, lie in a directory."""
    entries = []
    for path in sorted(directory.glob("embeddings-*.tfrecord")):
        data = path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        entries.append(ShardEntry(len(entries), path.name, 1, 0, 0, 1, 0.96, len(data), digest, "0" * 64, {}, {}))
    manifests.write(str(directory), replace(manifests.new(of), shards=tuple(entries), complete=True))


def content(directory: Path | str) -> dict[str, bytes]:
    """Name -> bytes of the files that are a function of inputs and settings: records, ledgers, failures."""
    root = Path(directory)
    files = [*root.glob("embeddings-*"), *root.glob("_state/ledger-*"), root / "failures.jsonl"]
    return {str(file.relative_to(root)): file.read_bytes() for file in files if file.exists()}


def damage(directory: Path) -> Path:
    """Changes a bit of the last record of a data set -> its file."""
    last = sorted(directory.glob("*.tfrecord"))[-1]
    content = bytearray(last.read_bytes())
    content[-9] ^= 1
    last.write_bytes(content)
    return last
