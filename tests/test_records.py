from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipeline.output.loading.clip_vectors import clip_mean
from pipeline.output.records import RecordError, parse, read_records, read_tfrecord, to_sequence_example, write_tfrecord
from pipeline.output.sequence_example import SequenceExample
from pipeline.types import RecordFormat
from tests import small_audioset

IDS = st.text(max_size=20).filter(lambda text: text.encode("utf-8", "replace").decode() == text)
TIMES = st.floats(0, 40_000, width=32)
LABELS = st.lists(st.integers(0, 4800), unique=True, max_size=6).map(lambda found: tuple(sorted(found)))
FRAMES = st.one_of(
    arrays.arrays(np.uint8, st.tuples(st.integers(1, 4), st.just(128))),
    arrays.arrays(np.float32, st.tuples(st.integers(1, 3), st.just(128)), elements=st.floats(-9, 9, width=32)),
)
LAYOUTS = st.sampled_from(get_args(RecordFormat))


def tensorflows(
    clip_id: str, start_s: float, end_s: float, labels: tuple[int, ...], values: np.ndarray, layout: RecordFormat
) -> bytes:
    """The record as TensorFlow's own classes write it."""
    import tensorflow as tf

    train = tf.train

    def blobs(*content: bytes) -> Any:
        return train.Feature(bytes_list=train.BytesList(value=content))

    def floats(*content: float) -> Any:
        return train.Feature(float_list=train.FloatList(value=content))

    context = {"labels": train.Feature(int64_list=train.Int64List(value=labels))}
    if layout == "audioset":
        context["start_time_seconds"], context["end_time_seconds"] = floats(start_s), floats(end_s)
    context["video_id" if layout == "audioset" else "id"] = blobs(clip_id.encode())
    if layout == "youtube8m_video":
        context["mean_audio"] = floats(*clip_mean(values))
        return train.Example(features=train.Features(feature=context)).SerializeToString(deterministic=True)
    quantized = values.dtype == np.uint8
    frames = train.FeatureList(feature=[blobs(row.tobytes()) if quantized else floats(*row) for row in values])
    return train.SequenceExample(
        context=train.Features(feature=context),
        feature_lists=train.FeatureLists(feature_list={"audio_embedding" if layout == "audioset" else "audio": frames}),
    ).SerializeToString(deterministic=True)


@given(IDS, TIMES, TIMES, LABELS, FRAMES, LAYOUTS)
@settings(max_examples=100, deadline=None)
def test_bytes_are_tensorflows_and_parse_to_the_same(
    clip_id: str, start_s: float, end_s: float, labels: tuple[int, ...], values: np.ndarray, layout: RecordFormat
) -> None:
    data = to_sequence_example(clip_id, start_s, end_s, labels, values, layout)
    assert data == tensorflows(clip_id, start_s, end_s, labels, values, layout)
    record = parse(data, strict=True)
    assert (record.id, record.labels, record.layout) == (clip_id, labels, layout)
    assert (record.start_s, record.end_s) == ((start_s, end_s) if layout == "audioset" else (None, None))
    expected = clip_mean(values)[np.newaxis] if layout == "youtube8m_video" else values
    assert record.values.dtype == expected.dtype
    np.testing.assert_array_equal(record.values, expected)


def test_a_name_that_is_not_utf8_keeps_its_bytes() -> None:
    name = b"caf\xe9.wav".decode("utf-8", "surrogateescape")
    data = to_sequence_example(name, 0, 1, (), np.zeros((1, 128), np.uint8))
    assert SequenceExample.FromString(data).context.feature["video_id"].bytes_list.value[0] == b"caf\xe9.wav"
    assert parse(data).id == name


@pytest.mark.parametrize(
    ("labels", "values", "end_s", "message"),
    [
        ((), np.zeros((2, 127), np.uint8), 1.0, r"uint8 \[2, 127\]"),
        ((), np.zeros((2, 128), np.int8), 1.0, "int8"),
        ((), np.zeros(128, np.uint8), 1.0, r"\[128\]"),
        ((3, 3), np.zeros((2, 128), np.uint8), 1.0, "repeat"),
        ((), np.zeros((2, 128), np.uint8), float("nan"), "nan"),
    ],
)
def test_what_makes_no_record_is_refused(
    labels: tuple[int, ...], values: np.ndarray, end_s: float, message: str
) -> None:
    with pytest.raises(RecordError, match=message):
        to_sequence_example("clip", 0.0, end_s, labels, values)


