from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.checking import verify
from pipeline.output import commit, made_with, manifest, resume
from pipeline.output.layout import OutputError
from pipeline.settings import FrontEnd
from tests import outputs

CLIPS = [outputs.clip(number) for number in range(25)]


def names(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())


@pytest.mark.parametrize("exists", [False, True])
def test_a_new_or_empty_directory_becomes_an_output(tmp_path: Path, exists: bool) -> None:
    directory = tmp_path / "a [strange] *name?"
    if exists:
        directory.mkdir()
    job = outputs.job(directory)
    assert resume.inspect(str(directory), job) is None
    assert directory.exists() == exists  # looking writes nothing
    opened = resume.start(str(directory), job, engine={"runner": "FnApiRunner"})
    assert names(directory) == ["manifest.json"]
    assert opened.manifest.run["engine"] == {"runner": "FnApiRunner"}
    outputs.write(job, CLIPS)
    assert verify.verify_output(str(directory)).fault_count == 0
    assert len(list(commit.committed_ledger(str(directory)))) == len(CLIPS)


def test_other_settings_are_refused_with_each_difference(tmp_path: Path) -> None:
    outputs.write(outputs.job(tmp_path), CLIPS)
    before = names(tmp_path)
    other = replace(outputs.job(tmp_path, num_shards=4), front_end=FrontEnd(hop_seconds=1.0))
    with pytest.raises(resume.SettingsDiffer, match="--overwrite to start over") as caught:
        resume.start(str(tmp_path), other)
    assert caught.value.differences == [
        "hop_seconds is 0.96 in the output, 1.0 was asked for",
        "num_shards is 3 in the output, 4 was asked for",
    ]
    assert names(tmp_path) == before


def test_a_directory_of_others_is_refused_and_left_alone(tmp_path: Path) -> None:
    for name in ("thesis.tex", "a.wav", "b.wav", "c.wav"):
        (tmp_path / name).write_text(name)
    with pytest.raises(OutputError, match=r"holds a\.wav, b\.wav, c\.wav and 1 more\. Choose an empty"):
        resume.start(str(tmp_path), outputs.job(tmp_path))
    assert names(tmp_path) == ["a.wav", "b.wav", "c.wav", "thesis.tex"]


def test_a_directory_of_folders_is_refused_too(tmp_path: Path) -> None:
    (tmp_path / "recordings").mkdir()
    (tmp_path / ".hidden").mkdir()
    with pytest.raises(OutputError, match="it holds recordings"):
        resume.start(str(tmp_path), outputs.job(tmp_path))


def test_shards_without_a_manifest_are_refused(tmp_path: Path) -> None:
    outputs.write(outputs.job(tmp_path), CLIPS)
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(OutputError, match=r"has no manifest\.json: it holds embeddings-00000"):
        resume.start(str(tmp_path), outputs.job(tmp_path))


def test_an_output_killed_in_its_first_moment_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / "manifest.json.65cbd1c8.tmp").write_text("{")
    job = outputs.job(tmp_path)
    assert resume.inspect(str(tmp_path), job) is None
    resume.start(str(tmp_path), job)
    assert names(tmp_path) == ["manifest.json"]


def test_a_manifest_that_is_just_being_written_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job, read = outputs.job(tmp_path), manifest.read

    def just_before(directory: str) -> manifest.Manifest | None:
        monkeypatch.setattr(manifest, "read", read)
        found = read(directory)
        resume.start(directory, job)  # as another task of an array does
        return found

    monkeypatch.setattr(manifest, "read", just_before)
    assert resume.inspect(str(tmp_path), job) == read(str(tmp_path))


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format_version": 1}', "\u00ff"])
def test_a_manifest_that_is_none_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content, encoding="latin-1")
    with pytest.raises(OutputError, match=r"manifest\.json is (not a manifest|damaged: it is no JSON).*Restore it"):
        resume.start(str(tmp_path), outputs.job(tmp_path))


def test_a_manifest_of_a_later_version_is_named(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"format_version": 2}')
    with pytest.raises(OutputError, match="format version 2, this software writes 1"):
        resume.start(str(tmp_path), outputs.job(tmp_path))


