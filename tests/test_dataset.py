"""Records as tf.data, against the plain reader, in both layouts, quantized and float."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import UserError
from pipeline.output.loading.clip_vectors import clip_vector
from pipeline.output.loading.dataset import (
    Batch,
    Level,
    RecordError,
    dequantize,
    frame_starts,
    load_dataset,
    read_records,
)
from pipeline.output.records import to_sequence_example, write_tfrecord
from pipeline.types import RecordFormat
from vggish_core.network.postprocess import Postprocessor


def write(path: Path, records: list[bytes]) -> str:
    with path.open("wb") as file:
        write_tfrecord(file, records)
    return str(path)


def made(
    count: int, dtype: type = np.uint8, layout: RecordFormat = "audioset", seed: int = 0
) -> tuple[list[bytes], list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    records, values = [], []
    for i in range(count):
        rows = rng.integers(0, 256, (1 + i % 5, 128)).astype(dtype)
        values.append(rows)
        records.append(to_sequence_example(f"clip{i:04d}", i * 0.5, i * 0.5 + 10, [i % 7, 500], rows, layout))
    return records, values


@pytest.mark.parametrize("layout", ["audioset", "youtube8m"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("batch_size", [None, 4])
def test_gives_what_was_written(tmp_path: Path, layout: RecordFormat, dtype: type, batch_size: int | None) -> None:
    records, values = made(11, dtype, layout)
    for shard in range(2):
        write(tmp_path / f"e-{shard}.tfrecord", records[shard * 6 : shard * 6 + 6])
    found: list[Batch] = []
    for batch in load_dataset(str(tmp_path / "e-*"), batch_size=batch_size, dequantize=False).as_numpy_iterator():
        found.extend([Batch(*each) for each in zip(*batch, strict=True)] if batch_size else [batch])
    assert [each.id.decode() for each in found] == [f"clip{i:04d}" for i in range(11)]
    for i, each in enumerate(found):
        assert each.num_frames == len(values[i])
        assert np.array_equal(each.embeddings[: each.num_frames], values[i])
        assert not each.embeddings[each.num_frames :].any()
        assert each.embeddings.dtype == dtype
        assert np.flatnonzero(each.labels).tolist() == [i % 7, 500]
        if layout == "audioset":
            assert (each.start, each.end) == (i * 0.5, i * 0.5 + 10)
        else:
            assert np.isnan(each.start)
    if batch_size is None:
        assert [each.embeddings.shape for each in found] == [each.shape for each in values]


def test_dequantizes_as_the_postprocessor_with_zeros_for_padding(tmp_path: Path) -> None:
    records, values = made(3)
    pattern = write(tmp_path / "e.tfrecord", records)
    batch = next(load_dataset(pattern, batch_size=3).as_numpy_iterator())
    for i in range(3):
        assert np.array_equal(batch.embeddings[i, : i + 1], Postprocessor.dequantize(values[i]))
        assert np.array_equal(batch.embeddings[i, : i + 1], dequantize(values[i]))
        assert not batch.embeddings[i, i + 1 :].any()
    assert dequantize(np.arange(256, dtype=np.uint8)).all()  # so that 0 marks padding


@pytest.mark.parametrize(("frames", "expected"), [(2, [1, 2, 2]), (7, [1, 2, 3])])
def test_brings_records_to_a_number_of_frames(tmp_path: Path, frames: int, expected: list[int]) -> None:
    records, values = made(3)
    pattern = write(tmp_path / "e.tfrecord", records)
    for record, count, rows in zip(
        load_dataset(pattern, frames=frames, dequantize=False), expected, values, strict=True
    ):
        assert record.embeddings.shape == (frames, 128)
        assert int(record.num_frames) == count
        assert np.array_equal(record.embeddings[:count], rows[:frames])
        assert not np.any(record.embeddings[count:])


@pytest.mark.parametrize("layout", ["audioset", "youtube8m"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("batch_size", [None, 4])
def test_a_clips_vector_is_the_mean_of_its_dequantized_frames(
    tmp_path: Path, layout: RecordFormat, dtype: type, batch_size: int | None
) -> None:
    """One id at several times is several clips."""
    records, values = made(10, dtype, layout)
    values.append(values[3][:2])
    records.append(to_sequence_example("clip0003", 99.0, 109.0, [1], values[-1], layout))
    path = write(tmp_path / "e.tfrecord", records)
    dataset = load_dataset(path, batch_size=batch_size, level="clip")
    found: list[Batch] = []
    for batch in dataset.as_numpy_iterator():
        found.extend([Batch(*each) for each in zip(*batch, strict=True)] if batch_size else [batch])
    assert [each.id.decode() for each in found] == [*(f"clip{i:04d}" for i in range(10)), "clip0003"]
    for each, frames in zip(found, values, strict=True):
        floats = dequantize(frames) if dtype == np.uint8 else frames
        assert each.embeddings.dtype == np.float32
        assert np.array_equal(each.embeddings, clip_vector(floats))
        assert np.allclose(each.embeddings, floats.mean(axis=0, dtype=np.float64), rtol=1e-6)
        assert each.num_frames == len(frames)
    assert dataset.element_spec.embeddings.shape == ([128] if batch_size is None else [None, 128])
    some = next(iter(load_dataset(path, frames=1, level="clip").skip(4).as_numpy_iterator()))
    floats = dequantize(values[4]) if dtype == np.uint8 else values[4]
    assert np.array_equal(some.embeddings, floats[0])


def test_a_clip_without_a_frame_has_zeros(tmp_path: Path) -> None:
    records = [to_sequence_example("a", 0.0, 1.0, [], np.full((n, 128), 9, np.uint8)) for n in (2, 0)]
    batch = next(load_dataset(write(tmp_path / "e", records), batch_size=2, level="clip").as_numpy_iterator())
    assert batch.num_frames.tolist() == [2, 0]
    assert batch.embeddings[0].all()
    assert not batch.embeddings[1].any()
    assert not clip_vector(np.empty((0, 128), np.float32)).any()


@pytest.mark.parametrize("level", ["frame", "clip"])
@pytest.mark.parametrize("batch_size", [None, 4])
def test_a_record_of_the_video_level_has_one_vector(tmp_path: Path, level: Level, batch_size: int | None) -> None:
    records, values = made(10, layout="youtube8m_video")
    dataset = load_dataset(write(tmp_path / "e", records), batch_size=batch_size, level=level)
    found: list[Batch] = []
    for batch in dataset.as_numpy_iterator():
        found.extend([Batch(*each) for each in zip(*batch, strict=True)] if batch_size else [batch])
    assert [each.id.decode() for each in found] == [f"clip{i:04d}" for i in range(10)]
    for i, (each, frames) in enumerate(zip(found, values, strict=True)):
        assert each.embeddings.shape == ((128,) if level == "clip" else (1, 128))
        assert np.array_equal(each.embeddings.ravel(), clip_vector(dequantize(frames)))
        assert each.num_frames == 1
        assert np.isnan(each.start)
        assert np.flatnonzero(each.labels).tolist() == [i % 7, 500]


@pytest.mark.parametrize("wrong", [{"level": "song"}, {"level": "clip", "dequantize": False}])
def test_a_level_that_does_not_exist(tmp_path: Path, wrong: dict) -> None:  # type: ignore[type-arg]
    with pytest.raises(UserError, match="level="):
        load_dataset(write(tmp_path / "e", made(1)[0]), **wrong)


def test_shuffles_by_the_seed_and_loses_nothing(tmp_path: Path) -> None:
    records, _ = made(40)
    for shard in range(4):
        write(tmp_path / f"e-{shard}", records[shard * 10 : shard * 10 + 10])

    def ids(seed: int) -> list[bytes]:
        return [each.id for each in load_dataset(str(tmp_path / "e-*"), shuffle=True, seed=seed).as_numpy_iterator()]

    assert ids(1) == ids(1)
    assert ids(1) != ids(2)
    assert sorted(ids(1)) == [f"clip{i:04d}".encode() for i in range(40)]


def test_a_label_beyond_the_classes_is_refused(tmp_path: Path) -> None:
    import tensorflow as tf

    pattern = write(tmp_path / "e.tfrecord", made(3)[0])
    with pytest.raises(tf.errors.InvalidArgumentError, match="not below num_classes=100"):
        list(load_dataset(pattern, num_classes=100))


def test_frames_of_another_width_are_refused_not_cut(tmp_path: Path) -> None:
    import tensorflow as tf

    good = made(1)[0]
    message = tf.train.SequenceExample.FromString(good[0])
    message.feature_lists.feature_list["audio_embedding"].feature.add().bytes_list.value.append(b"x" * 129)
    pattern = write(tmp_path / "e.tfrecord", [*good, message.SerializeToString()])
    with pytest.raises(tf.errors.InvalidArgumentError, match="does not have 128 bytes"):
        list(load_dataset(pattern, batch_size=2))


def test_nothing_to_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no file matches"):
        load_dataset(str(tmp_path / "*.tfrecord"))
    (tmp_path / "empty.tfrecord").touch()
    with pytest.raises(RecordError, match="without a record"):
        load_dataset(str(tmp_path / "*.tfrecord"))


def test_frame_starts() -> None:
    assert frame_starts(3, 30.0).tolist() == pytest.approx([30.0, 30.96, 31.92])
    assert frame_starts(2, hop_s=0.5).tolist() == [0.0, 0.5]


def test_records_of_tensorflow_agree_with_the_plain_reader(made_audioset: Path) -> None:
    pattern = str(made_audioset / "eval.tfrecord")
    dataset = load_dataset(pattern, batch_size=512, dequantize=False).take(4)
    plain = read_records(pattern)
    for batch in dataset.as_numpy_iterator():
        for i in range(512):
            record = next(plain)
            assert batch.id[i].decode() == record.id
            assert np.array_equal(batch.embeddings[i, : batch.num_frames[i]], record.values)
            assert tuple(np.flatnonzero(batch.labels[i])) == record.labels
            assert (batch.start[i], batch.end[i]) == (record.start_s, record.end_s)


def test_single_records_in_a_loop_are_those_of_an_ordinary_dataset(tmp_path: Path) -> None:
    """A Python loop takes a shorter way than everything that builds on the dataset."""
    import tensorflow as tf

    for frames in (None, 3):
        records, values = made(300)  # more than are parsed at a time
        dataset = load_dataset(write(tmp_path / "e.tfrecord", records), frames=frames)
        loop, ordinary = list(dataset), list(dataset.take(1000))
        assert len(loop) == len(ordinary) == 300
        for ours, theirs, rows in zip(loop, ordinary, values, strict=True):
            assert isinstance(ours, Batch)
            assert ours.embeddings.shape == ((len(rows) if frames is None else 3), 128)
            for mine, other in zip(ours, theirs, strict=True):
                assert (mine.dtype, mine.shape) == (other.dtype, other.shape)
                assert np.array_equal(mine.numpy(), other.numpy())
        assert [spec.shape.as_list() for spec in dataset.element_spec] == [[], [], [], [frames, 128], [527], []]

        @tf.function
        def frames_in(records: tf.data.Dataset) -> tf.Tensor:
            count = 0
            for record in records:
                count += record.num_frames
            return count

        assert int(frames_in(dataset)) == sum(min(len(rows), frames or 9) for rows in values)


def test_an_iterator_of_single_records_is_refused_where_it_would_stand_still(tmp_path: Path) -> None:
    import tensorflow as tf

    records = iter(load_dataset(write(tmp_path / "e.tfrecord", made(3)[0])))

    @tf.function
    def step() -> tf.Tensor:
        return next(records).num_frames

    with pytest.raises(RuntimeError, match=r"iterate over dataset.prefetch\(1\)"):
        step()
    assert len(list(records)) == 3
