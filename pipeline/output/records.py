"""Embeddings of a clip <-> the bytes of a record, as AudioSet and YouTube-8M lay them out.

Layouts: docs/records.md. Serialization is deterministic: map entries in the order of their keys. A record of frames is
a `tf.train.SequenceExample`, one of YouTube-8M's video level a `tf.train.Example`, which has the bytes of a
`SequenceExample` with a context alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from pipeline.output import segments
from pipeline.output.loading.clip_vectors import clip_mean
from pipeline.output.matching import Incomplete, IncompleteError, Matched, matching
from pipeline.output.sequence_example import SequenceExample, value_of, values_of
from pipeline.output.tfrecord import OtherRecordError, RecordError, read_tfrecord, write_tfrecord
from pipeline.types import Rating, RecordFormat

__all__ = [
    "Incomplete",
    "IncompleteError",
    "Record",
    "RecordError",
    "parse",
    "read_records",
    "read_tfrecord",
    "to_sequence_example",
    "write_tfrecord",
]

WIDTH = 128
FRAMES_KEY: dict[RecordFormat, str] = {
    "audioset": "audio_embedding",
    "youtube8m": "audio",
    "youtube8m_video": "mean_audio",
}
"""Where the embeddings are: a feature list, of the video level a feature."""
AUDIOSET_KEYS = {"video_id", "start_time_seconds", "end_time_seconds", "labels"}


@dataclass(frozen=True, eq=False)
class Record:
    """A record's content.

    Attributes:
      id: `video_id` (AudioSet) or `id` (YouTube-8M).
      start_s, end_s: None in YouTube-8M's layouts, which have no times.
      labels: class indices.
      values: uint8 [k, 128] quantized, or float32 [k, 128]; read-only. Of YouTube-8M's video level float32 [1, 128].
      layout: which of the three it was.
      rated: the segments of a record of YouTube-8M's frames: start and end in seconds, class, score.
    """

    id: str
    start_s: float | None
    end_s: float | None
    labels: tuple[int, ...]
    values: np.ndarray
    layout: RecordFormat
    rated: tuple[Rating, ...] = ()


def to_sequence_example(
    clip_id: str,
    start_s: float,
    end_s: float,
    labels: Sequence[int],
    values: np.ndarray,
    record_format: RecordFormat = "audioset",
    rated: Sequence[Rating] = (),
) -> bytes:
    """Embeddings uint8 or float32 [k, 128] -> the record's bytes; a function of the arguments alone.

    Quantized frames become a bytes_list of 128 unsigned bytes each, float frames a float_list of 128; of YouTube-8M's
    video level the mean of the dequantized frames is a float_list of 128. An id that is not UTF-8 (a file's name need
    not be) keeps its bytes. YouTube-8M's layouts have no times: they are left out. `rated` are the segments of a record
    of YouTube-8M's frames.

    Raises:
      RecordError: wrong shape or type, labels that repeat, times that are no numbers.
    """
    if values.ndim != 2 or values.shape[1] != WIDTH or values.dtype not in (np.uint8, np.float32):
        raise RecordError(f"{clip_id}: embeddings are {values.dtype} {list(values.shape)}, not uint8/float32 [k, 128]")
    if len(set(labels)) < len(labels):
        raise RecordError(f"{clip_id}: labels {list(labels)} repeat")
    message = SequenceExample()
    context = message.context.feature
    if record_format == "audioset":
        if not (np.isfinite(start_s) and np.isfinite(end_s)):
            raise RecordError(f"{clip_id}: times {start_s} to {end_s} are not numbers")
        context["video_id"].bytes_list.value.append(clip_id.encode("utf-8", "surrogateescape"))
        context["start_time_seconds"].float_list.value.append(start_s)
        context["end_time_seconds"].float_list.value.append(end_s)
    else:
        context["id"].bytes_list.value.append(clip_id.encode("utf-8", "surrogateescape"))
    context["labels"].int64_list.SetInParent()  # an empty list is still a list of integers
    context["labels"].int64_list.value.extend(labels)
    segments.add(context, rated)
    key = FRAMES_KEY[record_format]
    if record_format == "youtube8m_video":
        context[key].float_list.value.extend(clip_mean(values).tolist())
        return message.SerializeToString(deterministic=True)
    frames = message.feature_lists.feature_list[key].feature
    if values.dtype == np.uint8:
        data = values.tobytes()
        for begin in range(0, len(data), WIDTH):
            frames.add().bytes_list.value.append(data[begin : begin + WIDTH])
    else:
        for row in values:
            frames.add().float_list.value.extend(row.tolist())
    return message.SerializeToString(deterministic=True)


def parse(data: bytes, strict: bool = False) -> Record:
    """A record's bytes -> its content.

    Args:
      data: a serialized `SequenceExample`, or an `Example` of YouTube-8M's video level.
      strict: True refuses keys beyond the layout's own.

    Raises:
      RecordError: names what is missing, of another type or of another width.
    """
    try:
        message = SequenceExample.FromString(data)
    except DecodeError:
        raise OtherRecordError(f"{len(data)} bytes that are not a SequenceExample", _READS) from None
    context, lists = message.context.feature, message.feature_lists.feature_list
    layout = _layout(context, lists)
    # YouTube-8M's releases of 2016 and 2017 say video_id
    id_key = "id" if layout != "audioset" and "id" in context else "video_id"
    clip_id = value_of(context, id_key, "bytes_list").decode("utf-8", "surrogateescape")
    try:
        return _parsed(clip_id, context, lists, layout, strict)
    except RecordError as error:
        raise RecordError(f"{clip_id}: {error}") from None


def _parsed(clip_id: str, context: Any, lists: Any, layout: RecordFormat, strict: bool) -> Record:
    times: tuple[float | None, float | None] = (None, None)
    if layout == "audioset":
        times = (
            value_of(context, "start_time_seconds", "float_list"),
            value_of(context, "end_time_seconds", "float_list"),
        )
    # YouTube-8M's records of segments, and of clips that nobody has labelled, have none; ours always have the list.
    labelled = strict or ("labels" in context and context["labels"].WhichOneof("kind") is not None)
    labels = tuple(values_of(context, "labels", "int64_list")) if labelled else ()
    if strict:
        _expect_keys(context, lists, layout)
    rated = segments.of(context, strict) if layout == "youtube8m" else ()
    return Record(clip_id, *times, labels, _values(context, lists, layout), layout, rated)


def _expect_keys(context: Any, lists: Any, layout: RecordFormat) -> None:
    allowed = AUDIOSET_KEYS if layout == "audioset" else {"id" if "id" in context else "video_id", "labels"}
    if layout == "youtube8m":
        allowed = allowed | set(segments.KINDS)
    if layout == "youtube8m_video":
        allowed = allowed | {FRAMES_KEY[layout], "mean_rgb"}
    extra = (set(context) - allowed) | (set(lists) - {FRAMES_KEY[layout], "rgb"})
    if extra or (layout == "audioset" and "rgb" in lists):
        raise RecordError(f"unexpected keys {sorted(extra | (set(lists) - {FRAMES_KEY[layout]}))}")


def read_records(*patterns: str, incomplete: Incomplete = "refuse") -> Iterator[Record]:
    """Paths, URIs or globs of TFRecord files -> their records, file by file in the order of names.

    Args:
      patterns: each is compared with the manifests beside its files: before its first record, whether the data set is
        complete and each shard there, of its size (`pipeline.output.matching`); at the end of each file its sha256.
      incomplete: "use" reads whatever is there, without looking at manifests.

    Raises:
      RecordError: a damaged frame or record, named; or a pattern that matches nothing.
      IncompleteError: the files are not what the manifest beside them promises.
    """
    for pattern in patterns:
        for _, record in records_of(matching(pattern, incomplete)):
            yield record


def records_of(matched: Matched) -> Iterator[tuple[str, Record]]:
    """Files -> their records, each after its place for messages: "embeddings/a.tfrecord: record 3"."""
    for place, data in matched.frames():
        yield place, parse_placed(data, place)


def parse_placed(data: bytes, place: str) -> Record:
    """As `parse`; the error names the place, too."""
    try:
        return parse(data)
    except RecordError as error:
        raise RecordError(f"{place}: {error}") from None


def expect_finite(record: Record, place: str) -> None:
    """Looks at a record's values. Raises RecordError if one is NaN or infinite."""
    if record.values.dtype != np.uint8 and not np.isfinite(record.values).all():
        frame = int(np.flatnonzero(~np.isfinite(record.values).all(axis=1))[0])
        raise RecordError(
            f"{place} ({record.id}): frame {frame} holds NaN or infinite values. "
            "Copy the other records: docs/training.md says how, under Records with NaN"
        )