def changed(change: Any) -> bytes:
    message = SequenceExample.FromString(to_sequence_example("clip", 0, 2, (1,), np.ones((2, 128), np.uint8)))
    change(message.context.feature, message.feature_lists.feature_list)
    return message.SerializeToString()


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda c, f: c.pop("video_id"), "no video_id"),
        (lambda c, f: c.pop("labels"), "no labels"),
        (lambda c, f: c["labels"].Clear(), "labels is a feature without a value"),
        (lambda c, f: c["labels"].float_list.value.append(1), "labels is a float_list, not a int64_list"),
        (lambda c, f: c["end_time_seconds"].float_list.value.append(1), "end_time_seconds holds 2 values"),
        (lambda c, f: f.pop("audio_embedding"), "no feature list audio_embedding"),
        (lambda c, f: f["audio_embedding"].feature.add(), "None"),
        (lambda c, f: f["audio_embedding"].feature[1].float_list.value.append(1), "not all bytes_list"),
        (lambda c, f: f["audio_embedding"].feature[1].bytes_list.value.append(b""), "2 frames hold 3 byte strings"),
        (lambda c, f: f["audio_embedding"].feature.add().bytes_list.value.append(b"x" * 127), "frame 2 of 3 has 127"),
        (lambda c, f: c["other"].int64_list.value.append(1), r"unexpected keys \['other'\]"),
        (lambda c, f: f["rgb"].feature.add(), r"unexpected keys \['rgb'\]"),
    ],
)
def test_a_malformed_record_is_named(change: Any, found: str) -> None:
    with pytest.raises(RecordError, match=found):
        parse(changed(change), strict=True)


def test_bytes_that_are_no_message_are_named() -> None:
    with pytest.raises(RecordError, match="5 bytes that are not a SequenceExample"):
        parse(b"\xff\xff\xff\xff\xff")


def test_early_youtube8m_records_and_their_images_are_read() -> None:
    message = SequenceExample()
    message.context.feature["video_id"].bytes_list.value.append(b"abcd")
    message.context.feature["labels"].int64_list.value.extend([3, 5])
    message.feature_lists.feature_list["audio"].feature.add().bytes_list.value.append(bytes(128))
    message.feature_lists.feature_list["rgb"].feature.add().bytes_list.value.append(bytes(1024))
    record = parse(message.SerializeToString(), strict=True)
    assert (record.id, record.labels, record.values.shape, record.layout) == ("abcd", (3, 5), (1, 128), "youtube8m")


def come_out_of_the_writer_with_equal_content(file: Path) -> int:
    """How many records; the order of a context's entries apart, every byte of them is equal."""
    count = 0
    with file.open("rb") as opened:
        for data in read_tfrecord(opened):
            record = parse(data, strict=True)
            assert record.start_s is not None
            assert record.end_s is not None
            ours = to_sequence_example(record.id, record.start_s, record.end_s, record.labels, record.values)
            assert len(ours) == len(data)
            assert ours == SequenceExample.FromString(data).SerializeToString(deterministic=True)
            count += 1
    return count


@pytest.mark.ci
def test_every_released_record_comes_out_of_the_writer_with_equal_content(audioset_data: Path) -> None:
    """The released serialization follows the order of a hash map, which differs between records: ours is that of the
    keys."""
    assert come_out_of_the_writer_with_equal_content(audioset_data / "bal_train.tfrecord") == 22_160
    assert come_out_of_the_writer_with_equal_content(audioset_data / "eval.tfrecord") == 20_371


