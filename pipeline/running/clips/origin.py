"""What a data set that is written from a PCollection says it was made with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from pipeline.embedding import models
from pipeline.errors import UserError
from pipeline.output import manifest as manifests
from pipeline.output import provenance
from pipeline.output.manifest import Manifest
from pipeline.running.embed_audio import EmbedAudio
from pipeline.settings import FEATURES_VERSION, FrontEnd, Model

Origin = EmbedAudio | Mapping[str, Any] | str
"""The `EmbedAudio` that made the embeddings, or its arguments by name; or the data set that they were read from."""


class OriginError(UserError):
    """It cannot be said what made the embeddings."""


def settings_of(origin: Origin) -> tuple[FrontEnd, Model]:
    """Where embeddings come from -> the settings behind them, with the names and sha256s of their weights.

    Raises:
      OriginError: of a data set: nothing says what made it, or another version of the software did.
      WeightsError, CheckpointError, PcaError: of an `EmbedAudio`: weights that are missing or do not fit.
    """
    if isinstance(origin, Mapping):
        origin = EmbedAudio(**origin)
    if isinstance(origin, EmbedAudio):
        return origin.front_end, models.identify(origin.model, origin.weights_sha256)
    found = manifests.read(origin)
    return _released(origin) if found is None else _of_data_set(origin, found)


def _of_data_set(directory: str, found: Manifest) -> tuple[FrontEnd, Model]:
    settings, named = found.settings, found.models
    if (version := settings["features_version"]) != FEATURES_VERSION:
        raise OriginError(
            f"{directory} was made by code of features version {version}, this is {FEATURES_VERSION}",
            "Write its records with the version of the software that made it",
        )
    pca = named.get("pca_params", {"name": ""})
    known = {field.name for field in fields(Model)} & set(settings)
    model = Model(
        checkpoint=named["checkpoint"]["name"],
        checkpoint_name=named["checkpoint"]["name"],
        pca_params=pca["name"],
        pca_name=pca["name"],
        **{name: settings[name] for name in known},
    )
    return FrontEnd(**{field.name: settings[field.name] for field in fields(FrontEnd)}), model


def _released(pattern: str) -> tuple[FrontEnd, Model]:
    made = provenance.of(pattern)
    if made.source != "released" or made.settings["embeddings"] != "quantized":
        raise OriginError(
            f"{pattern}: nothing says what made these {made.settings['embeddings']} embeddings",
            "Name a data set with a manifest, or the EmbedAudio that made them",
        )
    name = made.models["checkpoint"]["name"]
    return FrontEnd(hop_seconds=made.hop_s), Model(name, name, name, name, embeddings="quantized")
