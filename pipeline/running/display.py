"""Settings as Beam's display data: what an engine's page shows of a step."""

from __future__ import annotations

from typing import Any

from pipeline.formatting import printable
from pipeline.settings import FrontEnd, Model, Output

Shown = dict[str, Any]
"""Key -> text, number or truth."""


def of_model(model: Model) -> Shown:
    """The network and its weights, by name and by sha256 once they were found."""
    shown: Shown = {
        "checkpoint": printable(model.checkpoint_name or model.checkpoint),
        "checkpoint_sha256": model.checkpoint_sha256,
        "convolutions": model.convolutions,
        "precision": model.precision,
        "embeddings": model.embeddings,
        "batch_size": model.batch_size,
    }
    if model.embeddings != "raw":
        shown |= {"pca": printable(model.pca_name or model.pca_params), "pca_sha256": model.pca_sha256}
    return shown


def of_front_end(front_end: FrontEnd) -> Shown:
    """How audio becomes examples."""
    limit = {} if front_end.max_duration_seconds is None else {"max_duration_seconds": front_end.max_duration_seconds}
    return {
        "hop_seconds": front_end.hop_seconds,
        "short_clips": front_end.short_clips,
        "damaged": front_end.damaged,
        **limit,
    }


def of_output(output: Output) -> Shown:
    """Where records go, and in which layout."""
    directory = printable(output.directory)
    return {"output": directory, "shards": output.num_shards, "record_format": output.record_format}
