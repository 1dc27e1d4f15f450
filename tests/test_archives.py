"""Archives as inputs: members are clips, as of a folder; what is damaged costs itself, and says where."""

from __future__ import annotations

import csv
import json
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import zstandard

from pipeline import find_corpus, read_records
from pipeline.checking import audit
from pipeline.corpus import plan, units
from pipeline.corpus.sources import SourceError
from pipeline.output import ledger
from pipeline.storage import containers
from pipeline.types import Clip
from tests.command import failures, manifest
from tests.in_process import Embed
from tests.memory_store import MemoryStore

NAMES = ("dog/a.wav", "dog/b.flac", "cat/c.ogg", "cat/d.wav")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four recordings in two folders, a text and hidden files."""
    top = tmp_path_factory.mktemp("audio")
    for number, name in enumerate(NAMES):
        path = top / name
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, np.random.default_rng(number).normal(0, 0.1, (2 + number) * 16_000), 16_000)
    (top / "README.txt").write_text("what this is")
    (top / "cat" / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (top / "dog" / "._a.wav").write_bytes(b"\0\5\26\7")
    return top


def tarred(folder: Path, archive: Path, mode: str = "w") -> Path:
    with tarfile.open(archive, mode) as tar:  # type: ignore[call-overload]
        tar.add(folder, ".")
    return archive


def of_zstandard(folder: Path, archive: Path) -> Path:
    archive.write_bytes(zstandard.ZstdCompressor().compress(tarred(folder, archive).read_bytes()))
    return archive


def zipped(folder: Path, archive: Path, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(archive, "w", method) as found:
        for path in sorted(folder.rglob("*")):
            found.write(path, path.relative_to(folder))
    return archive


ARCHIVES: dict[str, Callable[[Path, Path], Path]] = {
    "set.tar": tarred,
    "set.tar.gz": lambda folder, archive: tarred(folder, archive, "w:gz"),
    "set.txz": lambda folder, archive: tarred(folder, archive, "w:xz"),
    "set.tar.zst": of_zstandard,
    "set.zip": zipped,
    "SET.ZIP": lambda folder, archive: zipped(folder, archive, zipfile.ZIP_STORED),
}


def values(output: Path, below: int = 0) -> dict[str, tuple[tuple[int, ...], bytes]]:
    """Ids without their first folders -> labels and embeddings."""
    found = {record.id.split("/", below)[-1]: record for record in read_records(f"{output}/*.tfrecord")}
    return {name: (tuple(record.labels), record.values.tobytes()) for name, record in found.items()}


def totals(output: Path) -> tuple[int, int, int]:
    """Clips that were written, failed and skipped."""
    found = manifest(output)["totals"]
    assert found["clips_in"] == found["written"] + found["failed"] + found["skipped"]
    return found["written"], found["failed"], found["skipped"]


def ids(*inputs: Path, **options: object) -> list[str]:
    return [clip.id for clip in find_corpus([str(path) for path in inputs], **options).clips]  # type: ignore[arg-type]


@pytest.fixture
def of_folder(embed_here: Embed, folder: Path, tmp_path: Path) -> dict[str, tuple[tuple[int, ...], bytes]]:
    done = embed_here(tmp_path / "plain", "--input", folder, "--labels_from", "folder")
    assert done.status == 0, done.err
    return values(tmp_path / "plain")


def test_an_archive_is_as_a_folder(
    embed_here: Embed, folder: Path, of_folder: dict[str, tuple[tuple[int, ...], bytes]], tmp_path: Path
) -> None:
    assert {labels for labels, _ in of_folder.values()} == {(0,), (1,)}
    for name, make in ARCHIVES.items():
        archive, output = make(folder, tmp_path / name), tmp_path / f"of {name}"
        flags = ("--input", archive, "--labels_from", "folder:2", "--num_shards", "2")
        done = embed_here(output, *flags)
        assert (done.status, done.err.count("\n")) == (0, 1), done.err  # the text has no label
        assert values(output, 1) == of_folder
        assert totals(output) == (4, 0, 1)
        (skipped,) = failures(output).values()
        assert (skipped["uri"], skipped["reason"]) == (f"{archive}::README.txt", "not_audio")
    again = embed_here(output, *flags)
    assert "5 clips were there already" in again.out


def test_several_archives_and_folders_at_once(embed_here: Embed, folder: Path, tmp_path: Path) -> None:
    top = tmp_path / "top"
    shutil.copytree(folder / "dog", top / "dog")
    tarred(folder / "cat", top / "a.tar")
    tarred(folder / "cat", top / "sub.tgz", "w:gz")
    zipped(folder, top / "b.zip")
    wanted = [
        "a/c",
        "a/d",
        "b/README.txt",
        "b/cat/c",
        "b/cat/d",
        "b/dog/a",
        "b/dog/b",
        "dog/a",
        "dog/b",
        "sub/c",
        "sub/d",
    ]
    assert ids(top) == wanted
    assert ids(top, exclude=["cat", "*.txt", "sub.tgz"]) == ["a/c", "a/d", "b/dog/a", "b/dog/b", "dog/a", "dog/b"]
    assert embed_here(tmp_path / "out", "--input", top, "--task", "0/2").status == 0
    assert embed_here(tmp_path / "out", "--input", top, "--task", "1/2").status == 0
    assert totals(tmp_path / "out") == (10, 0, 1)


def test_an_archive_that_changes_is_read_again(embed_here: Embed, folder: Path, tmp_path: Path) -> None:
    archive = tarred(folder, tmp_path / "set.tar")
    assert embed_here(tmp_path / "out", "--input", archive).status == 0
    (file,) = (tmp_path / "out" / "_state").glob("ledger-*")
    entries = list(ledger.read(str(file)))
    assert {ledger.changed(entry) for entry in entries} == {False}
    with tarfile.open(archive, "a") as tar:
        tar.add(folder / "dog" / "a.wav", "dog/e.wav")
    assert {ledger.changed(entry) for entry in entries} == {True}
    done = embed_here(tmp_path / "out", "--input", archive)
    assert done.status == 0, done.err
    assert totals(tmp_path / "out") == (5, 0, 1)
    found = values(tmp_path / "out", 1)
    assert found["dog/e"] == found["dog/a"]


@pytest.mark.parametrize("name", ["set.tar", "set.tar.gz"])
def test_clips_of_an_archive_are_audited(
    embed_here: Embed, monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path, name: str
) -> None:
    archive = ARCHIVES[name](folder, tmp_path / name)
    assert embed_here(tmp_path / "out", "--input", archive).status == 0
    monkeypatch.setattr(audit, "_found", lambda manifest, kind, given: "standin")
    found = audit.audit(str(tmp_path / "out"), 4, 0)
    assert (found.equal, found.faults) == (4, [])


def test_segments_are_cut_out_of_members(embed_here: Embed, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "classes.csv").write_text("index,mid,display_name\n3,/m/x,x\n")
    rows = [f"{name}, {start}.0, {start + 1}.0, /m/x\n" for name in "abcd" for start in range(2)]
    (tmp_path / "list.csv").write_text("# YTID, start_seconds, end_seconds, positive_labels\n" + "".join(rows))
    flags = ("--segments", tmp_path / "list.csv", "--class_labels", tmp_path / "classes.csv")
    assert embed_here(tmp_path / "plain", "--input", folder, *flags).status == 0
    for name in ("set.tar", "set.tar.gz"):
        archive = ARCHIVES[name](folder, tmp_path / name)
        assert embed_here(tmp_path / f"of {name}", "--input", archive, *flags).status == 0
        assert totals(tmp_path / f"of {name}")[0] == 8
        records = [
            sorted(Path(output).glob("embeddings-*"))[0] for output in (tmp_path / "plain", tmp_path / f"of {name}")
        ]
        assert records[0].read_bytes() == records[1].read_bytes()


def web_data_set(folder: Path, top: Path) -> Path:
    """The recordings of a folder with the files beside them that WebDataset has, in a folder without others."""
    top.mkdir()
    for number, name in enumerate(NAMES):
        path = folder / name
        shutil.copy(path, top)
        kind = path.parent.name
        (top / f"{path.stem}.json").write_text(
            json.dumps({"a": {"label": kind, "all": [kind, "pet"], "number": number}})
        )
        (top / f"{path.stem}.cls").write_text(f"{3 + (kind == 'dog')}\n")
        (top / f"{path.stem}.txt").write_text(f"{kind}\n")
    return top


def test_labels_of_files_beside_the_audio(embed_here: Embed, folder: Path, tmp_path: Path) -> None:
    top = web_data_set(folder, tmp_path / "shard")
    inputs = [
        top,
        tarred(top, tmp_path / "a.tar"),
        tarred(top, tmp_path / "b.tar.gz", "w:gz"),
        zipped(top, tmp_path / "c.zip"),
    ]
    wanted = {
        "txt": (["cat", "dog"], {"a": (1,), "b": (1,), "c": (0,), "d": (0,)}),
        "json:a.label": (["cat", "dog"], {"a": (1,), "b": (1,), "c": (0,), "d": (0,)}),
        "json:a.all": (["cat", "dog", "pet"], {"a": (1, 2), "b": (1, 2), "c": (0, 2), "d": (0, 2)}),
        "cls": (["3", "4"], {"a": (4,), "b": (4,), "c": (3,), "d": (3,)}),
        "json:a.number": (["0", "1", "2", "3"], {"a": (0,), "b": (1,), "c": (2,), "d": (3,)}),
    }
    for rule, (names, labels) in wanted.items():
        for source in inputs:
            found = find_corpus([str(source)], labels_from=rule)
            assert list(found.names.values()) == names
            of_audio = {clip.id.rpartition("/")[2]: clip.labels for clip in found.clips if "." not in clip.id}
            assert of_audio == labels, (rule, source)
            assert len(found.clips) == 12
            assert any(note.startswith(f"4 .{rule[:4].rstrip(':')} files read as labels") for note in found.notes)
    done = embed_here(tmp_path / "out", "--input", inputs[1], "--labels_from", "json:a.label")
    assert done.status == 0, done.err
    assert totals(tmp_path / "out") == (4, 0, 8)
    assert set(failures(tmp_path / "out")) == {f"a/{name}.{kind}" for name in "abcd" for kind in ("cls", "txt")}
    with (tmp_path / "out" / "classes.csv").open(newline="") as file:
        assert [row["display_name"] for row in csv.DictReader(file)] == ["cat", "dog"]


def test_files_beside_that_say_nothing(folder: Path, tmp_path: Path) -> None:
    top = web_data_set(folder, tmp_path / "shard")
    (top / "a.json").write_text("{")
    (top / "b.json").unlink()
    (top / "c.json").write_text('{"a": [1]}')
    found = find_corpus([str(tarred(top, tmp_path / "a.tar"))], labels_from="json:a.label")
    assert {clip.id: clip.labels for clip in found.clips if clip.labels} == {
        "a/d": (0,),
        "a/d.cls": (0,),
        "a/d.txt": (0,),
    }
    assert "9 clips without a label: --labels_from json:a.label finds none in a .json beside it" in found.notes


def test_what_lies_behind_damage_is_one_failure(embed_here: Embed, folder: Path, tmp_path: Path) -> None:
    """Of an archive whose third header is damaged, two recordings are embedded."""
    archive = tmp_path / "set.tar"
    with tarfile.open(archive, "w") as tar:
        for name in NAMES:
            tar.add(folder / name, name)
    with tarfile.open(archive) as tar:
        third = tar.getmember(NAMES[2]).offset
    data = bytearray(archive.read_bytes())
    data[third + 5] ^= 1
    archive.write_bytes(data)
    done = embed_here(tmp_path / "out", "--input", archive, "--max_failures", "1")
    assert done.status == 0, done.err
    assert totals(tmp_path / "out") == (2, 1, 0)
    (failed,) = failures(tmp_path / "out").values()
    assert (failed["id"], failed["reason"], failed["stage"]) == ("set.tar", "corrupt", "find")
    assert f"at byte {third:,}" in failed["message"]


@pytest.mark.parametrize("name", ["set.tar", "set.tar.gz"])
def test_an_archive_that_is_cut_off(embed_here: Embed, folder: Path, tmp_path: Path, name: str) -> None:
    data = ARCHIVES[name](folder, tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) * 2 // 3])
    done = embed_here(tmp_path / "out", "--input", tmp_path / name, "--max_failures", "9")
    assert done.status == 0, done.err
    written, failed, _ = totals(tmp_path / "out")
    assert written >= 1
    assert failed >= 1
    assert {each["reason"] for each in failures(tmp_path / "out").values()} <= {"truncated", "not_audio"}


def test_a_damaged_member_costs_itself(embed_here: Embed, folder: Path, tmp_path: Path) -> None:
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        archive = zipped(folder, tmp_path / f"{method}.zip", method)
        with zipfile.ZipFile(archive) as found:
            info = found.getinfo(NAMES[0])
        data = bytearray(archive.read_bytes())
        data[info.header_offset + info.compress_size // 2] ^= 0x55
        archive.write_bytes(data)
        assert embed_here(tmp_path / f"{method}", "--input", archive, "--max_failures", "1").status == 0
        assert totals(tmp_path / f"{method}") == (3, 1, 1)
        assert failures(tmp_path / f"{method}")[f"{method}/dog/a"]["reason"] == "corrupt"


def test_what_cannot_be_read_of_an_archive_fails_by_name(tmp_path: Path) -> None:
    (tmp_path / "no.zip").write_bytes(b"PK\x03\x04" + bytes(100))
    (tmp_path / "no.tar").write_bytes(b"x" * 2000)
    (tmp_path / "no.tgz").write_bytes(b"x" * 2000)
    (tmp_path / "none.tar").write_bytes(b"")
    (tmp_path / "gone.tar").symlink_to(tmp_path / "nowhere")
    found = find_corpus([str(tmp_path)])
    assert not found.clips
    reasons = {failure.clip.id: failure.reason for failure in found.failures}
    assert reasons == {
        "no.zip": "truncated", "no.tar": "corrupt", "no.tgz": "corrupt", "none.tar": "empty", "gone.tar": "missing",
    }  # fmt: skip


def test_an_archive_without_files(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w"):
        pass
    with pytest.raises(SourceError, match="hold no files"):
        find_corpus([str(tmp_path)])


def test_a_path_that_looks_like_a_member(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "x.tar::y").mkdir()
    archive = tarred(folder, tmp_path / "x.tar::y" / "a.tar")
    (failure,) = find_corpus([str(archive)]).failures
    assert failure.reason == "unreadable"
    assert "'::'" in failure.message


@pytest.fixture
def bucket() -> Iterator[str]:
    MemoryStore.reset()
    yield "memory://bucket"
    MemoryStore.reset()


def test_of_a_remote_tar_only_headers_and_members_are_fetched(
    monkeypatch: pytest.MonkeyPatch, bucket: str, tmp_path: Path
) -> None:
    sizes = [3_000_000, 10, 2_000_000, 1_000_000]
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for number, size in enumerate(sizes):
            (tmp_path / "file").write_bytes(np.random.default_rng(number).bytes(size))
            tar.add(tmp_path / "file", f"{number}.wav")
    MemoryStore.objects[f"{bucket}/a.tar"] = ((tmp_path / "a.tar").read_bytes(), 1.0)
    fetched = []
    whole = MemoryStore.cat_file

    def cat_file(self: MemoryStore, path: str, start: int | None = None, end: int | None = None, **_: object) -> bytes:
        data = whole(self, path, start, end)
        fetched.append(len(data))
        return data

    monkeypatch.setattr(MemoryStore, "cat_file", cat_file)
    clips = find_corpus([f"{bucket}/a.tar"]).clips
    assert [(clip.id, clip.size_bytes) for clip in clips] == [
        (f"a/{number}", size) for number, size in enumerate(sizes)
    ]
    assert len(fetched) <= len(sizes) + 1
    assert sum(fetched) <= len(fetched) << 16
    for number, clip in enumerate(clips):
        fetched.clear()
        with containers.open_member(clip.uri, clip.place) as file:
            assert file.read() == np.random.default_rng(number).bytes(sizes[number])
        assert fetched == [sizes[number]]


def test_a_compressed_archive_is_planned_in_its_order() -> None:
    clips = [
        Clip(f"{name}/{number}", f"{name}.tgz::{number}", size_bytes=10**6, place=f"stream:{number * 10**6}:1000000:0")
        for name in "ab" for number in range(300)
    ]  # fmt: skip
    clips += [Clip(f"c/{number}", f"{number}.wav", size_bytes=10**6) for number in range(300)]
    found = list(units.units(clips, 4, 600.0, 96))
    there = [segment.clip for unit in found for request in unit.requests for segment in request.segments]
    assert sorted(clip.id for clip in there) == sorted(clip.id for clip in clips)
    of_streams = [unit for unit in found if unit.requests[0].place]
    assert len(of_streams) == units.PASSES
    for unit in of_streams:
        assert len({plan.read_with(request.segments[0].clip) for request in unit.requests}) == 1
        starts = [containers.in_turn(request.place) or 0 for request in unit.requests]
        assert starts == sorted(starts)
