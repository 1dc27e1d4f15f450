"""YouTube-8M's segments: rows of one recording become one record, as in the release of 2019."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline import read_records, reshard, run
from pipeline import verify as program
from pipeline.checking import audit
from pipeline.output.records import parse, read_tfrecord, to_sequence_example
from tests import interrupted_run

YOUTUBE8M = ["--record_format", "youtube8m", "--hop_seconds", "1.0"]
ROWS = """uri,id,start_seconds,end_seconds,labels,segment_scores
a.wav,a,5,10,"3,1","1,0"
a.wav,a,0,5,3,0.25
b.wav,b,2,7,1,
b.wav,b,,,9,
c.wav,c,,,7,
d.wav,d,0,5,1,
d.wav,d,5,10,1,
"""


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    rng = np.random.default_rng(9)
    for name, seconds in ("a", 10), ("b", 8), ("c", 2), ("d", 8):
        soundfile.write(tmp_path / f"{name}.wav", rng.normal(0, 0.1, seconds * 16000), 16000)
    (tmp_path / "list.csv").write_text(ROWS)
    return tmp_path


def embed(folder: Path, output: str, *flags: str, rows: str = "list.csv") -> int:
    given = ["--manifest", str(folder / rows), "--output", str(folder / output)]
    return run.main([*interrupted_run.FLAGS, *given, *(flags or YOUTUBE8M), "--max_failures", "1"])


def data(output: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(output.glob("embeddings-*"))]


def as_read(record: bytes) -> tuple[list[int], np.ndarray, np.ndarray]:
    """The steps of YouTube-8M's `YT8MFrameFeatureReader` with segment_labels: starts, their frames, labels by score."""
    from vggish_core.quiet import import_tensorflow

    tf = import_tensorflow()
    integers = tf.io.VarLenFeature(tf.int64)
    context, frames = tf.io.parse_single_sequence_example(
        record,
        context_features={
            "id": tf.io.FixedLenFeature([], tf.string),
            "labels": integers,
            "segment_labels": integers,
            "segment_start_times": integers,
            "segment_scores": tf.io.VarLenFeature(tf.float32),
        },
        sequence_features={"audio": tf.io.FixedLenSequenceFeature([], dtype=tf.string)},
    )
    matrix = tf.reshape(tf.io.decode_raw(frames["audio"], tf.uint8), [-1, 128])
    starts, places = tf.unique(context["segment_start_times"].values, out_idx=tf.int64)
    span = tf.expand_dims(starts, -1) + tf.expand_dims(tf.range(0, 5, dtype=tf.int64), 0)
    segments = tf.gather_nd(matrix, tf.expand_dims(span, -1))
    indices = tf.stack([places, context["segment_labels"].values], axis=-1)
    labels = tf.sparse.SparseTensor(indices, context["segment_scores"].values, (len(starts), 10))
    return starts.numpy().tolist(), segments.numpy(), tf.sparse.to_dense(labels).numpy()


