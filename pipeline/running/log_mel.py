"""`LogMelExamples`, the front end as a step of a Beam pipeline: audio -> log-mel examples, in typed elements.

What people need who put a network of their own behind it, or VGGish by `RunInference`.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam.utils.windowed_value import WindowedValue

from pipeline.decoding.extract import ExtractDoFn
from pipeline.running import display
from pipeline.running.clips.asked import asked, expect_audio
from pipeline.running.clips.elements import AskedClip, FailedClip, LogMelExample
from pipeline.running.whole_clips import FAILED, PendingClip, bad_element, clip_of, failed_clip, request_of
from pipeline.settings import Decoding, FrontEnd, expect_positive
from pipeline.types import Damaged, ExampleBlock, Extracted, Failure, ShortClips
from vggish_core import params

SHAPE = (params.NUM_FRAMES, params.NUM_BANDS)
EXAMPLE_BYTES = params.NUM_FRAMES * params.NUM_BANDS * 4
IN_MEMORY = 1 << 23
"""Bytes of examples that a clip has in memory until it has ended; more are in a temporary file."""


class Examples(NamedTuple):
    """The results of `LogMelExamples`.

    Attributes:
      examples: PCollection[LogMelExample]: all of a clip, in order, or none.
      failed: PCollection[FailedClip]: why there are none.
    """

    examples: beam.PCollection
    failed: beam.PCollection


def array_of(example: LogMelExample) -> np.ndarray:
    """An example -> float32 [96, 64]; of any row with the fields of a `LogMelExample`."""
    return np.frombuffer(example.values, "<f4").reshape(SHAPE)


def keyed_example(example: LogMelExample) -> tuple[tuple[str, int], np.ndarray]:
    """An example -> ((id, index), float32 [96, 64]), for Beam's `KeyedModelHandler`."""
    return (example.id, example.index), array_of(example)


class LogMelExamples(beam.PTransform):
    """PCollection of audio -> `Examples`: .examples of `LogMelExample`, .failed of `FailedClip`.

    Elements are those of `EmbedAudio`: URIs, files matched, (id, URI), (id, bytes), `Clip`s or rows. A clip gives all
    its examples, in order, in its own window, or one failure: what is decoded of it waits for its end, beyond 8 MB in a
    temporary file of the worker. Examples are those that the command embeds, bit for bit.

    An example is 24 KB, 90 MB an hour of audio: keep what uses them next to this step, with no shuffle between.

    Args:
      hop_seconds, short_clips, max_duration_seconds, damaged: as of `EmbedAudio`.
      decoders, decode_timeout_seconds, decode_memory_mb, reshuffle: likewise.

    Raises:
      ValueError: a setting that does not exist.
      TypeCheckError: when applied: a PCollection of something else.
    """

    def __init__(
        self,
        *,
        hop_seconds: float = FrontEnd.hop_seconds,
        short_clips: ShortClips = "skip",
        max_duration_seconds: float | None = None,
        damaged: Damaged = "fail",
        decoders: int | None = None,
        decode_timeout_seconds: float = Decoding.timeout_s,
        decode_memory_mb: int = Decoding.memory_mb,
        reshuffle: bool = True,
    ) -> None:
        super().__init__()
        expect_positive(
            max_duration_seconds=max_duration_seconds,
            decoders=decoders,
            decode_timeout_seconds=decode_timeout_seconds,
            decode_memory_mb=decode_memory_mb,
        )
        self.front_end = FrontEnd(hop_seconds, short_clips, max_duration_seconds, damaged)
        self.decoding = Decoding(decoders or 0, decode_timeout_seconds, decode_memory_mb)
        self.reshuffle = reshuffle

    def display_data(self) -> display.Shown:
        return display.of_front_end(self.front_end)

    def expand(self, audio: beam.PCollection) -> Examples:
        expect_audio(audio.element_type)
        clips = audio | "Ask" >> beam.Map(asked).with_output_types(AskedClip)
        if self.reshuffle:
            clips = clips | "Spread" >> beam.Reshuffle()
        step = beam.ParDo(LogMelDoFn(self.front_end, self.decoding))
        typed = step.with_output_types(LogMelExample, **{FAILED: FailedClip})
        result = clips | "Log-mel" >> typed.with_outputs(FAILED, main="examples")
        return Examples(result.examples, result[FAILED])


@dataclass
class _PendingExamples(PendingClip):
    """One of which the examples so far are kept."""

    examples: IO[bytes]

    def close(self) -> None:
        self.examples.close()
        if self.file is not None:
            self.file.unlink(missing_ok=True)


class LogMelDoFn(beam.DoFn):
    """`AskedClip` -> `LogMelExample`s of whole clips, or `FailedClip` tagged "failed".

    It drives the command's decoding within one bundle, so that it is known when a clip is complete.

    Args:
      front_end, decoding: as in a `Job`.
    """

    def __init__(self, front_end: FrontEnd, decoding: Decoding) -> None:
        self._front_end = front_end
        self._decoding = decoding
        self._clips: dict[str, _PendingExamples] = {}

    def setup(self) -> None:
        self._extract = ExtractDoFn(self._front_end, self._decoding)
        self._extract.setup()
        self._folder = tempfile.TemporaryDirectory(prefix="vggish-audio-")

    def teardown(self) -> None:
        self._give_up()
        self._extract.teardown()
        self._folder.cleanup()

    def start_bundle(self) -> None:
        self._extract.start_bundle()
        self._give_up()  # of a bundle that failed, if any
        self._numbers = itertools.count()

    def process(
        self,
        element: AskedClip,
        timestamp: Any = beam.DoFn.TimestampParam,
        window: Any = beam.DoFn.WindowParam,
    ) -> Iterator[WindowedValue | beam.pvalue.TaggedOutput]:
        if element.wrong:
            yield beam.pvalue.TaggedOutput(FAILED, WindowedValue(bad_element(element), timestamp, (window,)))
            return
        number = str(next(self._numbers))
        file, request = request_of(element, number, self._folder.name)
        examples = tempfile.SpooledTemporaryFile(IN_MEMORY, dir=self._folder.name)  # noqa: SIM115
        self._clips[number] = _PendingExamples(clip_of(element), timestamp, window, file, examples)
        for item in self._extract.process(request):
            yield from self._take(item)

    def finish_bundle(self) -> Iterator[WindowedValue | beam.pvalue.TaggedOutput]:
        for item in self._extract.finish_bundle():
            yield from self._take(item.value)
        assert not self._clips, f"{len(self._clips)} clips without an outcome"

    def _take(self, item: Extracted) -> Iterator[WindowedValue | beam.pvalue.TaggedOutput]:
        """What comes of a clip -> its examples, or its failure, at its end."""
        if isinstance(item, ExampleBlock):
            self._clips[item.segment.clip.id].examples.write(item.examples.astype("<f4", copy=False).tobytes())
            return
        pending = self._clips.pop(item.clip.id)
        try:
            if isinstance(item, Failure):
                yield beam.pvalue.TaggedOutput(FAILED, pending.placed(failed_clip(pending.clip, item)))
                return
            pending.examples.seek(0)
            for index in range(item.examples):
                values = pending.examples.read(EXAMPLE_BYTES)
                yield pending.placed(LogMelExample(pending.clip.id, index, values))
        finally:
            pending.close()

    def _give_up(self) -> None:
        while self._clips:
            self._clips.popitem()[1].close()