def _any_id(context: Any) -> str:
    """A record's id for messages, as far as it has one: "a: "."""
    found = [context[key].bytes_list.value for key in ("video_id", "id") if key in context]
    return next((f"{values[0].decode('utf-8', 'replace')}: " for values in found if values), "")


def _layout(context: Any, lists: Any) -> RecordFormat:
    for layout, key in FRAMES_KEY.items():
        if key in (context if layout == "youtube8m_video" else lists):
            return layout
    found = f"no feature list audio_embedding (AudioSet) or audio (YouTube-8M), only {sorted(lists)}"
    if not lists and context:
        found += f"; it may be a tf.train.Example, with {', '.join(sorted(context)[:5])}"
    raise OtherRecordError(f"{_any_id(context)}{found}", _READS)


_READS = "Give records of pipeline.run, of AudioSet, or YouTube-8M's with audio"


def _values(context: Any, lists: Any, layout: RecordFormat) -> np.ndarray:
    key = FRAMES_KEY[layout]
    if layout != "youtube8m_video":
        return _frames(lists[key].feature)
    mean = values_of(context, key, "float_list")
    if len(mean) != WIDTH:
        raise RecordError(f"{key} has {len(mean)} floats, not {WIDTH}")
    values = np.array([mean], np.float32)
    values.flags.writeable = False
    return values


def _frames(features: Sequence[Any]) -> np.ndarray:
    kinds = {feature.WhichOneof("kind") for feature in features}
    if kinds == {"float_list"}:
        rows = [feature.float_list.value for feature in features]
        _check_widths([len(row) for row in rows], "floats")
        values = np.array(rows, np.float32)
        values.flags.writeable = False
        return values
    if kinds - {"bytes_list"}:
        raise RecordError(f"frames are {sorted(map(str, kinds))}, not all bytes_list or all float_list")
    frames = [blob for feature in features for blob in feature.bytes_list.value]
    if len(frames) != len(features):
        raise RecordError(f"{len(features)} frames hold {len(frames)} byte strings, not one each")
    _check_widths([len(frame) for frame in frames], "bytes")
    return np.frombuffer(b"".join(frames), np.uint8).reshape(-1, WIDTH)


def _check_widths(widths: list[int], unit: str) -> None:
    if widths.count(WIDTH) != len(widths):
        index, width = next((i, w) for i, w in enumerate(widths) if w != WIDTH)
        raise RecordError(f"frame {index} of {len(widths)} has {width} {unit}, not {WIDTH}")
