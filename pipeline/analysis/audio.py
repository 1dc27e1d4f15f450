"""Audio that is embedded to be compared, or scored, with the settings of what it is to be compared with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, get_args

from pipeline import storage
from pipeline.errors import UserError
from pipeline.output.layout import FAILURES
from pipeline.output.provenance import Provenance
from pipeline.running.progress import OnProgress
from pipeline.settings import FrontEnd, Job, Model, Output
from pipeline.types import EmbeddingKind, ShortClips
from vggish_core.weights import standin


def model_of(made: Provenance, checkpoint: str | None = None, pca_params: str | None = None) -> Model:
    """What made a data set's embeddings -> the model that makes such embeddings of other audio.

    Args:
      made: of the data set.
      checkpoint, pca_params: name, path or URI of its weights; None: where the data set says they were.

    Raises:
      UserError: its records hold means of clips, as which audio is not embedded here.
    """
    if (kind := made.settings["embeddings"]) not in get_args(EmbeddingKind):
        raise UserError(
            f"the data set's embeddings are {kind}: it has YouTube-8M's video level",
            "Embed the audio with pipeline.run --record_format youtube8m_video, and give its records",
        )
    weights = {"checkpoint": checkpoint, "pca_params": pca_params}
    for kind, given in weights.items():
        known = made.models.get(kind, {}).get("name", "released")
        weights[kind] = given or ("standin" if known == standin.NAME else known)
    precision = made.settings["precision"]
    return Model.of(weights["checkpoint"] or "", weights["pca_params"] or "", made.settings["embeddings"], precision)


def embed(
    patterns: Sequence[str],
    output: str,
    model: Model,
    hop_s: float,
    short_clips: ShortClips,
    on_progress: OnProgress | None = None,
) -> list[dict[str, Any]]:
    """Audio -> records in one shard below `output` -> the lines of failures.jsonl: clips that have no record.

    Raises:
      UserError: the audio, or the weights, cannot be used.
    """
    from pipeline.corpus.sources import find_corpus
    from pipeline.running.embed_corpus import embed_corpus

    job = Job(Output(output, num_shards=1), model, FrontEnd(hop_s, short_clips=short_clips))
    embed_corpus(find_corpus(patterns), job, on_progress=on_progress)
    with storage.open_read(storage.join(output, FAILURES)) as file:
        return [json.loads(line) for line in file]
