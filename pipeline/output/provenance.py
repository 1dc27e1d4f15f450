"""The settings and weights behind a data set's embeddings, and whether a model trained on some accepts others."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from pipeline import storage
from pipeline.output import manifest
from pipeline.output.matching import Incomplete, Matched, matching
from pipeline.output.records import Record, RecordError, records_of
from pipeline.types import RecordFormat
from vggish_core import params

PUBLISHED: dict[RecordFormat, dict[str, Any]] = {
    "audioset": {
        "embeddings": "quantized",
        "hop_seconds": params.EXAMPLE_HOP_SECONDS,
        "precision": "float32",
        "features_version": 1,
    },
    "youtube8m": {"embeddings": "quantized", "hop_seconds": 1.0, "precision": "float32", "features_version": 1},
    "youtube8m_video": {
        "embeddings": "means of quantized",
        "hop_seconds": 1.0,
        "precision": "float32",
        "features_version": 1,
    },
}
"""How the published files were made, which have no manifest."""

MEANS = "means of "
"""Stands before the kind of embeddings whose means the records hold: YouTube-8M's video level."""

SAME_FEATURES = (1, 2, 3)
"""Versions in which an embedding means the same: the second differs in what becomes of odd recordings, the
third in the last bits of log-mel."""

COMPARED = ("embeddings", "hop_seconds", "precision", "features_version")
"""Settings that change what an embedding means. Others of the fingerprint change it by a rounding (the kernel, the
batch size) or not at all (the number of shards, the layout, which clips are left out)."""


@dataclass(frozen=True)
class Provenance:
    """The settings and weights behind a data set's embeddings.

    Attributes:
      source: "manifest"; without one beside the records "released" if they are quantized, or means, as the published
        ones are, and "unknown" if they are other floats.
      settings: the values of `COMPARED`.
      models: checkpoint and pca_params -> their name and sha256; "released" without a sha256 for published files.
      fingerprint: of all settings, from the manifest; "" without one.
    """

    source: str
    settings: dict[str, Any]
    models: dict[str, dict[str, str]] = field(default_factory=dict)
    fingerprint: str = ""

    @property
    def hop_s(self) -> float:
        """Seconds from one embedding to the next."""
        return float(self.settings["hop_seconds"])

    def to_json(self) -> dict[str, Any]:
        """As a value for JSON."""
        return asdict(self)


def from_json(value: dict[str, Any]) -> Provenance:
    """The inverse of `Provenance.to_json`."""
    return Provenance(**value)


def of(pattern: str, incomplete: Incomplete = "refuse") -> Provenance:
    """TFRecord files -> what made them: the manifest in their directory, or the published files' settings without one.

    Raises:
      RecordError: no file matches or holds a record, or files of several data sets that were made differently.
      IncompleteError: as `read_records`.
    """
    matched = matching(pattern, incomplete)
    directories = sorted({storage.parent(uri) or "." for uri in matched.files})
    found = [_of_directory(directory) or _of_files(matched) for directory in directories]
    for directory, other in zip(directories[1:], found[1:], strict=True):
        if different := differences(found[0], other):
            raise RecordError(
                f"{directories[0]} and {directory} were made differently: {'; '.join(different)}. Give one kind"
            )
    return found[0]


def unknown(settings: dict[str, Any]) -> Provenance:
    """Embeddings of which nothing says what weights made them."""
    return Provenance("unknown", settings, _named_models("unknown"))


def from_manifest(made: manifest.Manifest) -> Provenance:
    """A data set's manifest -> what made its embeddings."""
    settings = {name: made.settings[name] for name in COMPARED}
    if made.settings["record_format"] == "youtube8m_video":  # does not go together with frames of the same kind
        settings["embeddings"] = f"{MEANS}{settings['embeddings']}"
    return Provenance("manifest", settings, made.models, made.fingerprint)


def differences(trained: Provenance, given: Provenance) -> list[str]:
    """Two provenances -> one line for each thing that differs in what an embedding means; empty: they fit."""
    lines = [
        f"{name} is {json.dumps(given.settings[name])} instead of {json.dumps(trained.settings[name])}"
        for name in COMPARED
        if given.settings[name] != trained.settings[name]
        and not (name == "features_version" and {given.settings[name], trained.settings[name]} <= set(SAME_FEATURES))
    ]
    for kind in ("checkpoint", "pca_params"):
        expected, found = trained.models.get(kind), given.models.get(kind)
        if not _same(expected, found):
            lines.append(f"{kind} is {_named(found)} instead of {_named(expected)}")
    return lines


def _of_directory(directory: str) -> Provenance | None:
    made = manifest.read(directory)
    return None if made is None else from_manifest(made)


def _of_files(matched: Matched) -> Provenance:
    _, first = next(records_of(matched), (None, None))
    if first is None:
        raise RecordError(f"{matched.pattern}: no record in the files", "Name files of a finished run")
    return without_manifest(first)


def without_manifest(first: Record) -> Provenance:
    """A record that no manifest is beside -> what makes such records: the published files' settings."""
    settings = dict(PUBLISHED[first.layout])
    if first.values.dtype != np.uint8 and first.layout != "youtube8m_video":
        return unknown({**settings, "embeddings": "raw"})
    name = "released" if first.layout == "audioset" else "released with YouTube-8M"
    return Provenance("released", settings, _named_models(name))


def _named_models(name: str) -> dict[str, dict[str, str]]:
    return {kind: {"name": name, "sha256": ""} for kind in ("checkpoint", "pca_params")}


def _same(a: dict[str, str] | None, b: dict[str, str] | None) -> bool:
    """Files are the same by their sha256; published records tell only a name, and names stand for verified files."""
    if a is None or b is None:
        return a is b
    if a["sha256"] and b["sha256"]:
        return a["sha256"] == b["sha256"]
    return a["name"] == b["name"]


def _named(model: dict[str, str] | None) -> str:
    if model is None:
        return "none"
    return f"{model['name']} ({model['sha256'][:12]}...)" if model["sha256"] else model["name"]