def test_records_of_tensorflow_in_any_order_come_out_of_the_writer_with_equal_content(made_audioset: Path) -> None:
    for part, count in small_audioset.SIZES.items():
        file = made_audioset / f"{part}.tfrecord"
        assert come_out_of_the_writer_with_equal_content(file) == count
    with file.open("rb") as opened:
        messages = [(data, SequenceExample.FromString(data)) for data in read_tfrecord(opened)]
    differing = sum(data != message.SerializeToString(deterministic=True) for data, message in messages)
    assert differing > count / 2  # the order is any


def test_what_is_read_is_what_tensorflows_classes_were_given(made_audioset: Path) -> None:
    for seed, part in enumerate(small_audioset.SIZES):
        rows = small_audioset.rows_of(part, seed)
        for row, found in zip(rows, read_records(str(made_audioset / f"{part}.tfrecord")), strict=True):
            assert (found.id, found.labels, found.layout) == (row.id, row.labels, "audioset")
            assert (found.start_s, found.end_s) == (np.float32(row.start_s), np.float32(row.record_end_s))
            np.testing.assert_array_equal(found.values, row.values)


def test_files_are_read_in_order_and_faults_name_file_and_record(tmp_path: Path) -> None:
    for name in ("b", "a"):
        with (tmp_path / f"{name}.tfrecord").open("wb") as file:
            ids = [f"{name}{number}" for number in range(3)]
            write_tfrecord(file, (to_sequence_example(i, 0, 1, (), np.zeros((1, 128), np.uint8)) for i in ids))
    assert [record.id for record in read_records(str(tmp_path / "*.tfrecord"))] == ["a0", "a1", "a2", "b0", "b1", "b2"]
    with (tmp_path / "c.tfrecord").open("wb") as file:
        write_tfrecord(file, [b"\xff"])
    with pytest.raises(RecordError, match=r"c\.tfrecord: record 0: 1 bytes that are not"):
        list(read_records(str(tmp_path / "c.tfrecord")))
    with pytest.raises(RecordError, match=r"no file matches .*/\*\.none"):
        list(read_records(str(tmp_path / "*.none")))


def test_tf_data_parses_what_is_written(tmp_path: Path) -> None:
    import tensorflow as tf

    values = np.arange(256, dtype=np.uint8).reshape(2, 128)
    path = tmp_path / "file.tfrecord"
    with path.open("wb") as file:
        write_tfrecord(file, [to_sequence_example("-id with spaces", 30, 40, (0, 526), values)])
    scalar = tf.io.FixedLenFeature
    context, frames = tf.io.parse_single_sequence_example(
        next(iter(tf.data.TFRecordDataset(str(path)))),
        {
            "video_id": scalar([], tf.string),
            "start_time_seconds": scalar([], tf.float32),
            "end_time_seconds": scalar([], tf.float32),
            "labels": tf.io.VarLenFeature(tf.int64),
        },
        {"audio_embedding": tf.io.FixedLenSequenceFeature([], tf.string)},
    )
    assert context["video_id"].numpy() == b"-id with spaces"
    assert (context["start_time_seconds"].numpy(), context["end_time_seconds"].numpy()) == (30, 40)
    assert context["labels"].values.numpy().tolist() == [0, 526]
    np.testing.assert_array_equal(tf.io.decode_raw(frames["audio_embedding"], tf.uint8), values)


def test_the_reader_of_youtube8ms_starter_code_opens_them() -> None:
    """As `YT8MFrameFeatureReader` does with feature_names="audio" and feature_sizes="128"."""
    from vggish_core.quiet import import_tensorflow

    tf = import_tensorflow()
    values = np.random.default_rng(0).integers(0, 256, (310, 128)).astype(np.uint8)
    context, frames = tf.io.parse_single_sequence_example(
        to_sequence_example("abcd", 0.0, 310.5, [3, 17], values, "youtube8m"),
        context_features={"id": tf.io.FixedLenFeature([], tf.string), "labels": tf.io.VarLenFeature(tf.int64)},
        sequence_features={"audio": tf.io.FixedLenSequenceFeature([], dtype=tf.string)},
    )
    matrix = tf.reshape(tf.cast(tf.io.decode_raw(frames["audio"], tf.uint8), tf.float32), [-1, 128])
    assert context["id"] == b"abcd"
    assert context["labels"].values.numpy().tolist() == [3, 17]
    np.testing.assert_array_equal(matrix[:300], values[:300])


