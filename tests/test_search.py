"""`pipeline.search`: examples, filters, the index and what makes it stale; audio; the same with FAISS's lists."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import Index, dequantize, read_records, search, to_parquet, verify
from pipeline.analysis.similar import cosine, example, kept
from pipeline.analysis.similar.table import Table, TableWriter, load
from pipeline.analysis.sources import find
from pipeline.corpus.sources import find_corpus
from pipeline.errors import UserError
from pipeline.output.records import Record, to_sequence_example, write_tfrecord
from tests import command, outputs

CLIPS = [
    replace(outputs.clip(number), labels=(number % 3,))
    for number in range(60)
    if number % 10 != 9 and number % 11 != 10
]


@pytest.fixture(scope="module", params=["quantized", "raw"])
def output(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set with names of its classes; not to be changed."""
    directory = tmp_path_factory.mktemp("output")
    outputs.write(outputs.job(directory, 3, embeddings=request.param), CLIPS)
    (directory / "classes.csv").write_text("index,display_name\n0,bark\n1,rain\n2,bell\n")
    return directory


@pytest.fixture
def quantized(tmp_path: Path) -> Path:
    """A data set of the test's own."""
    outputs.write(outputs.job(tmp_path / "out"), CLIPS)
    return tmp_path / "out"


def floats(record: Record) -> np.ndarray:
    return dequantize(record.values) if record.values.dtype == np.uint8 else record.values


def expected(records: Iterable[Record], query: np.ndarray, level: str) -> list[tuple[str, float, float]]:
    """Id, seconds and score of everything, best first, by the definition."""
    found = []
    for record in records:
        rows = floats(record) if level == "frame" else floats(record).mean(axis=0, keepdims=True, dtype=np.float64)
        for number, row in enumerate(rows):
            score = float(row @ query / np.linalg.norm(row) / np.linalg.norm(query))
            found.append((record.id, number * 0.96, score))
    return sorted(found, key=lambda item: -item[2])


