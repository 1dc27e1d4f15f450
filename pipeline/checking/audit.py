"""Clips of an output computed again from their audio and compared, byte by byte. Used by `pipeline.verify --audit`.

Each is decoded in one piece and embedded with others than before, on whatever processor this is: if the bytes are the
same, they are a function of audio and settings alone.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from pipeline import storage
from pipeline.checking import expectations
from pipeline.corpus.plan import shard_of
from pipeline.decoding import decoders, extract
from pipeline.embedding import embed
from pipeline.formatting import clips
from pipeline.machine import cores
from pipeline.output import assemble, ledger, records
from pipeline.output.layout import OutputError, join, ledger_name, shard_name
from pipeline.output.ledger import LedgerEntry
from pipeline.output.made_with import arithmetic, processor
from pipeline.output.manifest import Manifest
from pipeline.settings import FEATURES_VERSION, Decoding, FrontEnd, Model
from pipeline.types import DecodeRequest, Outcome, Probe, Segment
from vggish_core import params, weights
from vggish_core.weights import Kind, standin

TOLERATED_S = params.EXAMPLE_WINDOW_SECONDS
"""By which two decoders may take a file for longer or shorter: padding, an encoder's delay."""
STEP = 1.001 * 4 / 255
"""Of 8 bits, in what they stand for."""
ROUNDING = 1e-4
"""Of the largest value: what floating embeddings may differ by between kinds of processors."""


@dataclass
class Audit:
    """The result of an audit.

    Attributes:
      equal: how many clips gave the same bytes.
      close: how many others give them but for the rounding of another kind of processor.
      faults: a line for each that did not.
      notes: a line for each whose audio is gone or was changed since, that is close, or whose length another route
        contradicts; and one that sums up.
    """

    equal: int = 0
    close: int = 0
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def audit(
    directory: str, count: int, seed: int, checkpoint: str = "", pca_params: str = "", manifest_uri: str = ""
) -> Audit:
    """Compute `count` random clips of an output again.

    Args:
      directory: the output.
      count, seed: how many clips with records, and which.
      checkpoint, pca_params: where the weights are now; "": by the names in the manifest.
      manifest_uri: of a manifest that lies elsewhere.

    Raises:
      OutputError: there is no manifest, no ledger; the code or the weights are not those of the output.
      WeightsError: the weights are not there.
    """
    manifest = expectations.read(directory, manifest_uri).manifest
    if (version := manifest.settings["features_version"]) != FEATURES_VERSION:
        raise OutputError(
            f"{directory} was made by code of features version {version}, this is {FEATURES_VERSION}",
            "Audit it with the version of the software that the manifest names.",
        )
    model = _model(manifest, checkpoint, pca_params)
    chosen = choose(directory, manifest, count, seed)
    held = dict(_held(directory, manifest, chosen))
    result = Audit()
    for entry, (again, other) in zip(chosen, compute(manifest, model, chosen), strict=True):
        _compare(result, manifest, entry, held.get(entry.key), again)
        if disagreement := _other_length(entry, again, other):
            result.notes.append(f"note: {entry.id}: {entry.uri} {disagreement}")
    here, there = processor(), manifest.run.get("processor", "")
    if result.faults and here != there:
        result.notes.append(f"note: the output was made on {there}, this is {here}")
    if chosen and not result.equal + result.close and not result.faults:
        result.faults.append("audit: the audio of none of the clips is there as it was")
    close = f", {result.close} within a step of rounding" if result.close else ""
    result.notes.append(f"audit: {clips(len(chosen))} computed again, {result.equal} equal{close} (seed {seed})")
    return result


def choose(directory: str, manifest: Manifest, count: int, seed: int) -> list[LedgerEntry]:
    """Entries of clips with records, drawn evenly from all of them, in order of shard and key."""
    rng, seen = random.Random(seed), 0
    kept: list[LedgerEntry] = []
    for shard in manifest.shards:
        uri = join(directory, ledger_name(shard.index, manifest.num_shards))
        if not storage.exists(uri):
            raise OutputError(f"there is no {uri}", "An audit needs the output's _state, which says where audio is.")
        for entry in ledger.read(uri):
            if entry.outcome != "written":
                continue
            seen += 1  # reservoir sampling: corpora are larger than memory
            if len(kept) < count:
                kept.append(entry)
            elif (place := rng.randrange(seen)) < count:
                kept[place] = entry
    return sorted(kept, key=lambda entry: (shard_of(entry.id, manifest.num_shards), entry.key))


def compute(
    manifest: Manifest, model: Model, entries: Sequence[LedgerEntry]
) -> Iterator[tuple[assemble.ClipResult, Probe | None]]:
    """Entries -> what their audio gives now, and how long it is by another route, in the same order."""
    settings = manifest.settings
    names = ("hop_seconds", "short_clips", "max_duration_seconds", "damaged")
    front_end = FrontEnd(**{name: settings[name] for name in names})
    worker = embed.shared_worker(model)
    with decoders.DecoderPool(front_end, Decoding(processes=cores())) as pool:
        ahead = extract.LookAhead(pool, depth=0)
        for entry in entries:
            other = pool.probe(entry.uri, otherwise=True, place=entry.place)
            session, outcomes = embed.EmbeddingStream(worker), list[Outcome]()
            for item in (*ahead.push(DecodeRequest(entry.uri, (Segment(entry.clip),))),):
                outcomes += session.push(item)
            outcomes += session.finish()
            yield assemble.assemble(outcomes)[0], other.result()


