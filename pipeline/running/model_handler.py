"""`VggishModelHandler`: VGGish for Beam's `RunInference`, log-mel examples -> embeddings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from apache_beam.ml.inference.base import ModelHandler

from pipeline.embedding import embed, models
from pipeline.settings import Model, expect_positive
from pipeline.types import EmbeddingKind
from vggish_core import params

MIN_BATCH, MAX_BATCH = Model.batch_size, 4 * Model.batch_size
SHAPE = (params.NUM_FRAMES, params.NUM_BANDS)


class LoadedModel:
    """A model in the process that computes; with `large_model` that is one for all of a machine's.

    Args:
      model: its weights found.
    """

    def __init__(self, model: Model) -> None:
        self._worker = embed.shared_worker(model, check=True)
        self._one_shape = model.convolutions == "direct"

    def embed(self, examples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Examples float32 [k, 96, 64], k >= 1 -> values [k, 128] and bool [k], whether they are finite.

        On all threads of the worker at once; the direct kernel pays for whole batches, so it gets as few as possible.
        """
        worker = self._worker
        rows = worker.batch_size if self._one_shape else -(-len(examples) // worker.threads)
        flying = [worker.submit(examples[start : start + rows]) for start in range(0, len(examples), rows)]
        batches = [future.result() for future in flying]
        return np.concatenate([batch.values for batch in batches]), np.concatenate([batch.finite for batch in batches])


class VggishModelHandler(ModelHandler[np.ndarray, np.ndarray, LoadedModel]):
    """Log-mel examples float32 [96, 64] -> embeddings [128]: uint8 quantized, or float32 "pca" or "raw".

    Values are those of `EmbedAudio` and the command, byte for byte. For examples with keys put it into Beam's
    `KeyedModelHandler`; `LogMelExamples` makes such examples of audio. `EmbedAudio` is the faster way from audio to
    embeddings: there the next clips are decoded while a batch is computed, which `RunInference` waits for.

    The network is loaded once a process, however many steps use it. The Winograd kernel's weights are mapped from a
    file, which the processes of a machine share anyway; with the direct kernel each process has its own, unless
    `large_model` has one of them compute for all.

    Args:
      checkpoint, pca: "released", "standin" (random, to try things), a path or URI; found and verified now, and again
        on the workers, which have to find the same.
      weights_sha256: for a launcher without weights, {"checkpoint": …, "pca": …}, as of `EmbedAudio`.
      embeddings: "quantized", "pca" or "raw" (no PCA is needed then).
      precision, convolutions: as the command's flags.
      threads: parts of a batch that are computed at the same time; None: as many as the worker has cores.
      min_batch_size, max_batch_size: examples of a batch; the direct kernel always computes 64 at a time.
      max_batch_duration_secs: in streams, the longest wait of an example for others; None: to the bundle's end.
      large_model, model_copies: as of every `ModelHandler`.

    Raises:
      ValueError: a setting that does not exist.
      WeightsError, CheckpointError, PcaError: weights that are missing or do not fit.
    """

    def __init__(
        self,
        checkpoint: str = "released",
        pca: str = "released",
        *,
        weights_sha256: Mapping[str, str] | None = None,
        embeddings: EmbeddingKind = "quantized",
        precision: str = "float32",
        convolutions: str | None = None,
        threads: int | None = None,
        min_batch_size: int = MIN_BATCH,
        max_batch_size: int = MAX_BATCH,
        max_batch_duration_secs: int | None = None,
        large_model: bool = False,
        model_copies: int | None = None,
    ) -> None:
        super().__init__(
            min_batch_size=min_batch_size,
            max_batch_size=max_batch_size,
            max_batch_duration_secs=max_batch_duration_secs,
            large_model=large_model,
            model_copies=model_copies,
        )
        expect_positive(threads=threads)
        model = Model.of(checkpoint, pca, embeddings, precision, convolutions, threads)
        self.model = models.identify(model, weights_sha256)

    def load_model(self) -> LoadedModel:
        return LoadedModel(self.model)

    def run_inference(
        self, batch: Sequence[np.ndarray], model: LoadedModel, inference_args: dict[str, Any] | None = None
    ) -> Iterable[np.ndarray]:
        """A batch of examples -> an embedding each.

        Raises:
          ValueError: an element is no example, or its embedding is not finite; names the first.
        """
        for example in batch:
            if not isinstance(example, np.ndarray) or example.dtype != np.float32 or example.shape != SHAPE:
                raise ValueError(f"VggishModelHandler takes float32 arrays [96, 64], not {_shown(example)}")
        values, finite = model.embed(np.stack(batch))
        if not finite.all():
            example = batch[int(finite.argmin())]
            which = "the example holds values" if not np.isfinite(example).all() else "its embedding has values"
            raise ValueError(f"VggishModelHandler: {which} that are not finite")
        return list(values)

    def update_model_path(self, model_path: str | None = None) -> None:
        """Takes another checkpoint from now on, as `RunInference`'s automatic refresh asks for."""
        if model_path:
            self.model = models.resolve_checkpoint(replace(self.model, checkpoint=model_path, checkpoint_sha256=""))

    def validate_inference_args(self, inference_args: dict[str, Any] | None) -> None:
        if inference_args:
            raise ValueError(f"VggishModelHandler takes no inference_args, not {', '.join(inference_args)}")

    def get_num_bytes(self, batch: Sequence[np.ndarray]) -> int:
        return sum(example.nbytes for example in batch)

    def get_metrics_namespace(self) -> str:
        return "BeamML_VGGish"


def _shown(element: object) -> str:
    if isinstance(element, np.ndarray):
        return f"{element.dtype} {list(element.shape)}"
    return type(element).__name__
