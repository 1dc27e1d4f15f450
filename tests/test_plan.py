"""Planning: stable shards, every example in one segment, what is a cache and what is not."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.corpus import plan
from pipeline.corpus.plan import Probe
from pipeline.output import ledger
from pipeline.output.work import compare
from pipeline.types import Clip, Corpus, Failure, Segment, SegmentEnd

PINNED = {
    "": 652,
    "--4gqARaEJE": 396,
    "001 - Dog bark/1-100032-A": 975,
    "Übung/ç 1": 63,
    "a\nb": 403,
    "\udcff": 385,
}
"""Shards of 1,000, worked out with sha256sum: an output that grows must find its records where they were put before."""


@pytest.mark.parametrize(("clip_id", "shard"), PINNED.items())
def test_shards_are_those_of_all_versions(clip_id: str, shard: int) -> None:
    assert plan.shard_of(clip_id, 1000) == shard


def test_shards_are_those_of_all_processes() -> None:
    code = "from pipeline.corpus.plan import shard_of; print([shard_of(str(i), 97) for i in range(50)])"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert outputs == {f"{[plan.shard_of(str(i), 97) for i in range(50)]}\n"}


def test_shards_fill_evenly() -> None:
    counts = [0] * 20
    for index in range(20_000):
        counts[plan.shard_of(f"clip {index}", 20)] += 1
    assert min(counts) > 850
    assert max(counts) < 1150


@pytest.mark.parametrize(
    ("clips", "total_bytes", "shards"),
    [(0, 0, 1), (1, 10**12, 3907), (400, 30_000_000, 1), (1001, 0, 2), (2_000_000, 2 * 10**11, 2000)],
)
def test_number_of_shards(clips: int, total_bytes: int, shards: int) -> None:
    assert plan.default_num_shards(clips, total_bytes) == shards


def test_the_number_of_examples_is_that_of_the_released_records() -> None:
    for hundredths in range(2000):
        duration = hundredths / 100
        released = (hundredths - 2) // 96 if hundredths >= 98 else 0
        assert plan.examples_in(duration, 96) == released


@given(st.integers(0, 5000), st.integers(1, 700))
@settings(max_examples=200, deadline=None)
def test_every_example_is_in_exactly_one_segment(total: int, most: int) -> None:
    clip = Clip("a", "a.wav")
    segments = plan.segments_of(clip, total, most)
    assert [segment.index for segment in segments] == list(range(len(segments)))
    assert {segment.count for segment in segments} == {len(segments)}
    covered: list[int] = []
    for segment in segments:
        stop = total if segment.examples is None else segment.first_example + segment.examples
        assert 0 <= stop - segment.first_example <= most
        assert total == 0 or stop > segment.first_example
        covered.extend(range(segment.first_example, stop))
    assert covered == list(range(total))
    assert [segment.examples is None for segment in segments] == [False] * (len(segments) - 1) + [True]


times = st.integers(0, 4000).map(lambda tenths: tenths / 10)


@st.composite
def corpora(draw: st.DrawFn) -> tuple[list[Clip], dict[str, Probe]]:
    clips = {}
    for index in range(draw(st.integers(0, 25))):
        uri = draw(st.sampled_from(["a.wav", "b.mp3", "c.flac"]))
        if draw(st.booleans()):
            start, duration = draw(times), draw(st.one_of(st.none(), times.map(lambda t: t + 0.1)))
            clip = Clip(f"{index}", uri, start, None if duration is None else start + duration, cut=True)
        else:
            clip = Clip(f"{index}", uri)
        clips[clip.key] = clip
    probes = {
        uri: Probe(draw(st.integers(0, 16000 * 400)), 16000, draw(st.booleans()))
        for uri in draw(st.sets(st.sampled_from(["a.wav", "b.mp3", "c.flac"])))
    }
    return list(clips.values()), probes


@given(corpora(), st.sampled_from([5.0, 60.0, 600.0]))
@settings(max_examples=150, deadline=None)
def test_readings_hold_every_segment_of_every_clip_once(
    corpus: tuple[list[Clip], dict[str, Probe]], most: float
) -> None:
    clips, probes = corpus
    found: dict[Clip, list[Segment]] = {clip: [] for clip in clips}
    for request in plan.requests(clips, probes, most):
        starts = [segment.clip.start_s for segment in request.segments]
        assert starts == sorted(starts)
        probe = probes.get(request.uri)
        assert 1 <= len(starts) <= (plan.CLIPS_OF_A_READING if probe and probe.seekable else len(clips))
        assert len(starts) == 1 or all(segment.clip.cut and segment.count == 1 for segment in request.segments)
        for segment in request.segments:
            assert segment.clip.uri == request.uri
            found[segment.clip].append(segment)
    for clip, segments in found.items():
        assert [segment.index for segment in segments] == list(range(segments[0].count))
        if clip.uri not in probes or not probes[clip.uri].seekable:
            assert segments == [Segment(clip)]


def cut(start: float, end: float | None, uri: str = "a.mp3") -> Clip:
    return Clip(f"{uri} {start}", uri, start, end, cut=True, size_bytes=10**6)


def grouped(*clips: Clip, most: float = 600.0, seekable: bool = True) -> list[list[float]]:
    probes = {clip.uri: Probe(16_000 * 300, 16_000, seekable) for clip in clips}
    return [[segment.clip.start_s for segment in request.segments] for request in plan.requests(clips, probes, most)]


def test_near_clips_of_a_recording_that_seeks_are_decoded_in_one_pass() -> None:
    assert grouped(cut(70, 80), cut(0, 10), cut(141, 150)) == [[0, 70], [141]]
    assert grouped(cut(0, 100), cut(10, 20), cut(150, 160)) == [[0, 10, 150]]  # near the longest, not the last
    assert grouped(*(cut(10.0 * i, 10.0 * i + 10) for i in range(6)), most=30) == [[0, 10, 20], [30, 40, 50]]
    assert grouped(cut(0, None), cut(5, 10)) == [[0], [5]]
    assert [len(group) for group in grouped(*(cut(i, i + 1) for i in range(100)))] == [64, 36]
    assert grouped(cut(0, 10), cut(0, 10, "b.mp3"), Clip("c", "a.mp3")) == [[0], [0], [0]]


def test_all_clips_of_another_recording_are_decoded_in_one_pass() -> None:
    clips = [cut(i * 100.0, i * 100.0 + 90) for i in range(200)]
    for probes in ({}, {"a.mp3": Probe(16_000 * 20_000, 16_000, False)}):
        (request,) = plan.requests([*clips[50:], *clips[:50]], probes, 600)
        assert [segment.clip for segment in request.segments] == clips
        assert list(plan.split(request, probes.get("a.mp3"), 600)) == [request]
    assert plan.is_scattered(request, 600)
    seeks = Probe(16_000 * 20_000, 16_000, True)
    parts = list(plan.split(request, seeks, 600))
    assert [segment.clip for part in parts for segment in part.segments] == clips
    assert len(parts) == 34
    assert not plan.is_scattered(parts[0], 600)
    assert list(plan.split(request, None, 600)) == [request]
    assert not plan.is_scattered(next(plan.requests([cut(0, 10, "a.mp3.gz"), cut(500, 510, "a.mp3.gz")])), 600)


def test_readings_hold_as_many_clips_as_memory_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "CLIPS_OF_A_RECORDING", 10)
    requests = plan.requests([cut(i, i + 1) for i in range(25)])
    assert [len(request.segments) for request in requests] == [10, 10, 5]


def test_a_long_seekable_file_is_split_and_others_are_not() -> None:
    clip = Clip("a", "a.wav", size_bytes=10**9)
    hour = 3600 * 48000
    parts = list(plan.requests([clip], {"a.wav": Probe(hour, 48000, True)}, 600))
    assert len(parts) == 6 == parts[0].segments[0].count
    assert len(list(plan.requests([clip], {"a.wav": Probe(hour, 48000, False)}, 600))) == 1
    assert len(list(plan.requests([clip], {"a.wav": Probe(600 * 48000, 48000, True)}, 600))) == 1
    assert len(list(plan.requests([cut(0, 3600, "a.wav")], {"a.wav": Probe(hour, 48000, True)}, 600))) == 6
    assert len(list(plan.requests([cut(3000, 3600, "a.wav")], {"a.wav": Probe(hour, 48000, True)}, 600))) == 1


@pytest.mark.parametrize(
    ("clip", "needed"),
    [
        (Clip("a", "a.wav", size_bytes=4_900_000), True),
        (Clip("a", "a.wav", size_bytes=4_700_000), False),
        (Clip("a", "a.wav.gz", size_bytes=10**9), False),
        (Clip("a", "a.wav", 0.0, 600.0, cut=True, size_bytes=10**9), False),
        (Clip("a", "a.wav", 0.0, 601.0, cut=True, size_bytes=10**9), True),
        (Clip("a", "a.wav", 30.0, None, cut=True, size_bytes=10**9), True),
    ],
)
def test_which_files_are_asked_for_their_length(clip: Clip, needed: bool) -> None:
    assert plan.needs_probe(clip, 600.0) == needed


def test_what_a_clip_costs() -> None:
    assert plan.cost_bytes(Clip("a", "a.wav")) == plan.MIN_COST_BYTES
    assert plan.cost_bytes(Clip("a", "a.wav", size_bytes=10**7)) == 10**7
    assert plan.cost_bytes(Clip("a", "a.wav", 0, 10, cut=True, size_bytes=10**9)) == 160_000
    assert plan.cost_bytes(Clip("a", "a.wav", 0, 10, cut=True, size_bytes=100_000)) == 100_000
    assert plan.cost_bytes(Clip("a", "a.wav", 0, 10, cut=True)) == 160_000


def written(clip: Clip) -> ledger.LedgerEntry:
    return ledger.written(clip, [SegmentEnd(clip, 0, 1, 5, 5.0, 16000, 1, "WAV/PCM_16")])


def failed(clip: Clip, stage: str = "extract", skipped: bool = False) -> ledger.LedgerEntry:
    return ledger.not_written(Failure(clip, stage, "corrupt", "it is", skipped))


BASE = Clip("a", "a.wav", labels=(1, 2), size_bytes=10, version="7")


@pytest.mark.parametrize(
    ("now", "kept"),
    [
        (BASE, True),
        (replace(BASE, uri="/moved/a.wav"), True),
        (replace(BASE, size_bytes=11), False),
        (replace(BASE, version="8"), False),
        (replace(BASE, labels=(1,)), False),
        (replace(BASE, cut=True), False),
    ],
)
def test_what_is_unchanged_is_kept(now: Clip, kept: bool) -> None:
    found = compare(Corpus([now]), [written(BASE)])
    assert (found.clips, found.kept) == (((), 1) if kept else ((now,), 0))
    assert found.gone == 0


def test_failed_clips_wait_until_they_are_to_be_tried_again() -> None:
    corpus = Corpus([BASE])
    assert compare(corpus, [failed(BASE)]).clips == ()
    assert compare(corpus, [failed(BASE)], retry_failed=True).clips == (BASE,)
    assert compare(corpus, [failed(BASE, skipped=True)], retry_failed=True).clips == ()
    assert compare(corpus, [written(BASE)], retry_failed=True).clips == ()
    assert compare(corpus, [failed(BASE)], succeeded={BASE.key}).clips == (BASE,)


def test_a_clip_that_could_not_be_planned_before_is_embedded_now() -> None:
    assert compare(Corpus([BASE]), [failed(BASE, stage="find")]).clips == (BASE,)


def test_what_is_gone() -> None:
    other = replace(BASE, id="b")
    entries = [written(BASE), failed(other)]
    for prune, drops, clips_in in ((True, [other], 1), (False, [], 2)):
        found = compare(Corpus([BASE]), entries, prune=prune)
        assert (found.drops, found.gone, found.kept, found.clips_in) == (drops, 1, clips_in, clips_in)
    known = Failure(other, "extract", "corrupt", "it is")
    found = compare(Corpus([BASE], [known]), entries, prune=True)
    assert (found.drops, found.failures, found.kept, found.clips_in) == ([], [], 2, 2)


def test_a_clip_of_other_times_is_another_clip() -> None:
    now = replace(BASE, start_s=1.0, end_s=2.0)
    found = compare(Corpus([now]), [written(BASE)], prune=True)
    assert (found.clips, found.kept, found.drops) == ((now,), 0, [BASE])
