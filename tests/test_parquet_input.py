"""Audio in a column of Parquet files: the same data set as from a folder, read a row group at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from pipeline.corpus import units
from pipeline.corpus.parquet.columns import ColumnNames, NoAudioColumnError, find
from pipeline.corpus.sources import find_corpus
from pipeline.corpus.tables import SourceError
from pipeline.decoding.contents import Contents
from pipeline.output.tasks import share_of
from pipeline.storage.containers import parquet
from pipeline.types import Clip, Corpus, DecodeRequest, Segment
from tests.command import failures, manifest, shard_bytes
from tests.in_process import Embed

KINDS = ("cat", "dog", "owl")
STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
FEATURES = {"audio": {"sampling_rate": 16000, "_type": "Audio"}, "label": {"names": [*KINDS], "_type": "ClassLabel"}}


def file_name(number: int) -> str:
    return f"{KINDS[number % 3]}_{number}.{('wav', 'flac')[number % 2]}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten clips, two of which are no audio, and a manifest of them with labels."""
    folder = tmp_path_factory.mktemp("audio")
    for number in range(8):
        noise = np.random.default_rng(number).normal(0, 0.1, (1 + number % 3) * 16000)
        soundfile.write(folder / file_name(number), noise, 16000)
    (folder / file_name(8)).write_bytes(b"")
    (folder / file_name(9)).write_bytes(b"not audio " * 100)
    lines = [{"uri": file_name(number), "labels": [number % 3]} for number in range(10)]
    (folder / "list.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def rows_of(folder: Path, numbers: Sequence[int]) -> list[dict[str, Any]]:
    return [
        {
            "audio": {"bytes": (folder / file_name(number)).read_bytes(), "path": f"some/where/{file_name(number)}"},
            "label": number % 3,
            "key": f"clip {number}",
            "mids": [f"/m/{KINDS[number % 3]}", "/m/any"],
            "name": KINDS[number % 3],
        }
        for number in numbers
    ]


def write(
    path: Path, rows: Sequence[dict[str, Any]], group: int = 3, features: dict[str, Any] | None = None, **settings: Any
) -> Path:
    """Rows as Hugging Face `datasets` writes them: structs, and its own account of the columns beside the schema."""
    told = json.dumps({"info": {"features": FEATURES if features is None else features}})
    kinds = {
        "audio": STRUCT,
        "label": pa.int64(),
        "key": pa.string(),
        "mids": pa.list_(pa.string()),
        "name": pa.string(),
    }
    schema = pa.schema([(name, kinds[name]) for name in rows[0]], metadata={"huggingface": told})
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), path, row_group_size=group, **settings)
    return path


@pytest.fixture
def data(folder: Path, tmp_path: Path) -> Path:
    """Two files, of three row groups and of one."""
    write(tmp_path / "data" / "train-0.parquet", rows_of(folder, range(7)))
    write(tmp_path / "data" / "train-1.parquet", rows_of(folder, range(7, 10)))
    return tmp_path / "data"


def ids(corpus: Corpus) -> list[str]:
    return [clip.id for clip in corpus.clips]


def labels(corpus: Corpus) -> dict[str, tuple[int, ...]]:
    return {clip.id: clip.labels for clip in corpus.clips}


def test_rows_give_the_records_of_the_files(data: Path, folder: Path, tmp_path: Path, embed_here: Embed) -> None:
    flags = ["--max_failures", "2"]
    assert embed_here(tmp_path / "files", "--manifest", folder / "list.jsonl", *flags).status == 0
    done = embed_here(tmp_path / "rows", "--input", data, "--labels_column", "label", *flags)
    assert done.status == 0, done.err
    assert (
        "Parquet: 2 files, 10 rows; audio in audio.bytes, ids from audio.path, labels from label (3 names)" in done.err
    )
    assert shard_bytes(tmp_path / "rows") == shard_bytes(tmp_path / "files")
    assert (tmp_path / "rows" / "classes.csv").read_text() == "index,display_name\n0,cat\n1,dog\n2,owl\n"
    found = {name: line["reason"] for name, line in failures(tmp_path / "rows").items()}
    assert found == {"owl_8": "empty", "cat_9": "not_audio"}
    assert failures(tmp_path / "rows")["owl_8"]["uri"] == f"{data}/train-1.parquet::1"


