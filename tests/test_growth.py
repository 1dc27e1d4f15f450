"""A corpus that grows, changes and shrinks: what the output holds is kept, the result is that of a fresh run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from pipeline import run
from pipeline.embedding import embed
from tests import interrupted_run, outputs
from tests.command import failures, manifest

LABELS = '{"uri": "%s", "id": "%s", "labels": [%d]}\n'


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the clips that runs decode from here on; the network is `tests.interrupted_run`'s."""
    ids: list[str] = []

    def note(line: str) -> None:
        word, _, rest = line.partition(" ")
        if word == "clip":
            ids.append(rest)

    for owner, name, value in interrupted_run.replacements(note):
        monkeypatch.setattr(owner, name, value)
    embed._workers.clear()
    return ids


@pytest.fixture(autouse=True)
def no_network_stays() -> object:
    yield
    embed._workers.clear()


def make(folder: Path, numbers: range, seed: int = 0) -> None:
    folder.mkdir(exist_ok=True)
    for number in numbers:
        noise = np.random.default_rng([seed, number]).normal(0, 0.1, 16000)
        soundfile.write(folder / f"{number:03d}.wav", noise, 16000)


def embed_folder(audio: Path, output: Path, *flags: str) -> int:
    some = ["--input", str(audio), "--output", str(output), "--max_failures", "2"]
    return run.main([*interrupted_run.FLAGS, *some, *flags])


def test_grown_and_shrunk(tmp_path: Path, decoded: list[str]) -> None:
    audio, output = tmp_path / "audio", tmp_path / "out"
    make(audio, range(50))
    assert embed_folder(audio, output, "--num_shards", "5") == 0
    assert sorted(decoded) == [f"{number:03d}" for number in range(50)]
    decoded.clear()

    make(audio, range(50, 70))
    make(audio, range(7, 9), seed=1)  # changed: their modification times are others
    assert embed_folder(audio, output) == 0  # the number of shards is the output's
    assert sorted(decoded) == ["007", "008", *(f"{number:03d}" for number in range(50, 70))]
    decoded.clear()
    assert embed_folder(audio, tmp_path / "fresh", "--num_shards", "5") == 0
    assert outputs.content(output) == outputs.content(tmp_path / "fresh")
    decoded.clear()

    (audio / "042.wav").unlink()
    before = outputs.content(output)
    assert embed_folder(audio, output) == 0
    assert outputs.content(output) == before  # what is gone stays, unless asked
    assert embed_folder(audio, output, "--prune") == 0
    assert decoded == []
    after = outputs.content(output)
    assert len([name for name in after if name.startswith("embeddings") and after[name] != before[name]]) == 1
    assert embed_folder(audio, tmp_path / "fresh69", "--num_shards", "5") == 0
    assert after == outputs.content(tmp_path / "fresh69")


def test_a_moved_corpus_is_not_computed_again(tmp_path: Path, decoded: list[str]) -> None:
    make(tmp_path / "here", range(3))
    assert embed_folder(tmp_path / "here", tmp_path / "out") == 0
    shards = [data for name, data in outputs.content(tmp_path / "out").items() if name.startswith("embeddings")]
    decoded.clear()
    shutil.move(tmp_path / "here", tmp_path / "there")
    assert embed_folder(tmp_path / "there", tmp_path / "out") == 0
    assert decoded == []
    assert shards == [data for name, data in outputs.content(tmp_path / "out").items() if name.startswith("embeddings")]


def test_failed_clips_are_tried_again_when_asked(tmp_path: Path, decoded: list[str]) -> None:
    audio, output = tmp_path / "audio", tmp_path / "out"
    make(audio, range(3))
    whole = (audio / "001.wav").read_bytes()
    status = (audio / "001.wav").stat()
    (audio / "001.wav").write_bytes(b"\0" * len(whole))
    assert embed_folder(audio, output) == 0
    assert set(failures(output)) == {"001"}
    # The same size and time, as when a disk or a network was to blame: nothing tells that it is another file.
    import os

    (audio / "001.wav").write_bytes(b"\0" * len(whole))
    broken = (audio / "001.wav").stat()
    assert embed_folder(audio, output) == 0
    (audio / "001.wav").write_bytes(whole)
    os.utime(audio / "001.wav", ns=(broken.st_atime_ns, broken.st_mtime_ns))
    decoded.clear()
    assert embed_folder(audio, output) == 0
    assert decoded == []
    assert embed_folder(audio, output, "--retry_failed") == 0
    assert decoded == ["001"]
    assert failures(output) == {}
    assert manifest(output)["totals"]["written"] == 3
    assert status.st_size == broken.st_size


def test_overwriting_waits_for_nobody(tmp_path: Path, decoded: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    from pipeline.output.lock import Lock

    audio, output = tmp_path / "audio", tmp_path / "out"
    make(audio, range(2))
    assert embed_folder(audio, output) == 0
    before = outputs.content(output)
    with Lock(str(output)):
        assert embed_folder(audio, output, "--overwrite") == 2
    assert "is being written by process" in capsys.readouterr().err
    assert outputs.content(output) == before
    assert embed_folder(audio, output, "--overwrite") == 0
    assert outputs.content(output) == before


def test_a_run_whose_lock_was_taken_over_commits_nothing_more(
    tmp_path: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from pipeline.output import shards

    make(tmp_path / "audio", range(12))
    write_shard = shards.write_shard

    def taken_over(*arguments: Any) -> Any:
        lock = tmp_path / "out" / "_state" / "lock.json"
        lock.write_text(json.dumps({**json.loads(lock.read_text()), "token": "another"}))
        return write_shard(*arguments)

    monkeypatch.setattr(shards, "write_shard", taken_over)
    assert embed_folder(tmp_path / "audio", tmp_path / "out") == 1
    assert "is being written by process " in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("embeddings-*"))


def test_a_lost_shard_is_reported_and_computed_again(
    tmp_path: Path, decoded: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    audio, output = tmp_path / "audio", tmp_path / "out"
    make(audio, range(12))
    assert embed_folder(audio, output, "--num_shards", "3") == 0
    before = outputs.content(output)
    name = "embeddings-00001-of-00003.tfrecord"
    (output / name).unlink()
    decoded.clear()
    assert embed_folder(audio, output) == 0
    assert f"Missing or damaged in the output: {name}. Their clips are computed again." in capsys.readouterr().err
    assert 0 < len(decoded) < 12
    assert outputs.content(output) == before