def _compare(
    result: Audit, manifest: Manifest, entry: LedgerEntry, held: bytes | None, again: assemble.ClipResult
) -> None:
    end_s, values = again.entry.end_s, again.values
    if values is not None and end_s is not None:
        layout = manifest.settings["record_format"]
        made = records.to_sequence_example(entry.id, entry.start_s, end_s, entry.labels, values, layout, entry.rated)
        if made == held:
            result.equal += 1
            return
        values = records.parse(made).values  # of YouTube-8M's video level, their mean
    found = f"{again.entry.reason}: {again.entry.message}" if values is None else _difference(held, values)
    if changed := _changed(entry):
        result.notes.append(f"note: {entry.id}: not comparable, {entry.uri} {changed} ({found})")
    elif values is not None and held is not None and _rounded_otherwise(manifest, records.parse(held).values, values):
        result.close += 1
        others = ", ".join(sorted(_arithmetics(manifest)))
        result.notes.append(f"note: {entry.id}: {found}: made on {others}; this is {arithmetic()}")
    else:
        result.faults.append(f"{entry.id}: {entry.uri} now gives a different record: {found}")


def _difference(held: bytes | None, values: np.ndarray) -> str:
    if held is None:
        return "there is none in the output"
    before = records.parse(held).values
    if before.shape != values.shape:
        return f"{len(before)} frames in the output, {len(values)} now"
    rows = np.flatnonzero((before != values).any(axis=1))
    if not len(rows):
        return "the same frames, other times or labels"
    most = np.abs(before.astype(np.float64) - values).max()
    return f"{len(rows)} of {len(values)} frames differ, the first is {rows[0]}, by up to {most:g}"


def _arithmetics(manifest: Manifest) -> set[str]:
    """The kinds of processors that took part in an output."""
    return {str(run.get("arithmetic", "")) for run in (manifest.run, *manifest.run.get("earlier", []))}


def _rounded_otherwise(manifest: Manifest, before: np.ndarray, values: np.ndarray) -> bool:
    """Whether processors of another kind explain a difference: a step of 8 bits, or as little of other numbers.

    The mean of quantized embeddings, each a step off, is a step off.
    """
    if before.shape != values.shape or _arithmetics(manifest) == {arithmetic()}:
        return False
    most = np.abs(before.astype(np.float64) - values).max(initial=0)
    if manifest.settings["embeddings"] == "quantized":
        return bool(most <= (1 if values.dtype == np.uint8 else STEP))
    return bool(most <= ROUNDING * np.abs(values).max(initial=0))


def _other_length(entry: LedgerEntry, again: assemble.ClipResult, other: Probe | None) -> str:
    """How another route contradicts a clip's length by more than an example; "" where it does not."""
    end_s = again.entry.end_s if entry.cut else again.entry.audio_seconds
    if again.values is None or end_s is None or other is None:
        return ""
    found_s = other.frames / other.sample_rate_hz
    to_the_end = not entry.cut or entry.clip_end_s is None
    if found_s > end_s - TOLERATED_S and not (to_the_end and found_s > end_s + TOLERATED_S):
        return ""
    return f"has sound up to {end_s:.2f} s here, {found_s:.2f} s by another route: listen to which is right"


def _changed(entry: LedgerEntry) -> str:
    """How an entry's file has changed; "" if it has not."""
    is_other = ledger.changed(entry)
    return "is gone" if is_other is None else "was changed since" if is_other else ""


def _held(
    directory: str, manifest: Manifest, entries: Iterable[LedgerEntry]
) -> Iterator[tuple[tuple[str, float, float], bytes]]:
    """Keys of entries -> their records in the output, paired as in its ledger."""
    wanted: dict[int, set[tuple[str, float, float]]] = defaultdict(set)
    for entry in entries:
        wanted[shard_of(entry.id, manifest.num_shards)].add(entry.key)
    for index, keys in wanted.items():
        lines = ledger.read(join(directory, ledger_name(index, manifest.num_shards)))
        written = (entry for entry in lines if entry.outcome == "written")
        uri = join(directory, shard_name(index, manifest.num_shards))
        with storage.open_read(uri) as file:
            for entry, record in zip(written, records.read_tfrecord(file, uri), strict=False):
                if entry.key in keys:
                    yield entry.key, record


def _model(manifest: Manifest, checkpoint: str, pca_params: str) -> Model:
    """The manifest's model, with its weights found and verified."""
    settings = manifest.settings
    model = Model(
        checkpoint=_found(manifest, "checkpoint", checkpoint),
        pca_params=_found(manifest, "pca_params", pca_params) if settings["embeddings"] != "raw" else "",
        checkpoint_sha256=settings["checkpoint_sha256"],
        pca_sha256=settings.get("pca_sha256", ""),
        precision=settings["precision"],
        convolutions=settings["convolutions"],
        embeddings=settings["embeddings"],
        batch_size=settings["batch_size"],
    )
    return replace(model, threads=cores())


def _found(manifest: Manifest, kind: Kind, given: str) -> str:
    """The path of weights: as given, or as the manifest names them; OutputError if they differ."""
    promised = manifest.models[kind]
    name = given or ("standin" if promised["name"] == standin.NAME else promised["name"])
    found = weights.resolve(name, kind, storage.open_read).sha256
    if found != promised["sha256"]:
        raise OutputError(
            f"the {kind} {name} has the sha256 {found}, the output was made with {promised['sha256']}",
            f"Name the file that it was made with: --{kind} FILE.",
        )
    return name