def told(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> dict:  # type: ignore[type-arg]
    capsys.readouterr()
    assert search.main([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def flat(hits: list[dict]) -> list[tuple[str, float]]:  # type: ignore[type-arg]
    return [(hit["id"], hit["seconds"]) for hit in hits]


def test_clips_like_a_clip(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = list(read_records(str(output)))
    one = records[7]
    found = told(capsys, output, "--like", one.id, "--top", "10")
    query = floats(one).mean(axis=0, dtype=np.float64)
    best = expected([each for each in records if each.id != one.id], query, "clip")[:10]
    assert [hit["id"] for hit in found["hits"]] == [each[0] for each in best]
    assert [hit["score"] for hit in found["hits"]] == pytest.approx([each[2] for each in best], abs=2e-6)
    assert [hit["rank"] for hit in found["hits"]] == list(range(1, 11))
    labels = {record.id: record.labels for record in records}
    names = ("bark", "rain", "bell")
    assert all(hit["names"] == [names[label] for label in labels[hit["id"]]] for hit in found["hits"])
    assert (found["like"], found["level"], found["exact"]) == (one.id, "clip", True)


def test_frames_like_a_moment(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = list(read_records(str(output)))
    one = next(record for record in records if len(record.values) > 3)
    found = told(capsys, output, "--like", f"{one.id}@1.93", "--top", "30")
    best = expected([each for each in records if each.id != one.id], floats(one)[2], "frame")[:30]
    assert found["level"] == "frame"
    assert flat(found["hits"]) == [(name, pytest.approx(seconds)) for name, seconds, _ in best]


def test_filters(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = list(read_records(str(output)))
    everything = told(capsys, output, "--like", records[0].id, "--top", "1000")["hits"]
    assert len(everything) == len(records) - 1
    for flags, keep in (
        (["--label", "rain"], lambda hit: hit["labels"] == [1]),
        (["--label", "rain", "2"], lambda hit: hit["labels"] != [0]),
        (["--id_prefix", "folder/clip 01"], lambda hit: hit["id"].startswith("folder/clip 01")),
        (
            ["--label", "bark", "--id_prefix", "folder/clip 0"],
            lambda hit: hit["labels"] == [0] and "clip 0" in hit["id"],
        ),
        (["--id_prefix", "other"], lambda hit: False),
    ):
        hits = told(capsys, output, "--like", records[0].id, "--top", "1000", *flags)["hits"]
        assert flat(hits) == flat([hit for hit in everything if keep(hit)])


@pytest.mark.parametrize("lists", [False, True], ids=["arrays", "FAISS's lists"])
def test_an_index_finds_the_same_and_disturbs_nothing(
    output: Path, lists: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if lists:
        pytest.importorskip("faiss")
        monkeypatch.setattr(kept, "EXACT", 30)
    records = list(read_records(str(output)))
    asked = [output, "--like", f"{records[3].id}@0", "--top", "12"]
    before, content = told(capsys, *asked), outputs.content(output)
    assert search.main([str(output), "--build"]) == 0
    after = told(capsys, *asked)
    assert after["exact"] is not lists
    assert flat(after["hits"]) == flat(before["hits"])
    narrowed = told(capsys, *asked, "--label", "0", "1")["hits"]
    assert flat(narrowed) == flat(
        [hit for hit in told(capsys, *asked, "--top", "999")["hits"] if hit["labels"] != [2]][:12]
    )
    assert outputs.content(output) == content
    assert verify.main([str(output)]) == 0
    (output / "sound.wav").write_bytes(b"RIFF")
    assert [clip.uri for clip in find_corpus([f"{output}/**"]).clips] == [f"{output}/sound.wav"]


def test_an_index_is_memory_mapped(quantized: Path) -> None:
    assert search.main([str(quantized), "--build"]) == 0
    index = Index.open(str(quantized))
    assert isinstance(index.vectors["frame"], np.memmap)
    assert index.vectors["frame"].dtype == np.uint8
    one = next(iter(read_records(str(quantized))))
    hit = index.search(one.values[0], level="frame", top=1)[0]
    assert (hit.id, hit.seconds, hit.rank) == (one.id, 0, 1)
    assert hit.score == pytest.approx(1, abs=1e-6)


def test_an_index_of_other_records_is_named_and_made_again(quantized: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert search.main([str(quantized), "--build"]) == 0
    more = [*CLIPS, outputs.clip(101)]
    outputs.write(outputs.job(quantized), more)
    assert Index.open(str(quantized)).stale
    assert len(told(capsys, quantized, "--like", CLIPS[0].id, "--top", "999")["hits"]) == len(more) - 1
    capsys.readouterr()
    assert not Index.open(str(quantized)).stale
    outputs.write(outputs.job(quantized), [*more, outputs.clip(102)])
    assert search.main([str(quantized), "--like", CLIPS[0].id]) == 0
    assert "is of other records than these: it is made again" in capsys.readouterr().err
    assert [path.name for path in (quantized / "_state").glob("search*")] == ["search"]


def test_an_index_elsewhere(quantized: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    to_parquet(f"{quantized}/*.tfrecord", str(tmp_path / "a.parquet"))
    asked = [tmp_path / "a.parquet", "--like", CLIPS[0].id, "--index", tmp_path / "index"]
    before = told(capsys, *asked[:-2])
    assert not (tmp_path / "index").exists()
    assert flat(told(capsys, *asked, "--build")["hits"]) == flat(before["hits"])
    assert (tmp_path / "index" / "index.json").is_file()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("")
    assert search.main([*map(str, asked[:3]), "--build", "--index", str(tmp_path / "full")]) == 2
    assert "holds something else than an index" in capsys.readouterr().err


def test_odd_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Clips of one id at several times, without frames, of zeros; an id that is not UTF-8 and looks like a moment."""
    values = np.random.default_rng(0).normal(size=(6, 128)).astype(np.float32)
    data = [
        to_sequence_example("same", 0.0, 3.0, [], values[:3]),
        to_sequence_example("same", 10.0, 13.0, [], values[3:]),
        to_sequence_example("empty", 0.0, 1.0, [], np.empty((0, 128), np.uint8)),
        to_sequence_example("zeros", 0.0, 1.0, [], np.zeros((1, 128), np.float32)),
        to_sequence_example("fil\udce9@5", 0.0, 3.0, [4], values[:3] + 0.01),
    ]
    with (tmp_path / "x.tfrecord").open("wb") as file:
        write_tfrecord(file, data)
    found = told(capsys, tmp_path, "--like", "same@11", "--top", "9")["hits"]
    assert flat(found)[:3] != []
    assert {hit["id"] for hit in found} == {"same", "fil\ufffd@5"}
    assert len(found) == 6
    assert told(capsys, tmp_path, "--like", "fil\udce9@5")["hits"][0]["id"] == "same"
    assert [hit["id"] for hit in told(capsys, tmp_path, "--like", "fil\udce9@5@1")["hits"]] == ["same"] * 6
    for like, wrong in (
        ("same", "2 clips have the id same, at 0, 10 s"),
        ("same@50", "same@50: it has frames from 0 to 2.88 s"),
        ("empty", "empty has no frame"),
        ("zeros", "a vector of zeros has no direction"),
        ("other", "other is no file, and no id of the set"),
    ):
        assert search.main([str(tmp_path), "--like", like]) == 2
        assert wrong in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ("A", "--like is missing"),
        ("A --like x --top 0", "--top: '0' is not a whole number of 1 or more"),
        ("A --like x --label dog", "x is no file, and no id of the set"),
        ("A --like ID --label dog", "--label dog is no class of A/classes.csv"),
        ("A/*.tfrecord --build", "--build: A/*.tfrecord is no output here to keep an index in"),
        ("A --build --index gs://b/c", "gs://b/c is not on this machine"),
        ("nothing --like x", "no file matches nothing"),
    ],
)
def test_mistakes(
    arguments: str, wrong: str, output: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(output.parent)
    words = [word.replace("A", output.name).replace("ID", CLIPS[0].id) for word in arguments.split()]
    assert search.main(words) == 2
    assert wrong.replace("A/", f"{output.name}/") in capsys.readouterr().err.splitlines()[0]


def test_a_vector_of_another_width_is_refused(output: Path) -> None:
    with pytest.raises(UserError, match=r"a vector of shape \[127\] is no embedding"):
        Index.open(str(output)).search(np.ones(127, np.float32))


@settings(max_examples=40)
@given(st.lists(st.text(max_size=4), min_size=1, max_size=12), st.text(max_size=3))
def test_ids_are_found_as_strings_are(ids: list[str], key: str) -> None:
    ids = [each.encode("utf-8", "replace").decode() for each in ids]
    key = key.encode("utf-8", "replace").decode()
    writer = TableWriter()
    for each in ids:
        writer.add(Record(each, None, None, (), np.zeros((1, 128), np.uint8), "audioset"))
    table = writer.table()
    assert [table.id_of(clip) for clip in range(len(table))] == ids
    assert table.find(key).tolist() == [n for n, each in enumerate(ids) if each == key]
    assert table.beginning(key).tolist() == [n for n, each in enumerate(ids) if each.startswith(key)]


def test_a_table_is_kept(tmp_path: Path) -> None:
    writer = TableWriter()
    for number, labels in enumerate([(), (3, 5), (5,)]):
        values = np.zeros((number, 128), np.uint8)
        writer.add(Record(f"{number}é", None if number else 1.5, 2.0, labels, values, "audioset"))
    writer.table().save(tmp_path)
    table: Table = load(tmp_path)
    assert [table.labels_of(clip) for clip in range(3)] == [(), (3, 5), (5,)]
    assert table.labelled([5, 9]).tolist() == [1, 2]
    assert [table.start_of(clip) for clip in range(3)] == [1.5, 0, 0]
    assert [table.frames_of(clip) for clip in range(3)] == [range(0), range(1), range(1, 3)]
    assert table.clips_of(np.array([0, 1, 2])).tolist() == [1, 2, 2]


@settings(max_examples=30)
@given(st.integers(1, 60), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_blocks_change_nothing(rows: int, top: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.integers(0, 256, (rows, 128)).astype(np.uint8)
    queries = cosine.unit(rng.normal(size=(3, 128)).astype(np.float32))
    scores = (cosine.unit(vectors) @ queries.T).max(axis=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cosine, "ROWS", 7)
        patch.setattr(cosine, "QUERIES", 2)
        found, best = cosine.nearest(vectors, None, queries, top)
    assert found.tolist() == np.argsort(-scores, kind="stable")[:top].tolist()
    assert np.allclose(best, np.sort(scores)[::-1][:top], atol=1e-6)


@pytest.mark.parametrize(
    ("like", "known", "found"),
    [
        ("a@3", (), ("a", 3.0)),
        ("a@3.5", ("a@3.5",), ("a@3.5", None)),
        ("a@b", (), ("a@b", None)),
        ("a@3@4.25", (), ("a@3", 4.25)),
        ("@3", (), ("@3", None)),
    ],
)
def test_a_moment_is_told_from_a_name(like: str, known: tuple[str, ...], found: tuple[str, float | None]) -> None:
    assert example.split(like, lambda name: name in known) == found


@pytest.mark.ci
def test_audio_is_embedded_as_the_set_was(tmp_path: Path, example_audio: Path, standin_weights: Path) -> None:
    """A file of the set is its own nearest clip; other weights are refused, and what is no audio, by name."""
    flags = ["--input", example_audio, "--hop_seconds", "0.48", "--output", tmp_path / "made"]
    assert command.run("pipeline.run", *flags, *command.STANDIN, "--max_failures", "5").status == 0
    record = next(record for record in read_records(str(tmp_path / "made")) if len(record.values) > 3)
    (path,) = [path for path in example_audio.rglob("*.*") if path.with_suffix("").name == record.id.rpartition("/")[2]]
    asked = ["--like", f"{path}@0.96", "--json"]
    done = command.run("pipeline.search", tmp_path / "made", *asked)
    assert done.status == 0, done.err
    hit = json.loads(done.out)["hits"][0]
    assert (hit["id"], hit["seconds"]) == (record.id, pytest.approx(0.96))
    assert hit["score"] > 0.9999
    (tmp_path / "broken.wav").write_bytes(b"RIFF nothing")
    done = command.run("pipeline.search", tmp_path / "made", "--like", tmp_path / "broken.wav")
    assert done.status == 2
    assert "broken.wav: " in done.err
    made = json.loads((tmp_path / "made" / "manifest.json").read_text())
    made["models"]["checkpoint"]["sha256"] = "0" * 64
    (tmp_path / "made" / "manifest.json").write_text(json.dumps(made))
    done = command.run("pipeline.search", tmp_path / "made", *asked)
    assert done.status == 2
    assert "would be embedded otherwise" in done.err
    assert "checkpoint is " in done.err


def test_sources_give_what_is_stored(output: Path) -> None:
    source = find(str(output))
    assert source is not None
    table, vectors = kept.collect(source)
    records = list(read_records(str(output)))
    assert vectors["frame"].dtype == records[0].values.dtype
    assert np.array_equal(vectors["frame"], np.concatenate([record.values for record in records]))
    assert len(table) == len(records) == len(vectors["clip"])
