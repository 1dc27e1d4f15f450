"""A job's settings as frozen dataclasses, and the fingerprint of what decides its bytes. No Beam, no TensorFlow."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, get_args

from pipeline.types import Damaged, EmbeddingKind, RecordFormat, ShortClips
from vggish_core import params

PIECE_S = 60.0
"""Workers write what they have finished at least so often: what a kill may cost."""
PRECISIONS = ("float32", "bfloat16")
KERNELS = ("winograd", "direct")
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

    hop_seconds: float = params.EXAMPLE_HOP_SECONDS
    short_clips: ShortClips = "skip"
    max_duration_seconds: float | None = None
    damaged: Damaged = "fail"

    def __post_init__(self) -> None:
        """Raises ValueError for a value that does not exist; gives the hop its shortest decimal form."""
        _expect_one_of("short_clips", self.short_clips, get_args(ShortClips))
        _expect_one_of("damaged", self.damaged, get_args(Damaged))
        object.__setattr__(self, "hop_seconds", checked_hop(self.hop_seconds))

    @property
    def hop_frames(self) -> int:
        """The hop in log-mel frames of 10 ms."""
        return round(self.hop_seconds * 100)


@dataclass(frozen=True)
class Crawl:
    """How servers of http:// and https:// are asked for the audio of a corpus; changes no bytes.

    Attributes:
      connections: to one host at a time, of all processes of a command on a machine.
      most_bytes: of a file; larger ones are not read.
      private: also at loopback, link-local and private addresses. A list may come from a stranger, who is not to learn
        what a network keeps to itself.
    """

    connections: int = 4
    most_bytes: int = 4 << 30
    private: bool = False


CRAWL = Crawl()
"""As it is where nobody says otherwise."""


@dataclass(frozen=True)
class Decoding:
    """How decoders are run; changes no bytes.

    Attributes:
      processes: decoder processes of one worker process; 0: as many as it has cores.
      timeout_s: a decoder without progress for so long is killed.
      memory_mb: limit of a decoder process's own allocations, beyond what it has after its imports.
      segment_seconds: longer recordings in formats that seek exactly are decoded in parts of at most so much audio.
      crawl: how servers of http:// and https:// are asked.
    """

    processes: int = 0
    timeout_s: float = 120.0
    memory_mb: int = 1024
    segment_seconds: float = 600.0
    crawl: Crawl = field(default_factory=Crawl)


@dataclass(frozen=True)
class Model:
    """The network's weights, and how it is computed.

    Attributes:
      checkpoint, pca_params: name ("released", "standin"), path or URI, as given.
      checkpoint_name, pca_name: what to show for them.
      checkpoint_sha256, pca_sha256: of the files that these stood for at submission.
      precision: "float32", or "bfloat16" on GPUs.
      convolutions: "winograd" or "direct".
      embeddings: "quantized" uint8, "pca" float32 or "raw" float32.
      batch_size: examples a call of the network; fixed shape.
      threads: calls of the network at the same time in one worker process, 0: as many as it has cores; changes no
        bytes.
    """

    checkpoint: str = "released"
    pca_params: str = "released"
    checkpoint_name: str = ""
    pca_name: str = ""
    checkpoint_sha256: str = ""
    pca_sha256: str = ""
    precision: str = "float32"
    convolutions: str = "winograd"
    embeddings: EmbeddingKind = "quantized"
    batch_size: int = 64
    threads: int = 0

    def __post_init__(self) -> None:
        """Raises ValueError for a value that does not exist."""
        _expect_one_of("embeddings", self.embeddings, get_args(EmbeddingKind))
        _expect_one_of("precision", self.precision, PRECISIONS)
        _expect_one_of("convolutions", self.convolutions, KERNELS)

    @classmethod
    def of(
        cls,
        checkpoint: str,
        pca: str,
        embeddings: EmbeddingKind,
        precision: str,
        convolutions: str | None = None,
        threads: int | None = None,
    ) -> Model:
        """A model by the arguments of a transform, of which None stands for what fits; ValueError as of `kernel_of`."""
        kernel = kernel_of(precision, convolutions)
        return cls(
            checkpoint, pca, precision=precision, convolutions=kernel, embeddings=embeddings, threads=threads or 0
        )


@dataclass(frozen=True)
class Output:
    """The output: where records go, and in which layout.

    Attributes:
      directory: local path or URI.
      num_shards: N of `embeddings-00000-of-0000N.tfrecord`; 0: as many as the output has, or by the corpus' size.
      record_format: "audioset", "youtube8m" (frames), or "youtube8m_video" (a mean a clip).
      array: True: several commands compute shards of their own (`--task`); what they write waits for the last of them.
    """

    directory: str
    num_shards: int = 0
    record_format: RecordFormat = "audioset"
    array: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError for a layout that does not exist."""
        _expect_one_of("record_format", self.record_format, get_args(RecordFormat))


@dataclass(frozen=True)
class Job:
    """All settings of a job."""

    output: Output
    model: Model = field(default_factory=Model)
    front_end: FrontEnd = field(default_factory=FrontEnd)
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
        return fingerprint_of(self.deciding())


@dataclass(frozen=True)
class Update:
    """How to treat what an output holds already.

    Attributes:
      overwrite: all of it is replaced.
      retry_failed: clips that failed in earlier runs are tried again.
      prune: records of clips that the corpus no longer holds are dropped.
    """

    overwrite: bool = False
    retry_failed: bool = False
    prune: bool = False


def fingerprint_of(deciding: Mapping[str, Any]) -> str:
    """Deciding settings by name, in any order -> their sha256."""
    return hashlib.sha256(json.dumps(dict(deciding), sort_keys=True).encode()).hexdigest()


def checked_hop(seconds: float) -> float:
    """A hop in seconds -> the same in its shortest decimal form.

    Raises:
      ValueError: it is not a multiple of 0.01, the log-mel frames' own hop.

    >>> checked_hop(0.1 + 0.2)
    0.3
    """
    frames = seconds * 100
    if not 0.5 < frames < math.inf or abs(frames - round(frames)) > 1e-6:
        raise ValueError(f"hop_seconds: {seconds} is not a multiple of 0.01 s, the hop of log-mel frames")
    return round(frames) / 100


def _expect_one_of(name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise ValueError(f"{name} is {value!r}, which is none of: {', '.join(known)}")


def kernel_of(precision: str, convolutions: str | None = None) -> str:
    """The kernel that was asked for, or the precision's first.

    Raises:
      ValueError: the precision has no such kernel.
    """
    kernels = ("direct",) if precision == "bfloat16" else KERNELS
    if convolutions is not None:
        _expect_one_of("convolutions", convolutions, kernels)
    return convolutions or kernels[0]


def expect_positive(**numbers: float | None) -> None:
    """Raises ValueError for a number that is not above 0, under its name; None passes."""
    for name, number in numbers.items():
        if number is not None and not number > 0:
            raise ValueError(f"{name} is {number!r}, not a number above 0")