def test_a_row_group_is_read_once(
    data: Path, tmp_path: Path, embed_here: Embed, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[tuple[str, int]] = []
    values = parquet.values

    def noted(uri: str, column: str, group: int) -> Iterator[bytes | None]:
        read.append((Path(uri).name, group))
        return values(uri, column, group)

    monkeypatch.setattr(parquet, "values", noted)
    assert embed_here(tmp_path / "out", "--input", data, "--max_failures", "2").status == 0
    assert sorted(read) == [("train-0.parquet", group) for group in range(3)] + [("train-1.parquet", 0)]


def test_a_set_that_grows_embeds_what_is_new(data: Path, folder: Path, tmp_path: Path, embed_here: Embed) -> None:
    output, flags = tmp_path / "out", ["--labels_column", "label", "--max_failures", "9", "--num_shards", "2"]
    later = (data / "train-1.parquet").rename(tmp_path / "later")
    assert embed_here(output, "--input", f"{data}/*.parquet", *flags).status == 0
    assert manifest(output)["totals"]["written"] == 7
    later.rename(data / "train-1.parquet")
    done = embed_here(output, "--input", f"{data}/*.parquet", *flags)
    assert "7 clips were there already" in done.out
    assert embed_here(tmp_path / "fresh", "--input", f"{data}/*.parquet", *flags).status == 0
    assert shard_bytes(output) == shard_bytes(tmp_path / "fresh")


def test_tasks_share_row_groups(data: Path, tmp_path: Path, embed_here: Embed) -> None:
    corpus = find_corpus([str(data)])
    shares = {(clip.uri.partition("::")[0], clip.place.split(":")[1], share_of(clip, 5)) for clip in corpus.clips}
    assert len(shares) == 4
    for task in ("1/2", "0/2"):
        done = embed_here(tmp_path / "out", "--input", data, "--max_failures", "2", "--task", task)
        assert done.status == 0, done.err
    assert manifest(tmp_path / "out")["totals"]["written"] == 8


def test_check_says_what_the_files_hold(data: Path, tmp_path: Path, embed_here: Embed) -> None:
    done = embed_here(tmp_path / "out", "--input", data, "--check", "--id_column", "key")
    assert done.status == 0, done.err
    assert "10 rows; audio in audio.bytes, ids from key, labels none" in done.err
    assert "10 to embed" in done.out
    assert "10 clips in" in done.out
    assert "about 1 failed as empty" in done.out


def damage(path: Path, group: int, leaf: str) -> bytes:
    """Changes a bit in a column of a row group; returns the file's content."""
    meta = pq.ParquetFile(path).metadata.row_group(group)
    chunk = next(column for column in map(meta.column, range(meta.num_columns)) if column.path_in_schema == leaf)
    content = bytearray(path.read_bytes())
    content[(chunk.dictionary_page_offset or chunk.data_page_offset) + chunk.total_compressed_size // 2] ^= 1
    path.write_bytes(content)
    return bytes(content)


def test_null_and_damage_cost_themselves(folder: Path, tmp_path: Path, embed_here: Embed) -> None:
    rows = rows_of(folder, range(8))
    rows[1]["audio"]["bytes"] = None
    rows[2]["audio"] = None
    path = write(tmp_path / "data" / "a.parquet", rows, write_page_checksum=True, compression="none")
    content = damage(path, 1, "audio.bytes")
    (tmp_path / "data" / "b.parquet").write_bytes(content[:1000])
    (tmp_path / "data" / "c.parquet").write_bytes(b"")
    done = embed_here(tmp_path / "out", "--input", tmp_path / "data", "--max_failures", "9")
    assert done.status == 0, done.err
    found = failures(tmp_path / "out")
    assert {name: line["reason"] for name, line in found.items()} == {
        "dog_1": "missing", "a/2": "missing", "cat_3": "corrupt", "dog_4": "corrupt", "owl_5": "corrupt",
        "b.parquet": "corrupt", "c.parquet": "empty",
    }  # fmt: skip
    assert "row group 1, rows 3 to 5: no sound Parquet" in found["dog_4"]["message"]
    assert manifest(tmp_path / "out")["totals"]["written"] == 3


def test_a_damaged_column_of_ids_costs_its_row_group(folder: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", rows_of(folder, range(7)), write_page_checksum=True, compression="none")
    damage(path, 1, "key")
    corpus = find_corpus([str(path)], columns=ColumnNames(ids="key"))
    assert ids(corpus) == ["clip 0", "clip 1", "clip 2", "clip 6"]
    (failure,) = corpus.failures
    assert (failure.clip.id, failure.reason) == ("a, row group 1, rows 3 to 5", "corrupt")


TABLE = "index,mid,display_name\n4,/m/cat,cat\n5,/m/dog,dog\n6,/m/owl,owl\n1,/m/any,Anything, really\n"


@pytest.mark.parametrize(
    ("column", "table", "expected", "names"),
    [
        ("label", False, [(0,), (1,), (2,)], {0: "cat", 1: "dog", 2: "owl"}),
        ("label", True, [(4,), (5,), (6,)], None),
        ("name", False, [(0,), (1,), (2,)], {0: "cat", 1: "dog", 2: "owl"}),
        ("name", True, [(4,), (5,), (6,)], None),
        ("mids", True, [(1, 4), (1, 5), (1, 6)], None),
        ("mids", False, [(0, 1), (0, 2), (0, 3)], {0: "/m/any", 1: "/m/cat", 2: "/m/dog", 3: "/m/owl"}),
    ],
)
def test_labels(
    folder: Path,
    tmp_path: Path,
    column: str,
    table: bool,
    expected: list[tuple[int, ...]],
    names: dict[int, str] | None,
) -> None:
    path = write(tmp_path / "a.parquet", rows_of(folder, range(3)))
    classes = tmp_path / "classes.csv"
    classes.write_text(TABLE.replace("Anything, really", '"Anything, really"'))
    corpus = find_corpus([str(path)], class_labels=str(classes) if table else None, columns=ColumnNames(labels=column))
    assert [clip.labels for clip in corpus.clips] == expected
    assert corpus.numbers_classes is (names is not None)
    assert names is None or corpus.names == names


def test_odd_labels(folder: Path, tmp_path: Path) -> None:
    """-1 is Hugging Face's "no label"; a null is none; what no table has fails its clip alone."""
    rows = rows_of(folder, range(4))
    rows[0]["label"], rows[1]["label"], rows[2]["name"] = -1, None, "fish"
    path = write(tmp_path / "a.parquet", rows)
    found = find_corpus([str(path)], columns=ColumnNames(labels="label"))
    assert [clip.labels for clip in found.clips] == [(), (), (2,), (0,)]
    (tmp_path / "classes.csv").write_text("index,mid,display_name\n4,/m/cat,cat\n5,/m/dog,dog\n")
    found = find_corpus([str(path)], class_labels=f"{tmp_path}/classes.csv", columns=ColumnNames(labels="name"))
    assert labels(found) == {"cat_0": (4,), "dog_1": (5,), "cat_3": (4,)}
    assert [(failure.clip.id, failure.reason) for failure in found.failures] == [("owl_2", "unknown_label")]
    plain = write(tmp_path / "b.parquet", rows, features={})
    found = find_corpus([str(plain)], columns=ColumnNames(labels="label"))
    assert [(failure.clip.id, failure.reason) for failure in found.failures] == [("cat_0", "unknown_label")]
    assert not found.numbers_classes


def test_files_that_number_classes_otherwise_are_refused(folder: Path, tmp_path: Path) -> None:
    write(tmp_path / "data" / "a.parquet", rows_of(folder, [0]))
    features = {**FEATURES, "label": {"names": ["dog", "cat"], "_type": "ClassLabel"}}
    write(tmp_path / "data" / "b.parquet", rows_of(folder, [1]), features=features)
    with pytest.raises(SourceError, match="class 0 is 'dog', which is 'cat' elsewhere"):
        find_corpus([str(tmp_path / "data")], columns=ColumnNames(labels="label"))


def test_ids(folder: Path, tmp_path: Path) -> None:
    rows = rows_of(folder, range(3))
    rows[1]["audio"]["path"] = None
    rows[2]["key"] = None
    path = write(tmp_path / "a.parquet", rows)
    assert ids(find_corpus([str(path)])) == ["cat_0", "a/1", "owl_2"]
    found = find_corpus([str(path)], columns=ColumnNames(ids="key"))
    assert ids(found) == ["clip 0", "clip 1"]
    assert [(failure.clip.id, failure.reason) for failure in found.failures] == [("a/2", "bad_row")]


def test_rows_of_one_id(folder: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", rows_of(folder, [0, 1, 0]))
    with pytest.raises(SourceError, match=r"have the id 'cat_0': .*a.parquet::0 and .*a.parquet::2"):
        find_corpus([str(path)])
    found = find_corpus([str(path)], duplicate_ids="fail")
    assert ids(found) == ["dog_1"]
    assert [failure.reason for failure in found.failures] == ["duplicate_id"] * 2


BINARY, TEXT = pa.binary(), pa.string()


@pytest.mark.parametrize(
    ("fields", "features", "wanted", "leaf"),
    [
        ([("a", STRUCT), ("b", TEXT)], {}, "", "a.bytes"),
        ([("a", BINARY)], {}, "", "a"),
        ([("a", pa.large_binary()), ("b", BINARY)], {}, "b", "b"),
        (
            [("image", STRUCT), ("audio", STRUCT)],
            {"image": {"_type": "Image"}, "audio": {"_type": "Audio"}},
            "",
            "audio.bytes",
        ),
        ([("image", STRUCT), ("sound", BINARY)], {"image": {"_type": "Image"}}, "", "sound"),
        ([("a", pa.struct([("path", TEXT), ("bytes", BINARY)]))], {}, "", "a.bytes"),
        ([("a", STRUCT), ("b", BINARY)], {}, "", SourceError("audio may be in a or b")),
        ([("a", STRUCT)], {}, "c", NoAudioColumnError(r"no column 'c', only a \(struct")),
        ([("a", TEXT)], {}, "", NoAudioColumnError(r"no column of audio, only a \(string\)")),
        ([("a", TEXT)], {}, "a", SourceError("column 'a' is string, not binary")),
        ([("a", pa.struct([("bytes", TEXT)]))], {}, "", NoAudioColumnError("no column of audio")),
    ],
)
def test_the_column_of_audio(fields: Any, features: Any, wanted: str, leaf: str | SourceError) -> None:
    told = {"huggingface": json.dumps({"info": {"features": features}})}
    schema = pa.schema(fields, metadata=told)
    if isinstance(leaf, SourceError):
        with pytest.raises(type(leaf), match=leaf.found):
            find("x.parquet", schema, ColumnNames(wanted))
    else:
        assert find("x.parquet", schema, ColumnNames(wanted)).leaf == leaf


@pytest.mark.parametrize("told", ["", "{", "[]", "null", '{"info": 3}', '{"info": {"features": [1]}}'])
def test_an_account_of_the_columns_that_is_none(told: str) -> None:
    schema = pa.schema([("a", STRUCT), ("n", pa.int64())], metadata={"huggingface": told})
    assert find("x.parquet", schema, ColumnNames(labels="n")).names == {}


def test_columns_that_are_not_there(folder: Path, tmp_path: Path, embed_here: Embed) -> None:
    path = write(tmp_path / "a.parquet", rows_of(folder, range(2)))
    for flag in ("--audio_column", "--id_column", "--labels_column"):
        done = embed_here(tmp_path / "out", "--input", path, flag, "nothing")
        assert done.status == 2
        assert "no column 'nothing', only audio (struct<bytes: binary, path: string>), label (int64), key" in done.err
        assert flag in done.err
    done = embed_here(tmp_path / "out", "--input", path, "--labels_column", "audio")
    assert "not texts or whole numbers, or lists of them" in done.err


def test_other_parquet_beside_the_audio(folder: Path, data: Path, tmp_path: Path, embed_here: Embed) -> None:
    """Tables without audio are left out; where nothing else is found, they are the error; embeddings are no input."""
    pq.write_table(pa.table({"a": [1]}), data / "about.parquet")
    found = find_corpus([str(data)])
    assert len(found.clips) == 10
    assert "Left out of the input: 1 Parquet file without a column of audio" in found.notes[-1]
    with pytest.raises(SourceError, match="no column of audio, only a"):
        find_corpus([f"{data}/about.parquet"])
    output = tmp_path / "out"
    assert embed_here(output, "--input", data, "--max_failures", "2", "--also", "parquet").status == 0
    (made,) = (output / "data").glob("*.parquet")
    made.rename(tmp_path / "copy.parquet")
    with pytest.raises(SourceError, match="no column of audio"):
        find_corpus([f"{tmp_path}/copy.parquet"])


def test_a_store_is_asked_for_little(folder: Path, tmp_path: Path) -> None:
    """Listing fetches the footer and the ids; a row group is fetched once, and goes to decoders with the requests."""
    from tests.memory_store import MemoryStore

    MemoryStore.reset()
    try:
        path = write(tmp_path / "a.parquet", rows_of(folder, range(8)))
        MemoryStore.objects["memory://bucket/data/a.parquet"] = (path.read_bytes(), 1.0)
        corpus = find_corpus(["memory://bucket/data"])
        assert ids(corpus) == [file_name(number).partition(".")[0] for number in range(8)]
        assert [clip.uri for clip in corpus.clips][-1] == "memory://bucket/data/a.parquet::7"
        filled = Contents()
        for number, clip in enumerate(corpus.clips):
            request = filled.with_content(DecodeRequest(clip.uri, (Segment(clip),)))
            assert isinstance(request, DecodeRequest)
            assert request.content == (folder / file_name(number)).read_bytes()
    finally:
        MemoryStore.reset()


def clip_at(file: int, group: int, row: int, size: int = 300_000) -> Clip:
    place = str(parquet.Row("audio", group, row))
    return Clip(f"{file} {group} {row}", f"/data/{file}.parquet::{group * 1000 + row}", size_bytes=size, place=place)


@pytest.mark.parametrize(
    ("groups", "rows", "size", "most_readings", "units_at_most"),
    [(40, 100, 300_000, 4, 161), (4, 1000, 1_000_000, 4, 20), (300, 10, 100_000, 1, 301), (1, 3000, 1000, 4, 6)],
)
def test_units_follow_row_groups(groups: int, rows: int, size: int, most_readings: int, units_at_most: int) -> None:
    clips = [clip_at(0, group, row, size) for group in range(groups) for row in range(rows)]
    shuffled = [clips[at] for at in np.random.default_rng(1).permutation(len(clips))]
    found = list(units.units([*shuffled, Clip("loose", "/data/loose.wav")], 8, 600.0, 96))
    taken = [segment.clip for unit in found for request in unit.requests for segment in request.segments]
    assert taken == [Clip("loose", "/data/loose.wav"), *clips]
    assert not any(unit.asks for unit in found)
    read = [{parquet.row_of(request.place) for request in unit.requests} for unit in found[1:]]
    groups_of = [group for rows in read for group in {row.group for row in rows if row}]
    assert max(map(groups_of.count, range(groups))) <= most_readings
    assert len(found) <= units_at_most


def test_rows_written_by_datasets(folder: Path, tmp_path: Path, embed_here: Embed) -> None:
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    kind = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    features = datasets.Features({"audio": kind, "label": datasets.ClassLabel(names=[*KINDS])})
    rows = rows_of(folder, range(8))
    values = {name: [row[name] for row in rows] for name in ("audio", "label")}
    made = datasets.Dataset.from_dict(values, features=features).cast_column("audio", datasets.Audio())
    made.to_parquet(tmp_path / "data.parquet")
    lines = (folder / "list.jsonl").read_text().splitlines()[:8]
    (folder / "eight.jsonl").write_text("\n".join(lines))
    assert embed_here(tmp_path / "files", "--manifest", folder / "eight.jsonl").status == 0
    assert embed_here(tmp_path / "rows", "--input", tmp_path / "data.parquet", "--labels_column", "label").status == 0
    assert shard_bytes(tmp_path / "rows") == shard_bytes(tmp_path / "files")
