"""Elements -> what the command's journal and shards are made of: their outcomes, or why they have none."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from pipeline import storage
from pipeline.output.journal.rows import ROWS
from pipeline.output.journal.writer import RowPlace
from pipeline.output.layout import OutputError, explained, join
from pipeline.reasons import REASONS
from pipeline.running.clips.asked import shown
from pipeline.running.clips.elements import values_of
from pipeline.running.steps import WriteRowsDoFn
from pipeline.settings import EmbeddingKind, FrontEnd
from pipeline.types import Clip, Embedding, Failure, Outcome, RowsRef, SegmentEnd
from vggish_core import params

GIVEN = "given"
"""Tag of the numbers of elements that came in."""


class ClipRowsDoFn(beam.DoFn):
    """`EmbeddedClip`s and `FailedClip`s -> parts of row files; tagged "given", how many elements they are of.

    Args:
      place: where row files go.
      front_end, kind: of the data set.
    """

    def __init__(self, place: RowPlace, front_end: FrontEnd, kind: EmbeddingKind) -> None:
        self._directory = place.directory
        self._rows = WriteRowsDoFn(place)
        self._front_end = front_end
        self._kind = kind
        self._given = 0

    def setup(self) -> None:
        with explained(self._directory, "writing finished rows"):
            storage.mkdirs(join(self._directory, ROWS))  # runners begin with any of the steps
        self._rows.setup()

    def teardown(self) -> None:
        self._rows.teardown()

    def start_bundle(self) -> None:
        self._rows.start_bundle()
        self._given = 0

    def process(self, element: Any) -> Iterator[Any]:
        self._given += 1
        for outcome in outcomes(element, self._front_end, self._kind):
            for part in self._rows.process(outcome):
                assert isinstance(part, RowsRef)
                yield part

    def finish_bundle(self) -> Iterator[Any]:
        yield from self._rows.finish_bundle()
        given = WindowedValue((0, (b"", self._given)), MIN_TIMESTAMP, [GlobalWindow()])
        yield beam.pvalue.TaggedOutput(GIVEN, given)


def outcomes(element: Any, front_end: FrontEnd, kind: EmbeddingKind) -> list[Outcome]:
    """An element -> its embeddings and their ending, or its failure; one that is no clip is a failure as well.

    Raises:
      OutputError: its embeddings are of another kind than the data set's.
    """
    if hasattr(element, "embeddings") and hasattr(element, "id"):
        return _embedded(element, front_end, kind)
    if hasattr(element, "reason") and hasattr(element, "id"):
        start_s, end_s = getattr(element, "start_seconds", None), getattr(element, "end_seconds", None)
        clip = Clip(element.id, element.uri, start_s or 0.0, end_s, cut=end_s is not None)
        if element.reason in REASONS:
            return [Failure(clip, "extract", element.reason, element.message, element.skipped)]
        return [_bad(clip, f"{element.reason!r} is no reason of this software's: {element.message}")]
    return [_bad(Clip(shown(element), ""), f"it is neither an EmbeddedClip nor a FailedClip: {shown(element)}")]


def _embedded(element: Any, front_end: FrontEnd, kind: EmbeddingKind) -> list[Outcome]:
    start_s, end_s = element.start_seconds, element.end_seconds
    clip = Clip(element.id, element.uri, start_s or 0.0, end_s, tuple(sorted(element.labels)))
    try:
        values = values_of(element)
    except ValueError as error:
        return [_bad(clip, str(error))]
    if (values.dtype == np.uint8) != (kind == "quantized"):
        raise OutputError(
            f"{element.id} has embeddings of {element.dtype}, the data set's are {kind}",
            "Give WriteEmbeddings, as made_with, what made the embeddings",
        )
    if fault := _fault(clip, values):
        return [fault]
    audio_s = seconds_of(len(values), None if end_s is None else end_s - clip.start_s, front_end)
    return [Embedding(clip, 0, 0, values), SegmentEnd(clip, 0, 1, len(values), audio_s, 0, 0, "")]


def _fault(clip: Clip, values: np.ndarray) -> Failure | None:
    """Why a clip cannot be a record."""
    if not len(values):
        return _bad(clip, "it has no embeddings")
    if values.dtype != np.uint8 and not np.isfinite(values).all():
        return Failure(clip, "extract", "not_finite", "its embeddings hold NaN or infinite values")
    if len(set(clip.labels)) < len(clip.labels) or min(clip.labels, default=0) < 0:
        return _bad(clip, f"its labels {list(clip.labels)} repeat, or are below 0")
    end_s = math.inf if clip.end_s is None else clip.end_s
    if not (0 <= clip.start_s < end_s and (clip.end_s is None or math.isfinite(end_s))):
        return Failure(clip, "extract", "bad_times", f"{clip.start_s} to {clip.end_s} s")
    return None


def _bad(clip: Clip, why: str) -> Failure:
    return Failure(clip, "extract", "bad_element", why)


def seconds_of(frames: int, span_s: float | None, front_end: FrontEnd) -> float:
    """So many embeddings of a clip whose times span so much -> seconds of audio, as far as is known.

    Of a clip that is cut out of a file the times say, and the file may end a little before. Where there are no times,
    or they do not go with the embeddings, it is the least that gives so many.
    """
    if span_s is not None:
        samples = round(span_s * params.SAMPLE_RATE)
        counts = {_examples_in(samples + off, front_end.hop_frames) for off in (-1, 0, 1)}
        if frames in counts or (frames == 1 and front_end.short_clips == "pad" and counts == {0}):
            return span_s
    return (frames - 1) * front_end.hop_seconds + params.EXAMPLE_SAMPLES / params.SAMPLE_RATE


def _examples_in(samples: int, hop_frames: int) -> int:
    """Samples at 16 kHz -> the examples in them."""
    beyond = samples - params.EXAMPLE_SAMPLES
    return 0 if beyond < 0 else 1 + beyond // params.STFT_HOP_SAMPLES // hop_frames
