"""Records for training: TFRecords of embeddings as a `tf.data.Dataset`, as plain Python values, or as NumPy arrays.

Reads what `pipeline.run` writes and the released AudioSet and YouTube-8M files: all layouts, quantized or float.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np

from pipeline.errors import UserError
from pipeline.formatting import number_of
from pipeline.output.loading.clip_vectors import LEVELS, clip_vectors, dequantize
from pipeline.output.matching import Incomplete, IncompleteError, Matched, matching, matching_files
from pipeline.output.records import FRAMES_KEY, Record, RecordError, read_records, records_of
from pipeline.settings import FrontEnd
from pipeline.types import RecordFormat

if TYPE_CHECKING:
    import tensorflow as tf

__all__ = [
    "NUM_CLASSES",
    "Batch",
    "IncompleteError",
    "Record",
    "RecordError",
    "dequantize",
    "frame_starts",
    "load_dataset",
    "matching_files",
    "read_records",
]

Level = Literal["frame", "clip"]
"""What a vector stands for."""
NUM_CLASSES = 527
"""Classes of AudioSet."""
WIDTH = 128
CHUNK = 128
"""Records that are parsed in one call where the caller wants them one by one."""
SHUFFLE_BUFFER = 16_384
"""Records that `shuffle=True` draws from: some 25 MB of 10 s clips, quantized."""
READ_BYTES = 4 << 20


class Batch(NamedTuple):
    """An element of `load_dataset`; the leading dimension b is absent without `batch_size`.

    Attributes:
      id: string [b].
      start, end: float32 [b], seconds; NaN in YouTube-8M's layout, which has no times.
      embeddings: float32 or uint8 [b, t, 128]; rows past `num_frames` are zeros. With `level="clip"`: float32 [b, 128].
      labels: float32 [b, c], 1 where the record carries the class; c is `num_classes`, or how many it names.
      num_frames: int32 [b].
    """

    id: Any
    start: Any
    end: Any
    embeddings: Any
    labels: Any
    num_frames: Any


def frame_starts(num_frames: int, start_s: float = 0.0, hop_s: float = FrontEnd.hop_seconds) -> np.ndarray:
    """Start of every frame in seconds of the recording, float64 [num_frames].

    Args:
      num_frames: of the record.
      start_s: where the record starts.
      hop_s: from one frame to the next: `settings.hop_seconds` of the data set's manifest; 0.96 in the released files.
    """
    return start_s + np.arange(num_frames) * hop_s


def load_dataset(
    pattern: str | Matched,
    *,
    batch_size: int | None = None,
    frames: int | None = None,
    dequantize: bool = True,
    shuffle: bool | int = False,
    seed: int | None = None,
    num_classes: int | Sequence[int] = NUM_CLASSES,
    level: Level = "frame",
    incomplete: Incomplete = "refuse",
) -> tf.data.Dataset:
    """TFRecord files -> a `tf.data.Dataset` of `Batch`es, parsed in parallel, many records a call.

    Padding is 0.0, which `keras.layers.Masking()` recognises: no dequantized byte is 0.

    Args:
      pattern: path, URI or glob: 'embeddings/*.tfrecord'; or files found before (`matching`), which are not looked at
        again.
      batch_size: records an element; None: one record an element, without the leading dimension.
      frames: rows of every record: longer ones are cut, shorter ones padded. None: of a batch, its longest record's;
        of a single record, its own.
      dequantize: bytes become float32 as `dequantize` does; False leaves them uint8. Float records stay as they are.
      shuffle: True shuffles files and, in a buffer of 16,384, records, again each epoch; a number sets the buffer.
      seed: of the shuffling.
      num_classes: width of `labels`; or the class indices that its columns stand for, if these are few of many.
      level: "clip" gives one vector a record, the mean of its dequantized frames (all, or the first `frames`), and
        zeros for a record without a frame. Records of one id and several times stay apart. A record of YouTube-8M's
        video level holds such a mean: it has one frame at either level.
      incomplete: "refuse" compares the files with the manifests beside them first: whether the data set is complete
        and each shard of the pattern there, of its size. Their sha256 is compared as remote files are read;
        TensorFlow reads local ones, with their CRCs alone. "use" reads whatever is there.

    Raises:
      RecordError: the pattern matches nothing, no record, or something that is no embedding record.
      IncompleteError: the files are not what the manifest beside them promises.
      tf.errors.OpError: while iterating: frames that are not 128 wide, labels beyond or not among `num_classes` (names
        the id), a damaged record (`read_records` names file and number).
    """
    matched = pattern if isinstance(pattern, Matched) else matching(pattern, incomplete)
    from vggish_core.quiet import import_tensorflow

    if level not in get_args(Level) or (level == "clip" and not dequantize):
        raise UserError(
            f"level={level!r}, dequantize={dequantize} do not go together",
            'Give level "frame" or "clip"; a mean is of floats',
        )
    tf = import_tensorflow()
    _, first = next(records_of(matched), (None, None))
    if first is None:
        found = f"{matched.pattern}: {number_of(len(matched.files), 'file')} without a record"
        raise RecordError(found, "Name files of a finished run")
    records = _serialized(tf, matched, shuffle, seed)
    records = records.batch(batch_size or CHUNK, num_parallel_calls=None)
    layout, quantized = first.layout, first.values.dtype == np.uint8

    def parse(serialized: Any) -> Batch:
        parsed = _parse(tf, serialized, layout, quantized, num_classes)
        shaped = _shaped(tf, parsed, frames, quantized and dequantize)
        if level == "frame":
            return shaped
        return shaped._replace(embeddings=clip_vectors(tf, shaped.embeddings, shaped.num_frames))

    batches = records.map(parse, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    if batch_size is None:
        from pipeline.output.loading.single_records import SingleRecords

        return SingleRecords(batches, own_length=frames is None and level == "frame")
    return batches.prefetch(tf.data.AUTOTUNE)


def _serialized(tf: Any, matched: Matched, shuffle: bool | int, seed: int | None) -> Any:
    """Files -> a dataset of serialized records: TensorFlow reads local files, `pipeline.storage` all others."""
    files = list(matched.files)
    names = tf.data.Dataset.from_tensor_slices(files)
    if any("://" in file for file in files):
        signature = tf.TensorSpec([], tf.string)
        records = tf.data.Dataset.from_generator(lambda: _stored(matched), output_signature=signature)
    elif shuffle:
        names = names.shuffle(len(files), seed=seed)
        records = names.interleave(
            lambda name: tf.data.TFRecordDataset(name, buffer_size=READ_BYTES),
            cycle_length=min(8, len(files)),
        )
    else:
        records = tf.data.TFRecordDataset(files, buffer_size=READ_BYTES)
    if shuffle:
        records = records.shuffle(SHUFFLE_BUFFER if shuffle is True else shuffle, seed=seed)
    return records


def _stored(matched: Matched) -> Iterator[bytes]:
    for _, data in matched.frames():
        yield data


def _parse(tf: Any, serialized: Any, layout: RecordFormat, quantized: bool, num_classes: int | Sequence[int]) -> Batch:
    """Serialized records [b] -> a batch with uint8 or float32 embeddings [b, t, 128] as stored."""
    text = tf.io.FixedLenFeature([], tf.string, default_value="")
    seconds = tf.io.FixedLenFeature([], tf.float32, default_value=float("nan"))
    context_features = {
        "video_id": text,
        "id": text,
        "start_time_seconds": seconds,
        "end_time_seconds": seconds,
        "labels": tf.io.VarLenFeature(tf.int64),
    }
    key = FRAMES_KEY[layout]
    if layout == "youtube8m_video":
        mean = tf.io.FixedLenFeature([WIDTH], tf.float32)
        context = tf.io.parse_example(serialized, {**context_features, key: mean})
        values, num_frames = context[key][:, tf.newaxis], tf.ones(tf.shape(serialized), tf.int32)
    else:
        frame = tf.io.FixedLenSequenceFeature([] if quantized else [WIDTH], tf.string if quantized else tf.float32)
        context, sequences, lengths = tf.io.parse_sequence_example(
            serialized, context_features=context_features, sequence_features={key: frame}
        )
        values, num_frames = sequences[key], tf.cast(lengths[key], tf.int32)
    ids = tf.where(context["id"] == "", context["video_id"], context["id"])  # AudioSet, or YouTube-8M before 2018
    if quantized:
        values = _bytes(tf, values, num_frames, ids)
    labels = _multi_hot(tf, context["labels"], num_classes, ids)
    return Batch(ids, context["start_time_seconds"], context["end_time_seconds"], values, labels, num_frames)


def _multi_hot(tf: Any, classes: Any, num_classes: int | Sequence[int], ids: Any) -> Any:
    """Class indices, sparse [b, n] -> float32 [b, c]."""
    of = tf.gather(ids, classes.indices[:, 0])
    if isinstance(num_classes, int):
        count, columns = num_classes, classes.values
        fits = columns < tf.constant(num_classes, tf.int64)
        sound = _expect(tf, fits, f"a label is not below num_classes={num_classes}", of)
    else:
        count, order = len(num_classes), np.argsort(num_classes, kind="stable")
        ascending = tf.constant(np.asarray(num_classes, np.int64)[order])
        places = tf.minimum(tf.searchsorted(ascending, classes.values), count - 1)
        found = tf.gather(ascending, places)
        sound = _expect(tf, found == classes.values, f"a label is none of {count} classes", of)
        columns = tf.gather(tf.constant(order, tf.int64), places)
    with tf.control_dependencies([sound]):  # or the indicator may be first to stumble, with a message of its own
        columns = tf.identity(columns)
    return tf.cast(tf.sparse.to_indicator(classes.with_values(columns), count), tf.float32)


def _expect(tf: Any, sound: Any, wrong: str, ids: Any) -> Any:
    """Whether something holds, bool [n], and the ids of its records [n] -> an assertion that names the first."""
    first = tf.boolean_mask(ids, tf.logical_not(sound))[:1]
    return tf.debugging.Assert(tf.reduce_all(sound), [f"{wrong}, in the record", first])


def _bytes(tf: Any, strings: Any, num_frames: Any, ids: Any) -> Any:
    """Frames as strings [b, t], "" in padding -> uint8 [b, t, 128]; decoding alone would cut or pad other widths."""
    expected = tf.where(tf.sequence_mask(num_frames, tf.shape(strings)[1]), WIDTH, 0)
    fits = tf.reduce_all(tf.strings.length(strings) == expected, axis=1)
    _expect(tf, fits, f"a frame does not have {WIDTH} bytes", ids)
    values = tf.io.decode_raw(strings, tf.uint8, fixed_length=WIDTH)
    return tf.ensure_shape(values, [None, None, WIDTH])


def _shaped(tf: Any, batch: Batch, frames: int | None, dequantized: bool) -> Batch:
    """Cuts or pads to `frames`, dequantizes, makes padding zero."""
    values, num_frames = batch.embeddings, batch.num_frames
    if frames is not None:
        values = values[:, :frames]
        values = tf.pad(values, [[0, 0], [0, frames - tf.shape(values)[1]], [0, 0]])
        values = tf.ensure_shape(values, [None, frames, WIDTH])
        num_frames = tf.minimum(num_frames, frames)
    if dequantized:
        mask = tf.sequence_mask(num_frames, tf.shape(values)[1], tf.float32)
        values = tf.gather(LEVELS, tf.cast(values, tf.int32)) * mask[:, :, tf.newaxis]
    return batch._replace(embeddings=values, num_frames=num_frames)
