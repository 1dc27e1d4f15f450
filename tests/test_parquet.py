"""Records to Parquet and back: nothing is lost."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.cli.parquet import main
from pipeline.output.loading.parquet import from_parquet, to_parquet
from pipeline.output.records import RecordError, read_records, read_tfrecord, to_sequence_example, write_tfrecord
from pipeline.types import RecordFormat


def write(path: Path, records: list[bytes]) -> str:
    with path.open("wb") as file:
        write_tfrecord(file, records)
    return str(path)


def serialized(path: str) -> list[bytes]:
    with Path(path).open("rb") as file:
        return list(read_tfrecord(file))


def made(layout: RecordFormat, dtype: type) -> list[bytes]:
    rng = np.random.default_rng(0)
    odd_id = b"caf\xe9 \xff".decode("utf-8", "surrogateescape")  # a file's name need not be UTF-8
    return [
        to_sequence_example(
            clip_id, 0.1 * i, 12345.67 + i, labels, rng.integers(0, 256, (i, 128)).astype(dtype), layout
        )
        for i, (clip_id, labels) in enumerate([("none", []), ("ein Käfer", [3, 500]), (odd_id, [0]), ("-x", [1, 2])], 1)
    ]


@pytest.mark.parametrize("layout", get_args(RecordFormat))
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_round_trip_gives_the_same_bytes(tmp_path: Path, layout: RecordFormat, dtype: type) -> None:
    source = write(tmp_path / "a.tfrecord", made(layout, dtype))
    assert to_parquet(source, str(tmp_path / "a.parquet")) == 4
    assert from_parquet(str(tmp_path / "a.parquet"), str(tmp_path / "b.tfrecord")) == 4
    assert Path(source).read_bytes() == (tmp_path / "b.tfrecord").read_bytes()


def test_records_of_tensorflow_survive(tmp_path: Path, made_audioset: Path) -> None:
    source = str(made_audioset / "eval.tfrecord")
    assert to_parquet(source, str(tmp_path / "a.parquet")) == 5000
    assert pq.ParquetFile(tmp_path / "a.parquet").num_row_groups > 1
    from_parquet(str(tmp_path / "a.parquet"), str(tmp_path / "b.tfrecord"))
    pairs = zip(read_records(source), read_records(str(tmp_path / "b.tfrecord")), strict=True)
    for before, after in pairs:
        assert (before.id, before.start_s, before.end_s) == (after.id, after.start_s, after.end_s)
        assert before.labels == after.labels
        assert np.array_equal(before.values, after.values)
        assert before.layout == after.layout


def test_columns_are_what_other_readers_expect(tmp_path: Path) -> None:
    source = write(tmp_path / "a.tfrecord", made("audioset", np.uint8))
    to_parquet(source, str(tmp_path / "a.parquet"), hop_s=0.5)
    table = pq.read_table(tmp_path / "a.parquet")
    assert str(table.schema.field("embeddings").type) == "list<element: fixed_size_list<element: uint8>[128]>"
    row = table.slice(1, 1).to_pylist()[0]
    assert row["id"] == "ein Käfer"
    assert row["labels"] == [3, 500]
    assert row["frame_times"] == pytest.approx([0.2, 0.7])
    assert np.array(row["embeddings"]).shape == (2, 128)
    assert table.schema.metadata[b"vggish.hop_seconds"] == b"0.5"
    assert b"4 / 255" in table.schema.metadata[b"vggish.dequantize"]


def test_mixed_records_are_refused(tmp_path: Path) -> None:
    source = write(tmp_path / "a.tfrecord", [made("audioset", np.uint8)[0], made("audioset", np.float32)[1]])
    with pytest.raises(RecordError, match=r"1 \(ein Käfer\) is audioset float32, .* 0 \(none\) is audioset uint8"):
        to_parquet(source, str(tmp_path / "a.parquet"))
    assert not (tmp_path / "a.parquet").exists()


def test_a_parquet_file_of_others_is_refused(tmp_path: Path) -> None:
    import pyarrow as pa

    pq.write_table(pa.table({"x": [1]}), tmp_path / "x.parquet")
    with pytest.raises(RecordError, match="not written by"):
        from_parquet(str(tmp_path / "x.parquet"), str(tmp_path / "b.tfrecord"))
    (tmp_path / "y.parquet").write_text("text")
    with pytest.raises(RecordError, match=r"y\.parquet cannot be read as a Parquet file"):
        from_parquet(str(tmp_path / "y.parquet"), str(tmp_path / "b.tfrecord"))
    assert not (tmp_path / "b.tfrecord").exists()


def test_what_is_wrong_with_a_row_is_said_with_the_file_and_the_row(tmp_path: Path) -> None:
    source = write(tmp_path / "a.tfrecord", made("audioset", np.uint8))
    to_parquet(source, str(tmp_path / "a.parquet"))
    table = pq.read_table(tmp_path / "a.parquet")
    pq.write_table(table.drop_columns(["labels"]), tmp_path / "x.parquet")
    with pytest.raises(RecordError, match=r"x\.parquet has no column labels, only \['id'"):
        from_parquet(str(tmp_path / "x.parquet"), str(tmp_path / "b.tfrecord"))
    rows = table.to_pylist()
    rows[1]["labels"] = [3, 3]
    pq.write_table(table.from_pylist(rows, table.schema), tmp_path / "y.parquet")
    with pytest.raises(RecordError, match=r"y\.parquet: row 1: ein Käfer: labels \[3, 3\] repeat"):
        from_parquet(str(tmp_path / "y.parquet"), str(tmp_path / "b.tfrecord"))
    assert not (tmp_path / "b.tfrecord").exists()


def test_the_command_takes_its_direction_from_the_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / "a.tfrecord", made("audioset", np.uint8))
    assert main(["--input", source, "--output", str(tmp_path / "a.parquet")]) == 0
    assert main(["--input", str(tmp_path / "a.parquet"), "--output", str(tmp_path / "b.tfrecord")]) == 0
    assert serialized(source) == serialized(str(tmp_path / "b.tfrecord"))
    assert main(["--input", source, "--output", str(tmp_path / "b.tfrecord")]) == 2
    assert "neither ends in .parquet" in capsys.readouterr().err
