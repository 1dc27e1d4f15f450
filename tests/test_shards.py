from __future__ import annotations

import resource
import signal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.output import commit, ledger, shards
from pipeline.output.layout import OutputError
from pipeline.output.records import read_records
from pipeline.types import Clip, Failure
from tests import outputs

CLIPS = [outputs.clip(number) for number in range(40)]


def entry(key: int, message: str) -> ledger.LedgerEntry:
    return ledger.not_written(Failure(Clip(f"{key:03d}", "/a"), "extract", "corrupt", message))


@given(st.sets(st.integers(0, 30)), st.sets(st.integers(0, 30)), st.sets(st.integers(0, 30)))
@settings(max_examples=100)
def test_merge_is_the_sorted_union_with_new_first(old: set[int], new: set[int], dropped: set[int]) -> None:
    merged = list(
        shards.merge(
            [(entry(key, "old"), b"old") for key in sorted(old)],
            [(entry(key, "new"), b"new") for key in sorted(new)],
            {entry(key, "").key for key in dropped},
        )
    )
    expected = {key: b"new" if key in new else b"old" for key in (old - dropped) | new}
    assert [(int(e.id), data) for e, data in merged] == sorted(expected.items())


@given(
    st.text(max_size=20),
    st.floats(0, 1e6),
    st.one_of(st.none(), st.floats(0, 1e6)),
    st.lists(st.integers(0, 9), unique=True),
    st.text(max_size=30),
)
@settings(max_examples=100)
def test_a_ledgers_line_holds_the_entry(
    name: str, start: float, end: float | None, labels: list[int], message: str
) -> None:
    clip = Clip(name, "/" + name, start, end, tuple(labels), True, 17, "v")
    found = ledger.not_written(Failure(clip, "extract", "corrupt", message, skipped=True))
    line = ledger.to_line(found)
    assert line.count(b"\n") == 1
    assert ledger.from_line(line) == found
    assert found.clip == clip


def test_a_name_that_is_not_utf8_survives_the_ledger() -> None:
    clip = Clip(b"caf\xe9".decode("utf-8", "surrogateescape"), "/a")
    found = ledger.not_written(Failure(clip, "extract", "corrupt", ""))
    line = ledger.to_line(found)
    line.decode("utf-8", "strict")
    assert ledger.from_line(line).id == clip.id


def test_growth_equals_a_fresh_run(tmp_path: Path) -> None:
    grown, fresh = outputs.job(tmp_path / "grown"), outputs.job(tmp_path / "fresh")
    outputs.write(grown, CLIPS[:25])
    outputs.write(grown, [outputs.clip(3, "2"), *CLIPS[25:]], drops=[CLIPS[7], CLIPS[9]])
    changed = {**{c.id: c for c in CLIPS}, CLIPS[3].id: outputs.clip(3, "2")}
    outputs.write(fresh, [c for c in changed.values() if c not in (CLIPS[7], CLIPS[9])])
    assert outputs.content(tmp_path / "grown") == outputs.content(tmp_path / "fresh")


def test_an_output_is_the_same_for_any_order_and_pieces(tmp_path: Path) -> None:
    whole, parts = outputs.job(tmp_path / "whole"), outputs.job(tmp_path / "parts")
    outputs.write(whole, CLIPS)
    for piece in (CLIPS[::-3], CLIPS[::-3], CLIPS[1::3], CLIPS[2::3], CLIPS[::3]):
        outputs.write(parts, piece)
    assert outputs.content(tmp_path / "whole") == outputs.content(tmp_path / "parts")


@pytest.mark.parametrize("kind", ["raw", "pca"])
@pytest.mark.parametrize("layout", ["audioset", "youtube8m"])
def test_float_embeddings_and_both_layouts_are_written_and_merged(tmp_path: Path, kind: str, layout: str) -> None:
    job = outputs.job(tmp_path, record_format=layout, embeddings=kind)  # type: ignore[arg-type]
    outputs.write(job, CLIPS[:8])
    outputs.write(job, CLIPS[8:9])
    found = {record.id: record for record in read_records(str(tmp_path / "embeddings-*"))}
    assert len(found) == 9
    for clip in CLIPS[:9]:
        assert found[clip.id].layout == layout
        assert (found[clip.id].values == outputs.values_of(clip, "raw")).all()


def test_a_failed_clip_that_had_a_record_loses_it(tmp_path: Path) -> None:
    job = outputs.job(tmp_path, num_shards=1)
    manifest = outputs.write(job, CLIPS[:3])
    failure = Failure(CLIPS[1], "extract", "truncated", "ends at 0.3 s")
    attempt = commit.attempt_name(manifest)
    commit.finish(str(tmp_path), [shards.write_shard(job.output, 0, [failure, *manifest.shards], attempt)])
    assert [record.id for record in read_records(str(tmp_path / "embeddings-*"))] == [CLIPS[0].id, CLIPS[2].id]
    assert '"reason":"truncated"' in (tmp_path / "failures.jsonl").read_text()


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (lambda data: data[:-1], "ends 1 bytes before"),
        (lambda data: data[:0], "fewer records than its ledger"),
        (lambda data: data + data, "where its ledger says|more records than its ledger"),
        (lambda data: data.replace(b"clip 000", b"clip 00x"), "checksum"),
    ],
)
def test_a_damaged_shard_is_not_merged(tmp_path: Path, damage, found: str) -> None:  # type: ignore[no-untyped-def]
    job = outputs.job(tmp_path, num_shards=1)
    manifest = outputs.write(job, CLIPS[:2])
    shard = tmp_path / "embeddings-00000-of-00001.tfrecord"
    shard.write_bytes(damage(shard.read_bytes()))
    with pytest.raises(OutputError, match=found):
        outputs.stage(job, manifest, CLIPS[3:4])
    assert not list((tmp_path / "_state/staged").iterdir())


def test_a_file_system_that_is_full_is_a_clear_error_and_the_next_run_continues(tmp_path: Path) -> None:
    """The system refuses the write: a limit on the size of files, as a full disk does, fails half-way through one."""
    job, fresh = outputs.job(tmp_path / "a", 1), outputs.job(tmp_path / "b", 1)
    manifest = outputs.write(job, CLIPS[:10])
    before = outputs.content(tmp_path / "a")
    size = len(before["embeddings-00000-of-00001.tfrecord"])
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 500, limits[1]))
    try:
        with pytest.raises(OutputError, match=r"writing shard 0 failed.*run the same command again"):
            outputs.stage(job, manifest, CLIPS[10:])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert outputs.content(tmp_path / "a") == before
    assert not list((tmp_path / "a/_state/staged").iterdir())
    outputs.write(job, CLIPS[10:])
    outputs.write(fresh, CLIPS)
    assert outputs.content(tmp_path / "a") == outputs.content(tmp_path / "b")
