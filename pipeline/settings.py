"""What a job is told, as frozen dataclasses, and the fingerprint of what decides its bytes. No Beam, no TensorFlow."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline.output.layout import ARRAY, STAGED
from pipeline.types import Damaged, EmbeddingKind, RecordFormat, ShortClips

FEATURES_VERSION = 3
"""Raised by whoever changes code in a way that changes bytes: outputs of another version are not a cache."""


@dataclass(frozen=True)
class FrontEnd:
    """How audio becomes examples; all of it is part of the fingerprint.

    Attributes:
      hop_seconds: from one example's start to the next; a multiple of 0.01.
      short_clips: what becomes of a clip of less than one example (0.975 s).
      max_duration_seconds: longer clips fail as too_long; None: no limit.
      damaged: whether a file that is damaged or cut off fails its clips, or what decodes of it is kept.
    """

    hop_seconds: float = 0.96
    short_clips: ShortClips = "skip"
    max_duration_seconds: float | None = None
    damaged: Damaged = "fail"

    @property
    def hop_frames(self) -> int:
        """The hop in log-mel frames of 10 ms."""
        return round(self.hop_seconds * 100)


@dataclass(frozen=True)
class Decoding:
    """How decoders are run; changes no bytes.

    Attributes:
      processes: decoder processes of one worker process; 0: as many as it has cores.
      timeout_s: a decoder without progress for so long is killed.
      memory_mb: limit of a decoder process's own allocations, beyond what it has after its imports.
      segment_seconds: longer recordings in formats that seek exactly are decoded in parts of at most so much audio.
    """

    processes: int = 2
    timeout_s: float = 120.0
    memory_mb: int = 1024
    segment_seconds: float = 600.0


@dataclass(frozen=True)
class Model:
    """Which network and how it is computed.

    Attributes:
      checkpoint, pca_params: name, path or URI, as given.
      checkpoint_name, pca_name: what to show for them.
      checkpoint_sha256, pca_sha256: of the files that these stood for at submission.
      precision: "float32" or "bfloat16".
      convolutions: "winograd" or "direct".
      embeddings: "quantized" uint8, "pca" float32 or "raw" float32.
      batch_size: examples a call of the network; fixed shape.
      threads: calls of the network at the same time in one worker process, 0: as many as it has cores; changes no
        bytes.
    """

    checkpoint: str
    pca_params: str
    checkpoint_name: str = ""
    pca_name: str = ""
    checkpoint_sha256: str = ""
    pca_sha256: str = ""
    precision: str = "float32"
    convolutions: str = "winograd"
    embeddings: EmbeddingKind = "quantized"
    batch_size: int = 64
    threads: int = 1


@dataclass(frozen=True)
class Output:
    """Where records go.

    Attributes:
      directory: local path or URI.
      num_shards: N of `embeddings-00000-of-0000N.tfrecord`.
      record_format: "audioset" or "youtube8m".
      array: True: several commands compute shards of their own (`--task`); what they write waits for the last of them.
    """

    directory: str
    num_shards: int
    record_format: RecordFormat = "audioset"
    array: bool = False

    @property
    def staging(self) -> str:
        """Where workers write, below the directory."""
        return ARRAY if self.array else STAGED


@dataclass(frozen=True)
class Job:
    """A whole job."""

    front_end: FrontEnd
    model: Model
    output: Output
    decoding: Decoding = field(default_factory=Decoding)

    def deciding(self) -> dict[str, Any]:
        """The settings that decide the output's bytes, by name."""
        model = asdict(self.model)
        for name in ("threads", "checkpoint", "checkpoint_name", "pca_params", "pca_name"):
            del model[name]
        if self.model.embeddings == "raw":
            del model["pca_sha256"]
        return {
            "features_version": FEATURES_VERSION,
            **asdict(self.front_end),
            **model,
            "record_format": self.output.record_format,
            "num_shards": self.output.num_shards,
        }

    def fingerprint(self) -> str:
        """sha256 over `deciding()`."""
        return hashlib.sha256(json.dumps(self.deciding(), sort_keys=True).encode()).hexdigest()
