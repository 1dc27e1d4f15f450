from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.output.tfrecord import RecordError, frame, masked_crc32c, read_tfrecord, write_tfrecord

RECORDS = st.lists(st.binary(max_size=300), max_size=5)


def written(records: list[bytes]) -> bytes:
    file = io.BytesIO()
    assert write_tfrecord(file, records) == len(records)
    return file.getvalue()


@given(RECORDS)
@settings(max_examples=50)
def test_what_is_written_is_read(records: list[bytes]) -> None:
    assert list(read_tfrecord(io.BytesIO(written(records)))) == records


def test_frames_are_tensorflows(tmp_path: Path) -> None:
    import tensorflow as tf

    records = [b"", b"a", bytes(range(256)) * 50]
    path = tmp_path / "file"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
    assert path.read_bytes() == written(records)


@given(RECORDS.filter(bool), st.data())
@settings(max_examples=200)
def test_every_flipped_bit_is_found(records: list[bytes], data: st.DataObject) -> None:
    content = bytearray(written(records))
    bit = data.draw(st.integers(0, 8 * len(content) - 1))
    content[bit // 8] ^= 1 << bit % 8
    with pytest.raises(RecordError, match="record"):
        list(read_tfrecord(io.BytesIO(bytes(content))))


@given(RECORDS.filter(bool), st.data())
@settings(max_examples=100)
def test_every_cut_is_found_or_falls_between_records(records: list[bytes], data: st.DataObject) -> None:
    content = written(records)
    cut = data.draw(st.integers(0, len(content) - 1))
    ends = [sum(len(frame(record)) for record in records[:count]) for count in range(len(records))]
    if cut in ends:
        assert list(read_tfrecord(io.BytesIO(content[:cut]))) == records[: ends.index(cut)]
    else:
        with pytest.raises(RecordError, match="ends"):
            list(read_tfrecord(io.BytesIO(content[:cut])))


def test_a_fault_names_file_record_and_offset() -> None:
    content = written([b"12345", b"67890"])[:-1]
    with pytest.raises(RecordError, match="name: record 1 at byte 21: the file ends 1 bytes before"):
        list(read_tfrecord(io.BytesIO(content), "name"))


def test_a_length_that_promises_too_much_allocates_nothing() -> None:
    length = struct.pack("<Q", 1 << 60)
    with pytest.raises(RecordError, match="not plausible"):
        list(read_tfrecord(io.BytesIO(length + struct.pack("<I", masked_crc32c(length)))))
