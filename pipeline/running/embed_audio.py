"""`EmbedAudio`, VGGish as a step of a Beam pipeline: references to audio, or its bytes -> whole clips' embeddings.

One step from end to end, and nothing of a clip crosses a shuffle on the way: an element gives exactly one element, in
its own window, whatever else has the same id. It wires the very steps that the command runs.
"""

from __future__ import annotations

from collections.abc import Mapping

import apache_beam as beam

from pipeline.embedding import models
from pipeline.running import display
from pipeline.running.clips.asked import asked, expect_audio
from pipeline.running.clips.elements import AskedClip, EmbeddedClip, FailedClip
from pipeline.running.whole_clips import FAILED, EmbedAudioDoFn
from pipeline.settings import Decoding, FrontEnd, Model, expect_positive
from pipeline.types import Damaged, EmbeddingKind, ShortClips


class Embedded(dict[str, beam.PCollection]):
    """The results of `EmbedAudio`: PCollections by name, as Beam YAML has them, and as attributes."""

    @property
    def embeddings(self) -> beam.PCollection:
        """PCollection[`EmbeddedClip`]: whole clips."""
        return self["embeddings"]

    @property
    def failed(self) -> beam.PCollection:
        """PCollection[`FailedClip`]: why there are none."""
        return self[FAILED]


class EmbedAudio(beam.PTransform):
    """PCollection of audio -> `Embedded`: .embeddings of `EmbeddedClip`s, .failed of `FailedClip`s.

    Elements are URIs (local or remote, one file each; the URI is the id), what `MatchFiles` gives, pairs (id, URI) or
    (id, bytes of an audio file of any format), `pipeline.Clip`s, which may have times (`cut`) and labels, or rows with
    `uri` or `content`, and perhaps `id`, `start_seconds`, `end_seconds` and `labels`. Each gives one element, in either
    output; what is none of these is in `.failed`, as bad_element. An `EmbeddedClip` is a whole clip: its `values` are
    [k, 128], uint8 or float32; its `uri` is "" where bytes came in. Clips too short for an example are in `.failed`,
    `skipped`. Values are those that `pipeline.run` writes for the same file and settings, byte for byte.

    Batches of the network are filled from all clips of a bundle, decoders are processes that may crash alone, and the
    model is loaded once a worker process. A recording is decoded by one decoder from end to end, however long.

    Args:
      checkpoint, pca: "released", "standin" (random, to try things), a path or URI; found and verified when the
        transform is applied, and again on the workers, which have to find the same.
      weights_sha256: for a launcher without weights, {"checkpoint": …, "pca": …}: it reads none, and workers have to
        find those. The names are the workers' then: of a V2 checkpoint the sha256 is that of index and data, joined.
      embeddings: "quantized" uint8, or float32 "pca" or "raw" (no PCA is needed then).
      precision, convolutions: as the command's flags.
      hop_seconds: from one example's start to the next, a multiple of 0.01.
      short_clips: what becomes of clips of less than one example (0.975 s): "skip", "pad" or "fail".
      max_duration_seconds: longer clips fail as too_long.
      damaged: whether files that are damaged or cut off "fail", or what decodes of them is kept ("keep").
      threads, decoders: calls of the network, and decoder processes, at the same time in a worker process; None: as
        many as the worker may use cores, divided by Beam's worker processes on its machine.
      decode_timeout_seconds, decode_memory_mb: a decoder without progress for so long, or with more memory, is ended.
      reshuffle: spread elements over all workers first. Bytes cross it too: for large ones give URIs, or False where
        the elements are spread already.

    Raises:
      ValueError: a setting that does not exist.
      WeightsError, CheckpointError, PcaError: when applied: weights that are missing or do not fit; at once for a
        sha256 that is none.
      TypeCheckError: when applied: a PCollection of something else.
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
        hop_seconds: float = FrontEnd.hop_seconds,
        short_clips: ShortClips = "skip",
        max_duration_seconds: float | None = None,
        damaged: Damaged = "fail",
        threads: int | None = None,
        decoders: int | None = None,
        decode_timeout_seconds: float = Decoding.timeout_s,
        decode_memory_mb: int = Decoding.memory_mb,
        reshuffle: bool = True,
    ) -> None:
        super().__init__()
        expect_positive(
            max_duration_seconds=max_duration_seconds,
            threads=threads,
            decoders=decoders,
            decode_timeout_seconds=decode_timeout_seconds,
            decode_memory_mb=decode_memory_mb,
        )
        self.front_end = FrontEnd(hop_seconds, short_clips, max_duration_seconds, damaged)
        self.model = Model.of(checkpoint, pca, embeddings, precision, convolutions, threads)
        self.weights_sha256 = weights_sha256
        if weights_sha256 is not None:  # mistakes in it show here
            self.model = models.identify(self.model, weights_sha256)
        self.decoding = Decoding(decoders or 0, decode_timeout_seconds, decode_memory_mb)
        self.reshuffle = reshuffle

    def display_data(self) -> display.Shown:
        return {**display.of_front_end(self.front_end), **display.of_model(self.model)}

    def expand(self, audio: beam.PCollection) -> Embedded:
        expect_audio(audio.element_type)
        self.model = models.identify(self.model, self.weights_sha256)
        clips = audio | "Ask" >> beam.Map(asked).with_output_types(AskedClip)
        if self.reshuffle:
            clips = clips | "Spread" >> beam.Reshuffle()
        step = beam.ParDo(EmbedAudioDoFn(self.front_end, self.decoding, self.model))
        typed = step.with_output_types(EmbeddedClip, **{FAILED: FailedClip})
        result = clips | "Embed audio" >> typed.with_outputs(FAILED, main="embeddings")
        return Embedded({"embeddings": result.embeddings, FAILED: result[FAILED]})