def test_overwrite_removes_the_data_set_and_nothing_else(tmp_path: Path) -> None:
    outputs.write(outputs.job(tmp_path, num_shards=5), CLIPS)
    others = {"notes.txt", "embeddings-of-mine.tfrecord", "embeddings-00000-of-00005.tfrecord.bak", "sub/a.wav"}
    (tmp_path / "sub").mkdir()
    for name in others:
        (tmp_path / name).write_text(name)
    job = outputs.job(tmp_path, num_shards=2)
    resume.start(str(tmp_path), job, overwrite=True)
    assert set(names(tmp_path)) == {*others, "manifest.json"}
    outputs.write(job, CLIPS)
    for name in others:
        assert (tmp_path / name).read_text() == name
    shards = {name for name in names(tmp_path) if name.startswith("embeddings-0")} - others
    assert shards == {"embeddings-00000-of-00002.tfrecord", "embeddings-00001-of-00002.tfrecord"}


@pytest.mark.parametrize("name", ["embeddings-00001-of-00003.tfrecord", "_state/ledger-00001-of-00003.jsonl"])
@pytest.mark.parametrize("gone", [True, False])
def test_a_lost_shard_is_reported_and_computed_again(tmp_path: Path, name: str, gone: bool) -> None:
    job = outputs.job(tmp_path)
    outputs.write(job, CLIPS)
    before = outputs.content(tmp_path)
    if gone:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-9])
    opened = resume.start(str(tmp_path), job)
    assert opened.lost == ("embeddings-00001-of-00003.tfrecord",)
    assert verify.verify_output(str(tmp_path)).fault_count == 0
    known = {entry.id for entry in commit.committed_ledger(str(tmp_path))}
    assert 0 < len(known) < len(CLIPS)
    outputs.write(job, [clip for clip in CLIPS if clip.id not in known])
    assert outputs.content(tmp_path) == before


def test_a_shard_of_another_data_set_in_its_place_is_lost(tmp_path: Path) -> None:
    job = outputs.job(tmp_path / "a")
    outputs.write(job, CLIPS)
    before = outputs.content(tmp_path / "a")
    shard = tmp_path / "a" / "embeddings-00001-of-00003.tfrecord"
    data = bytearray(shard.read_bytes())
    data[-40] ^= 1  # of the same size, as another of the same clips would be
    shard.write_bytes(data)
    assert resume.start(str(tmp_path / "a"), job).lost == (shard.name,)
    known = {entry.id for entry in commit.committed_ledger(str(tmp_path / "a"))}
    outputs.write(job, [clip for clip in CLIPS if clip.id not in known])
    assert outputs.content(tmp_path / "a") == before


def test_what_a_dead_run_had_staged_is_removed(tmp_path: Path) -> None:
    job, fresh = outputs.job(tmp_path / "a"), outputs.job(tmp_path / "b")
    outputs.stage(job, outputs.write(job, CLIPS[:10]), CLIPS[10:])
    assert list((tmp_path / "a/_state/staged").iterdir())
    (tmp_path / "a/_state/task-0-of-3.json.0123abcd.tmp").write_bytes(b"")
    resume.start(str(tmp_path / "a"), job)
    assert not list((tmp_path / "a/_state/staged").iterdir())
    assert not list((tmp_path / "a/_state").glob("*.tmp"))
    outputs.write(job, ())  # from its row files
    outputs.write(fresh, CLIPS)
    assert outputs.content(tmp_path / "a") == outputs.content(tmp_path / "b")


def test_the_manifest_says_what_and_how(tmp_path: Path) -> None:
    job = outputs.job(tmp_path)
    outputs.write(job, CLIPS)
    content = json.loads((tmp_path / "manifest.json").read_text())
    assert content["settings"] == job.deciding()
    assert content["fingerprint"] == job.fingerprint()
    assert content["models"]["checkpoint"] == {"name": "standin", "sha256": "c" * 64}
    assert content["complete"] is True
    assert {"python", "numpy", "apache-beam"} <= set(content["run"]["versions"])
    assert content["run"]["processor"]
    assert [shard["index"] for shard in content["shards"]] == [0, 1, 2]
    assert manifest.read(str(tmp_path)) == manifest.from_json((tmp_path / "manifest.json").read_bytes(), "")


def test_versions_that_changed_between_runs_are_all_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = outputs.job(tmp_path)
    outputs.write(job, CLIPS[:5])
    first = json.loads((tmp_path / "manifest.json").read_text())["run"]
    monkeypatch.setattr(made_with, "versions", lambda: {"python": "9.9"})
    for _ in range(2):
        outputs.write(job, CLIPS[5:10])
    run = json.loads((tmp_path / "manifest.json").read_text())["run"]
    assert run["versions"] == {"python": "9.9"}
    assert [each["versions"] for each in run["earlier"]] == [first["versions"]]
    assert run["created"] == first["created"]
