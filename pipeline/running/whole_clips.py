"""Audio -> the embeddings of whole clips, element by element: the DoFn behind `pipeline.EmbedAudio`.

It drives the DoFns of the command within one bundle, so that it is known when a clip is complete.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.transforms.window import BoundedWindow
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from pipeline import storage
from pipeline.decoding.extract import ExtractDoFn
from pipeline.embedding import embed
from pipeline.formatting import printable
from pipeline.machine import cores_a_process
from pipeline.output import assemble
from pipeline.output.shards import ShardInput
from pipeline.running.clips.elements import AskedClip, FailedClip, embedded
from pipeline.running.steps import EmbedDoFn
from pipeline.settings import Decoding, FrontEnd, Model
from pipeline.types import Clip, DecodeRequest, Embedding, Failure, Outcome, Segment, SegmentEnd

FAILED = "failed"
"""Tag of the failures."""


@dataclass
class PendingClip:
    """An element in progress: its question, the answer's place in time, and the file of what came along."""

    clip: Clip
    timestamp: Timestamp
    window: BoundedWindow
    file: Path | None

    def placed(self, answer: Any) -> WindowedValue:
        """An answer -> the element, where the question was."""
        return WindowedValue(answer, self.timestamp, (self.window,))


@dataclass
class _PendingEmbeddings(PendingClip):
    """One of which the embeddings so far are kept."""

    pieces: list[Outcome] = field(default_factory=list)
    embedded: int = 0
    expected: int | None = None


class EmbedAudioDoFn(beam.DoFn):
    """`AskedClip` -> `EmbeddedClip`, or `FailedClip` tagged "failed".

    Args:
      front_end: as in a `Job`.
      decoding, model: likewise; 0 processes and 0 threads mean as many as the worker has cores.
    """

    def __init__(self, front_end: FrontEnd, decoding: Decoding, model: Model) -> None:
        self._front_end = front_end
        self._decoding = decoding
        self._model = model

    def setup(self) -> None:
        own = cores_a_process()
        decoding = replace(self._decoding, processes=self._decoding.processes or own)
        model = replace(self._model, threads=self._model.threads or own)
        embed.shared_worker(model, check=True)  # which the command does before it starts
        self._extract = ExtractDoFn(self._front_end, decoding)
        self._embed = EmbedDoFn(model, self._front_end.hop_seconds, None)
        self._extract.setup()
        self._embed.setup()
        self._folder = tempfile.TemporaryDirectory(prefix="vggish-audio-")

    def teardown(self) -> None:
        self._extract.teardown()
        self._folder.cleanup()

    def start_bundle(self) -> None:
        self._extract.start_bundle()
        self._embed.start_bundle()
        for file in Path(self._folder.name).iterdir():  # of a bundle that failed, if any
            file.unlink()
        self._clips: dict[str, _PendingEmbeddings] = {}
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
        self._clips[number] = _PendingEmbeddings(clip_of(element), timestamp, window, file)
        for item in self._extract.process(request):
            for outcome in self._embed.process(item):
                yield from self._take(outcome)

    def finish_bundle(self) -> Iterator[WindowedValue | beam.pvalue.TaggedOutput]:
        for item in self._extract.finish_bundle():
            for outcome in self._embed.process(item.value):
                yield from self._take(outcome)
        for last in self._embed.finish_bundle():
            yield from self._take(last.value)
        if self._clips:
            pending = next(iter(self._clips.values()))
            raise assemble.AssemblyError(f"{len(self._clips)} clips without an outcome, {pending.clip} is one")

    def _take(self, outcome: Outcome | ShardInput) -> Iterator[WindowedValue | beam.pvalue.TaggedOutput]:
        """A piece of a clip -> its whole, if it was the last one."""
        assert isinstance(outcome, Embedding | SegmentEnd | Failure)
        number = outcome.clip.id
        pending = self._clips.get(number)
        if pending is None:  # the rest of a clip that failed
            return
        if isinstance(outcome, Embedding):
            pending.embedded += len(outcome.values)
        elif isinstance(outcome, SegmentEnd):
            pending.expected = outcome.examples
        if isinstance(outcome, Failure | SegmentEnd) and pending.file is not None:
            pending.file.unlink(missing_ok=True)  # it has been decoded, and may have failed after that
        pending.pieces.append(outcome)
        if isinstance(outcome, Failure):
            del self._clips[number]
            yield beam.pvalue.TaggedOutput(FAILED, pending.placed(failed_clip(pending.clip, outcome)))
        elif pending.embedded == pending.expected:
            del self._clips[number]
            (result,) = assemble.assemble(pending.pieces)
            assert result.values is not None
            clip, end_s = pending.clip, result.entry.end_s
            found = embedded(clip.id, clip.uri, clip.start_s, end_s, clip.labels, result.values)
            yield pending.placed(found)


def request_of(element: AskedClip, number: str, folder: str) -> tuple[Path | None, DecodeRequest]:
    """What was asked for -> the file that its content was put into, if that came along, and what a decoder is asked.

    Within a bundle a clip goes by its number, because ids may occur twice.
    """
    file = None
    if element.content is not None:  # decoders are processes of their own, which read files
        file = Path(folder) / number
        file.write_bytes(element.content)
    uri = str(file) if file else storage.absolute(element.uri)
    return file, DecodeRequest(uri, (Segment(replace(clip_of(element), id=number, uri=uri)),))


def bad_element(element: AskedClip) -> FailedClip:
    """What was asked for and is no audio -> its failure."""
    return FailedClip(element.id, element.uri, "bad_element", element.wrong, skipped=False)


def failed_clip(clip: Clip, failure: Failure) -> FailedClip:
    """A clip's failure -> the element."""
    message = printable(" ".join(failure.message.split()))
    return FailedClip(clip.id, clip.uri, failure.reason, message, failure.skipped, clip.start_s, clip.end_s)


def clip_of(element: AskedClip) -> Clip:
    """What was asked for -> its clip."""
    times = element.start_s, element.end_s
    return Clip(element.id, element.uri, *times, tuple(element.labels), element.cut, listed=element.listed)