@pytest.mark.usefixtures("summed_examples")
def test_rows_of_a_recording_become_one_record_with_segments(
    audio: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(audit, "_found", lambda manifest, kind, given: "standin")
    assert embed(audio, "out") == 0
    assert "5 rows with times: segments of 3 records" in capsys.readouterr().err
    records = {parse(item, strict=True).id: item for path in audio.glob("out/emb*") for item in _of(path)}
    assert set(records) == {"a", "b", "c"}
    starts, segments, labels = as_read(records["a"])
    assert starts == [0, 5]
    frames = parse(records["a"]).values
    np.testing.assert_array_equal(segments, [frames[:5], frames[5:]])
    np.testing.assert_array_equal(labels[:, [1, 3]], [[0, 0.25], [0, 1]])
    found = parse(records["a"])
    assert (found.labels, found.rated) == ((3,), ((0, 5, 3, 0.25), (5, 10, 1, 0.0), (5, 10, 3, 1.0)))
    assert (parse(records["b"]).labels, parse(records["b"]).rated) == ((1, 9), ((2, 7, 1, 1.0),))
    assert parse(records["c"]).rated == ()
    (failure,) = [json.loads(line) for line in (audio / "out" / "failures.jsonl").read_text().splitlines()]
    assert (failure["id"], failure["reason"]) == ("d", "past_end")
    assert failure["message"] == "a segment ends at 10 s, its file at 8 s"
    before = data(audio / "out")
    assert embed(audio, "out") == 0
    assert data(audio / "out") == before
    capsys.readouterr()
    assert program.main([str(audio / "out"), "--audit", "5"]) == 0
    assert "3 clips computed again, 3 equal" in capsys.readouterr().out
    assert embed(audio, "out", *YOUTUBE8M, "--check") == 0
    assert reshard.main([str(audio / "out"), "--num_shards", "2"]) == 0
    assert program.main([str(audio / "out")]) == 0
    assert {record.id: record.rated for record in read_records(f"{audio}/out/*.tfrecord")}["a"] == found.rated


def _of(path: Path) -> list[bytes]:
    with path.open("rb") as file:
        return list(read_tfrecord(file))


@pytest.mark.usefixtures("summed_examples")
def test_a_record_takes_the_place_of_what_its_id_had(audio: Path) -> None:
    one = "uri,id,start_seconds,end_seconds,labels\na.wav,a,0,5,3\nc.wav,c,,,7\n"
    (audio / "one.csv").write_text(one)
    assert embed(audio, "grown", rows="one.csv") == 0
    first = {record.id: record for record in read_records(f"{audio}/grown/*.tfrecord")}
    assert (len(first["a"].values), first["a"].rated) == (5, ())  # one row an id: a clip of its own
    (audio / "two.csv").write_text(one + "a.wav,a,5,10,3\n")
    assert embed(audio, "grown", rows="two.csv") == 0
    assert embed(audio, "fresh", rows="two.csv") == 0
    assert data(audio / "grown") == data(audio / "fresh")
    assert program.main([str(audio / "grown")]) == 0
    assert embed(audio, "grown", rows="one.csv") == 0
    assert embed(audio, "first", rows="one.csv") == 0
    assert data(audio / "grown") == data(audio / "first")


def test_verify_sees_other_ratings_than_the_ledger_has(audio: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pipeline.checking.checks import Rules, record_faults

    values = np.zeros((8, 128), np.uint8)
    record = parse(to_sequence_example("a", 0, 0, [3], values, "youtube8m", [(5, 10, 3, 1.0)]), strict=True)
    rules = Rules(layout="youtube8m", shard=0, num_shards=1)
    assert list(record_faults(record, rules)) == ["a segment from 5 to 10 s, class 3, score 1"]


@pytest.mark.parametrize(
    ("rows", "flags", "said"),
    [
        ("a.wav,a,0,5,1,\na.wav,a,5,10,1,\n", YOUTUBE8M[:2], "--hop_seconds 0.96: of YouTube-8M's segments"),
        ("a.wav,a,0.5,5,1,\na.wav,a,5,10,1,\n", YOUTUBE8M, "whole seconds; 'a' has one of 0.5 to 5 s"),
        ("a.wav,a,0,5,,\na.wav,a,5,10,1,\n", YOUTUBE8M, "the segment 0 to 5 s of 'a' has no label"),
        ("a.wav,a,0,5,1,\nb.wav,a,5,10,1,\n", YOUTUBE8M, "2 rows have the id 'a' (0 to 5 s, 5 to 10 s)"),
        (
            "a.wav,a,0,5,1,\na.wav,a,5,10,1,\n",
            [*YOUTUBE8M, "--segment_audio", "cut"],
            "Give whole recordings, of which rows of one id become segments",
        ),
        ('a.wav,a,0,5,"1,2","1,0,1"\n', YOUTUBE8M, "segment_scores are '1,0,1'"),
        ("a.wav,a,,,1,0.5\n", YOUTUBE8M, "'a' has segment_scores, and no times within its file"),
    ],
)
def test_what_cannot_be_one_record_is_refused(
    audio: Path, rows: str, flags: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (audio / "bad.csv").write_text(ROWS.splitlines()[0] + "\n" + rows)
    assert embed(audio, "out", *flags, rows="bad.csv") == 2
    assert said in capsys.readouterr().err
    assert not (audio / "out").exists()


def test_a_label_with_two_scores_costs_its_row(audio: Path) -> None:
    rows = 'a.wav,a,0,5,"1,1","0,1"\nb.wav,b,0,5,"2,2","0.5,0.5"\n'
    (audio / "two.csv").write_text(ROWS.splitlines()[0] + "\n" + rows)
    assert embed(audio, "out", rows="two.csv") == 0
    (record,) = read_records(f"{audio}/out/*.tfrecord")
    assert (record.id, record.labels, record.rated) == ("b", (2,), ((0, 5, 2, 0.5),))
    (line,) = (audio / "out" / "failures.jsonl").read_text().splitlines()
    assert json.loads(line)["message"] == "line 2: a label has two scores"


@pytest.mark.parametrize("layout", ["audioset", "youtube8m_video"])
def test_scores_are_said_to_be_unused_where_records_have_no_place_for_them(
    audio: Path, layout: str, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"uri": "a.wav", "labels": [1], "segment_scores": "high"}
    (audio / "one.csv").write_text("uri,labels,segment_scores\na.wav,1,high\n")
    (audio / "one.jsonl").write_text(json.dumps(row) + "\n")
    for rows in "one.csv", "one.jsonl":
        assert embed(audio, "out", "--record_format", layout, "--check", rows=rows) == 0
        assert f"{rows}: unused columns: segment_scores" in capsys.readouterr().err
