"""Ranges of shards: everything is in one, files are not torn apart, and what is made of many is what is made of one."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.corpus import buckets, plan, units
from pipeline.output import commit
from pipeline.output.journal import held
from pipeline.running import job as jobs
from pipeline.settings import Update
from pipeline.types import Clip, Corpus
from tests import outputs
from tests.in_process import Embed
from tests.test_tasks import FLAGS, make, same


@given(st.integers(1, 200), st.integers(1, 200))
def test_every_shard_is_in_one_bucket(num_shards: int, wanted: int) -> None:
    number = min(num_shards, wanted)
    found = [shard for bucket in range(number) for shard in buckets.shards_of(bucket, num_shards, number)]
    assert found == list(range(num_shards))
    for shard in range(num_shards):
        assert shard in buckets.shards_of(buckets.bucket_of(shard, num_shards, number), num_shards, number)


def clips(count: int) -> list[Clip]:
    return [
        Clip(f"id {n}", f"file {n % 31 if n % 3 else n}", float(n), n + 1.0 if n % 3 else None, cut=bool(n % 3))
        for n in range(count)
    ]


def test_the_order_is_the_outputs_but_files_stay_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "CLIPS_OF_A_BUCKET", 50)
    every = clips(700)
    found = list(buckets.in_order(every, 97))
    assert len(found) == 14
    assert sorted(clip.id for part in found for clip in part) == sorted(clip.id for clip in every)
    uncut = [clip for part in found for clip in part if not clip.cut]
    assert uncut == sorted(uncut, key=lambda clip: plan.place_of(clip, 97))
    for uri in {clip.uri for clip in every if clip.cut}:
        assert len([part for part in found if any(clip.cut and clip.uri == uri for clip in part)]) == 1


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 300), st.integers(1, 20))
def test_requests_are_those_of_one_bucket(count: int, num_shards: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        whole = list(units.units(clips(count), num_shards, 600.0, 96))
        patch.setattr(buckets, "CLIPS_OF_A_BUCKET", 40)
        parts = list(units.units(clips(count), num_shards, 600.0, 96))
    assert sorted(r.uri + str(len(r.segments)) for unit in whole for r in unit.requests) == sorted(
        r.uri + str(len(r.segments)) for unit in parts for r in unit.requests
    )


def test_a_small_corpus_is_compared_with_a_large_output_in_many_buckets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = outputs.job(tmp_path, num_shards=5)
    manifest = outputs.write(job, map(outputs.clip, range(40)))
    monkeypatch.setattr(buckets, "CLIPS_OF_A_BUCKET", 8)
    looked: list[range] = []
    monkeypatch.setattr("pipeline.running.job.held.look", lambda directory, parts: held.Held())
    ledger = commit.committed_ledger
    monkeypatch.setattr(commit, "committed_ledger", lambda *given: [looked.append(given[2]), *ledger(*given)][1:])
    work = jobs.work_on(job, Corpus((outputs.clip(1), outputs.clip(50))), Update(), held.Files(), manifest)
    assert (list(work.clips), work.kept, work.gone, work.clips_in) == ([outputs.clip(50)], 40, 39, 41)
    assert [len(among) for among in looked] == [1] * 5


def test_a_corpus_that_grows_in_many_buckets_is_that_of_one(
    tmp_path: Path, embed_here: Embed, monkeypatch: pytest.MonkeyPatch
) -> None:
    audio = tmp_path / "audio"
    make(audio, range(16))
    (audio / "broken.wav").write_bytes(b"no audio")
    assert embed_here(tmp_path / "whole", "--input", audio, *FLAGS).status == 0
    monkeypatch.setattr(buckets, "CLIPS_OF_A_BUCKET", 4)
    (audio / "015.wav").rename(tmp_path / "015.wav")
    assert embed_here(tmp_path / "out", "--input", audio, *FLAGS).status == 0
    (tmp_path / "015.wav").rename(audio / "015.wav")
    (tmp_path / "out" / "embeddings-00001-of-00005.tfrecord").unlink()
    done = embed_here(tmp_path / "out", "--input", audio, *FLAGS, "--prune", "--retry_failed")
    assert done.status == 0, done.err
    same(tmp_path / "out", tmp_path / "whole")
