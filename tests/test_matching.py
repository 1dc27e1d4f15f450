"""Readers look at the manifest beside the records: what is not as promised is an error that says how to go on."""

from __future__ import annotations

import fnmatch
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import (
    export,
    fad,
    fit_pca,
    load_dataset,
    parquet,
    predict,
    read_records,
    storage,
    to_parquet,
    train,
    write_report,
)
from pipeline.cli import report as report_program
from pipeline.errors import UserError
from pipeline.output import manifest, matching, provenance
from pipeline.output.matching import Incomplete, IncompleteError
from pipeline.output.records import RecordError, parse, read_tfrecord, to_sequence_example, write_tfrecord
from pipeline.training.data import Classes, load_clips
from pipeline.training.saved_model import Description
from tests import outputs

SHARDS = 4
CLIPS = [outputs.clip(number) for number in range(40)]
CLASSES = Classes((1, 7), ("a", "b"), ("", ""))
FIRST = f"embeddings-00000-of-{SHARDS:05d}.tfrecord"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished output, not to be touched."""
    directory = tmp_path_factory.mktemp("sound")
    outputs.write(outputs.job(directory, SHARDS), CLIPS)
    return directory


@pytest.fixture
def output(sound: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(sound, tmp_path / "output"))


def edit(output: Path, **changes: Any) -> None:
    content = json.loads((output / "manifest.json").read_text())
    (output / "manifest.json").write_text(json.dumps({**content, **changes}))


def remove_two_shards(output: Path) -> str:
    (output / FIRST).unlink()
    (output / FIRST.replace("00000", "00002", 1)).unlink()
    return f"output lacks 2 of 4 shards: {FIRST} and 1 more"


def cut_between_records(output: Path) -> str:
    with (output / FIRST).open("rb") as file:
        records = list(read_tfrecord(file))
    before = (output / FIRST).stat().st_size
    with (output / FIRST).open("wb") as file:
        write_tfrecord(file, records[:-1])
    return f"{FIRST} has {(output / FIRST).stat().st_size:,} bytes, {before:,} in manifest.json"


def add_a_shard_of_another_data_set(output: Path) -> str:
    other = FIRST.replace("00004", "00007")
    shutil.copy(output / FIRST, output / other)
    return f"holds shards that are not in manifest.json, left over from another data set: {other}"


def be_in_a_commit(output: Path) -> str:
    entry = json.loads((output / "manifest.json").read_text())["shards"][1]
    edit(output, complete=False, pending=[{"entry": entry, "staged": "_state/staged/abc-00001-0a1b2c3d"}])
    return f"manifest.json: a commit was begun and has not ended: {entry['name']} pending"


def be_in_an_overwrite(output: Path) -> str:
    edit(output, clearing=True)
    return "manifest.json: an overwrite of the data set was begun and has not ended"


def be_in_a_run(output: Path) -> str:
    shards = json.loads((output / "manifest.json").read_text())["shards"]
    edit(output, complete=False, shards=shards[:3])
    (output / shards[3]["name"]).unlink()
    return "manifest.json: the data set is not complete: 3 of 4 shards and [0-9]+ clips are there so far"


def relabel_a_record(output: Path) -> str:
    """The same size, and a checksum that fits."""
    with (output / FIRST).open("rb") as file:
        records = [parse(data) for data in read_tfrecord(file)]
    labels = [(1, 7), *((1, 6) for _ in records[1:])]
    with (output / FIRST).open("wb") as file:
        for record, chosen in zip(records, labels, strict=True):
            made = to_sequence_example(record.id, record.start_s or 0.0, record.end_s or 0.0, chosen, record.values)
            write_tfrecord(file, [made])
    return rf"{FIRST} was changed: sha256 [0-9a-f]{{12}}…, [0-9a-f]{{12}}… in manifest.json"


BY_LISTING = [
    remove_two_shards,
    cut_between_records,
    add_a_shard_of_another_data_set,
    be_in_a_commit,
    be_in_an_overwrite,
    be_in_a_run,
]
FAULTS = [*BY_LISTING, relabel_a_record]

Reader = Callable[[Path, Incomplete], Any]
READERS: dict[str, Reader] = {
    "read_records": lambda output, use: list(read_records(f"{output}/*.tfrecord", incomplete=use)),
    "to_parquet": lambda output, use: to_parquet(f"{output}/*.tfrecord", f"{output}/a.parquet", incomplete=use),
    "load_clips": lambda output, use: load_clips(f"{output}/*.tfrecord", CLASSES, use),
    "write_report": lambda output, use: write_report(str(output), incomplete=use),
}
"""They read all records, and so take the sha256."""
BY_SIZE: dict[str, Reader] = {
    "load_dataset": lambda output, use: load_dataset(f"{output}/*.tfrecord", incomplete=use),
    "provenance": lambda output, use: provenance.of(f"{output}/*.tfrecord", use),
}


@pytest.mark.parametrize("damage", FAULTS)
@pytest.mark.parametrize("name", READERS)
def test_what_is_not_as_promised_is_an_error_that_says_how_to_go_on(
    output: Path, name: str, damage: Callable[[Path], str]
) -> None:
    READERS[name](output, "refuse")
    (output / "a.parquet").unlink(missing_ok=True)
    found = damage(output)
    with pytest.raises(IncompleteError, match=found) as caught:
        READERS[name](output, "refuse")
    assert 'to read what is there, --incomplete use (in Python: incomplete="use")' in caught.value.remedy
    assert not (output / "a.parquet").exists()


@pytest.mark.parametrize("damage", BY_LISTING)
@pytest.mark.parametrize("name", BY_SIZE)
def test_others_compare_all_but_content(output: Path, name: str, damage: Callable[[Path], str]) -> None:
    BY_SIZE[name](output, "refuse")
    with pytest.raises(IncompleteError, match=damage(output)):
        BY_SIZE[name](output, "refuse")
    BY_SIZE[name](output, "use")


@pytest.mark.parametrize("damage", [each for each in FAULTS if each is not relabel_a_record])
def test_asked_to_they_read_what_is_there(output: Path, damage: Callable[[Path], str]) -> None:
    damage(output)
    there = []
    for path in sorted(output.glob("embeddings-*")):
        with path.open("rb") as file:
            there += [parse(data).id for data in read_tfrecord(file)]
    assert [record.id for record in read_records(f"{output}/*.tfrecord", incomplete="use")] == there
    assert to_parquet(f"{output}/*.tfrecord", f"{output}/a.parquet", incomplete="use") == len(there)
    assert load_clips(f"{output}/*.tfrecord", CLASSES, "use").ids == tuple(there)
    assert Path(write_report(str(output), incomplete="use")).exists()


def test_programs_have_a_flag_for_it(output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "classes.csv").write_text("index,mid,display_name\n1,/m/1,a\n7,/m/7,b\n")
    (tmp_path / "model").mkdir()
    Description("logistic", CLASSES, provenance.of(f"{output}/*.tfrecord"), 1, {}).save(tmp_path / "model")
    found = remove_two_shards(output)
    records, made = f"{output}/*.tfrecord", str(tmp_path / "made")
    for main, flags in (
        (train.main, ["--train", records, "--eval", records, "--classes", f"{tmp_path}/classes.csv", "--model", made]),
        (predict.main, ["--model", str(tmp_path / "model"), "--input", records]),
        (report_program.main, [str(output)]),
        (parquet.main, ["--input", records, "--output", f"{tmp_path}/a.parquet"]),
        (fit_pca.main, ["--input", records, "--output", f"{tmp_path}/a.npz"]),
        (fad.main, [records, str(output)]),
        (export.main, [str(output), "--to", "npy", made]),
    ):
        assert main(flags) == 2
        first, second = capsys.readouterr().err.splitlines()
        assert found in first
        assert "--incomplete use" in second
    assert parquet.main(["--input", records, "--output", f"{tmp_path}/a.parquet", "--incomplete", "use"]) == 0
    assert report_program.main([str(output), "--incomplete", "use"]) == 0
    assert fit_pca.main(["--input", records, "--output", f"{tmp_path}/a.npz", "--incomplete", "use"]) == 2
    assert "embeddings are quantized" in capsys.readouterr().err


def test_a_pattern_may_name_some_of_the_shards(output: Path) -> None:
    some = list(read_records(f"{output}/embeddings-0000[01]*"))
    assert len(some) == sum(1 for _ in read_records(f"{output}/{FIRST}", f"{output}/embeddings-00001*"))
    remove_two_shards(output)
    assert list(read_records(f"{output}/embeddings-00001*", f"{output}/embeddings-0000[13]-*"))
    with pytest.raises(IncompleteError, match="output lacks 1 of 4 shards: embeddings-00002"):
        list(read_records(f"{output}/embeddings-0000[12]*"))
    with pytest.raises(RecordError, match="no file matches"):
        list(read_records(f"{output}/{FIRST}"))
    be_in_a_commit(output)
    with pytest.raises(IncompleteError, match="a commit was begun"):
        list(read_records(f"{output}/embeddings-00001*"))


def test_without_a_manifest_records_are_read_as_they_are(output: Path) -> None:
    add_a_shard_of_another_data_set(output)
    remove_two_shards(output)
    (output / "manifest.json").unlink()
    assert list(read_records(f"{output}/*.tfrecord"))


def test_files_of_other_names_are_none_of_the_manifests_business(output: Path) -> None:
    shutil.copy(output / FIRST, output / "mine.tfrecord")
    shutil.copy(output / FIRST, output.parent / "mine.tfrecord")
    count = len(list(read_records(f"{output}/embeddings-*")))
    assert len(list(read_records(f"{output.parent}/**.tfrecord"))) > count
    (output / "manifest.json").write_text("[]")
    assert list(read_records(f"{output}/mine*"))


def test_a_manifest_that_cannot_be_read_is_an_error(output: Path) -> None:
    (output / "manifest.json").write_text('{"format_version": 1')
    with pytest.raises(IncompleteError, match="is damaged: it is no JSON") as caught:
        list(read_records(f"{output}/*.tfrecord"))
    assert "--incomplete use" in caught.value.remedy
    assert list(read_records(f"{output}/*.tfrecord", incomplete="use"))


def test_what_a_run_is_about_to_write_is_no_record(output: Path) -> None:
    wanted = [record.id for record in read_records(f"{output}/*.tfrecord")]
    (output / "_state/staged").mkdir(exist_ok=True)
    shutil.copy(output / FIRST, output / "_state/staged/a-00000-0a1b2c3d.tfrecord")
    (output / f"{FIRST}.0a1b2c3d.tmp").write_bytes(b"half a reco")
    for pattern in (f"{output}/**.tfrecord", f"{output.parent}/**/*.tfrecord", f"{output}/embeddings-*"):
        assert [record.id for record in read_records(pattern)] == wanted
    assert list(read_records(f"{output}/_state/staged/*.tfrecord"))


def test_several_data_sets_are_each_compared_with_their_own(sound: Path, tmp_path: Path) -> None:
    for name in "abc":
        shutil.copytree(sound, tmp_path / name)
    assert len(list(read_records(f"{tmp_path}/*/*.tfrecord"))) == 3 * len(list(read_records(f"{sound}/*.tfrecord")))
    be_in_an_overwrite(tmp_path / "b")
    with pytest.raises(IncompleteError, match=r"b/manifest\.json: an overwrite"):
        next(read_records(f"{tmp_path}/*/*.tfrecord"))
    assert list(read_records(f"{tmp_path}/[ac]/*.tfrecord"))


def test_relative_patterns(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(output)
    assert list(read_records("*.tfrecord"))
    found = remove_two_shards(output).removeprefix("output")
    with pytest.raises(IncompleteError, match=rf"this folder{found}"):
        list(read_records("*.tfrecord"))
    monkeypatch.chdir(output.parent)
    with pytest.raises(IncompleteError, match=rf"output{found}"):
        list(read_records("output/*.tfrecord"))


def test_a_report_compares_with_a_manifest_kept_elsewhere(output: Path, tmp_path: Path) -> None:
    shutil.move(output / "manifest.json", tmp_path / "kept.json")
    write_report(str(output), manifest_uri=str(tmp_path / "kept.json"))
    found = cut_between_records(output)
    with pytest.raises(IncompleteError, match=found):
        write_report(str(output), manifest_uri=str(tmp_path / "kept.json"))


def test_each_file_is_opened_once(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    real = storage.open_read
    monkeypatch.setattr(storage, "open_read", lambda uri: (opened.append(Path(uri).name), real(uri))[1])
    list(read_records(f"{output}/*.tfrecord"))
    assert opened == ["manifest.json", *(path.name for path in sorted(output.glob("embeddings-*")))]


def test_another_word_than_the_two_is_refused(output: Path) -> None:
    with pytest.raises(UserError, match="incomplete='yes' is neither 'refuse' nor 'use'"):
        next(read_records(f"{output}/*.tfrecord", incomplete="yes"))  # type: ignore[arg-type]


def test_an_error_of_the_system_names_file_and_record(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = matching.read_tfrecord

    def breaks(file: Any, name: str = "") -> Iterator[bytes]:
        records = real(file, name)
        yield next(records)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(matching, "read_tfrecord", breaks)
    with pytest.raises(OSError, match=r"reading record 1 failed: Input/output error") as caught:
        list(read_records(f"{output}/{FIRST}"))
    assert FIRST in str(caught.value)


def test_in_an_object_store(sound: Path) -> None:
    from tests.memory_store import MemoryStore

    MemoryStore.objects.clear()
    for path in [*sound.glob("embeddings-*"), sound / "manifest.json"]:
        storage.write_atomic(f"memory://bucket/out/{path.name}", path.read_bytes())
    pattern = "memory://bucket/out/*.tfrecord"
    wanted = [record.id for record in read_records(f"{sound}/*.tfrecord")]
    assert [record.id for record in read_records(pattern)] == wanted
    assert len(list(load_dataset(pattern, batch_size=7).unbatch())) == len(wanted)
    content = json.loads((sound / "manifest.json").read_text())
    storage.write_atomic("memory://bucket/out/manifest.json", json.dumps({**content, "clearing": True}).encode())
    with pytest.raises(IncompleteError, match=r"memory://bucket/out/manifest\.json: an overwrite"):
        load_dataset(pattern)
    storage.write_atomic("memory://bucket/out/manifest.json", (sound / "manifest.json").read_bytes())
    storage.delete(f"memory://bucket/out/{FIRST}")
    with pytest.raises(IncompleteError, match=f"memory://bucket/out lacks 1 of 4 shards: {FIRST}"):
        load_dataset(pattern)
    MemoryStore.objects.clear()


@pytest.mark.parametrize("top", ["", "memory://bucket/made"])
def test_a_pattern_names_what_it_matches(top: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.memory_store import MemoryStore

    MemoryStore.objects.clear()
    monkeypatch.chdir(tmp_path)
    names = ["a.x", "b/a.x", "b/c/a.x", "b/[a].x", "b/a.y", "[b]/a.x", ".h/a.x", "b/.a.x", "b*/a.x"]
    for name in names:
        if not top:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        storage.write_atomic(storage.join(top, name), b"x")
    every = [storage.join(top, name) for name in names]
    patterns = ["*", "**", "b", "b/", "*/*.x", "**/a.x", "b/[a].x", "b/[ab].x", "[b]/*", "b*/*", "?.x", "**.x", ".h/*"]
    for pattern in [storage.join(top, each) for each in (*patterns, *names)] + ([top] if top else []):
        matched = [file.uri for file in storage.match(pattern)]
        named = storage.named_by(pattern)
        assert sorted(uri for uri in every if named(uri)) == sorted(matched), pattern
    MemoryStore.objects.clear()


NAMES = [f"embeddings-{index:05d}-of-00005.tfrecord" for index in range(5)]
NEW = manifest.new(outputs.job("x", len(NAMES)))
EXTRAS = ["embeddings-00000-of-00009.tfrecord", "embeddings-00006-of-00005.tfrecord"]


@given(
    st.dictionaries(st.sampled_from(NAMES), st.integers(0, 3)),
    st.dictionaries(st.sampled_from([*NAMES, *EXTRAS]), st.integers(0, 3)),
    st.sampled_from(["*", "embeddings-0000[12]*", "*3-of*", "*of-00005*"]),
)
@settings(max_examples=200)
def test_exactly_what_differs_is_refused(promised: dict[str, int], found: dict[str, int], pattern: str) -> None:
    entries = tuple(
        manifest.ShardEntry(index, name, 0, 0, 0, 0, 0.0, promised[name], "", "", {}, {})
        for index, name in enumerate(NAMES)
        if name in promised
    )
    whole = replace(NEW, shards=entries, complete=True)
    sizes = {name: size for name, size in found.items() if fnmatch.fnmatch(name, pattern)}
    wanted = {name: size for name, size in promised.items() if fnmatch.fnmatch(name, pattern)}
    if sizes == wanted:
        matching.expect_whole("out", whole, sizes, lambda name: fnmatch.fnmatch(name, pattern))
        return
    with pytest.raises(IncompleteError) as caught:
        matching.expect_whole("out", whole, sizes, lambda name: fnmatch.fnmatch(name, pattern))
    differing = [name for name in {*sizes, *wanted} if sizes.get(name) != wanted.get(name)]
    assert any(name in caught.value.found for name in differing)


def test_the_folder_of_a_data_set_stands_for_its_records(output: Path, tmp_path: Path) -> None:
    ids = [record.id for record in read_records(f"{output}/*.tfrecord")]
    for folder in (str(output), f"{output}/"):
        assert [record.id for record in read_records(folder)] == ids
        assert provenance.of(folder) == provenance.of(f"{output}/*.tfrecord")
        assert len(list(load_dataset(folder))) == len(ids)
    (output / FIRST).unlink()
    with pytest.raises(IncompleteError, match="lacks 1 of 4 shards"):
        list(read_records(str(output)))
    (tmp_path / "none").mkdir()
    with pytest.raises(RecordError, match="no file matches"):
        list(read_records(str(tmp_path / "none")))