def test_the_reader_of_youtube8ms_starter_code_opens_the_video_level() -> None:
    """As `YT8MAggregatedFeatureReader` does with feature_names="mean_audio" and feature_sizes="128"."""
    from vggish_core.quiet import import_tensorflow

    tf = import_tensorflow()
    values = np.random.default_rng(0).integers(0, 256, (310, 128)).astype(np.uint8)
    found = tf.io.parse_example(
        [to_sequence_example("abcd", 0.0, 310.5, [3, 17], values, "youtube8m_video")],
        features={
            "id": tf.io.FixedLenFeature([], tf.string),
            "labels": tf.io.VarLenFeature(tf.int64),
            "mean_audio": tf.io.FixedLenFeature([128], tf.float32),
        },
    )
    assert found["id"].numpy().tolist() == [b"abcd"]
    assert found["labels"].values.numpy().tolist() == [3, 17]
    dequantized = values * (4 / 255) + 4 / 512 - 2  # its utils.Dequantize
    np.testing.assert_allclose(found["mean_audio"].numpy()[0], dequantized.mean(axis=0), rtol=1e-5)


def test_early_records_of_the_video_level_and_their_images_are_read() -> None:
    message = SequenceExample.FromString(
        to_sequence_example("abcd", 0.0, 1.0, [3], np.ones((2, 128), np.uint8), "youtube8m_video")
    )
    context = message.context.feature
    context["video_id"].CopyFrom(context["id"])
    del context["id"]
    context["mean_rgb"].float_list.value.extend([0.5] * 1024)
    record = parse(message.SerializeToString(), strict=True)
    assert (record.id, record.labels, record.layout) == ("abcd", (3,), "youtube8m_video")
    context["mean_audio"].float_list.value.pop()
    with pytest.raises(RecordError, match="abcd: mean_audio has 127 floats, not 128"):
        parse(message.SerializeToString())
    context["mean_audio"].bytes_list.value.append(b"x" * 128)
    with pytest.raises(RecordError, match="mean_audio is a bytes_list, not a float_list"):
        parse(message.SerializeToString())


@pytest.mark.parametrize("empty", [False, True])
def test_records_without_labels_have_none(tmp_path: Path, empty: bool) -> None:
    from pipeline.output.loading.dataset import load_dataset
    from pipeline.output.loading.parquet import from_parquet, to_parquet

    message = SequenceExample.FromString(
        to_sequence_example("a", 0.0, 2.0, [3], np.ones((2, 128), np.uint8), "youtube8m")
    )
    if empty:
        message.context.feature["labels"].Clear()
    else:
        del message.context.feature["labels"]
    with (tmp_path / "a.tfrecord").open("wb") as file:
        write_tfrecord(file, [message.SerializeToString()])
    (record,) = read_records(str(tmp_path / "a.tfrecord"))
    assert record.labels == ()
    with pytest.raises(RecordError, match="labels"):
        parse(message.SerializeToString(), strict=True)
    (batch,) = load_dataset(str(tmp_path / "a.tfrecord"), batch_size=2)
    assert not batch.labels.numpy().any()
    to_parquet(str(tmp_path / "a.tfrecord"), str(tmp_path / "a.parquet"))
    from_parquet(str(tmp_path / "a.parquet"), str(tmp_path / "b.tfrecord"))
    (again,) = read_records(str(tmp_path / "b.tfrecord"))
    assert again.labels == ()


@pytest.mark.parametrize("packed", [gzip.compress, zlib.compress])
def test_compressed_records_are_said_to_be(tmp_path: Path, packed: Callable[[bytes], bytes]) -> None:
    (tmp_path / "a.tfrecord").write_bytes(packed(b"whatever " * 10))
    with pytest.raises(RecordError, match=r"a\.tfrecord: the file is compressed \((gzip|zlib)\)\. Unpack it first"):
        list(read_records(str(tmp_path / "a.tfrecord")))
