"""The values that travel between the steps of the pipeline: small, immutable, without behaviour.

Sizes decide the design (docs/design.md): a `DecodeRequest` is some 200 bytes and may cross a shuffle, an
`ExampleBlock` holds 24 KB an example and never does, an `Embedding` holds 128 bytes (quantized) or 512 (float32) an
example.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np

ClipKey = tuple[str, float, float]
"""(id, start in s, end in s or -1 for "to the file's end"): what makes a record unique, and its order."""
Rating = tuple[int, int, int, float]
"""A rated segment of a YouTube-8M record: start and end in whole seconds, class index, score."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip to embed: an audio file, or a segment of one, which becomes one record.

    Attributes:
      id: the record's `video_id`.
      uri: the file that holds the audio; of one inside another, an archive say, CONTAINER::MEMBER.
      start_s: the record's `start_time_seconds`.
      end_s: the record's `end_time_seconds`; None where it is the decoded duration.
      labels: class indices, ascending.
      cut: True where [start_s, end_s) has to be cut out of the file; False where the file is the stretch.
      size_bytes: of the file, when it was listed.
      version: what changes when the file does: modification time or storage generation.
      listed: True where a pattern found the file, so that it may be something else beside the audio; of no account when
        clips are compared.
      place: where in its container the audio is (`pipeline.storage.containers`); "": it is the whole file at `uri`.
      rated: the segments of it that YouTube-8M's records list, ascending (`pipeline.corpus.rated`).
      scores: of its labels, one each, as its list gives them, until it has become a segment; never written down.
    """

    id: str
    uri: str
    start_s: float = 0.0
    end_s: float | None = None
    labels: tuple[int, ...] = ()
    cut: bool = False
    size_bytes: int = 0
    version: str = ""
    listed: bool = field(default=False, compare=False)
    place: str = ""
    rated: tuple[Rating, ...] = ()
    scores: tuple[float, ...] = field(default=(), compare=False)

    @property
    def key(self) -> ClipKey:
        return (self.id, self.start_s, -1.0 if self.end_s is None else self.end_s)

    @property
    def rated_s(self) -> int:
        """Where the last of its rated segments ends; 0 where it has none."""
        return max((end_s for _, end_s, _, _ in self.rated), default=0)


@dataclass(frozen=True)
class Segment:
    """A run of a clip's examples, small enough for one worker.

    Attributes:
      clip: whose examples.
      index: position among the clip's segments, from 0.
      count: how many segments the clip has.
      first_example: index within the clip of the segment's first example.
      examples: how many; None: all up to the clip's end (the only, or the last, segment).
      held: [start, stop) of examples whose embeddings an earlier run left in row files, ascending.
      ended: (index, count) of segments of which such a run left all, of the clip cut into `count`.
      last: the last one of its clip that is to be read: with it the clip counts as done.
    """

    clip: Clip
    index: int = 0
    count: int = 1
    first_example: int = 0
    examples: int | None = None
    held: tuple[tuple[int, int], ...] = ()
    ended: tuple[tuple[int, int], ...] = ()
    last: bool = True


@dataclass(frozen=True)
class DecodeRequest:
    """Segments of one file that are decoded in one pass, ascending in time.

    Attributes:
      uri: of the file.
      segments: of it.
      content: what the file holds, where it was read for several requests at once (`pipeline.decoding.contents`).
    """

    uri: str
    segments: tuple[Segment, ...]
    content: bytes | None = field(default=None, repr=False)

    @property
    def place(self) -> str:
        """Where in its container the file is, as its clips say."""
        return self.segments[0].clip.place


@dataclass(frozen=True)
class Unit:
    """A unit of work: requests that one worker decodes and embeds one after another.

    Attributes:
      requests: of clips that lie next to each other in the output.
      asks: the file of its only request is asked first whether it can be decoded in parts.
    """

    requests: tuple[DecodeRequest, ...]
    asks: bool = False


@dataclass(frozen=True)
class UnitRef:
    """A unit's place in the plan: what travels of it (`pipeline.corpus.plan_file.load`).

    Attributes:
      part: URI of the plan's file.
      offset_bytes, size_bytes: of the unit's line in it.
      asks: as in the unit.
    """

    part: str
    offset_bytes: int
    size_bytes: int
    asks: bool = False


@dataclass(frozen=True)
class RowsRef:
    """The rows of a shard in a row file (`pipeline.output.journal.rows`).

    Attributes:
      shard: its index.
      name: of the file, in the output's folder of row files.
      offset_bytes, size_bytes, sha256: of the shard's part of the file.
    """

    shard: int
    name: str
    offset_bytes: int
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Probe:
    """The content of an audio file's header.

    Attributes:
      frames: samples of each channel.
      sample_rate_hz: in Hz.
      seekable: whether seeking gives exactly the samples that request would.
    """

    frames: int
    sample_rate_hz: int
    seekable: bool


@dataclass(frozen=True)
class Excerpt:
    """Some seconds of a clip to listen to.

    Attributes:
      mp3: MPEG audio in base64; "" where there is none.
      missing: why.
    """

    mp3: str
    missing: str = ""


@dataclass(frozen=True)
class ExampleBlock:
    """Consecutive log-mel examples of a segment: float32 [k, 96, 64], k >= 1; never crosses a shuffle."""

    segment: Segment
    first_example: int
    examples: np.ndarray


@dataclass(frozen=True)
class Embedding:
    """Consecutive embeddings of a clip.

    Attributes:
      clip: whose.
      segment: index of the segment they come from.
      first_example: index within the clip of the first row.
      values: uint8 [k, 128] quantized, or float32 [k, 128] raw or after PCA; at most 32 KB.
    """

    clip: Clip
    segment: int
    first_example: int
    values: np.ndarray


@dataclass(frozen=True)
class SegmentEnd:
    """The end of a segment that was read without fault: what its embeddings must add up to.

    Attributes:
      clip: whose segment.
      segment: its index.
      segments: how many segments the clip has.
      examples: how many examples the segment gave.
      audio_s: decoded seconds of the segment; the last segment ends where the audio does.
      sample_rate_hz, channels: of the file.
      format: container and codec, "WAV/PCM_16" or "mov,mp4/aac" say.
      silent: True where every sample was zero.
      damaged: why the file is, if what decodes of it was kept.
      first_example: index within the clip of the segment's first example.
      last: as of the `Segment`; about the run, so it is not kept.
    """

    clip: Clip
    segment: int
    segments: int
    examples: int
    audio_s: float
    sample_rate_hz: int
    channels: int
    format: str
    silent: bool = False
    damaged: str = ""
    first_example: int = 0
    last: bool = field(default=True, compare=False)


@dataclass(frozen=True, slots=True)
class Failure:
    """A clip that gives no record, and why.

    Attributes:
      clip: which.
      stage: "find", "plan", "extract" or "embed".
      reason: one of `pipeline.reasons.REASONS`.
      message: one line for the user: what was found, with the value.
      skipped: True where a policy asked to leave such clips out; counted apart from failures.
    """

    clip: Clip
    stage: str
    reason: str
    message: str
    skipped: bool = False


@dataclass(frozen=True)
class Removal:
    """A clip that the corpus no longer holds: what its shard has of it is left out."""

    clip: Clip


@dataclass(frozen=True)
class ShardEntry:
    """A complete shard, as the manifest lists it.

    Attributes:
      index, name: position among the output's shards, name of the record file.
      records, failed, skipped: clips by outcome.
      examples, audio_seconds: of the records.
      bytes, sha256: of the record file.
      ledger_sha256: of the ledger.
      failures, skips: clips by reason.
      damaged: records of what decodes of a damaged file.
    """

    index: int
    name: str
    records: int
    failed: int
    skipped: int
    examples: int
    audio_seconds: float
    bytes: int
    sha256: str
    ledger_sha256: str
    failures: dict[str, int]
    skips: dict[str, int]
    damaged: int = 0


@dataclass(frozen=True)
class StagedShard:
    """A staged shard.

    Attributes:
      entry: what the manifest will say of it.
      staged: its files' common name below the output: `staged` + ".tfrecord" and ".jsonl" (ledger).
      base_ledger_sha256: of the committed ledger that it was merged with; "" if there was none.
      unequal_rows: rows that two machines made and that differ by one step; see docs/records.md.
    """

    entry: ShardEntry
    staged: str
    base_ledger_sha256: str
    unequal_rows: int = 0


@dataclass(frozen=True)
class Corpus:
    """The clips to embed, and the inputs that cannot be clips.

    Attributes:
      clips: to embed; every key once.
      failures: of rows and files that cannot be embedded, whatever they hold.
      names: display names of classes, by index, as far as the inputs give them.
      notes: lines for the user: what was left out of the listings.
      numbers_classes: labels were made of the audio's names, so that the output has to keep `names`.
    """

    clips: Sequence[Clip]
    failures: Sequence[Failure] = ()
    names: Mapping[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    numbers_classes: bool = False


Extracted = ExampleBlock | SegmentEnd | Failure
"""A decoder's output for a segment: blocks and one ending, or (possibly after some blocks) one failure."""

Outcome = Embedding | SegmentEnd | Failure
"""A piece of what becomes of a clip."""

RecordFormat = Literal["audioset", "youtube8m", "youtube8m_video"]
EmbeddingKind = Literal["quantized", "pca", "raw"]
ShortClips = Literal["skip", "pad", "fail"]
Damaged = Literal["fail", "keep"]
SegmentAudio = Literal["whole", "cut"]
DuplicateIds = Literal["stop", "fail"]
