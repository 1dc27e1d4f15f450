"""The elements of our Beam transforms: rows with a schema, which any transform in any language reads.

Importing this registers them with Beam, under ids that stay: a worker that knows them gives elements of these very
classes, another one rows of the same fields.
"""
# Without `from __future__ import annotations`, and with Optional: Beam reads the fields' types as they stand here.

import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple, Optional

import apache_beam as beam
import numpy as np
from apache_beam.typehints import row_type, schemas

from pipeline.output.records import WIDTH

DTYPES = {"uint8": "u1", "float32": "<f4"}
"""What a clip calls the numbers of its embeddings -> how its bytes hold them."""


class EmbeddedClip(NamedTuple):
    """The embeddings of a clip, as an element of `EmbedAudio`, `ReadEmbeddings` and `WriteEmbeddings`.

    Attributes:
      id: the record's `video_id`.
      uri: of the audio; "" where that is not known.
      start_seconds, end_seconds: of the clip in its recording; None where the records have no times.
      labels: class indices.
      frames: how many embeddings: k.
      dtype: of a value: "uint8", or "float32", little-endian.
      embeddings: k x 128 values, row by row.
    """

    id: str
    uri: str
    start_seconds: Optional[float]  # noqa: UP045
    end_seconds: Optional[float]  # noqa: UP045
    labels: Sequence[int]
    frames: int
    dtype: str
    embeddings: bytes

    @property
    def values(self) -> np.ndarray:
        """The embeddings, uint8 or float32 [k, 128], read-only; ValueError where the fields contradict each other."""
        return values_of(self)


class FailedClip(NamedTuple):
    """A clip without embeddings, and why.

    Attributes:
      id, uri: as of the `EmbeddedClip` that it would have been; of an element that is no audio, what was found.
      reason: one of `pipeline.reasons.REASONS`.
      message: one line: what was found, with the value.
      skipped: a setting asked to leave such clips out.
      start_seconds, end_seconds: of the clip in its recording; None: the file's end.
    """

    id: str
    uri: str
    reason: str
    message: str
    skipped: bool
    start_seconds: float = 0.0
    end_seconds: Optional[float] = None  # noqa: UP045


class LogMelExample(NamedTuple):
    """An example of a clip, as an element of `LogMelExamples`.

    Attributes:
      id: the clip's.
      index: of the example in the clip, from 0; it begins at `index` hops after the clip.
      values: float32 [96, 64] as little-endian bytes; `pipeline.keyed_example` gives the array.
    """

    id: str
    index: int  # type: ignore[assignment]  # tuples have a method of the name, which nobody needs here
    values: bytes


class Totals(NamedTuple):
    """What a finished data set holds, as its manifest counts it; clips_in = written + failed + skipped."""

    clips_in: int
    written: int
    damaged: int
    failed: int
    skipped: int
    examples: int
    audio_seconds: float


class AskedClip(NamedTuple):
    """What `EmbedAudio` hands to its workers of an element.

    Attributes:
      id, uri, start_s, end_s, labels, cut, listed: as of a `Clip`.
      content: the audio file itself, where it came along.
      wrong: why the element is none; then the rest means nothing but the id.
    """

    id: str
    uri: str
    start_s: float = 0.0
    end_s: Optional[float] = None  # noqa: UP045
    labels: Sequence[int] = ()
    cut: bool = False
    listed: bool = False
    content: Optional[bytes] = None  # noqa: UP045
    wrong: str = ""


def embedded(
    clip_id: str, uri: str, start_s: float | None, end_s: float | None, labels: Sequence[int], values: np.ndarray
) -> EmbeddedClip:
    """Embeddings uint8 or float32 [k, 128], and whose they are -> the element."""
    dtype = values.dtype.name
    data = np.ascontiguousarray(values, DTYPES[dtype]).tobytes()
    return EmbeddedClip(clip_id, uri, start_s, end_s, list(labels), len(values), dtype, data)


def values_of(element: Any) -> np.ndarray:
    """An `EmbeddedClip`, or any row of its fields -> its embeddings, uint8 or float32 [k, 128], read-only.

    On the far side of a shuffle an engine's worker may know an element by its schema alone, without `.values`.

    Raises:
      ValueError: the fields contradict each other.
    """
    if element.dtype not in DTYPES:
        raise ValueError(f"{element.id}: dtype is {element.dtype!r}, not one of {', '.join(DTYPES)}")
    values = np.frombuffer(element.embeddings, DTYPES[element.dtype])
    if len(values) != element.frames * WIDTH:
        found = f"{len(element.embeddings)} bytes for {element.frames} frames of {WIDTH} {element.dtype}"
        raise ValueError(f"{element.id}: {found}")
    return values.reshape(-1, WIDTH)


def _register(*kinds: type) -> None:
    for kind in kinds:
        constraint = row_type.RowTypeConstraint.from_user_type(kind)
        constraint.set_schema_id(str(uuid.uuid5(uuid.NAMESPACE_URL, f"vggish-pipeline/{kind.__name__}/1")))
        schemas.typing_to_runner_api(kind)
        beam.coders.registry.register_coder(kind, beam.coders.RowCoder)


_register(EmbeddedClip, FailedClip, LogMelExample, Totals, AskedClip)
