"""`embed_corpus`: what the command does, as a function; with digests in place of the network."""

from __future__ import annotations

import errno
import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile

from pipeline import (
    Clip,
    Corpus,
    FrontEnd,
    Job,
    JobError,
    Model,
    Output,
    Progress,
    Update,
    UserError,
    embed_corpus,
    find_corpus,
)
from pipeline.embedding import embed, models
from pipeline.output import shards
from pipeline.output.layout import OutputError
from pipeline.output.records import read_records
from pipeline.running.counts import Counts
from tests.command import shard_bytes
from tests.in_process import CHEAP_NETWORK, Embed

MODEL = Model("standin", "standin")


@pytest.fixture(autouse=True)
def _cheap_network(decoders_stay: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, function in CHEAP_NETWORK.items():
        monkeypatch.setattr(models, name, function)
    monkeypatch.setattr("pipeline.embedding.embed._workers", {})


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    folder = tmp_path / "audio"
    folder.mkdir()
    for number in range(6):
        noise = np.random.default_rng(number).normal(0, 0.1, 16_000 * (2 + number))
        soundfile.write(folder / f"{number}.wav", noise, 16_000)
    (folder / "notes.wav").write_text("no audio")
    return folder


def test_it_writes_what_the_command_writes(audio: Path, tmp_path: Path, embed_here: Embed) -> None:
    seen: list[Progress] = []
    job = Job(Output(str(tmp_path / "out"), num_shards=2), MODEL)
    manifest = embed_corpus(find_corpus([f"{audio}/**"]), job, on_progress=seen.append)
    assert {name: manifest.totals[name] for name in ("clips_in", "written", "failed")} == {
        "clips_in": 7,
        "written": 6,
        "failed": 1,
    }
    flags = ["--input", f"{audio}/**", "--num_shards", "2", "--max_failures", "1"]
    assert embed_here(tmp_path / "command", *flags).status == 0
    assert shard_bytes(tmp_path / "out") == shard_bytes(tmp_path / "command")
    assert (seen[-1].clips, seen[-1].done.clips, seen[-1].done.failed, seen[-1].stage) == (7, 7, 1, "writing shards")


def test_what_is_left_open_is_chosen_and_an_output_grows(audio: Path, tmp_path: Path) -> None:
    job = Job(Output(str(tmp_path / "out")), MODEL)
    some = Corpus([Clip("a", str(audio / "0.wav"))])
    assert embed_corpus(some, job).totals["written"] == 1
    more = Corpus([*some.clips, Clip("b", str(audio / "1.wav"))])
    manifest = embed_corpus(more, job)
    assert (manifest.num_shards, manifest.totals["written"]) == (1, 2)
    assert embed_corpus(some, job).totals["written"] == 2
    assert embed_corpus(some, job, update=Update(prune=True)).totals["written"] == 1
    assert [record.id for record in read_records(f"{tmp_path}/out/*.tfrecord")] == ["a"]


def test_what_cannot_be_used_is_seen_before_anything_is_begun(audio: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    corpus = find_corpus([str(audio)])
    with pytest.raises(UserError, match="nothing matches") as caught:
        find_corpus([f"{audio}/*.ogg"])
    assert caught.value.remedy
    with pytest.raises(UserError, match="not one of Beam's runners"):
        embed_corpus(corpus, Job(Output(str(output)), MODEL), "DirectRuner")
    output.mkdir()
    (output / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match=r"is not empty and has no manifest\.json") as caught:
        embed_corpus(corpus, Job(Output(str(output)), MODEL))
    assert not isinstance(caught.value, JobError)
    assert [path.name for path in output.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (lambda: FrontEnd(hop_seconds=0.123), "hop_seconds: 0.123 is not a multiple of 0.01 s"),
        (lambda: FrontEnd(short_clips="drop"), "short_clips is 'drop', which is none of: skip, pad, fail"),
        (lambda: FrontEnd(damaged="mend"), "damaged is 'mend', which is none of: fail, keep"),
        (lambda: Model(embeddings="8bit"), "embeddings is '8bit', which is none of: quantized, pca, raw"),
        (lambda: Output("out", record_format="csv"), "record_format is 'csv', which is none of: audioset, youtube8m"),
    ],
)
def test_settings_that_do_not_exist_are_refused(settings: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        settings()


def test_other_settings_are_another_data_set(audio: Path, tmp_path: Path) -> None:
    job = Job(Output(str(tmp_path / "out")), MODEL)
    corpus = Corpus([Clip("a", str(audio / "0.wav"))])
    embed_corpus(corpus, job)
    other = replace(job, front_end=replace(job.front_end, hop_seconds=0.48))
    with pytest.raises(UserError, match=r"hop_seconds is 0\.96 in the output, 0\.48 was asked for"):
        embed_corpus(corpus, other)
    assert embed_corpus(corpus, other, update=Update(overwrite=True)).settings["hop_seconds"] == 0.48


FULL = "No space left on device"


@pytest.mark.parametrize("error", [OutputError(FULL, "Make space"), OSError(errno.ENOSPC, FULL)])
def test_a_job_that_stops_keeps_what_is_finished(
    audio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """The disk is full when the shards are written."""

    def full(*arguments: Any) -> Any:
        raise error

    job = Job(Output(str(tmp_path / "out"), num_shards=3), MODEL)
    corpus = find_corpus([str(audio)])
    with monkeypatch.context() as patch:
        patch.setattr(shards, "write_shard", full)
        with pytest.raises(JobError, match=FULL):
            embed_corpus(corpus, job)
    assert not list((tmp_path / "out").glob("embeddings-*"))
    monkeypatch.setattr(models, "load", lambda model, check=False: pytest.fail("something is embedded again"))
    monkeypatch.setattr(embed, "_workers", {})
    monkeypatch.setattr(embed, "shared_worker", lambda model, check=False: SimpleNamespace(batch_size=64, threads=1))
    assert embed_corpus(corpus, job).totals["clips_in"] == len(corpus.clips) + len(corpus.failures)


def test_row_files_that_are_damaged_before_the_merge_are_named_and_computed_again(
    audio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    job, corpus = Job(Output(str(output), num_shards=2), MODEL), find_corpus([str(audio)])
    whole = replace(job, output=Output(str(tmp_path / "whole"), num_shards=2))
    embed_corpus(corpus, whole)
    write_shard = shards.write_shard

    def damaged(*arguments: Any) -> Any:
        for path in (output / "_state/rows").iterdir():
            path.write_bytes(path.read_bytes()[:-1] + b"?")
        return write_shard(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(shards, "write_shard", damaged)
        with pytest.raises(JobError, match=r"the row file \S*\.rows cannot be used: it has changed") as caught:
            embed_corpus(corpus, job)
    assert caught.value.remedy == "Run the same command again: what it held is computed again."
    embed_corpus(corpus, job)
    assert shard_bytes(output) == shard_bytes(tmp_path / "whole")


GOLDEN = {
    "embeddings-00000-of-00002.tfrecord": "8c6f6026f119a1a5c2d8820304b0bb097fe6b364f3efbe20342ffa63690a214c",
    "embeddings-00001-of-00002.tfrecord": "90088e68bec8afa28b050c4a5ed51daeb62fce1de3e75bbf651c09ceae9777c8",
}
"""sha256 of the shards of a made corpus: the same before and after whatever changes no bytes."""


def test_the_bytes_stay(audio: Path, tmp_path: Path) -> None:
    """Lossless audio through the front end, digests in place of the network: the same on every processor."""
    job = Job(Output(str(tmp_path / "out"), num_shards=2), MODEL)
    clips = [Clip(path.stem, str(path), version="1") for path in sorted(audio.glob("?.wav"))]
    embed_corpus(Corpus(clips), job)
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((tmp_path / "out").glob("*.tfrecord"))
    }
    assert found == GOLDEN


def test_what_an_engine_without_counters_did_is_seen_in_its_output(
    audio: Path, tmp_path: Path, embed_here: Embed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.running.embed_corpus.counts_of", lambda result: Counts())
    done = embed_here(tmp_path / "out", "--input", audio, "--max_failures", "100%")
    assert done.status == 0, done.err
    assert " embedded in " in done.out
    assert "nothing to compute" not in done.out
    assert "nothing to compute" in embed_here(tmp_path / "out", "--input", audio, "--max_failures", "100%").out
